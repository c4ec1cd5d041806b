"""Pieces of Markdown: tables, code, a curve of blocks; text of others never becomes markup."""

import json
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

BLOCKS = "▁▂▃▄▅▆▇█"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table; the cells are Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def escape(text: str) -> str:
    """Return text that Markdown shows as it is, in one line."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return re.sub(r"([\\`*_<>\[\]|~$&#])", r"\\\1", " ".join(plain.split()))


def fenced(code: str, language: str) -> str:
    """Write a block of code that no back-ticks in it can end."""
    longest = max((len(run) for run in re.findall("`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{code}\n{fence}"


def quote(value: Any) -> str:
    """Write text, or a flat mapping of text, as a Python literal."""
    return json.dumps(value, ensure_ascii=False)


def duration(seconds: float) -> str:
    """Write seconds the way people read them."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """Draw the means of at most `width` equal stretches as blocks."""
    width = min(width, len(values))
    bounds = [index * len(values) // width for index in range(width + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(bounds)]
    low, spread = min(means), max(means) - min(means)
    levels = [round((mean - low) / spread * (len(BLOCKS) - 1)) if spread else 0 for mean in means]
    return "".join(BLOCKS[level] for level in levels)
