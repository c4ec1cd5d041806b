"""How much of a text repeats: words in repeated lines and phrases."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

LEAST_WORDS = 20
"""A shorter text never counts as repetitive."""
LEAST_LETTERS = 100
"""A text of few words but that many letters, in a script without spaces, is read by letters."""
LEAST_WORDS_OF_A_LINE = 4
"""Shorter lines repeat in every form and in tables with a cell a line."""
PHRASE = 16
"""So many words in a row are a phrase; shorter ones repeat in every list and order table."""


def repeated_share(text: str, *, ignored: float = 0.0) -> float:
    """Return which share of the words stands in a line or phrase that was there before.

    A line counts when it is equal to an earlier one, a phrase when its 16 words in a row are.
    In a script without spaces, letters take the place of words.

    Args:
        text: what is read.
        ignored: 0.0 is returned, sooner, where the share cannot be greater than this.
    """
    read: Callable[[str], list[str]] = str.split
    words = read(text)
    if len(words) < LEAST_WORDS:
        words = [] if text.isascii() else _letters(text)
        if len(words) < max(LEAST_LETTERS, len(text) // 2):
            return 0.0
        read = _letters
    # A repeated word is no first occurrence, so that the distinct words bound the share.
    if len(words) - len(set(words)) <= ignored * len(words):
        return 0.0
    covered = bytearray(len(words))
    _cover_lines([read(line) for line in text.split("\n")], covered)
    _cover_phrases(words, PHRASE, covered)
    return sum(covered) / len(words)


def top_phrase_share(words: Sequence[str], size: int) -> float:
    """Return which share of the characters the most frequent phrase of `size` words holds.

    A phrase that stands once is no repetition. Of equally frequent ones the longest counts.

    Source: Rae et al. 2021, arXiv 2112.11446, table A1.
    """
    counts = Counter(_phrases(words, size))
    most = max(counts.values(), default=0)
    if most < 2:
        return 0.0
    longest = max(sum(map(len, phrase)) for phrase, n in counts.items() if n == most)
    return min(1.0, most * longest / sum(map(len, words)))


def repeated_phrases_share(words: Sequence[str], size: int) -> float:
    """Return which share of the characters stands in a phrase of `size` words seen before.

    A character in several such phrases counts once.

    Source: Rae et al. 2021, arXiv 2112.11446, table A1.
    """
    covered = bytearray(len(words))
    _cover_phrases(words, size, covered)
    total = sum(map(len, words))
    held = sum(len(word) for word, repeats in zip(words, covered, strict=True) if repeats)
    return held / total if total else 0.0


def repeated_parts_shares(parts: Sequence[str]) -> tuple[float, float]:
    """Return which share of lines or paragraphs is equal to an earlier one, and of characters.

    Source: Rae et al. 2021, arXiv 2112.11446, table A1.
    """
    distinct = set(parts)
    total = sum(map(len, parts))
    repeated = total - sum(map(len, distinct))
    parts_share = 1 - len(distinct) / len(parts) if parts else 0.0
    return parts_share, repeated / total if total else 0.0


def _letters(text: str) -> list[str]:
    return [character for character in text if character > "\x7f" and character.isalpha()]


def _cover_lines(lines: Sequence[Sequence[str]], covered: bytearray) -> None:
    seen: set[tuple[str, ...]] = set()
    start = 0
    for line in lines:
        key, end = tuple(line), start + len(line)
        if key in seen:
            covered[start:end] = b"\1" * len(line)
        elif len(key) >= LEAST_WORDS_OF_A_LINE:
            seen.add(key)
        start = end


def _cover_phrases(words: Sequence[str], size: int, covered: bytearray) -> None:
    seen: set[tuple[str, ...]] = set()
    done = 0
    for start, phrase in enumerate(_phrases(words, size)):
        if phrase in seen:
            first = max(start, done)
            done = start + size
            covered[first:done] = b"\1" * (done - first)
        else:
            seen.add(phrase)


def _phrases(words: Sequence[str], size: int) -> Iterator[tuple[str, ...]]:
    if size == 2:
        return pairwise(words)
    return zip(*(words[first:] for first in range(size)), strict=False)
