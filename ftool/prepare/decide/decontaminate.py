"""Runs of words that train shares with what the model is tested on."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ftool.prepare.decide.threads import mapped
from ftool.prepare.refine.words import n_grams

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ftool.prepare.refine.words import Counts, Hashes

    Flags = NDArray[np.bool_]
    Block = tuple[Counts, NDArray[np.uint32], Counts]
    """Row numbers, the words of these rows one after the other, and how many each has; equal
    numbers stand together, and there are at most ROWS_AT_ONCE different ones."""
    Blocks = Callable[[], Iterable[Block]]
    """Yields blocks, anew on every call."""
    Runs = tuple[Hashes, NDArray[np.int32]]
    """Different runs of every row of a block, with the places of their rows in it."""
    Pairs = tuple[Counts, NDArray[np.int32]]
    """`row << 32 | place of a held-out row` for rows that share runs, and how many these are."""

RUN_WORDS = 13
"""Words in a row that are no coincidence; a shorter text counts as a whole.

Source: Brown et al. (2020), Language Models are Few-Shot Learners, appendix C.
"""
COMMON_ROWS = 3
"""A run in more held-out rows than this is a common phrase, such as a greeting or a footer."""
OWN_SHARE = 0.5
"""How much of a row that was held out by chance must stand in a train row for that to go.

