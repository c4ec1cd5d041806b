"""MinHash signatures in bands: texts that are alike share a band."""

from typing import TYPE_CHECKING

import numpy as np

from ftool.prepare.refine.words import FEWEST_WORDS, SHINGLE_WORDS, blocks, n_grams

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ftool.prepare.refine.words import Counts, Hashes

    Words = NDArray[np.uint32]

SHAPES = {0.7: (16, 6), 0.0: (32, 3)}
"""Least similarity looked for -> bands and rows of a band. A pair of similarity s is a candidate
with probability 1 - (1 - s^rows)^bands: 0.992 at 0.8 (0.865 at 0.7) with the first, 0.986 at 0.5
with the second."""
HASHES = 96
_BLOCK_SHINGLES = 1 << 18
NO_BAND = np.uint64(0)


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
    keys[:, lengths < FEWEST_WORDS] = NO_BAND
    return keys
