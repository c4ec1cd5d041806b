"""Runs of words that train shares with what the model is tested on."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    Runs = tuple[Hashes, Counts, Counts, Counts]
    """Runs of a block, the places of their rows in it; its rows, and how many runs each has."""

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
MOST_BITS = 27
"""Entries of a filter at most, as a power of two; each takes a byte."""
_ROW_BITS = 14
ROWS_AT_ONCE = 1 << _ROW_BITS


@dataclass(frozen=True, slots=True)
class Shared:
    """Rows that share runs of words with held-out ones: with which, and how many different ones."""

    rows: "Counts"
    twins: "Counts"
    runs: "Counts"


def shared_runs(
    held_out: "Blocks", candidates: "Blocks", *, total: int, share: float = 0.0, workers: int = 1
) -> Shared:
    """Return the candidates that share runs of words with a held-out row, and with which.

    Only rare runs that both sides have are held in memory; everything is read twice for that.

    Args:
        held_out: the held-out rows.
        candidates: the rows that may go.
        total: words of the held-out rows.
        share: how much of the runs of the held-out row it takes, from 0 (one run) to 1 (all).
        workers: threads.
    """
    useful, wanted = _useful_runs(held_out, candidates, total, workers)
    known = _known(useful)
    found = mapped(lambda block: known.shared(block, wanted, share), candidates(), workers)
    nothing = [np.zeros(0, np.int64)] * 3
    return Shared(*(np.concatenate(parts) for parts in zip(nothing, *found, strict=True)))


def _useful_runs(
    held_out: "Blocks", candidates: "Blocks", total: int, workers: int
) -> "tuple[list[Runs], _Flags]":
    """Return the rare runs that some candidate may share, and the set of what candidates have."""
    size = 1 << min(MOST_BITS, max(16, (16 * total).bit_length()))
    counts, wanted = _RowCounts(size), _Flags(size)
    for entries in mapped(counts.entries, held_out(), workers):
        counts.add(entries)
    for hashes in mapped(lambda block: _rare(block, counts), candidates(), workers):
        wanted.add(hashes)
    return list(mapped(lambda block: _useful(block, counts, wanted), held_out(), workers)), wanted


class _RowCounts:
    """In how many rows a run stands: more than COMMON_ROWS count as one more, never too few.

    The lower of two counters counts. A run is taken for a common phrase by mistake where both are
    shared with three others: once in 10^7 with 8 entries for each run, once in 60 where 168
    million runs fill the largest size.

    Source:
        Cormode and Muthukrishnan (2005), An improved data stream summary: the count-min sketch.
    """

    def __init__(self, size: int) -> None:
        self._counts = np.zeros((2, size), np.uint8)

    def _places(self, hashes: "Hashes") -> "tuple[Hashes, Hashes]":
        size = self._counts.shape[1]
        return _entry(hashes, size), _entry(hashes, size, second=True)

    def entries(self, block: "Block") -> "list[tuple[Hashes, Counts]]":
        """Return the counters of a block's runs, and in how many of its rows each stands."""
        places = self._places(_runs(block)[0])
        return [np.unique(own, return_counts=True) for own in places]

    def add(self, entries: "list[tuple[Hashes, Counts]]") -> None:
        """Count the runs of a block."""
        for counts, (places, times) in zip(self._counts, entries, strict=True):
            counts[places] = np.minimum(counts[places] + times, COMMON_ROWS + 1)

    def are_rare(self, hashes: "Hashes") -> "Flags":
        """Tell which runs stand in a held-out row, as far as the counters tell, and in few."""
        first, second = self._places(hashes)
        times = np.minimum(self._counts[0][first], self._counts[1][second])
        rare: Flags = (times > 0) & (times <= COMMON_ROWS)
        return rare


class _Flags:
    """A set of runs: one that is in it is found, and sometimes another."""

    def __init__(self, size: int) -> None:
        self._flags = np.zeros(size, bool)

    def add(self, hashes: "Hashes") -> None:
        """Take runs into the set."""
        self._flags[_entry(hashes, len(self._flags))] = True

    def has(self, hashes: "Hashes") -> "Flags":
        """Tell which runs may be in the set."""
        found: Flags = self._flags[_entry(hashes, len(self._flags))]
        return found


