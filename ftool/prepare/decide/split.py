"""train/validation/test without leakage: whole units, stable under added rows, stratified."""

from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from ftool.errors import DataError
from ftool.example import SPLITS
from ftool.prepare.decide.near import Pairs
from ftool.prepare.decide.table import LOOSE, Table, count_reasons, in_reasons, mixed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ftool.prepare.refine.words import Counts, Hashes
    from ftool.recipe.schema import Recipe

    Units = NDArray[np.int32]
    """The number of each row's unit."""

TRAIN, VALIDATION, TEST = range(len(SPLITS))


def divide(table: Table, pairs: Pairs, recipe: "Recipe") -> "NDArray[np.int8]":
    """Return the split of every row that stays, an index of SPLITS.

    A unit is what must not straddle splits: rows of one group or prompt, and rows that are nearly
    the same. It stays where an earlier preparation put it. Where added rows join units of several
    splits, the rows on the train side go and those of test never move; the same where a row is of
    one unit with a row of a source that is assigned to validation or test.

    Args:
        table: of all rows; those that now turn out to leak are rejected.
        pairs: of similar rows.
        recipe: ratios, seed and assigned sources.
    """
    if (table.assigned == TRAIN).all():
        return table.assigned.copy()  # nothing is held out that could leak
    units = _units(table, pairs)
    in_train = np.where(table.assigned == TRAIN, TRAIN, LOOSE)
    own = np.where(table.assigned == LOOSE, table.earlier, in_train)
    fixed = _of_units(units, own, table.stays & (own != LOOSE))
    given = _of_units(units, table.assigned, table.stays & table.held_out)
    moves = (own != LOOSE) & (own < fixed[units])
    joins_given = (given[units] != LOOSE) & ~table.held_out
    leaks = np.flatnonzero(table.stays & (moves | joins_given))
    table.reject(leaks, "leaks_across_splits")
    places = table.assigned.copy()
    loose = np.flatnonzero(table.stays & (table.assigned == LOOSE))
    if len(loose):
        places[loose] = _place(table, units[loose], loose, recipe, fixed)
    return places


def _units(table: Table, pairs: Pairs) -> "Units":
    """Return the number of each row's unit."""
    keys = table.numbers("unit")[:, 0], table.numbers("prompt")
    links_of = [(pairs.first, pairs.second), *map(_neighbours, keys)]
    first = np.concatenate([first for first, _ in links_of])
    second = np.concatenate([second for _, second in links_of])
    if not len(first):
        return np.arange(len(table), dtype=np.int32)
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    size = (len(table), len(table))
    links = coo_matrix((np.ones(len(first), np.int8), (first, second)), shape=size)
    return np.asarray(connected_components(links, directed=False)[1])


def _neighbours(keys: "Hashes") -> "tuple[Counts, Counts]":
    """Return rows of equal keys, each with the next one."""
    order = np.argsort(keys, kind="stable")
    same = keys[order[1:]] == keys[order[:-1]]
    return order[:-1][same], order[1:][same]


def _of_units(
    units: "Units", splits: "NDArray[np.int8]", rows: "NDArray[np.bool_]"
) -> "NDArray[np.int8]":
    """Return the last of the splits that some rows give each unit; LOOSE without any."""
    found = np.full(int(units.max(initial=-1)) + 1, LOOSE, np.int8)
    np.maximum.at(found, units[rows], splits[rows])
    return found


