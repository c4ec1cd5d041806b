"""Labels: one spelling each, and the closed set of them."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ftool.example import Example
from ftool.prepare.rows import Candidate

if TYPE_CHECKING:
    from ftool.recipe.schema import Data


@dataclass(frozen=True, slots=True)
class Spellings:
    """How labels are spelled: every other spelling -> the chosen one, and how often each stood."""

    chosen: Mapping[str, str]
    merged: Mapping[str, Mapping[str, int]]

    def apply(self, example: Example) -> Example:
        """Spell the label as chosen, and the completion too where it was the label."""
        label = self.chosen.get(example.label or "")
        if label is None:
            return example
        messages = example.messages
        if example.completion == example.label:
            messages = (*messages[:-1], replace(messages[-1], content=label))
        return replace(example, label=label, messages=messages)


def fold(label: str) -> str:
    """Return what spellings of one label have in common."""
    return re.sub(r"[\s_-]+", "_", label.casefold()).strip("_")


def find_spellings(candidates: Sequence[Candidate], data: "Data") -> Spellings:
    """Choose one spelling for labels that differ in case, spaces, `_` and `-` only.

    Declared names win, then the most frequent spelling, then the first in the alphabet.
    """
    counts = Counter(c.example.label for c in candidates if c.example.label is not None)
    declared = data.label_names if isinstance(data.label_names, list) else []
    groups: dict[str, list[str]] = defaultdict(list)
    for label in sorted({*counts, *declared}):
        groups[fold(label)].append(label)
    chosen: dict[str, str] = {}
    merged: dict[str, dict[str, int]] = {}
    for spellings in groups.values():
        best = min(spellings, key=lambda name: (name not in declared, -counts[name], name))
        others = [name for name in spellings if name != best and name not in declared]
        if others:
            chosen |= dict.fromkeys(others, best)
            merged[best] = {name: counts[name] for name in others}
    return Spellings(chosen, dict(sorted(merged.items())))


def name_labels(examples: Sequence[Example], data: "Data") -> list[str]:
    """Return the closed set of labels; empty where some kept example has none."""
    if data.label_names == "none":
        return []
    if isinstance(data.label_names, list):
        return list(data.label_names)
    found = {example.label for example in examples}
    return sorted(label for label in found if label is not None) if None not in found else []