def _entry(hashes: "Hashes", size: int, *, second: bool = False) -> "Hashes":
    """Return the entries of runs in a filter; hashes are well mixed, so any bits of them do."""
    bits = np.uint64(size.bit_length() - 1)
    return hashes & np.uint64(size - 1) if second else hashes >> (np.uint64(64) - bits)


@dataclass(frozen=True, slots=True)
class _Known:
    """Runs of held-out rows, sorted, and the place of each one's row among the held-out rows.

    `runs` says how many different runs each of these rows has.
    """

    hashes: "Hashes"
    owners: "NDArray[np.int32]"
    rows: "Counts"
    runs: "Counts"

    def shared(self, block: "Block", wanted: _Flags, share: float) -> "tuple[Counts, ...]":
        """Return the rows of a block that share enough, with which held-out row most, and runs."""
        rows, twins = self._joined(*_runs(block, only=wanted.has))
        pairs, runs = np.unique(rows << 32 | twins, return_counts=True)
        enough = runs >= share * self.runs[pairs & 0xFFFFFFFF]
        pairs, runs = pairs[enough], runs[enough]
        rows, twins = pairs >> 32, self.rows[pairs & 0xFFFFFFFF]
        order = np.lexsort((twins, -runs, rows))
        unique, first = np.unique(rows[order], return_index=True)
        best = order[first]
        return _distinct_rows(block)[unique], twins[best], runs[best]

    def _joined(self, hashes: "Hashes", rows: "Counts") -> "tuple[Counts, Counts]":
        """Return row and held-out row of every run that both sides have."""
        begin = np.searchsorted(self.hashes, hashes)
        found = [(rows[:0], rows[:0])]
        for step in range(COMMON_ROWS if len(self.hashes) else 0):
            places = np.minimum(begin + step, len(self.hashes) - 1)
            same = (self.hashes[places] == hashes) & (begin + step < len(self.hashes))
            found.append((rows[same], self.owners[places[same]].astype(np.int64)))
        first, second = zip(*found, strict=True)
        return np.concatenate(first), np.concatenate(second)


def _known(found: "list[Runs]") -> _Known:
    """Put the useful runs of all blocks together, which are removed from the list on the way."""
    total = sum(len(of_block[0]) for of_block in found)
    hashes, owners = np.empty(total, np.uint64), np.empty(total, np.int32)
    rows, runs = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    start = count = 0
    while found:
        of_block = found.pop(0)
        part = slice(start, start := start + len(of_block[0]))
        hashes[part], owners[part] = of_block[0], of_block[1] + count
        rows.append(of_block[2])
        runs.append(of_block[3])
        count += len(of_block[2])
    order = np.argsort(hashes)
    return _Known(hashes[order], owners[order], np.concatenate(rows), np.concatenate(runs))


def _useful(block: "Block", counts: _RowCounts, wanted: _Flags) -> "Runs":
    """Return the runs of a block that candidates may share."""
    hashes, owners = _runs(block)
    rows = _distinct_rows(block)
    useful = np.flatnonzero(wanted.has(hashes))
    useful = useful[counts.are_rare(hashes[useful])]
    return hashes[useful], owners[useful], rows, np.bincount(owners, minlength=len(rows))


def _rare(block: "Block", counts: _RowCounts) -> "Hashes":
    hashes, _ = n_grams(*block[1:], RUN_WORDS)
    return hashes[counts.are_rare(hashes)]


def _runs(
    block: "Block", only: "Callable[[Hashes], Flags] | None" = None
) -> "tuple[Hashes, Counts]":
    """Return the different runs of every row of a block, each with the place of the row in it."""
    rows, words, lengths = block
    hashes, counts = n_grams(words, lengths, RUN_WORDS)
    owners = np.repeat(np.cumsum(np.diff(rows, prepend=rows[:1]) != 0), counts)
    if only is not None:
        chosen = only(hashes)
        hashes, owners = hashes[chosen], owners[chosen]
    first = _are_first(hashes, owners)
    return hashes[first], owners[first]


def _distinct_rows(block: "Block") -> "Counts":
    rows = block[0]
    return rows[np.flatnonzero(np.diff(rows, prepend=rows[:1] - 1))]


def _are_first(hashes: "Hashes", owners: "Counts") -> "Flags":
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
