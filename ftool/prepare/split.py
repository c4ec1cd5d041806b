"""train/validation/test without leakage: by group or prompt, stratified by label."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING

from ftool.errors import DataError
from ftool.example import SPLITS, Example
from ftool.prepare.dedup import prompt_key
from ftool.prepare.rows import Candidate

if TYPE_CHECKING:
    from ftool.recipe.schema import Recipe

Unit = list[Candidate]


def split_examples(candidates: Sequence[Candidate], recipe: "Recipe") -> dict[str, list[Example]]:
    """Put every candidate into a split; the order of the sources stays.

    Raises:
        DataError: nothing is left for train.
    """
    loose = [candidate for candidate in candidates if candidate.assigned is None]
    place = _divide(loose, recipe)
    splits: dict[str, list[Example]] = {name: [] for name in SPLITS}
    for candidate in candidates:
        splits[candidate.assigned or place[candidate.example.id]].append(candidate.example)
    feeds_train = any(source.split in (None, "train") for source in recipe.data.sources)
    if feeds_train and not splits["train"]:
        held_out = {name: len(examples) for name, examples in splits.items() if examples}
        found = ", ".join(f"{n} in {name}" for name, n in held_out.items()) or "no rows were kept"
        raise DataError(
            f"the train split is empty ({found})",
            hint="add a source for train, or lower data.split.validation and data.split.test",
        )
    return splits


def _divide(candidates: Sequence[Candidate], recipe: "Recipe") -> dict[str, str]:
    """Return the split of each unassigned example by id.

    Whole units are placed, label after label, each label's in the order of a seeded hash. What a
    label should have given so far is rounded over all labels up to it, so the totals match the
    ratios; no label gives more units than its own share rounded up, and each keeps one in train.
    """
    settings = recipe.data.split
    assigned = {source.split for source in recipe.data.sources}
    test = 0.0 if "test" in assigned else settings.test
    validation = 0.0 if "validation" in assigned else settings.validation
    ratios = {"test": test, "validation": validation}
    counts = dict.fromkeys(SPLITS, 0)
    place: dict[str, str] = {}
    seen = 0
    for units in _strata(candidates, recipe):
        seen += sum(map(len, units))
        wanted = {"test": round(seen * test)}
        wanted["validation"] = round(seen * (test + validation)) - wanted["test"]
        lacking = {name: wanted[name] - counts[name] for name in ratios}
        most = {name: ceil(len(units) * ratio) for name, ratio in ratios.items()}
        for unit, name in zip(units, _places(units, lacking, most), strict=True):
            counts[name] += len(unit)
            place |= {candidate.example.id: name for candidate in unit}
    return place


def _places(units: Sequence[Unit], lacking: dict[str, int], most: dict[str, int]) -> list[str]:
    """Return a split for each unit of one label: held out where that comes nearer to the count."""
    places: list[str] = []
    for unit in units:
        is_last = len(places) == len(units) - 1
        is_free = not is_last or "train" in places
        fits = [name for name in lacking if most[name] and 2 * lacking[name] >= len(unit)]
        name = fits[0] if fits and is_free else "train"
        if name != "train":
            lacking[name] -= len(unit)
            most[name] -= 1
        places.append(name)
    return places


def _strata(candidates: Sequence[Candidate], recipe: "Recipe") -> list[list[Unit]]:
    """Return the units of each label, labels in order, units in the order of a seeded hash."""
    units: dict[bytes, Unit] = defaultdict(list)
    for candidate in candidates:
        units[_unit(candidate.example)].append(candidate)
    strata: dict[str, list[tuple[bytes, Unit]]] = defaultdict(list)
    for key, unit in units.items():
        label = _label(unit) if recipe.data.split.stratify else ""
        rank = hashlib.blake2b(f"{recipe.seed}\0".encode() + key, digest_size=16).digest()
        strata[label].append((rank, unit))
    return [
        [unit for _, unit in sorted(strata[label], key=lambda ranked: ranked[0])]
        for label in sorted(strata)
    ]


def _unit(example: Example) -> bytes:
    """Return the name of what must not straddle splits: the group, else the prompt."""
    return f"group {example.group}".encode() if example.group else prompt_key(example)


def _label(unit: Unit) -> str:
    """Return the most frequent label of a unit; of equals the first in the alphabet."""
    counts = Counter(candidate.example.label or "" for candidate in unit)
    return min(counts, key=lambda label: (-counts[label], label))
