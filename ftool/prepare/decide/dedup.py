"""Exact and near duplicates: which examples say the same, and which of them stays."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ftool.artifacts import OnProgress
from ftool.example import SPLITS
from ftool.prepare.decide.likeness import RELATED, Likeness, Rows, judge
from ftool.prepare.decide.near import Pairs, repeated, similar_pairs
from ftool.prepare.decide.table import Table
from ftool.prepare.refine.minhash import shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ftool.prepare.refine.words import Hashes


def precedence(table: Table) -> "NDArray[np.int32]":
    """Return the rank of every row: of two that say the same, the lower one stays.

    Rows assigned to test come first, then those assigned to validation, those that an earlier
    preparation put into test, validation or train, and new ones; each in the order of the sources.
    """
    train, validation, test = (SPLITS.index(name) for name in ("train", "validation", "test"))
    classes = np.full(len(table), 5, np.int8)
    for rank, split in ((4, train), (3, validation), (2, test)):
        classes[table.earlier == split] = rank
    for rank, split in ((1, validation), (0, test)):
        classes[table.assigned == split] = rank
    ranks = np.empty(len(table), np.int32)
    ranks[np.argsort(classes, kind="stable")] = np.arange(len(table), dtype=np.int32)
    return ranks


def drop_exact(table: Table, *, wanted: bool) -> None:
    """Reject repeats: of rows assigned to validation and test always, of others where wanted.

    A repeat with another label is told apart, for one of the two labels is wrong.
    """
    ranks = precedence(table)
    keys = table.numbers("content")
    rows = repeated(keys[:, 0], np.flatnonzero(table.stays))
    order = rows[np.lexsort((ranks[rows], keys[rows, 1], keys[rows, 0]))]
    keys = keys[order]
    is_first = np.ones(len(order), bool)
    is_first[1:] = (keys[1:] != keys[:-1]).any(axis=1)
    heads = order[np.maximum.accumulate(np.where(is_first, np.arange(len(order)), 0))]
    repeats = ~is_first & ~table.held_out[order]
    for split in ("test", "validation"):
        leaks = repeats & (table.assigned[heads] == SPLITS.index(split))
        table.reject(order[leaks], f"leaks_into_{split}", twin=heads[leaks], value=1.0)
    if wanted:
        among_train = repeats & ~table.held_out[heads]
        same = table.label[order] == table.label[heads]
        for name, rows in (("exact_duplicate", same), ("conflicting_label", ~same)):
            found = among_train & rows
            table.reject(order[found], name, twin=heads[found], value=1.0)
        _drop_conflicts(table)


def _drop_conflicts(table: Table) -> None:
    """Reject labelled rows with free answers whose prompt another row has with another label."""
    ranks = precedence(table)
    keys = table.numbers("prompt")
    rows = repeated(keys, np.flatnonzero(table.stays & (table.label >= 0)))
    order = rows[np.lexsort((ranks[rows], keys[rows]))]
    is_first = np.ones(len(order), bool)
    is_first[1:] = keys[order[1:]] != keys[order[:-1]]
    heads = order[np.maximum.accumulate(np.where(is_first, np.arange(len(order)), 0))]
    differs = table.label[order] != table.label[heads]
    found = differs & ~table.held_out[order] & ~table.held_out[heads]
    table.reject(order[found], "conflicting_label", twin=heads[found], value=1.0)


def find_near(table: Table, threshold: float, *, workers: int, on_progress: OnProgress) -> Likeness:
    """Return the pairs of rows that are nearly the same; `first` has the precedence.

    Rows that are less alike matter only where they could come into different splits.
    """

    def told() -> "Iterator[Hashes]":
        bands = shape(threshold)[0]
        for number, keys in enumerate(table.band_keys(table.stays), start=1):
            yield keys
            on_progress("comparing", number, bands)

    stays = np.flatnonzero(table.stays)
    _, firsts = np.unique(table.numbers("content")[stays, 0], return_index=True)
    rows = Rows(
        different=stays[np.sort(firsts)],
        lengths=table.numbers("lengths"),
        answers=table.numbers("answers"),
        same=table.numbers("answer"),
        labels=table.label,
        take_words=table.take_words,
    )
    pairs = similar_pairs(
        told(),
        precedence(table),
        rows.lengths,
        table.take_words,
        threshold,
        related=1.0 if (table.assigned == SPLITS.index("train")).all() else RELATED,
        workers=workers,
    )
    return judge(pairs, rows, threshold, workers=workers)


def drop_near(table: Table, pairs: Pairs, *, exact: bool) -> None:
    """Reject every row that repeats one that stays but for a few words.

    Similarity is not transitive: a row goes only where it is itself like a row that stays, never
    for being like one that goes. Assigned rows always stay.

    Args:
        table: where it is decided.
        pairs: of rows that repeat one another.
        exact: whether exact repeats are unwanted too; else only rows that differ are looked at.
    """
    ranks = precedence(table)
    gone = ~table.stays
    twins = np.full(len(table), -1)
    values = np.zeros(len(table), np.float32)
    order = np.lexsort((ranks[pairs.first], ranks[pairs.second]))
    keys = table.numbers("content")
    alike = (keys[pairs.first] == keys[pairs.second]).all(axis=1)
    usable = ~table.held_out[pairs.second] & (exact | ~alike)
    for pair in order[usable[order]]:
        first, second = pairs.first[pair], pairs.second[pair]
        if not gone[first] and not gone[second]:
            gone[second] = True
            twins[second] = first
            values[second] = pairs.similarity[pair]
    rows = np.flatnonzero(twins >= 0)
    of_rows = twins[rows]
    for split, name in (
        ("test", "leaks_into_test"),
        ("validation", "leaks_into_validation"),
        (None, "near_duplicate"),
    ):
        is_of = (
            table.assigned[of_rows] == SPLITS.index(split) if split else ~table.held_out[of_rows]
        )
        table.reject(rows[is_of], name, twin=of_rows[is_of], value=values[rows[is_of]])
