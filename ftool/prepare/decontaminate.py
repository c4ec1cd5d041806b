"""Runs of words that train shares with what the model is tested on."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ftool.prepare.words import n_grams

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ftool.prepare.words import Counts, Hashes

    Block = tuple[Counts, NDArray[np.uint32], Counts]
    """Row numbers, the words of these rows one after the other, and how many each has."""

RUN_WORDS = 13
"""Words in a row that are no coincidence; a shorter text counts as a whole.

Source: Brown et al. (2020), Language Models are Few-Shot Learners, appendix C.
"""
COMMON_ROWS = 3
"""A run in more held-out rows than this is a common phrase, such as a greeting or a footer."""
_NOTHING = np.zeros(0, np.uint64)
MOST_BITS = 31
"""Size of the set of held-out runs at most, as a power of two: 256 MiB."""


OWN_SHARE = 0.5
"""How much of a row that was held out by chance must stand in a train row for that to go.

Rows of one origin share canned sentences, which is no leak; most of a row is one.
"""


@dataclass(frozen=True, slots=True)
class Shared:
    """Rows that share runs of words with held-out ones: with which, and how many different ones."""

    rows: "Counts"
    twins: "Counts"
    runs: "Counts"


def shared_runs(
    held_out: "Callable[[], Iterable[Block]]",
    candidates: "Callable[[], Iterable[Block]]",
    *,
    share: float = 0.0,
) -> Shared:
    """Return the candidates that share runs of words with a held-out row, and with which.

    Only runs that both sides have are held in memory; blocks are read more than once for that.

    Args:
        held_out: yields the held-out rows, anew on every call.
        candidates: yields the rows that may go, anew on every call.
        share: how much of the runs of the held-out row it takes, from 0 (one run) to 1 (all).
    """
    total = sum(int(lengths.sum()) for _, _, lengths in held_out())
    if not total:
        return Shared(*(np.zeros(0, np.int64) for _ in range(3)))
    common = _common(next(iter(held_out())))
    seen = _Seen(total)
    for hashes, _ in _runs(held_out(), common):
        seen.add(hashes)
    hits, rows = _collect(_runs(candidates(), common), seen)
    wanted = _Seen(len(hits))
    wanted.add(hits)
    known, owners = _rare(*_collect(_runs(held_out(), common), wanted))
    pairs, runs = np.unique(_joined(hits, rows, known, owners), axis=0, return_counts=True)
    if share and len(pairs):
        enough = runs >= share * _runs_of(held_out(), pairs[:, 1])
        pairs, runs = pairs[enough], runs[enough]
    order = np.lexsort((-runs, pairs[:, 0]))
    unique, first = np.unique(pairs[order, 0], return_index=True)
    best = order[first]
    return Shared(unique, pairs[best, 1], runs[best])


class _Seen:
    """A set of hashes in a few bits each: what is in it is found, and rarely something else.

    Source:
        Bloom (1970), Space/time trade-offs in hash coding with allowable errors.
    """

    def __init__(self, most: int) -> None:
        size = min(MOST_BITS, max(16, (16 * max(most, 1) - 1).bit_length()))
        self._bits = np.zeros(1 << (size - 3), np.uint8)
        # The hashes are well mixed, so their upper and middle bits are two hash functions.
        self._shifts = [np.uint64(64 - size), np.uint64(32 - size // 2)]
        self._mask = np.uint64((1 << size) - 1)

    def _places(self, hashes: "Hashes") -> "Iterator[Hashes]":
        for shift in self._shifts:
            yield (hashes >> shift) & self._mask

    def add(self, hashes: "Hashes") -> None:
        """Take hashes into the set."""
        for places in self._places(hashes):
            bits = np.left_shift(1, places & np.uint64(7)).astype(np.uint8)
            np.bitwise_or.at(self._bits, places >> np.uint64(3), bits)

    def has(self, hashes: "Hashes") -> "NDArray[np.bool_]":
        """Tell which hashes may be in the set; those that are, always."""
        found = np.ones(len(hashes), bool)
        for places in self._places(hashes):
            rest = np.flatnonzero(found)
            own = places[rest]
            found[rest] = (self._bits[own >> np.uint64(3)] >> (own & np.uint64(7)) & 1).astype(bool)
        return found


def _collect(runs: "Iterable[tuple[Hashes, Counts]]", wanted: _Seen) -> "tuple[Hashes, Counts]":
    """Return the runs that may be in a set, each once for every row that it stands in."""
    hashes, rows = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for found, of_rows in runs:
        kept = wanted.has(found)
        found, of_rows = found[kept], of_rows[kept]
        once = _once(found, of_rows)
        hashes.append(found[once])
        rows.append(of_rows[once])
    return np.concatenate(hashes), np.concatenate(rows)


def _joined(hits: "Hashes", rows: "Counts", known: "Hashes", owners: "Counts") -> "Counts":
    """Return row and owner of every run that both sides have, [pairs, 2]."""
    first = np.searchsorted(known, hits)
    found = [np.zeros((0, 2), np.int64)]
    for step in range(COMMON_ROWS if len(known) else 0):
        places = np.minimum(first + step, len(known) - 1)
        same = (known[places] == hits) & (first + step < len(known))
        found.append(np.stack([rows[same], owners[places[same]]], axis=1))
    return np.concatenate(found)


def _runs_of(held_out: "Iterable[Block]", twins: "Counts") -> "Counts":
    """Return how many different runs each of the held-out rows has."""
    counts = [
        np.unique(rows[_once(found, rows)], return_counts=True)
        for found, rows in _runs(held_out, _NOTHING)
    ]
    rows = np.concatenate([rows for rows, _ in counts])
    runs = np.concatenate([runs for _, runs in counts])
    order = np.argsort(rows, kind="stable")
    return runs[order[np.searchsorted(rows[order], twins)]]


def _common(block: "Block") -> "Hashes":
    """Return common phrases, sorted: those that are common among some of the held-out rows already.

    Left out from the beginning, since almost every row may have them.
    """
    hashes, rows = next(_runs([block], _NOTHING))
    known, counts = np.unique(hashes[_once(hashes, rows)], return_counts=True)
    return known[counts > COMMON_ROWS]


def _runs(blocks: "Iterable[Block]", ignored: "Hashes") -> "Iterator[tuple[Hashes, Counts]]":
    """Yield the runs of blocks with the rows that they stand in, but for some (sorted)."""
    for rows, words, lengths in blocks:
        hashes, counts = n_grams(words, lengths, RUN_WORDS)
        of_rows = np.repeat(rows, counts)
        if len(ignored):
            places = np.minimum(np.searchsorted(ignored, hashes), len(ignored) - 1)
            other = ignored[places] != hashes
            hashes, of_rows = hashes[other], of_rows[other]
        yield hashes, of_rows


def _rare(hashes: "Hashes", owners: "Counts") -> "tuple[Hashes, Counts]":
    """Return the runs, sorted, each once for every row it stands in; no common phrases."""
    once = _once(hashes, owners)
    hashes, owners = hashes[once], owners[once]
    _, of_run, rows = np.unique(hashes, return_inverse=True, return_counts=True)
    rare = rows[of_run] <= COMMON_ROWS
    return hashes[rare], owners[rare]


def _once(hashes: "Hashes", owners: "Counts") -> "Counts":
    """Return the places of the runs, sorted, without those that a row has again."""
    order = np.lexsort((owners, hashes))
    hashes, owners = hashes[order], owners[order]
    again = np.zeros(len(hashes), bool)
    again[1:] = (hashes[1:] == hashes[:-1]) & (owners[1:] == owners[:-1])
    return order[~again]
