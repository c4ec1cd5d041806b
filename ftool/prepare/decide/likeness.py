"""What alike rows make of one another: a repeat, or different rows with a part in common."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ftool.prepare.decide.near import FEW_ROWS, NO_PAIRS, Pairs, TakeWords
from ftool.prepare.decide.sieve import Sieve
from ftool.prepare.decide.threads import mapped
from ftool.prepare.refine.words import (
    FEWEST_WORDS,
    SHINGLE_WORDS,
    blocks,
    distinct,
    jaccard,
    n_grams,
    starts,
    take_parts,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ftool.prepare.refine.words import Counts, Hashes

    Flags = NDArray[np.bool_]

RELATED = 0.5
"""Least similarity of rows that may be of one passage."""
COMMON_ROWS = 3
"""A shingle in more rows than this is common to many."""
PASSAGE_SHARE = 4
"""A part in more than `FEW_ROWS` rows, or in more than a quarter of all, is an instruction: no
passage whose rows must stay together."""
PASSAGE_SHINGLES = 20
"""Shingles of a passage, at least."""
MOST_SHINGLES = 3 << 21
"""Different shingles of pairs in memory at once; for more, all rows are read again."""
_HASH_BITS = 40
WORDS_AT_ONCE = 1 << 20
_ROW_BITS = 13
ROWS_AT_ONCE = 1 << _ROW_BITS


class Likeness(NamedTuple):
    """Pairs of alike rows: the second repeats the first, or the two belong into one split."""

    repeats: Pairs
    together: Pairs


NO_LIKENESS = Likeness(NO_PAIRS, NO_PAIRS)


@dataclass(frozen=True, slots=True)
class Rows:
    """What is known of all rows.

    Attributes:
        different: indices of the rows that stay, ascending, one of those that say the same.
        lengths: words of every row.
        answers: how many of them, at the end, are the free answer.
        same: numbers that are equal where answers too short for a shingle say the same.
        labels: label of every row.
        take_words: gives the words of rows.
    """

    different: "Counts"
    lengths: "Counts"
    answers: "Counts"
    same: "Hashes"
    labels: "NDArray[np.int32]"
    take_words: "TakeWords"

    @property
    def most_of_a_passage(self) -> int:
        """In how many rows a passage may stand."""
        return max(COMMON_ROWS, min(FEW_ROWS, len(self.different) // PASSAGE_SHARE))


def judge(pairs: Pairs, rows: Rows, threshold: float, *, workers: int = 1) -> Likeness:
    """Return which pairs are repeats, and which must only stay together.

    A row repeats another where both are answered alike and what remains of them is as similar as
    the threshold. Set aside are the shingles that both have and more than `COMMON_ROWS` rows share,
    and then up to four words with which both begin or end; but nothing where the two differ by
    single words. They differ by more where both have `FEWEST_WORDS` in a row in no shingle that
    they share, as many among what is not set aside, and there such that the other lacks, or such as
    are in no shingle of so many rows.

    Rows stay together where what remains of them is as similar, however they are answered, and
    where most of what they share is no instruction: in rows as similar as the threshold, or with
    a passage of `PASSAGE_SHINGLES` in common.

    Args:
        pairs: at least as similar as `RELATED` or the threshold.
        rows: what is known of all rows.
        threshold: least similarity of repeats.
        workers: threads.
    """
    may_differ = partial(_may_differ, rows=rows, threshold=threshold)
    doubtful = np.concatenate(
        [np.zeros(0, bool), *mapped(may_differ, _parts(pairs, rows), workers)]
    )
    similar, together = ~doubtful, ~doubtful
    places = np.flatnonzero(doubtful)
    judged = [(np.zeros(0, bool), np.zeros(0, bool))]
    for batch, known in _batches(_where(pairs, doubtful), rows, workers):
        counts = _count_rows(known, rows, workers)
        judge_part = partial(_judged, rows=rows, known=known, counts=counts, threshold=threshold)
        judged += mapped(judge_part, batch, workers)
    similar[places] = np.concatenate([is_similar for is_similar, _ in judged])
    together[places] = np.concatenate([is_one for _, is_one in judged])
    alike = np.flatnonzero(similar)
    similar[alike] = _answered_alike(_where(pairs, similar), rows, threshold)
    return Likeness(_where(pairs, similar), _where(pairs, together))


def _may_differ(pairs: Pairs, rows: Rows, threshold: float) -> "Flags":
    """Tell which pairs are no repeats for sure: those that differ by more than single words."""
    sides = _sides(pairs, rows)
    runs = [side.remainder(side.outside(side.shared)).has_run for side in sides]
    found: Flags = (runs[0] & runs[1]) | (pairs.similarity < threshold - 1e-9)
    return found


def _parts(pairs: Pairs, rows: Rows) -> list[Pairs]:
    """Divide pairs into parts of about as many words."""
    lengths = rows.lengths[pairs.first] + rows.lengths[pairs.second]
    return [
        Pairs(pairs.first[part], pairs.second[part], pairs.similarity[part])
        for part in blocks(lengths, WORDS_AT_ONCE)
    ]


def _where(pairs: Pairs, flags: "Flags") -> Pairs:
    return Pairs(pairs.first[flags], pairs.second[flags], pairs.similarity[flags])


def _batches(pairs: Pairs, rows: Rows, workers: int) -> "Iterator[tuple[list[Pairs], Hashes]]":
    """Yield blocks of pairs, with all their different shingles."""
    parts = _parts(pairs, rows)
    batch: list[Pairs] = []
    known: Hashes = np.zeros(0, np.uint64)
    read = partial(_shingles, rows=rows)
    for part, found in zip(parts, mapped(read, parts, workers), strict=True):
        batch.append(part)
        known = distinct(np.concatenate([known, found]))
        if len(known) > MOST_SHINGLES:
            yield batch, known
            batch, known = [], known[:0]
    if batch:
        yield batch, known


@dataclass(frozen=True, slots=True)
class _Rest:
    """Words that are left of texts, how many of each, and whether enough of them are in a row."""

    words: "NDArray[np.uint32]"
    lengths: "Counts"
    has_run: "Flags"

    @property
    def keys(self) -> "Hashes":
        """Numbers that are equal for equal words of one pair alone."""
        owners = np.repeat(np.arange(len(self.lengths), dtype=np.uint64), self.lengths)
        return owners << np.uint64(32) | self.words.astype(np.uint64)


@dataclass(frozen=True, slots=True)
class _Side:
    """The texts of one side of some pairs, and of each of their shingles what is known.

    `counts` says how many shingles each text has, `times` in how many rows each of them stands,
    `shared` whether the other text has it too.
    """

    words: "NDArray[np.uint32]"
    lengths: "Counts"
    counts: "Counts"
    times: "Counts"
    shared: "Flags"

    @property
    def common(self) -> "Flags":
        """Which shingles stand in many rows."""
        return self.times > COMMON_ROWS

    @property
    def owners(self) -> "Counts":
        """The pair of every shingle."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def outside(self, common: "Flags") -> "Flags":
        """Tell which words are in no common shingle."""
        within = np.arange(len(self.shared)) - np.repeat(starts(self.counts), self.counts)
        begins = np.repeat(starts(self.lengths), self.counts) + within
        ends = np.minimum(begins + SHINGLE_WORDS, np.repeat(np.cumsum(self.lengths), self.counts))
        covers = np.bincount(begins[common], minlength=len(self.words) + 1)
        covers -= np.bincount(ends[common], minlength=len(self.words) + 1)
        rest: Flags = np.cumsum(covers)[:-1] == 0
        return rest

    def remainder(self, rest: "Flags") -> _Rest:
        """Return the words that are left."""
        owners = np.repeat(np.arange(len(self.lengths)), self.lengths)
        last = FEWEST_WORDS - 1
        in_a_row = rest[:-last] & (owners[:-last] == owners[last:])
        for step in range(1, FEWEST_WORDS):
            in_a_row &= rest[step : len(rest) - last + step]
        has_run = np.zeros(len(self.lengths), bool)
        has_run[owners[:-last][in_a_row]] = True
        left = np.bincount(owners[rest], minlength=len(self.lengths))
        return _Rest(self.words[rest], left, has_run)


