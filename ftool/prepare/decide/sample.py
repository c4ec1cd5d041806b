"""The seeded sample of a source: `limit` and `per_label`."""

from collections.abc import Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

import numpy as np

from ftool.errors import DataError
from ftool.prepare.decide.table import Table, mixed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ftool.prepare.refine.words import Counts
    from ftool.recipe.blocks.data import Source

_SALT = 1_000_003


def quotas(counts: Mapping[int, int], limit: int) -> dict[int, int]:
    """Share a limit among labels in proportion to their counts, by the largest remainders.

    Every label gets at least one where the limit allows it.
    """
    total = sum(counts.values())
    if limit >= total:
        return dict(counts)
    least = 1 if limit >= len(counts) else 0
    shares = {name: max(least, limit * n // total) for name, n in sorted(counts.items())}

    def lacking(name: int) -> int:
        return limit * counts[name] - shares[name] * total

    def change(by: int, times: int) -> None:
        """Change the share that is furthest off by one, again and again."""
        may = [n for n in shares if (shares[n] < counts[n] if by > 0 else shares[n] > least)]
        waiting = [(-by * lacking(name), name) for name in may]
        heapify(waiting)
        for _ in range(times):
            _, name = heappop(waiting)
            shares[name] += by
            if shares[name] < counts[name] if by > 0 else shares[name] > least:
                heappush(waiting, (-by * lacking(name), name))

    rest = limit - sum(shares.values())
    change(1, rest)
    change(-1, -rest)
    return shares


def draw_samples(table: Table, sources: "Sequence[Source]", *, seed: int) -> None:
    """Apply `limit` and `per_label` of every source.

    The order of the draw is a hash of seed and content, so it depends on neither file names nor
    the order of rows.

    Raises:
        DataError: `per_label` where there are no labels.
    """
    for origin, source in enumerate(sources):
        if source.limit is None and source.per_label is None:
            continue
        rows = np.flatnonzero(table.stays & (table.origin == origin))
        kept = _drawn(rows, table, source, seed)
        table.reject(np.setdiff1d(rows, kept), "not_sampled")


def _drawn(rows: "Counts", table: Table, source: "Source", seed: int) -> "Counts":
    order = np.argsort(mixed(table.numbers("content")[rows], seed * _SALT + 1), kind="stable")
    drawn = rows[order]
    if source.per_label is not None:
        if (table.label[drawn] < 0).any():
            raise DataError(f"{source.path}: `per_label` needs a label on every row")
        drawn = drawn[_place_in_label(table.label[drawn]) < source.per_label]
    if source.limit is not None:
        names, counts = np.unique(table.label[drawn], return_counts=True)
        shares = quotas(dict(zip(names.tolist(), counts.tolist(), strict=True)), source.limit)
        most = np.array([shares[name] for name in names.tolist()], np.int64)
        places = np.searchsorted(names, table.label[drawn])
        drawn = drawn[_place_in_label(table.label[drawn]) < most[places]]
    return drawn


def _place_in_label(labels: "NDArray[np.int32]") -> "Counts":
    """Return how many rows of the same label stand before each row."""
    order = np.argsort(labels, kind="stable")
    ordered = labels[order]
    is_first = np.ones(len(ordered), bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    begins = np.maximum.accumulate(np.where(is_first, np.arange(len(ordered)), 0))
    places = np.empty(len(ordered), np.int64)
    places[order] = np.arange(len(ordered)) - begins
    return places
