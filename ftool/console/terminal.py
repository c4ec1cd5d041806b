"""The terminal: its two streams, text made safe for it, and pieces of tables."""

import re
import unicodedata

from rich.console import Console
from rich.table import Table
from rich.text import Text

_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_ESCAPE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[@-_]?")

# Without markup and emoji, brackets and colons in data are shown as they are.
stdout = Console(markup=False, emoji=False, highlight=False)
stderr = Console(markup=False, emoji=False, highlight=False, stderr=True)


def clean(text: object) -> str:
    """Remove what could steer a terminal from data: escapes, control and direction characters."""
    plain = _ESCAPE.sub("", str(text)).expandtabs(4)
    return "".join(character for character in plain if not _steers(character))


def _steers(character: str) -> bool:
    is_control = unicodedata.category(character) in {"Cc", "Cs"} and character != "\n"
    return is_control or character in _DIRECTIONS


def escaped(text: str) -> str:
    """Write what `clean` would remove as JSON writes it, so that no value changes."""
    return "".join(f"\\u{ord(letter):04x}" if _steers(letter) else letter for letter in text)


def one_line(text: object) -> str:
    """Return text as one safe line."""
    return " ".join(clean(text).split())


def title(subject: str, detail: str) -> None:
    """Show what the lines below are about."""
    stdout.print(
        Text.assemble((one_line(subject), "bold"), f"  ({one_line(detail)})"), soft_wrap=True
    )


def table_of(*headers: str) -> Table:
    """Make a table without lines; a header with `>` in front is of a column of numbers."""
    table = Table(
        box=None,
        padding=(0, 2, 0, 0),
        pad_edge=False,
        show_header=any(h.strip(">") for h in headers),
    )
    for header in headers:
        is_number = header.startswith(">")
        table.add_column(
            header.lstrip(">"),
            justify="right" if is_number else "left",
            no_wrap=True,
            overflow="ellipsis",
        )
    return table


def size_of(size: int) -> str:
    """Write a number of bytes."""
    for unit, power in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= power:
            return f"{size / power:.1f} {unit}"
    return f"{size} B"


def duration(seconds: float) -> str:
    """Say a time in at most two units, such as `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"
