from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prepare_tables import Given, reasons_of, row, table_of
from word_texts import Texts, flat, shingles

from ftool.prepare.decide import likeness
from ftool.prepare.decide.dedup import drop_exact, drop_near, find_near
from ftool.prepare.decide.likeness import (
    COMMON_ROWS,
    NO_LIKENESS,
    PASSAGE_SHARE,
    PASSAGE_SHINGLES,
    RELATED,
    Likeness,
    Rows,
    judge,
)
from ftool.prepare.decide.near import FEW_ROWS, NO_PAIRS, Pairs
from ftool.prepare.refine.words import FEWEST_WORDS, SHINGLE_WORDS

THRESHOLD = 0.8


def similarity(one: list[int], other: list[int]) -> float:
    first, second = shingles(one), shingles(other)
    return len(first & second) / len(first | second)


def every_pair(texts: Texts) -> Pairs:
    """Return all pairs that are alike enough to be looked at."""
    found = [
        (first, second, similarity(texts[first], texts[second]))
        for second in range(len(texts))
        for first in range(second)
    ]
    alike = [pair for pair in found if pair[2] >= RELATED]
    first, second, how = zip(*alike, strict=True) if alike else ((), (), ())
    return Pairs(np.array(first, np.int64), np.array(second, np.int64), np.array(how, float))


def rows_of(texts: Texts, answers: list[int], labels: list[int]) -> Rows:
    tails = [tuple(text[len(text) - count :]) for text, count in zip(texts, answers, strict=True)]

    def take_words(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return flat([texts[row] for row in rows.tolist()])

    return Rows(
        different=np.arange(len(texts)),
        lengths=flat(texts)[1],
        answers=np.array(answers, np.int64),
        same=np.array([hash(tail) % 2**63 for tail in tails], np.uint64),
        labels=np.array(labels, np.int32),
        take_words=take_words,
    )


def remainder(text: list[int], common: set[tuple[int, ...]]) -> list[bool]:
    """Return which words are in no common shingle."""
    rest = [True] * len(text)
    for start in range(max(1, len(text) - SHINGLE_WORDS + 1)):
        if tuple(text[start : start + SHINGLE_WORDS]) in common:
            rest[start : start + SHINGLE_WORDS] = [False] * len(rest[start : start + SHINGLE_WORDS])
    return rest


def longest(rest: list[bool]) -> int:
    runs = "".join("x" if one else " " for one in rest).split()
    return max(map(len, runs), default=0)


def brute(texts: Texts, answers: list[int], labels: list[int]) -> tuple[set, set]:
    """Return the pairs of repeats, and those that stay together, in plain words."""
    counts = Counter(shingle for text in texts for shingle in shingles(text))
    most = max(COMMON_ROWS, min(FEW_ROWS, len(texts) // PASSAGE_SHARE))
    repeats, together = set(), set()
    pairs = every_pair(texts)
    for first, second, how in zip(
        pairs.first.tolist(), pairs.second.tolist(), pairs.similarity.tolist(), strict=True
    ):
        one, other = texts[first], texts[second]
        shared = shingles(one) & shingles(other)
        common = {shingle for shingle in shared if counts[shingle] > COMMON_ROWS}
        rests = [remainder(text, common) for text in (one, other)]
        for step in (1, -1) if common else ():
            for at in range(SHINGLE_WORDS - 1):
                place = at if step == 1 else -1 - at
                if at >= min(len(one), len(other)) or one[place] != other[place]:
                    break
                rests[0][place] = rests[1][place] = False
        alike = how >= THRESHOLD
        apart = min(longest(remainder(text, shared)) for text in (one, other)) >= FEWEST_WORDS
        left = [
            {word for word, is_left in zip(text, rest, strict=True) if is_left}
            for text, rest in zip((one, other), rests, strict=True)
        ]
        lacked = min(len(left[0] - left[1]), len(left[1] - left[0])) >= FEWEST_WORDS
        often = {shingle for shingle, times in counts.items() if times > COMMON_ROWS}
        rare = min(longest(remainder(text, often)) for text in (one, other)) >= FEWEST_WORDS
        enough = min(map(longest, rests)) >= FEWEST_WORDS
        if alike and apart and enough and (lacked or rare):
            left = [
                [word for word, is_left in zip(text, rest, strict=True) if is_left]
                for text, rest in zip((one, other), rests, strict=True)
            ]
            alike = similarity(*left) >= THRESHOLD
        ends = [
            text[len(text) - count :]
            for text, count in ((one, answers[first]), (other, answers[second]))
        ]
        is_long = min(map(len, ends)) >= SHINGLE_WORDS
        answered = ends[0] == ends[1] or (is_long and similarity(*ends) >= THRESHOLD)
        if alike and answered and labels[first] == labels[second]:
            repeats.add((first, second))
        # Every place of a shingle in the first text counts.
        places = [
            tuple(one[n : n + SHINGLE_WORDS]) for n in range(max(1, len(one) - SHINGLE_WORDS + 1))
        ]
        own = sum(s in shared and counts[s] <= most for s in places)
        whole = sum(s in shared for s in places)
        passage = 2 * own >= whole and (how >= THRESHOLD or own >= PASSAGE_SHINGLES)
        if alike or passage:
            together.add((first, second))
    return repeats, together


def as_sets(found: Likeness) -> tuple[set, set]:
    return tuple(  # type: ignore[return-value]
        set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)) for pairs in found
    )


def templated(random: Random, words: int) -> tuple[Texts, list[int], list[int]]:
    """Return rows with instructions, passages, near copies and answers in common."""

    def some(count: int) -> list[int]:
        return [random.randint(1, 300) for _ in range(count)]

    parts = [some(random.randint(10, words)) for _ in range(3)]
    texts, answers = [], []
    for _ in range(random.randint(2, 24)):
        if texts and random.random() < 0.4:
            at = random.randrange(len(texts))
            text, answer = list(texts[at]), answers[at]
            for _ in range(random.randint(0, 3)):
                if text:
                    text[random.randrange(len(text))] = random.randint(1, 300)
        else:
            tail = some(random.choice((0, 0, 1, 3, 6)))
            answer = len(tail)
            text = [*random.choice(parts), *some(random.randint(0, 9)), *tail]
        texts.append(text)
        answers.append(answer)
    return texts, answers, [random.choice((0, 0, 1)) for _ in texts]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from((12, 30, 80)), st.sampled_from((1, 2)))