def _set_edges_aside(sides: tuple[_Side, _Side], rests: "list[Flags]", of: "Flags") -> None:
    """Set aside the few words too with which both texts of some pairs begin or end.

    No common shingle holds them where a word behind them differs.
    """
    least = np.minimum(sides[0].lengths, sides[1].lengths)
    for is_end in (False, True):
        same = of.copy()
        for step in range(1, SHINGLE_WORDS):
            same &= step <= least
            pairs = np.flatnonzero(same)
            places = [
                (np.cumsum(side.lengths) - step if is_end else starts(side.lengths) + step - 1)[
                    pairs
                ]
                for side in sides
            ]
            equal = sides[0].words[places[0]] == sides[1].words[places[1]]
            same[pairs[~equal]] = False
            for rest, at in zip(rests, places, strict=True):
                rest[at[equal]] = False


def _sides(
    pairs: Pairs, rows: Rows, known: "Hashes | None" = None, times: "Counts | None" = None
) -> tuple[_Side, _Side]:
    """Read both texts of every pair, and in how many rows each of their shingles stands."""
    unique, places = np.unique(np.concatenate([pairs.first, pairs.second]), return_inverse=True)
    words, lengths = rows.take_words(unique)
    shingles, counts = n_grams(words, lengths, SHINGLE_WORDS)
    of_shingles = np.zeros(len(shingles), np.int64)
    if known is not None and times is not None:
        of_shingles = times[np.searchsorted(known, shingles)]
    sides = np.split(places, 2)
    taken = [take_parts(counts, side) for side in sides]
    keys = [_of_pairs(shingles[of], counts[side]) for of, side in zip(taken, sides, strict=True)]
    shared = _are_in(*keys), _are_in(*reversed(keys))
    first, second = (
        _Side(words[take_parts(lengths, side)], lengths[side], counts[side], of_shingles[of], flags)
        for side, of, flags in zip(sides, taken, shared, strict=True)
    )
    return first, second


