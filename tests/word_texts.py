"""Texts as numbers of words, for tests of what compares texts."""

from random import Random

import numpy as np

from ftool.prepare.refine.words import SHINGLE_WORDS

Texts = list[list[int]]
VOCABULARY = 400


def planted(seed: int, count: int, most_edits: int) -> Texts:
    """Return texts of which every second is the one before it with up to some words changed."""
    random = Random(seed)
    texts: Texts = []
    for _ in range(count // 2):
        text = [random.randint(1, VOCABULARY) for _ in range(random.randint(20, 80))]
        twin = list(text)
        for _ in range(random.randint(0, most_edits)):
            twin[random.randrange(len(twin))] = random.randint(1, VOCABULARY)
        texts += [text, twin]
    return texts


def flat(texts: Texts) -> tuple[np.ndarray, np.ndarray]:
    found = np.array([word for text in texts for word in text], np.uint32)
    return found, np.array([len(text) for text in texts], np.int64)


def shingles(text: list[int]) -> set[tuple[int, ...]]:
    last = max(1, len(text) - SHINGLE_WORDS + 1)
    return {tuple(text[start : start + SHINGLE_WORDS]) for start in range(last)}
