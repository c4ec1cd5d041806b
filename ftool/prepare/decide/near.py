"""Near duplicates: rows of one band are candidates, exact Jaccard similarity decides."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ftool.prepare.decide.threads import mapped
from ftool.prepare.refine.minhash import NO_BAND
from ftool.prepare.refine.words import (
    SHINGLE_WORDS,
    blocks,
    distinct,
    jaccard,
    n_grams,
    take_parts,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ftool.prepare.refine.words import Counts, Hashes

    Words = NDArray[np.uint32]

TakeWords = Callable[["Counts"], "tuple[Words, Counts]"]
"""Returns the words of some rows (ascending), one after the other, and their numbers."""

_WORDS_AT_ONCE = 1 << 21
"""Words that are compared at once: a bound on memory, and far fewer pairs than `jaccard` takes."""

FEW_ROWS = 64
"""Rows of a bucket in which rows that are less alike than repeats may be of one passage."""
_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of similar rows: `first` stands before `second` in the order of precedence."""

    first: "Counts"
    second: "Counts"
    similarity: "NDArray[np.float64]"


NO_PAIRS = Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))


def similar_pairs(
    band_keys: "Iterable[Hashes]",
    precedence: "NDArray[np.int32]",
    lengths: "Counts",
    take_words: "TakeWords",
    threshold: float,
    *,
    related: float = 1.0,
    workers: int = 1,
) -> Pairs:
    """Return the pairs of rows that are at least that similar.

    Within a bucket every row is compared with the first and with its neighbour, not all with all;
    over all bands that finds nearly every row that is like another. Rows with one key in every
    band are compared besides, wherever they stand in their buckets.

    Args:
        band_keys: for each band one key per row; 0 joins nothing.
        precedence: rank of each row; of a pair, the row of the lower rank comes first.
        lengths: words of each row.
        take_words: gives the words of rows.
        threshold: least exact Jaccard similarity.
        related: least similarity of rows that meet in a bucket of at most `FEW_ROWS`.
        workers: threads.
    """
    found: NDArray[np.uint64] = np.zeros(0, np.uint64)
    rows = len(precedence)
    every = np.zeros(rows, np.uint64)
    for keys in band_keys:
        found = distinct(np.concatenate([found, _candidates(keys, precedence, rows)]))
        every = every * _MIX ^ keys  # stays 0 where all are
    found = distinct(np.concatenate([found, _candidates(every, precedence, rows)]))
    places, in_large = np.divmod(found, np.uint64(2))
    is_first = np.ones(len(found), bool)
    is_first[1:] = places[1:] != places[:-1]  # a small bucket stands before a large one
    pairs = np.divmod(places[is_first], np.uint64(max(rows, 1)))
    first, second = (part.astype(np.int64) for part in pairs)
    least = np.where(in_large[is_first] == 1, threshold, min(threshold, related))
    parts = [
        (first[part], second[part], least[part])
        for part in blocks(lengths[first] + lengths[second], _WORDS_AT_ONCE)
    ]
    similar = partial(_similar, take_words=take_words)
    kept = [NO_PAIRS, *mapped(similar, parts, workers)]
    return Pairs(
        np.concatenate([pairs.first for pairs in kept]),
        np.concatenate([pairs.second for pairs in kept]),
        np.concatenate([pairs.similarity for pairs in kept]),
    )


def repeated(keys: "Hashes", rows: "Counts") -> "Counts":
    """Return those of some rows whose key another of them has too: as a rule a small part."""
    rows = rows[np.argsort(keys[rows])]
    ordered = keys[rows]
    same = ordered[1:] == ordered[:-1]
    is_repeated = np.zeros(len(rows), bool)
    is_repeated[1:] = same
    is_repeated[:-1] |= same
    return np.sort(rows[is_repeated])


def _candidates(keys: "Hashes", precedence: "NDArray[np.int32]", rows: int) -> "NDArray[np.uint64]":
    """Return the pairs of one band as `2 * (first * rows + second)`, one more in large buckets."""
    used = repeated(keys, np.flatnonzero(keys != NO_BAND))
    order = used[np.lexsort((precedence[used], keys[used]))]
    sorted_keys = keys[order]
    is_first = np.ones(len(order), bool)
    is_first[1:] = sorted_keys[1:] != sorted_keys[:-1]
    begins = np.maximum.accumulate(np.where(is_first, np.arange(len(order)), 0))
    sizes = np.diff(np.append(np.flatnonzero(is_first), len(order)))
    is_large = np.repeat(sizes > FEW_ROWS, sizes)
    follows = np.flatnonzero(~is_first)
    first = np.concatenate([order[begins[follows]], order[follows - 1]]).astype(np.uint64)
    second = np.concatenate([order[follows], order[follows]]).astype(np.uint64)
    flags = np.concatenate([is_large[follows], is_large[follows]]).astype(np.uint64)
    return (first * np.uint64(rows) + second) << np.uint64(1) | flags


def _similar(part: "tuple[Counts, Counts, NDArray[np.float64]]", take_words: "TakeWords") -> Pairs:
    """Keep the pairs of rows whose exact similarity reaches the least one of each."""
    *pair, least = part
    rows, places = np.unique(np.concatenate(pair), return_inverse=True)
    shingles, counts = n_grams(*take_words(rows), SHINGLE_WORDS)
    sides = np.split(places, 2)
    similarity = jaccard(*(_of_rows(shingles, counts, side) for side in sides))
    similar = similarity >= least - 1e-9
    return Pairs(pair[0][similar], pair[1][similar], similarity[similar])


def _of_rows(hashes: "Hashes", counts: "Counts", rows: "Counts") -> "tuple[Hashes, Counts]":
    return hashes[take_parts(counts, rows)], counts[rows]
