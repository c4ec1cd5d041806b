"""Near duplicates: MinHash bands find candidates, exact Jaccard similarity decides."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ftool.prepare.threads import mapped
from ftool.prepare.words import (
    FEWEST_WORDS,
    SHINGLE_WORDS,
    blocks,
    distinct,
    jaccard,
    n_grams,
    take_parts,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ftool.prepare.words import Counts, Hashes

    Words = NDArray[np.uint32]
    TakeWords = Callable[[Counts], tuple[Words, Counts]]
    """Returns the words of some rows (ascending), one after the other, and their numbers."""

SHAPES = {0.7: (16, 6), 0.0: (32, 3)}
"""Least similarity looked for -> bands and rows of a band. A pair of similarity s is a candidate
with probability 1 - (1 - s^rows)^bands: 0.992 at 0.8 (0.865 at 0.7) with the first, 0.986 at 0.5
with the second."""
HASHES = 96
_BLOCK_SHINGLES = 1 << 18
_WORDS_AT_ONCE = 1 << 21
"""Words that are compared at once: a bound on memory, and far fewer pairs than `jaccard` takes."""
_NO_BAND = np.uint64(0)


def shape(threshold: float) -> tuple[int, int]:
    """Return how many bands of how many hashes find pairs of at least this similarity."""
    return next(found for least, found in SHAPES.items() if threshold >= least)


def _multipliers() -> "NDArray[np.uint32]":
    generator = np.random.default_rng(20_240)
    return generator.integers(0, 2**31, HASHES, dtype=np.uint32) * np.uint32(2) + np.uint32(1)


def min_hashes(words: "Words", lengths: "Counts") -> "NDArray[np.uint32]":
    """Return the least hash of each text's shingles under every hash function, [texts, HASHES].

    Source:
        Broder (1997), On the resemblance and containment of documents; multiply-shift hashing of
        Dietzfelbinger et al. (1997), A reliable randomized algorithm for the closest-pair problem.
    """
    found = np.zeros((len(lengths), HASHES), np.uint32)
    rows = np.flatnonzero(lengths > 0)
    shingles, counts = n_grams(words, lengths, SHINGLE_WORDS)
    mixed = (shingles >> np.uint64(32)).astype(np.uint32)
    counts = counts[rows]
    ends = np.cumsum(counts)
    for block in blocks(counts, _BLOCK_SHINGLES):
        start = ends[block.start] - counts[block.start]
        part = mixed[start : ends[block.stop - 1]]
        places = ends[block] - counts[block] - start
        product = np.empty_like(part)
        for column, multiplier in enumerate(_multipliers()):
            np.multiply(part, multiplier, out=product)
            found[rows[block], column] = np.minimum.reduceat(product, places)
    return found


def bands(words: "Words", lengths: "Counts", threshold: float) -> "Hashes":
    """Return one hash for every band of every text, [bands, texts]; 0 where a text is too short.

    Args:
        words: hashes of the words of all texts, one text after the other.
        lengths: words of each text.
        threshold: least similarity looked for.
    """
    count, rows = shape(threshold)
    least = min_hashes(words, lengths)
    keys = np.zeros((count, len(lengths)), np.uint64)
    mix = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        for band in range(count):
            for column in range(band * rows, (band + 1) * rows):
                keys[band] = (keys[band] ^ least[:, column]) * mix
            keys[band] ^= keys[band] >> np.uint64(32)
    keys |= np.uint64(1)
    keys[:, lengths < FEWEST_WORDS] = _NO_BAND
    return keys


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of similar rows: `first` stands before `second` in the order of precedence."""

    first: "Counts"
    second: "Counts"
    similarity: "NDArray[np.float64]"


NO_PAIRS = Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))


def similar_pairs(
    band_keys: "Iterable[Hashes]",
    precedence: "Counts",
    lengths: "Counts",
    take_words: "TakeWords",
    threshold: float,
    *,
    workers: int = 1,
) -> Pairs:
    """Return the pairs of rows that are at least that similar.

    Within a bucket every row is compared with the first and with its neighbour, not all with all;
    over all bands that finds nearly every row that is like another.

    Args:
        band_keys: for each band one key per row; 0 joins nothing.
        precedence: rank of each row; of a pair, the row of the lower rank comes first.
        lengths: words of each row.
        take_words: gives the words of rows.
        threshold: least exact Jaccard similarity.
        workers: threads.
    """
    found: NDArray[np.uint64] = np.zeros(0, np.uint64)
    rows = len(precedence)
    for keys in band_keys:
        found = distinct(np.concatenate([found, _candidates(keys, precedence, rows)]))
    first, second = (part.astype(np.int64) for part in np.divmod(found, np.uint64(max(rows, 1))))
    parts = [
        (first[part], second[part])
        for part in blocks(lengths[first] + lengths[second], _WORDS_AT_ONCE)
    ]
    similar = partial(_similar, take_words=take_words, threshold=threshold)
    kept = [NO_PAIRS, *mapped(similar, parts, workers)]
    return Pairs(
        np.concatenate([pairs.first for pairs in kept]),
        np.concatenate([pairs.second for pairs in kept]),
        np.concatenate([pairs.similarity for pairs in kept]),
    )


def _candidates(keys: "Hashes", precedence: "Counts", rows: int) -> "NDArray[np.uint64]":
    """Return the pairs of one band as `first * rows + second`."""
    used = np.flatnonzero(keys != _NO_BAND)
    order = used[np.lexsort((precedence[used], keys[used]))]
    sorted_keys = keys[order]
    is_first = np.ones(len(order), bool)
    is_first[1:] = sorted_keys[1:] != sorted_keys[:-1]
    heads = order[np.maximum.accumulate(np.where(is_first, np.arange(len(order)), 0))]
    follows = np.flatnonzero(~is_first)
    first = np.concatenate([heads[follows], order[follows - 1]]).astype(np.uint64)
    second = np.concatenate([order[follows], order[follows]]).astype(np.uint64)
    return first * np.uint64(rows) + second


def _similar(pair: "tuple[Counts, Counts]", take_words: "TakeWords", threshold: float) -> Pairs:
    """Keep the pairs of rows whose exact similarity reaches the threshold."""
    rows, places = np.unique(np.concatenate(pair), return_inverse=True)
    shingles, counts = n_grams(*take_words(rows), SHINGLE_WORDS)
    sides = np.split(places, 2)
    similarity = jaccard(*(_of_rows(shingles, counts, side) for side in sides))
    similar = similarity >= threshold - 1e-9
    return Pairs(pair[0][similar], pair[1][similar], similarity[similar])


def _of_rows(hashes: "Hashes", counts: "Counts", rows: "Counts") -> "tuple[Hashes, Counts]":
    return hashes[take_parts(counts, rows)], counts[rows]
