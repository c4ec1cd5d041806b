import re
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftool.prepare.refine import words as words_module
from ftool.prepare.refine.words import (
    SHINGLE_WORDS,
    blocks,
    jaccard,
    n_grams,
    starts,
    take_parts,
    word_hashes,
)

Texts = list[list[int]]
TEXTS = st.lists(st.lists(st.integers(1, 4), max_size=12), max_size=8)
"""Texts of 0 to 12 words out of four, so that many runs are equal."""
WRITTEN = st.characters(max_codepoint=0x33FF).filter(
    lambda c: (
        not any(low <= c <= high for low, high in ("\u0e00\u0eff", "\u1000\u109f"))
        and not any(low <= c <= high for low, high in ("\u1780\u17ff", "\u3040\u30ff"))
    )
)
"""Characters of scripts that have spaces between words."""
NONE: st.SearchStrategy[list[int]] = st.just([])


def flat(texts: Texts) -> tuple[np.ndarray, np.ndarray]:
    found = np.array([word for text in texts for word in text], np.uint32)
    return found, np.array([len(text) for text in texts], np.int64)


def runs_of(text: list[int], size: int) -> list[tuple[int, ...]]:
    if len(text) < size:
        return [tuple(text)] if text else []
    return [tuple(text[start : start + size]) for start in range(len(text) - size + 1)]


@given(TEXTS, st.sampled_from([1, 2, 3, SHINGLE_WORDS, 13]))
def test_n_grams_are_the_runs_of_every_text(texts: Texts, size: int) -> None:
    hashes, counts = n_grams(*flat(texts), size)
    runs = [run for text in texts for run in runs_of(text, size)]
    assert counts.tolist() == [len(runs_of(text, size)) for text in texts]
    assert len(hashes) == len(runs)
    together = set(zip(runs, hashes.tolist(), strict=True))
    assert len(together) == len(set(runs)) == len(set(hashes.tolist()))


@given(TEXTS)
def test_the_runs_of_a_text_do_not_depend_on_its_neighbours(texts: Texts) -> None:
    hashes, counts = n_grams(*flat(texts), SHINGLE_WORDS)
    alone = [n_grams(*flat([text]), SHINGLE_WORDS)[0].tolist() for text in texts]
    ends = np.cumsum(counts).tolist()
    parts = zip([0, *ends], ends, strict=False)
    assert [hashes[start:end].tolist() for start, end in parts] == alone


def test_the_order_of_words_and_a_short_text_count() -> None:
    hashes, counts = n_grams(*flat([[1, 2], [2, 1], [1, 2, 1], [1], [], [1, 2]]), 3)
    assert counts.tolist() == [1, 1, 1, 1, 0, 1]
    assert hashes[0] == hashes[4]
    assert len(set(hashes.tolist())) == 4


def test_runs_are_the_same_on_every_machine() -> None:
    words = np.frombuffer(word_hashes("the parcel never came").tobytes(), np.uint32)
    assert words.tolist() == [3406988131, 1616047688, 3514511402, 4174232560]
    hashes, _ = n_grams(words, np.array([4]), 3)
    assert hashes.tolist() == [300567915923271502, 9513998067861980402]


@given(st.lists(st.tuples(*[st.lists(st.integers(1, 3), max_size=9)] * 2), max_size=6))
def test_jaccard_is_set_arithmetic(pairs: list[tuple[list[int], list[int]]]) -> None:
    sides = [n_grams(*flat([pair[side] for pair in pairs]), 2) for side in (0, 1)]
    expected = []
    for one, other in pairs:
        first, second = set(runs_of(one, 2)), set(runs_of(other, 2))
        expected.append(len(first & second) / max(len(first | second), 1))
    assert jaccard(sides[0], sides[1]).tolist() == expected


def test_jaccard_of_nothing() -> None:
    nothing = np.zeros(0, np.uint64), np.zeros(0, np.int64)
    assert jaccard(nothing, nothing).tolist() == []


@given(
    st.one_of(st.text(WRITTEN), st.text(st.characters(max_codepoint=127)), st.text("aZ_9 -é\n包裹"))
)
def test_words_are_runs_of_letters_digits_and_underscores(text: str) -> None:
    spaced = "".join(f" {c} " if "\u3400" <= c <= "\u9fff" else c for c in text.lower())
    words = re.findall(r"\w+", spaced)
    hashes = word_hashes(text).tolist()
    assert len(hashes) == len(words)
    assert hashes == [hashed for word in words for hashed in word_hashes(word)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't re-send A_1!", ["don", "t", "re", "send", "a_1"]),
        ("Größe: 5µm", ["größe", "5µm"]),
        ("a\x1cb\x00c", ["a", "b", "c"]),
        ("\u212aELVIN", ["kelvin"]),
        ("... --- !!!", []),
        ("", []),
    ],
)
def test_word_hashes(text: str, words: list[str]) -> None:
    assert word_hashes(text).tolist() == [word_hashes(word)[0] for word in words]
    assert len(set(word_hashes(text))) == len(set(words))
    assert word_hashes(text).itemsize == 4


def test_forgotten_words_get_the_same_hash_again(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "one two three four five six seven"
    once = word_hashes(text)
    monkeypatch.setattr(words_module, "_vocabulary", words_module._Vocabulary())
    monkeypatch.setattr(words_module, "_REMEMBERED", 3)
    assert word_hashes(text) == once
    assert len(words_module._vocabulary) <= 3


@given(st.lists(st.integers(0, 4), max_size=8), st.data())
def test_take_parts(lengths: list[int], data: st.DataObject) -> None:
    rows = data.draw(
        st.lists(st.sampled_from(range(len(lengths))), max_size=8) if lengths else NONE
    )
    begins = [0, *accumulate(lengths)]
    expected = [place for row in rows for place in range(begins[row], begins[row + 1])]
    counts = np.array(lengths, np.int64)
    assert starts(counts).tolist() == begins[:-1]
    assert take_parts(counts, np.array(rows, np.int64)).tolist() == expected


@given(st.lists(st.integers(0, 9), max_size=20), st.integers(1, 12))
def test_blocks_hold_all_rows_once_and_as_many_as_fit(counts: list[int], most: int) -> None:
    made = list(blocks(np.array(counts, np.int64), most))
    assert [row for block in made for row in range(len(counts))[block]] == list(range(len(counts)))
    for block in made:
        sizes = counts[block]
        assert len(sizes) == 1 or sum(sizes) <= most
        assert block.stop == len(counts) or sum(sizes) + counts[block.stop] > most


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("我的包裹 still 没到。", ["我", "的", "包", "裹", "still", "没", "到"]),
        ("注文123がまだ", ["注", "文", "123", "が", "ま", "だ"]),
        ("café über naïve", ["café", "über", "naïve"]),
        ("посылка где", ["посылка", "где"]),
        ("한국어 띄어쓰기", ["한국어", "띄어쓰기"]),
    ],
)
def test_scripts_without_spaces_have_a_word_per_character(text: str, words: list[str]) -> None:
    assert word_hashes(text) == word_hashes(" . ".join(words))
    assert len(word_hashes(text)) == len(words)
