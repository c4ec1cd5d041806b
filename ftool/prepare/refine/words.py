"""Texts as hashed words in one flat array: shingles, n-grams, exact Jaccard similarity."""

import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import xxhash

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]
    Counts = NDArray[np.int64]

SHINGLE_WORDS = 5
"""Words of a shingle; a shorter text is one shingle."""
FEWEST_WORDS = 3
"""Words below which a text repeats another only as a whole."""

_REMEMBERED = 500_000
_WORD = re.compile(r"\w+")
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Characters of scripts without spaces between words (Thai, Lao, Burmese, Khmer, Japanese,
Chinese): each counts as a word."""
_TO_WORDS = {code: " " for code in range(128) if not (chr(code).isalnum() or chr(code) == "_")}
_MIX = np.uint64(0x9E3779B97F4A7C15)
_FINAL = np.uint64(0xBF58476D1CE4E5B9)
_HASH_BITS = 40
"""Bits of a shingle that are compared: two of a pair's few hundred are alike once in 10^7."""


class _Vocabulary(dict[str, int]):
    """Word -> 32-bit hash, computed once for a word."""

    def __missing__(self, word: str) -> int:
        if len(self) >= _REMEMBERED:
            self.clear()
        found = self[word] = xxhash.xxh3_64_intdigest(word.encode("utf-8", "replace")) >> 32
        return found


_vocabulary = _Vocabulary()


def word_hashes(text: str) -> "array[int]":
    """Return the hash of every word of a text: runs of letters, digits and `_`, case ignored."""
    if not text:
        return array("I")
    lower = text.lower()
    if lower.isascii():
        words = lower.translate(_TO_WORDS).split()
    else:
        words = _WORD.findall(_UNSPACED.sub(r" \g<0> ", lower))
    return array("I", map(_vocabulary.__getitem__, words))


def flat_words(texts: Iterable[str]) -> "tuple[NDArray[np.uint32], Counts]":
    """Return the hashes of the words of all texts, one after the other, and how many each has."""
    hashes = [word_hashes(text) for text in texts]
    words = np.frombuffer(b"".join(found.tobytes() for found in hashes), np.uint32)
    return words, np.array([len(found) for found in hashes], np.int64)


def starts(lengths: "Counts") -> "Counts":
    """Return where each part of a flat array begins."""
    before: Counts = np.cumsum(lengths) - lengths
    return before


def take_parts(lengths: "Counts", rows: "Counts") -> "Counts":
    """Return the places in a flat array of the parts of some rows, one after the other."""
    counts = lengths[rows]
    total = int(counts.sum())
    shifts = np.repeat(starts(lengths)[rows] - starts(counts), counts)
    return np.arange(total) + shifts


def n_grams(words: "NDArray[np.uint32]", lengths: "Counts", size: int) -> "tuple[Hashes, Counts]":
    """Return the hash of every run of `size` words of every text, and how many each text has.

    A text of fewer words is one run; one without words has none. Integers only, so the result is
    the same on every machine.

    Args:
        words: hashes of the words of all texts, one text after the other.
        lengths: words of each text.
        size: words of a run.

    Source:
        Broder (1997), On the resemblance and containment of documents.
    """
    own = lengths >= size
    counts = np.where(own, lengths - size + 1, np.minimum(lengths, 1))
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(words))
    stop = max(0, len(words) - size + 1)
    runs = _mixed([words[step : stop + step] for step in range(size)])
    short = np.flatnonzero(~own & (lengths > 0))
    hashes = np.empty(int(counts.sum()), np.uint64)
    is_short = np.zeros(len(hashes), bool)
    is_short[starts(counts)[short]] = True
    hashes[~is_short] = runs[left[: len(runs)] >= size] if len(runs) else runs
    hashes[is_short] = _mixed(list(_padded(words, lengths, short, size).T))
    return hashes, counts


def _padded(
    words: "NDArray[np.uint32]", lengths: "Counts", rows: "Counts", size: int
) -> "NDArray[np.uint32]":
    """Return the words of short texts, [rows, size], with zeros behind the last."""
    columns = np.arange(size)
    places = starts(lengths)[rows][:, None] + columns
    inside = columns < lengths[rows][:, None]
    return np.where(inside, words[np.where(inside, places, 0)], 0)


def _mixed(columns: "Sequence[NDArray[np.uint32]]") -> "Hashes":
    """Return one hash for every tuple of words, given column by column."""
    hashes = np.zeros(len(columns[0]), np.uint64)
    with np.errstate(over="ignore"):
        for column in columns:
            hashes *= _MIX
            hashes += column
        hashes ^= hashes >> np.uint64(31)
        hashes *= _FINAL
        hashes ^= hashes >> np.uint64(29)
    return hashes


def jaccard(
    first: "tuple[Hashes, Counts]", second: "tuple[Hashes, Counts]"
) -> "NDArray[np.float64]":
    """Return the Jaccard similarity of pairs of shingle sets: shared over all distinct ones.

    Args:
        first: shingles of the first text of every pair, and how many each has.
        second: the same of the second texts; at most 2^23 pairs.
    """
    pairs = len(first[1])
    packed = np.concatenate([_packed(*first, side=0), _packed(*second, side=1)])
    packed = distinct(packed)
    keys = packed >> np.uint64(1)
    in_both = keys[1:][keys[1:] == keys[:-1]] >> np.uint64(_HASH_BITS)
    shared = np.bincount(in_both.astype(np.int64), minlength=pairs)
    either = np.bincount((keys >> np.uint64(_HASH_BITS)).astype(np.int64), minlength=pairs)
    similarity: NDArray[np.float64] = shared / np.maximum(either - shared, 1)
    return similarity


def _packed(hashes: "Hashes", counts: "Counts", *, side: int) -> "Hashes":
    """Return pair, 40 bits of the hash and side in one integer, so that one sort does it all."""
    owners = np.repeat(np.arange(len(counts), dtype=np.uint64), counts)
    kept = hashes >> np.uint64(64 - _HASH_BITS)
    return (owners << np.uint64(_HASH_BITS + 1)) | (kept << np.uint64(1)) | np.uint64(side)


def distinct(values: "Hashes") -> "Hashes":
    """Return the different values, sorted; one sort, several times as fast as numpy's unique."""
    ordered = np.sort(values)
    differs = np.ones(len(ordered), bool)
    differs[1:] = ordered[1:] != ordered[:-1]
    return ordered[differs]


def blocks(counts: "Counts", most: int) -> Iterator[slice]:
    """Divide rows into runs whose counts add up to about `most`."""
    ends = np.cumsum(counts)
    start = 0
    while start < len(counts):
        reached = ends[start - 1] if start else 0
        end = max(start + 1, int(np.searchsorted(ends, reached + most, side="right")))
        yield slice(start, end)
        start = end