def _of_pairs(shingles: "Hashes", counts: "Counts") -> "Hashes":
    """Return the pair of each shingle and the upper bits of it: the search stays in one place."""
    owners = np.repeat(np.arange(len(counts), dtype=np.uint64), counts)
    keys: Hashes = owners << np.uint64(_HASH_BITS) | shingles >> np.uint64(64 - _HASH_BITS)
    return keys


def _are_in(keys: "Hashes", others: "Hashes") -> "Flags":
    ordered = np.sort(others)
    places = np.minimum(np.searchsorted(ordered, keys), max(len(ordered) - 1, 0))
    found: Flags = ordered[places] == keys if len(ordered) else np.zeros(len(keys), bool)
    return found


def _shingles(pairs: Pairs, rows: Rows) -> "Hashes":
    unique = np.unique(np.concatenate([pairs.first, pairs.second]))
    shingles, _ = n_grams(*rows.take_words(unique), SHINGLE_WORDS)
    return distinct(shingles)


def _count_rows(known: "Hashes", rows: Rows, workers: int) -> "Counts":
    """Return in how many of all rows each of some shingles stands."""
    counts = np.zeros(len(known), np.int64)
    upper = known >> np.uint64(_ROW_BITS)
    sieve = Sieve.of(known)

    def found_in(some: "Counts") -> "tuple[Counts, Counts]":
        """Return the places of the shingles that some rows have, and how many of them do."""
        shingles, numbers = n_grams(*rows.take_words(some), SHINGLE_WORDS)
        may_be = np.flatnonzero(sieve.may_hold(shingles))
        owners = np.repeat(np.arange(len(some), dtype=np.uint64), numbers)[may_be]
        # Sorted once with their rows, they are distinct, and looked up in order.
        once = distinct(shingles[may_be] >> np.uint64(_ROW_BITS) << np.uint64(_ROW_BITS) | owners)
        hashes = once >> np.uint64(_ROW_BITS)
        begins = np.flatnonzero(np.diff(hashes, prepend=~hashes[:1]) != 0)
        places = np.minimum(np.searchsorted(upper, hashes[begins]), len(upper) - 1)
        is_known = upper[places] == hashes[begins]
        return places[is_known], np.diff(begins, append=len(hashes))[is_known]

    every = rows.different if len(known) else rows.different[:0]
    parts = [every[start : start + ROWS_AT_ONCE] for start in range(0, len(every), ROWS_AT_ONCE)]
    for places, times in mapped(found_in, parts, workers):
        counts[places] += times
    return counts


