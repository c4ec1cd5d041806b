from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftool.prepare.decide import decontaminate
from ftool.prepare.decide.decontaminate import COMMON_ROWS, OWN_SHARE, RUN_WORDS, shared_runs

Block = tuple[np.ndarray, np.ndarray, np.ndarray]
Rows = dict[int, list[int]]
"""Row number -> its words."""


def blocks(rows: Rows, size: int = 3) -> Iterator[Block]:
    numbers = list(rows)
    for start in range(0, len(numbers), size):
        part = numbers[start : start + size]
        words = [word for number in part for word in rows[number]]
        lengths = [len(rows[number]) for number in part]
        yield np.array(part, np.int64), np.array(words, np.uint32), np.array(lengths, np.int64)


def found(held_out: Rows, candidates: Rows, share: float = 0.0) -> dict[int, tuple[int, int]]:
    """Return the candidates that share runs: with which, and how many."""
    total = sum(map(len, held_out.values()))
    shared = shared_runs(
        lambda _: blocks(held_out),
        lambda _: blocks(candidates),
        total=total,
        share=share,
        workers=2,
    )
    pairs = zip(shared.twins.tolist(), shared.runs.tolist(), strict=True)
    return dict(zip(shared.rows.tolist(), pairs, strict=True))


def runs_of(words: list[int]) -> set[tuple[int, ...]]:
    if len(words) < RUN_WORDS:
        return {tuple(words)} if words else set()
    return {tuple(words[n : n + RUN_WORDS]) for n in range(len(words) - RUN_WORDS + 1)}


def brute(held_out: Rows, candidates: Rows, share: float) -> dict[int, tuple[int, int]]:
    runs = {number: runs_of(words) for number, words in held_out.items()}
    rows = Counter(run for own in runs.values() for run in own)
    expected = {}
    for number, words in candidates.items():
        rare = {run for run in runs_of(words) if rows[run] <= COMMON_ROWS}
        shared = {twin: len(rare & own) for twin, own in runs.items() if rare & own}
        enough = [(-n, twin) for twin, n in shared.items() if n >= share * len(runs[twin])]
        if enough:
            count, twin = min(enough)
            expected[number] = twin, -count
    return expected


PLACES = st.tuples(st.integers(0, 24), st.integers(0, 24))
"""Where a text begins in a story of 8 words again and again, and how long it is."""
STORY = [n % 8 + 1 for n in range(24)] + list(range(20, 50))
TEXTS = st.lists(
    st.lists(PLACES, min_size=1, max_size=2).map(
        lambda parts: [word for begin, size in parts for word in STORY[begin : begin + size]]
    ),
    max_size=7,
)


@settings(max_examples=150, deadline=None)
@given(TEXTS, TEXTS, st.sampled_from([0.0, OWN_SHARE, 1.0]), st.sampled_from([3, 20, 1 << 20]))
def test_shared_runs_as_in_plain_words(
    held_out: list[list[int]], candidates: list[list[int]], share: float, most_runs: int
) -> None:
    first = dict(enumerate(held_out))
    second = dict(enumerate(candidates, start=100))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(decontaminate, "MOST_RUNS", most_runs)
        assert found(first, second, share) == brute(first, second, share)


def test_a_run_of_thirteen_words_is_enough_and_twelve_are_not() -> None:
    text = list(range(1, 31))
    quoted = [*range(100, 105), *text[4 : 4 + RUN_WORDS], *range(200, 205)]
    less = [*range(100, 105), *text[4 : 4 + RUN_WORDS - 1], *range(200, 205)]
    assert found({0: text}, {5: quoted, 6: less}) == {5: (0, 1)}


def test_shorter_texts_count_as_a_whole() -> None:
    candidates = {5: [1, 2, 3], 6: [1, 2, 3, 4], 7: [1, 2], 8: []}
    assert found({0: [1, 2, 3], 1: []}, candidates) == {5: (0, 1)}


def test_common_phrases_are_no_leak() -> None:
    footer = list(range(1, 15))
    for count, expected in ((COMMON_ROWS, {50: (0, 2)}), (COMMON_ROWS + 1, {})):
        held_out = {n: [*footer, *range(100 * n + 100, 100 * n + 110)] for n in range(count)}
        assert found(held_out, {50: footer}) == expected


def test_a_phrase_that_one_row_repeats_is_not_common() -> None:
    footer = list(range(1, 14))
    held_out = {0: [*footer, *footer, *footer, *footer, *footer]}
    assert found(held_out, {50: footer}) == {50: (0, 1)}


def test_the_row_shared_most_with_is_named() -> None:
    text = list(range(1, 31))
    held_out = {0: [*text[:14], 99], 1: text[5:25], 2: text[5:25]}
    assert found(held_out, {50: text}) == {50: (1, 8)}


def test_the_share_is_that_of_the_held_out_row() -> None:
    text = list(range(1, 33))  # 20 runs
    half, less = text[:22], text[:21]  # 10 and 9 runs
    candidates = {50: [*half, *range(100, 200)], 51: [*less, *range(100, 200)]}
    assert found({0: text}, candidates, OWN_SHARE) == {50: (0, 10)}
    assert found({0: text}, candidates) == {50: (0, 10), 51: (0, 9)}


def test_a_run_that_a_row_repeats_counts_once() -> None:
    canned = list(range(1, RUN_WORDS + 1))
    held_out = {0: [*canned, *range(100, 110)]}  # 11 runs
    candidate = [word for n in range(9) for word in (*canned, 1000 + n)]
    assert found(held_out, {50: candidate}) == {50: (0, 1)}
    assert found(held_out, {50: candidate}, OWN_SHARE) == {}


def test_the_rule_of_shares_looks_at_pairs() -> None:
    text, other = list(range(1, 33)), list(range(101, 133))
    mixture = [*text[:18], *other[:18]]  # 6 of 20 runs of each, 12 together
    assert found({0: text, 1: other}, {50: mixture}, OWN_SHARE) == {}
    assert found({0: text, 1: other}, {50: mixture}) == {50: (0, 6)}


def test_nothing_held_out_or_nothing_to_look_at() -> None:
    assert found({}, {5: [1, 2, 3]}) == {}
    assert found({0: [1, 2, 3]}, {}) == {}
    assert found({0: [1, 2, 3]}, {}, OWN_SHARE) == {}
    assert found({0: []}, {5: [], 6: [1]}, OWN_SHARE) == {}
