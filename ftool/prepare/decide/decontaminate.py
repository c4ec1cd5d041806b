"""Runs of words that train shares with what the model is tested on."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ftool.prepare.decide.sieve import Sieve
from ftool.prepare.decide.threads import mapped
from ftool.prepare.refine.words import n_grams

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ftool.prepare.refine.words import Counts, Hashes

    Flags = NDArray[np.bool_]
    Block = tuple[Counts, NDArray[np.uint32], Counts]
    """Row numbers, the words of these rows one after the other, and how many each has; equal
    numbers stand together, and there are at most ROWS_AT_ONCE different ones."""
    Blocks = Callable[[int], Iterable[Block]]
    """Yields blocks, anew on every call; told how often it is called."""
    Bits = NDArray[np.uint8]
    """A flag for every run of the words of a block, eight in a byte."""

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
MOST_RUNS = 3 << 22
"""Runs of held-out rows in memory at once; of more, the candidates are read once for each part."""
_ROW_BITS = 13
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

    Args:
        held_out: the held-out rows.
        candidates: the rows that may go.
        total: words of the held-out rows.
        share: how much of the runs of the held-out row it takes, from 0 (one run) to 1 (all).
        workers: threads.
    """
    hash_parts = max(1, -(-total // MOST_RUNS))
    read_again = partial(held_out, hash_parts + 1)
    rare = _rare_runs(read_again, hash_parts, workers)
    parts = _divided([block.count for block in rare])
    blocks = zip(read_again(), rare, strict=True)
    found: list[Shared] = []
    for part in parts:
        known = _Known.of(islice(blocks, part))
        twins = partial(known.twins, share=share)
        found += mapped(twins, candidates(len(parts)), workers)
    return _best(found)


@dataclass(frozen=True, slots=True)
class _Rare:
    """Which runs of a block are the first of their row and not a common phrase.

    `different` says how many different runs each row has, rare or not.
    """

    bits: "Bits"
    count: int
    different: "Counts"

    @classmethod
    def of(cls, runs: "_Runs", is_rare: "Flags") -> "_Rare":
        """Pack which of all runs of a block are rare ones."""
        flags = np.zeros(runs.total, bool)
        flags[runs.places[is_rare]] = True
        different = np.bincount(runs.owners, minlength=runs.rows)
        return cls(np.packbits(flags), int(np.count_nonzero(is_rare)), different)

    def joined(self, other: "_Rare") -> "_Rare":
        """Return what two parts of the hashes say of the same block."""
        different = self.different + other.different
        return _Rare(self.bits | other.bits, self.count + other.count, different)


def _rare_runs(held_out: "Callable[[], Iterable[Block]]", parts: int, workers: int) -> list[_Rare]:
    """Read the held-out rows once for each part of the hashes, and find the rare runs."""
    found: list[_Rare] = []
    for number in range(parts):
        read = partial(_first_runs, wanted=partial(_is_of, number, parts))
        blocks: list[_Runs] = []
        hashes: list[Hashes] = []
        for runs in mapped(read, held_out(), workers):
            blocks.append(runs._replace(hashes=runs.hashes[:0]))
            hashes.append(runs.hashes)
        ends = np.cumsum([len(block.places) for block in blocks])
        is_rare = np.split(_in_few_rows(_drained(hashes, np.uint64)), ends[:-1])
        of_blocks = list(map(_Rare.of, blocks, is_rare))
        found = list(map(_Rare.joined, found, of_blocks)) if found else of_blocks
    return found


def _is_of(number: int, parts: int, hashes: "Hashes") -> "Flags":
    found: Flags = hashes % np.uint64(parts) == number
    return found


def _in_few_rows(hashes: "Hashes") -> "Flags":
    """Tell which of the hashes are there at most COMMON_ROWS times."""
    order = np.argsort(hashes)
    ranked = hashes[order]
    common = ranked[:-COMMON_ROWS] == ranked[COMMON_ROWS:]  # and all between are equal too
    del ranked
    rare = np.ones(len(hashes), bool)
    for step in range(COMMON_ROWS + 1):
        rare[order[step : step + len(common)][common]] = False
    return rare


def _divided(counts: Sequence[int]) -> list[int]:
    """Return how many blocks in a row make each part of at most MOST_RUNS runs, or one block."""
    parts: list[int] = []
    runs = 0
    for count in counts:
        if not parts or runs + count > MOST_RUNS:
            parts.append(0)
            runs = 0
        parts[-1] += 1
        runs += count
    return parts


@dataclass(frozen=True, slots=True)
class _Known:
    """The rare runs of held-out rows, sorted, and the place of each one's row among these rows.

    `sieve` says of many other runs that they are not among them; `different` how many different
    runs each row has.
    """

    hashes: "Hashes"
    owners: "NDArray[np.int32]"
    sieve: Sieve
    rows: "Counts"
    different: "Counts"

    @classmethod
    def of(cls, blocks: "Iterable[tuple[Block, _Rare]]") -> "_Known":
        """Sort the rare runs of blocks."""
        hashes: list[Hashes] = []
        owners: list[NDArray[np.int32]] = []
        rows, different = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        first = 0
        for block, rare in blocks:
            of_block, places = _runs(block)
            is_rare = np.unpackbits(rare.bits, count=len(of_block)).view(bool)
            hashes.append(of_block[is_rare])
            owners.append(places[is_rare] + np.int32(first))
            rows.append(_distinct_rows(block))
            different.append(rare.different)
            first += len(rows[-1])
        of_rows = np.concatenate(rows), np.concatenate(different)
        return cls(*_ranked(_drained(hashes, np.uint64), _drained(owners, np.int32)), *of_rows)

    def twins(self, block: "Block", *, share: float) -> Shared:
        """Return the rows of a block that share enough with a row held out, and with which most."""
        runs = _first_runs(block, self.sieve.may_hold)
        begin = np.searchsorted(self.hashes, runs.hashes)
        found = [np.zeros(0, np.int64)]
        for step in range(COMMON_ROWS if len(self.hashes) else 0):
            places = np.minimum(begin + step, len(self.hashes) - 1)
            same = (self.hashes[places] == runs.hashes) & (begin + step < len(self.hashes))
            found.append(runs.owners[same].astype(np.int64) << 32 | self.owners[places[same]])
        pairs, times = np.unique(np.concatenate(found), return_counts=True)
        owners = pairs & 0xFFFFFFFF
        enough = times >= share * self.different[owners]
        rows = _distinct_rows(block)[pairs[enough] >> 32]
        return _best([Shared(rows, self.rows[owners[enough]], times[enough])])


def _drained(parts: "list[NDArray[Any]]", kind: type) -> "NDArray[Any]":
    """Join arrays and empty the list on the way, so that hardly anything is there twice."""
    whole: NDArray[Any] = np.empty(sum(map(len, parts)), kind)
    end = len(whole)
    while parts:
        part = parts.pop()
        whole[end - len(part) : end] = part
        end -= len(part)
    return whole


def _ranked(
    hashes: "Hashes", owners: "NDArray[np.int32]"
) -> "tuple[Hashes, NDArray[np.int32], Sieve]":
    """Sort hashes with their owners, and put them into a sieve."""
    order = np.argsort(hashes)
    hashes, owners = hashes[order], owners[order]
    del order
    return hashes, owners, Sieve.of(hashes)


def _best(found: Sequence[Shared]) -> Shared:
    """Return for every row the held-out one that it shares most with."""
    none = np.zeros(0, np.int64)
    rows = np.concatenate([none, *(part.rows for part in found)])
    twins = np.concatenate([none, *(part.twins for part in found)])
    runs = np.concatenate([none, *(part.runs for part in found)])
    order = np.lexsort((twins, -runs, rows))
    unique, first = np.unique(rows[order], return_index=True)
    best = order[first]
    return Shared(unique, twins[best], runs[best])


class _Runs(NamedTuple):
    """Different runs of every row of a block, the places of their rows, and their own places.

    `total` counts all runs of the block, `rows` its rows.
    """

    hashes: "Hashes"
    owners: "NDArray[np.int32]"
    places: "NDArray[np.int32]"
    total: int
    rows: int


def _runs(block: "Block") -> "tuple[Hashes, NDArray[np.int32]]":
    """Return all runs of a block, and the place of the row of each."""
    rows, words, lengths = block
    hashes, counts = n_grams(words, lengths, RUN_WORDS)
    places = np.cumsum(np.diff(rows, prepend=rows[:1]) != 0, dtype=np.int32)
    return hashes, np.repeat(places, counts)


def _first_runs(block: "Block", wanted: "Callable[[Hashes], Flags]") -> _Runs:
    """Return the wanted runs of a block, each once for every row."""
    hashes, owners = _runs(block)
    places = np.flatnonzero(wanted(hashes)).astype(np.int32)
    total, hashes, owners = len(hashes), hashes[places], owners[places]
    first = _are_first(hashes, owners)
    return _Runs(hashes[first], owners[first], places[first], total, len(_distinct_rows(block)))


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