def test_as_in_plain_words(seed: int, words: int, workers: int) -> None:
    texts, answers, labels = templated(Random(seed), words)
    found = judge(every_pair(texts), rows_of(texts, answers, labels), THRESHOLD, workers=workers)
    assert as_sets(found) == brute(texts, answers, labels)


def test_work_in_pieces_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    texts, answers, labels = templated(Random(2), 40)
    pairs, rows = every_pair(texts), rows_of(texts, answers, labels)
    whole = as_sets(judge(pairs, rows, THRESHOLD))
    assert whole[0] and whole[1]
    for name, value in (("WORDS_AT_ONCE", 70), ("ROWS_AT_ONCE", 3), ("MOST_SHINGLES", 10)):
        monkeypatch.setattr(likeness, name, value)
        assert as_sets(judge(pairs, rows, THRESHOLD, workers=2)) == whole


def test_nothing_to_judge() -> None:
    assert as_sets(judge(NO_PAIRS, rows_of([], [], []), THRESHOLD)) == as_sets(NO_LIKENESS)
    found = judge(NO_PAIRS, rows_of([[1, 2, 3]], [0], [0]), THRESHOLD)
    assert as_sets(found) == (set(), set())


def words(*numbers: int) -> str:
    return " ".join(f"word{number}" for number in numbers)


INSTRUCTION = words(*range(1000, 1040))
COPY = words(*range(30))


def reasons(folder: Path, rows: list[Given]) -> tuple[dict[int, str], Likeness]:
    made = table_of(folder, rows)
    drop_exact(made, wanted=True)
    found = find_near(made, THRESHOLD, workers=1, on_progress=lambda *_: None)
    drop_near(made, found.repeats, exact=True)
    return reasons_of(made), found


def test_an_instruction_is_no_likeness(tmp_path: Path) -> None:
    rows = [row(f"{INSTRUCTION} {words(*range(n, n + 5))}", "a") for n in range(0, 100, 10)]
    assert reasons(tmp_path, rows)[0] == {}
    copy = row(f"{INSTRUCTION} {words(*range(50, 55))} !", "a")
    assert reasons(tmp_path / "copy", [*rows, copy])[0] == {10: "near_duplicate"}


def test_of_near_copies_one_stays_however_many_there_are(tmp_path: Path) -> None:
    signs = ["", "!", "!!", "...", " ?", " .."]
    rows = [row(COPY + sign, answer="fine") for sign in signs]
    assert set(reasons(tmp_path / "signs", rows)[0]) == {1, 2, 3, 4, 5}
    long = list(range(80))
    with_typos = [[*long[:n], 900 + n, *long[n + 1 :]] for n in (0, 1, 2, 3, 4, 40, 41, 60, 76, 79)]
    rows = [row(words(*text), "a") for text in (long, *with_typos)]
    assert set(reasons(tmp_path / "typos", rows)[0]) == set(range(1, 11))


def test_a_mistyped_word_in_common_sentences_makes_no_other_row(tmp_path: Path) -> None:
    """Every sentence stands in many rows, as in texts that are put together from blocks."""
    random = Random(4)
    pool = [[1000 * n + word for word in range(12)] for n in range(30)]
    texts = [[w for part in random.sample(pool, 8) for w in part] for _ in range(60)]
    copies = [list(text) for text in texts]
    for place, copy in enumerate(copies):
        copy[12 * random.randrange(8) + place % 12] = 99_999
    gone, _ = reasons(tmp_path, [row(words(*text), "a") for text in (*texts, *copies)])
    assert set(gone) == set(range(60, 120))


def test_a_canned_answer_makes_no_repeats_of_its_questions(tmp_path: Path) -> None:
    rows = [row(words(*range(n, n + 6)), answer=INSTRUCTION) for n in range(0, 80, 10)]
    assert reasons(tmp_path, rows)[0] == {}


def test_rows_of_one_passage_stay_together_and_those_of_one_instruction_do_not(
    tmp_path: Path,
) -> None:
    rows = [
        row(
            f"{words(*range(100 * n, 100 * n + 60))} {words(*range(9000 + 9 * q, 9004 + 9 * q))}",
            answer=f"word{q}",
        )
        for n in range(6)
        for q in range(5)
    ]
    gone, found = reasons(tmp_path / "passages", rows)
    assert gone == {} and not len(found.repeats.first)
    linked = as_sets(found)[1]
    assert {pair for pair in linked if pair[0] // 5 != pair[1] // 5} == set()
    assert {second for _, second in linked} == {n for n in range(30) if n % 5}
    instructed = [
        row(f"{INSTRUCTION} {words(*range(n, n + 5))}", answer=f"word{n}")
        for n in range(0, 300, 10)
    ]
    assert as_sets(reasons(tmp_path / "instruction", instructed)[1]) == (set(), set())
