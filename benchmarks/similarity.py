"""Jaccard similarity of five-word shingles by brute force: the truth that searches are held to."""

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

SHINGLE_WORDS = 5
BLOCK = 500
FALSE_BELOW, SURE_ABOVE = 0.75, 0.85

Matrix = Any


def shingles(texts: Sequence[str]) -> Matrix:
    """Return which shingle is in which text, [texts, shingles]; a short text is one shingle."""
    known: dict[tuple[str, ...], int] = {}
    places, ends = [], [0]
    for text in texts:
        words = re.findall(r"\w+", text.lower())
        runs = {
            tuple(words[start : start + SHINGLE_WORDS])
            for start in range(max(1, len(words) - SHINGLE_WORDS + 1))
        }
        places.extend(sorted(known.setdefault(run, len(known)) for run in runs))
        ends.append(len(places))
    shape = (len(texts), len(known))
    return csr_matrix((np.ones(len(places), np.int32), places, ends), shape=shape)


def similarities(first: Matrix, second: Matrix) -> Iterator[tuple[int, Matrix]]:
    """Yield the similarity of blocks of rows with all rows of another matrix, [BLOCK, rows]."""
    sizes = np.diff(second.indptr)
    for start in range(0, first.shape[0], BLOCK):
        block = first[start : start + BLOCK]
        shared = (block @ second.T).toarray()
        yield start, shared / (np.diff(block.indptr)[:, None] + sizes - shared)


def judged(texts: Sequence[str], removed: Collection[int]) -> dict[str, float]:
    """Return how right it is that some texts were removed as repeats.

    `false` counts removed ones that are below 0.75 alike to every kept one. `recall` is the share
    of those over 0.85 alike to an earlier one that do not stay beside such an earlier one: which
    of two goes is left to the search.
    """
    matrix = shingles(texts)
    goes = np.zeros(len(texts), bool)
    goes[list(removed)] = True
    false = alike = found = 0
    for start, block in similarities(matrix, matrix):
        rows = np.arange(start, start + len(block))
        nearest_kept = np.where(goes, 0.0, block).max(1)
        false += int((goes[rows] & (nearest_kept < FALSE_BELOW)).sum())
        before = (block > SURE_ABOVE) & (np.arange(len(texts)) < rows[:, None])
        repeats = before.any(1)
        beside = (before & ~goes).any(1) & ~goes[rows]
        alike += int(repeats.sum())
        found += int((repeats & ~beside).sum())
    return {"false": false, "recall": found / alike if alike else 1.0, "alike": alike}


def leaks(parts: Sequence[Sequence[str]], least: float = 0.8) -> int:
    """Return how many texts outside the first part have one at least that alike in another."""
    matrix = shingles([text for part in parts for text in part])
    owner = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    count = 0
    for start, block in similarities(matrix, matrix):
        mine = owner[start : start + len(block)]
        across = (block >= least) & (owner != mine[:, None])
        count += int((across.any(1) & (mine > 0)).sum())
    return count
