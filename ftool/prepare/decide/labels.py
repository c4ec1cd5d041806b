"""Labels: one spelling each, and the closed set of them."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ftool.prepare.decide.table import Table
from ftool.prepare.read.rows import Finding

if TYPE_CHECKING:
    from ftool.recipe.blocks.data import Data

_WHOLE = re.compile(r"([-+]?\d+)(?:\.0+)?")


@dataclass(frozen=True, slots=True)
class Spellings:
    """How labels are spelled: every other spelling -> the chosen one, and how often each stood."""

    chosen: Mapping[str, str]
    merged: Mapping[str, Mapping[str, int]]


def fold(label: str) -> str:
    """Return what spellings of one label have in common."""
    return re.sub(r"(?<=[^\W_])[\s_-]+(?=[^\W_])", "_", label.casefold().strip())


def find_spellings(counts: Mapping[str, int], data: "Data") -> Spellings:
    """Choose one spelling for labels that differ in case, spaces, `_` and `-` only.

    Declared names win, then the most frequent spelling, then the first in the alphabet; written in
    words where the recipe wants that.

    Args:
        counts: how often each label stands in the data.
        data: the recipe's block.
    """
    declared = data.label_names if isinstance(data.label_names, list) else []
    groups: dict[str, list[str]] = defaultdict(list)
    whole = _whole_numbers(counts)
    for label in sorted({*counts, *declared}):
        groups[fold(whole.get(label, label))].append(label)
    chosen: dict[str, str] = {}
    merged: dict[str, dict[str, int]] = {}
    for spellings in groups.values():
        best = min(spellings, key=lambda name: (name not in declared, -counts.get(name, 0), name))
        if data.label_names == "words" and best not in declared:
            best = " ".join(best.replace("_", " ").split()) or best
        others = [name for name in spellings if name != best and name not in declared]
        chosen |= dict.fromkeys(others, best)
        if best in whole and best not in declared:
            best = whole[best]
            others = [name for name in spellings if name != best and name not in declared]
            chosen |= dict.fromkeys(others, best)
        if len(spellings) > 1 and others:
            merged[best] = {name: counts.get(name, 0) for name in others}
    return Spellings(chosen, dict(sorted(merged.items())))


def _whole_numbers(labels: Iterable[str]) -> dict[str, str]:
    """Return `1` for the label `1.0`, where all labels are whole numbers, some with a point.

    Tables write whole numbers so as soon as one row of their column is empty.
    """
    found = {label: _WHOLE.fullmatch(label) for label in labels}
    if not all(found.values()):
        return {}
    return {label: match[1] for label, match in found.items() if match and match[1] != label}


def spell(table: Table, data: "Data") -> Spellings:
    """Give every label of a table its chosen spelling."""
    names, times = np.unique(table.label[table.label >= 0], return_counts=True)
    counts = {table.labels[name]: int(count) for name, count in zip(names, times, strict=True)}
    spellings = find_spellings(counts, data)
    if spellings.chosen:
        spelled = [spellings.chosen.get(label, label) for label in table.labels]
        labels = sorted(set(spelled))
        codes = np.array([*(labels.index(label) for label in spelled), -1], np.int32)
        table.labels, table.label = labels, codes[table.label]
    return spellings


def label_fault(label: str | None, data: "Data") -> Finding | None:
    """Return what speaks against the label of an example, if anything."""
    allowed = data.label_names
    if not isinstance(allowed, list):
        return None
    if not label:
        return Finding("missing_label", "the label is empty")
    if label not in allowed:
        return Finding("unknown_label", f"`{label}` is not in `label_names`")
    return None


def drop_undeclared(table: Table, data: "Data") -> None:
    """Reject the rows whose label is missing or not declared, where labels are declared."""
    faults = [label_fault(label, data) for label in (*table.labels, None)]
    for reason in sorted({fault.reason for fault in faults if fault is not None}):
        wrong = np.array([fault is not None and fault.reason == reason for fault in faults])
        table.reject(np.flatnonzero(table.stays & wrong[table.label]), reason)


def name_labels(table: Table, data: "Data") -> list[str]:
    """Return the closed set of labels; empty where some row that stays has none."""
    if data.label_names == "none":
        return []
    if isinstance(data.label_names, list):
        return list(data.label_names)
    found = set(np.unique(table.label[table.stays]).tolist())
    return [] if -1 in found else [table.labels[code] for code in sorted(found)]


def lost_labels(table: Table, data: "Data") -> dict[str, dict[str, int]]:
    """Return the labels of which no row is left, with the reasons for which their rows went.

    Where labels are declared, others are no loss. Open answers have none.
    """
    names = name_labels(table, data)
    if not names:
        return {}
    rejected = (table.reason > 0) & (table.label >= 0)
    codes, times = np.unique(
        np.stack([table.label[rejected], table.reason[rejected]]), axis=1, return_counts=True
    )
    gone: dict[str, Counter[str]] = {}
    for (label, reason), count in zip(codes.T.tolist(), times.tolist(), strict=True):
        gone.setdefault(table.labels[label], Counter())[table.reasons[reason]] += count
    for shard in table.shards:
        for label, reasons in shard.about["refused_labels"].items():
            gone.setdefault(label, Counter()).update(reasons)
    kept = {fold(table.labels[code]) for code in np.unique(table.label[table.stays]).tolist()}
    declared = {fold(name) for name in names} if isinstance(data.label_names, list) else None
    lost: dict[str, dict[str, int]] = {}
    spelled: dict[str, str] = {}
    for label, reasons in sorted(gone.items()):
        key = fold(label)
        if key in kept or (declared is not None and key not in declared):
            continue
        found = lost.setdefault(spelled.setdefault(key, label), {})
        for reason, count in sorted(reasons.items()):
            found[reason] = found.get(reason, 0) + count
    return lost