def _place(
    table: Table,
    units: "Units",
    rows: "Counts",
    recipe: "Recipe",
    fixed: "NDArray[np.int8]",
) -> "NDArray[np.int8]":
    """Return the split of each loose row: its unit's earlier one, or what its label lacks."""
    count = len(fixed)
    sizes = np.bincount(units, minlength=count)
    first = np.zeros(count, np.int32)
    first[units[::-1]] = np.arange(len(units), dtype=np.int32)[::-1]  # the last one written stays
    ranks = np.full(count, 2**64 - 1, np.uint64)
    np.minimum.at(ranks, units, mixed(table.numbers("unit")[rows], recipe.seed))
    labels = np.zeros(count, np.int32)
    if recipe.data.split.stratify and table.labels:
        labels = _majority(units, table.label[rows], count)
    chosen = fixed.copy()
    present = np.flatnonzero(sizes)
    order = present[np.lexsort((first[present], ranks[present], labels[present]))]
    ratios = _ratios(table, recipe)
    counts = dict.fromkeys(ratios, 0)
    seen = 0
    cuts = np.flatnonzero(np.diff(labels[order], prepend=labels[order][:1] - 1))
    for begin, end in zip(cuts, [*cuts[1:], len(order)], strict=True):
        of_label = order[begin:end]
        seen += int(sizes[of_label].sum())
        wanted = {TEST: round(seen * ratios[TEST])}
        wanted[VALIDATION] = round(seen * sum(ratios.values())) - wanted[TEST]
        for split in ratios:
            counts[split] += int(sizes[of_label][chosen[of_label] == split].sum())
        lacking = {split: wanted[split] - counts[split] for split in ratios}
        for split, count in _fill(of_label, sizes, chosen, lacking, ratios).items():
            counts[split] += count
    chosen[chosen == LOOSE] = TRAIN
    return chosen[units]


def _fill(
    units: "Counts",
    sizes: "Counts",
    chosen: "NDArray[np.int8]",
    lacking: dict[int, int],
    ratios: dict[int, float],
) -> dict[int, int]:
    """Hold out units of one label where that comes nearer to what is lacking; return the rows.

    Totals match the ratios; no label gives more units than its own share rounded up, and each
    keeps one in train.
    """
    given = dict.fromkeys(ratios, 0)
    most = {
        split: ceil(len(units) * ratio) - int((chosen[units] == split).sum())
        for split, ratio in ratios.items()
    }
    free = units[chosen[units] == LOOSE]
    in_train = bool((chosen[units] == TRAIN).any())
    for place, unit in enumerate(free):
        size = int(sizes[unit])
        fits = [split for split in ratios if most[split] > 0 and 2 * lacking[split] >= size]
        if not any(lacking[split] > 0 for split in ratios):
            break
        is_last_chance = place == len(free) - 1 and not in_train
        if not fits or is_last_chance:
            in_train = True
            continue
        chosen[unit] = fits[0]
        lacking[fits[0]] -= size
        given[fits[0]] += size
        most[fits[0]] -= 1
    return given


def _ratios(table: Table, recipe: "Recipe") -> dict[int, float]:
    """Return the share of each held-out split; none where a source or document names its rows."""
    assigned = {*table.assigned_splits(), *(source.split for source in recipe.data.sources)}
    settings = recipe.data.split
    return {
        TEST: 0.0 if "test" in assigned else settings.test,
        VALIDATION: 0.0 if "validation" in assigned else settings.validation,
    }


def _majority(units: "Units", labels: "NDArray[np.int32]", count: int) -> "NDArray[np.int32]":
    """Return the most frequent label of each unit; of equals the first."""
    size = int(labels.max(initial=0)) + 2
    pairs, times = np.unique(units.astype(np.int64) * size + labels + 1, return_counts=True)
    of_unit, label = np.divmod(pairs, size)
    order = np.lexsort((label, -times, of_unit))
    found, first = np.unique(of_unit[order], return_index=True)
    majority = np.zeros(count, np.int32)
    majority[found] = label[order[first]] - 1
    return majority


def refuse_empty_train(table: Table, places: "NDArray[np.int8]", recipe: "Recipe") -> None:
    """Refuse data of which nothing is left to learn from.

    Raises:
        DataError: sources feed train, and none of their rows is in it.
    """
    feeds_train = any(source.split in (None, "train") for source in recipe.data.sources)
    kept = places[table.stays]
    if not feeds_train or (kept == TRAIN).any():
        return
    held_out = {name: int((kept == split).sum()) for split, name in enumerate(SPLITS)}
    found = ", ".join(f"{n} in {name}" for name, n in held_out.items() if n) or "no rows were kept"
    if {"leaks_into_test", "leaks_into_validation"} & set(table.reasons):
        found += "; the others stand in an assigned source too, which keeps its rows"
    elif "leaks_across_splits" in table.reasons:
        found += "; the others went for being of one group, prompt or likeness with these"
    rejected = count_reasons(table)
    if rejected:
        found += f"; {sum(rejected.values()):,} rows were rejected: {in_reasons(rejected)}"
    raise DataError(
        f"the train split is empty ({found})",
        hint="add a source for train, or lower data.split.validation and data.split.test",
    )