def _judged(
    pairs: Pairs, rows: Rows, known: "Hashes", counts: "Counts", threshold: float
) -> "tuple[Flags, Flags]":
    """Tell of which pairs the rests are alike, and which are of one passage."""
    sides = _sides(pairs, rows, known, counts)
    was_similar = pairs.similarity >= threshold - 1e-9
    is_similar = was_similar.copy()
    rests = _rests(sides)
    judged = np.flatnonzero(was_similar & _can_differ(sides, rests))
    of_rests = [_shingles_of(rest.words, rest.lengths, judged) for rest in rests]
    is_similar[judged] = jaccard(*of_rests) >= threshold - 1e-9
    side, _ = sides
    few = side.shared & (side.times <= rows.most_of_a_passage)
    own = np.bincount(side.owners[few], minlength=len(pairs.first))
    whole = np.bincount(side.owners[side.shared], minlength=len(pairs.first))
    is_passage = (2 * own >= whole) & (was_similar | (own >= PASSAGE_SHINGLES))
    return is_similar, is_similar | is_passage


def _rests(sides: tuple[_Side, _Side]) -> "list[_Rest]":
    """Return what is left of both texts of every pair without what is common and shared."""
    common = [side.shared & side.common for side in sides]
    outside = [side.outside(flags) for side, flags in zip(sides, common, strict=True)]
    has_common = np.zeros(len(sides[0].lengths), bool)
    has_common[sides[0].owners[common[0]]] = True
    _set_edges_aside(sides, outside, has_common)
    return [side.remainder(rest) for side, rest in zip(sides, outside, strict=True)]


def _can_differ(sides: tuple[_Side, _Side], rests: "list[_Rest]") -> "Flags":
    """Tell where the rests say something, so that one is no other with a word mistyped.

    Both have some words in a row; and both have some that the other lacks, or such as are in no
    common shingle at all: a common sentence with one word changed is not.
    """
    keys = [distinct(rest.keys) for rest in rests]
    enough = rests[0].has_run & rests[1].has_run
    lacked = np.ones(len(enough), bool)
    rare = np.ones(len(enough), bool)
    for number, side in enumerate(sides):
        own = keys[number][~_are_in(keys[number], keys[1 - number])] >> np.uint64(32)
        words = np.bincount(own.astype(np.int64), minlength=len(enough))
        lacked &= words >= FEWEST_WORDS
        rare &= side.remainder(side.outside(side.common)).has_run
    return enough & (lacked | rare)


def _shingles_of(
    words: "NDArray[np.uint32]", lengths: "Counts", texts: "Counts"
) -> "tuple[Hashes, Counts]":
    return n_grams(words[take_parts(lengths, texts)], lengths[texts], SHINGLE_WORDS)


def _answered_alike(pairs: Pairs, rows: Rows, threshold: float) -> "Flags":
    """Tell which pairs have one label, and answers that are the same or alike."""
    first, second = pairs.first, pairs.second
    one_label = rows.labels[first] == rows.labels[second]
    is_long = [rows.answers[side] >= SHINGLE_WORDS for side in (first, second)]
    alike: Flags = one_label & ~is_long[0] & ~is_long[1]
    alike &= rows.same[first] == rows.same[second]
    compared = np.flatnonzero(one_label & is_long[0] & is_long[1])
    if len(compared):
        answers = [_answers(rows, side[compared]) for side in (first, second)]
        alike[compared] = jaccard(*answers) >= threshold - 1e-9
    return alike


def _answers(rows: Rows, texts: "Counts") -> "tuple[Hashes, Counts]":
    """Return the shingles of the answers of some rows, in any order."""
    unique, places = np.unique(texts, return_inverse=True)
    words, lengths = rows.take_words(unique)
    answers = rows.answers[unique]
    within = np.arange(len(words)) - np.repeat(starts(lengths), lengths)
    shingles, counts = n_grams(
        words[within >= np.repeat(lengths - answers, lengths)], answers, SHINGLE_WORDS
    )
    return shingles[take_parts(counts, places)], counts[places]