Rows of one origin share canned sentences, which is no leak; most of a row is one.
"""
MOST_RUNS = 1 << 24
"""Runs of held-out rows in memory at once; of more, everything is read once for each such part."""
_FLAGS_A_RUN = 8
_ROW_BITS = 13
ROWS_AT_ONCE = 1 << _ROW_BITS


@dataclass(frozen=True, slots=True)
class Shared:
    """Rows that share runs of words with held-out ones: with which, and how many different ones."""

    rows: "Counts"
    twins: "Counts"
    runs: "NDArray[np.int32]"


def shared_runs(
    held_out: "Blocks", candidates: "Blocks", *, total: int, share: float = 0.0, workers: int = 1
) -> Shared:
    """Return the candidates that share runs of words with a held-out row, and with which.

    Args:
        held_out: the held-out rows.
        candidates: the rows that may go.
        total: words of the held-out rows.
        share: how much of the runs of the held-out row it takes, from 0 (one run) to 1 (all).
        workers: threads.
    """
    rows = np.concatenate([np.zeros(0, np.int64), *map(_distinct_rows, held_out())])
    runs = np.zeros(len(rows), np.int64)
    pairs, times = np.zeros(0, np.int64), np.zeros(0, np.int32)
    for part in (_Part(number, readings(total)) for number in range(readings(total))):
        known = _read_known(held_out(), part, workers)
        runs += known.runs
        joined = mapped(partial(known.joined, part=part), candidates(), workers)
        found = [(pairs, times), *joined]
        del known, joined  # makes room for the sort
        pairs, times = _summed(found)
    return _chosen(pairs, times, rows, runs, share)


class _Part(NamedTuple):
    """The runs with these remainders of their hash: a part of all."""

    number: int
    of: int

    def has(self, hashes: "Hashes") -> "Flags":
        """Tell which runs are of this part."""
        found: Flags = hashes % np.uint64(self.of) == self.number
        return found


def readings(total: int) -> int:
    """Return how often everything is read where the held-out rows have so many words."""
    return max(1, -(-total // MOST_RUNS))


@dataclass(frozen=True, slots=True)
class _Known:
    """The rare runs of held-out rows, sorted, and the place of each one's row among these rows.

    `flags` says of many other runs, by the upper bits of their hash, that they are not among them;
    `runs` how many different runs each row has, rare or not.
    """

    hashes: "Hashes"
    owners: "NDArray[np.int32]"
    flags: "Flags"
    runs: "Counts"

    def joined(self, block: "Block", part: _Part) -> "Pairs":
        """Return the pairs of a row and a held-out one that share runs, and how many."""
        hashes, owners = _runs(block, part, self.flags)
        begin = np.searchsorted(self.hashes, hashes)
        found = [np.zeros(0, np.int64)]
        for step in range(COMMON_ROWS if len(self.hashes) else 0):
            places = np.minimum(begin + step, len(self.hashes) - 1)
            same = (self.hashes[places] == hashes) & (begin + step < len(self.hashes))
            rows = _distinct_rows(block)[owners[same]]
            found.append(rows << 32 | self.owners[places[same]])
        pairs, times = np.unique(np.concatenate(found), return_counts=True)
        return pairs, times.astype(np.int32)


def _read_known(held_out: "Iterable[Block]", part: _Part, workers: int) -> _Known:
    """Read the runs of held-out rows that are of one part."""
    blocks: list[Runs] = []
    counts = [np.zeros(0, np.int64)]
    first = 0
    for rows, (hashes, places) in mapped(
        lambda block: (len(_distinct_rows(block)), _runs(block, part)), held_out, workers
    ):
        counts.append(np.bincount(places, minlength=rows))
        blocks.append((hashes, places + np.int32(first)))
        first += rows
    hashes, owners = _rare(blocks)
    bits = max(16, (_FLAGS_A_RUN * len(hashes)).bit_length())
    flags = np.zeros(1 << bits, bool)
    flags[_upper_bits(hashes, len(flags))] = True
    return _Known(hashes, owners, flags, np.concatenate(counts))


def _rare(blocks: "list[Runs]") -> "Runs":
    """Return the runs of all blocks, sorted, without those in more than COMMON_ROWS rows.

    The blocks are removed from the list on the way, and nothing is there longer than needed.
    """
    total = sum(len(hashes) for hashes, _ in blocks)
    every, owners = np.empty(total, np.uint64), np.empty(total, np.int32)
    start = 0
    while blocks:
        hashes, of_block = blocks.pop()
        end = start + len(hashes)
        every[start:end], owners[start:end] = hashes, of_block
        start = end
    order = np.argsort(every)
    every, owners = every[order], owners[order]
    del order
    rare = np.ones(total, bool)
    common = every[:-COMMON_ROWS] == every[COMMON_ROWS:]  # and all between are equal too
    for step in range(COMMON_ROWS + 1):
        rare[step : step + len(common)] &= ~common
    return every[rare], owners[rare]


def _upper_bits(hashes: "Hashes", size: int) -> "Hashes":
    return hashes >> np.uint64(64 - size.bit_length() + 1)


def _summed(found: "list[Pairs]") -> "Pairs":
    """Return the different pairs, sorted, and the sum of the times of each."""
    pairs, times = (np.concatenate(parts) for parts in zip(*found, strict=True))
    found.clear()
    order = np.argsort(pairs, kind="stable")
    pairs, times = pairs[order], times[order]
    begins = np.flatnonzero(np.diff(pairs, prepend=pairs[:1] - 1))
    return pairs[begins], np.add.reduceat(times, begins) if len(begins) else times


def _chosen(
    pairs: "Counts", times: "NDArray[np.int32]", held_out: "Counts", runs: "Counts", share: float
) -> Shared:
    """Return for every row the held-out one that it shares most with, where that is enough."""
    owners = pairs & 0xFFFFFFFF
    enough = times >= share * runs[owners]
    rows, twins, times = (pairs >> 32)[enough], held_out[owners[enough]], times[enough]
    order = np.lexsort((twins, -times, rows))
    unique, first = np.unique(rows[order], return_index=True)
    best = order[first]
    return Shared(unique, twins[best], times[best])


def _runs(block: "Block", part: _Part, flags: "Flags | None" = None) -> "Runs":
    """Return the different runs of every row of a block that are of a part, and flagged."""
    rows, words, lengths = block
    hashes, counts = n_grams(words, lengths, RUN_WORDS)
    places = np.cumsum(np.diff(rows, prepend=rows[:1]) != 0, dtype=np.int32)
    owners = np.repeat(places, counts)
    chosen = part.has(hashes) if part.of > 1 else np.ones(len(hashes), bool)
    if flags is not None:
        chosen &= flags[_upper_bits(hashes, len(flags))]
    hashes, owners = hashes[chosen], owners[chosen]
    first = _are_first(hashes, owners)
    return hashes[first], owners[first]


def _distinct_rows(block: "Block") -> "Counts":
    rows = block[0]
    return rows[np.flatnonzero(np.diff(rows, prepend=rows[:1] - 1))]


def _are_first(hashes: "Hashes", owners: "NDArray[np.int32]") -> "Flags":
    """Tell which runs their row does not have already.

    One sort finds the rows that may repeat a run, which are few; only these are looked at.
    """
    packed = np.sort((hashes << np.uint64(_ROW_BITS)) | owners.astype(np.uint64))
    again = packed[1:][packed[1:] == packed[:-1]] & np.uint64(ROWS_AT_ONCE - 1)
    doubtful = np.zeros(ROWS_AT_ONCE, bool)
    doubtful[again] = True
    places = np.flatnonzero(doubtful[owners])
    order = places[np.lexsort((owners[places], hashes[places]))]
    same = (hashes[order[1:]] == hashes[order[:-1]]) & (owners[order[1:]] == owners[order[:-1]])
    first = np.ones(len(hashes), bool)
    first[order[1:][same]] = False
    return first
