import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftool.prepare.refine.repetition import (
    repeated_parts_shares,
    repeated_phrases_share,
    repeated_share,
    top_phrase_share,
)

LOOP = "I want to cancel my order. " * 12
POEM = """The tide comes in, the tide goes out,
the gulls are crying all about,
   and home we sail again, my dear,
   and home we sail again.

The nets are wet, the wind is cold,
the captain's coat is grey and old,
   and home we sail again, my dear,
   and home we sail again.

A lamp is lit upon the quay,
it shines for you, it shines for me,
   and home we sail again, my dear,
   and home we sail again."""
TABLE = "\n".join(
    f"{number} | cotton shirt, size M, colour blue | 1 piece | 19.90 EUR"
    for number in range(101, 121)
)
CELLS = "\n".join(f"Shirt {number}\nQuantity\n1\nPrice\n19.90 EUR" for number in range(12))
STEPS = "\n".join(
    f"- step {number}: open the menu and choose entry {number}" for number in range(15)
)
CHINESE = "我想取消我的订单因为包裹还没有到。" * 12


@pytest.mark.parametrize("text", [LOOP, "please " * 40, "no\n" * 40, CHINESE])
def test_loops_repeat(text: str) -> None:
    assert repeated_share(text) > 0.5
    assert repeated_share(text, ignored=0.5) == repeated_share(text)


@pytest.mark.parametrize("text", [POEM, TABLE, CELLS, STEPS, "short " * 19, "", " \n\n "])
def test_refrains_lists_and_tables_do_not(text: str) -> None:
    assert repeated_share(text) <= 0.5


def test_shares() -> None:
    phrase = " ".join(f"w{number}" for number in range(18))
    other = " ".join(f"v{number}" for number in range(18))
    assert repeated_share(f"{phrase} {phrase}") == 0.5
    assert repeated_share(f"{phrase} {other} {phrase}") == pytest.approx(1 / 3)
    line = "four words a line"
    assert repeated_share(f"{line}\n{phrase}\n{line}\n") == pytest.approx(4 / 26)
    assert repeated_share(f"three words here\n{phrase} {other}\nthree words here") == 0.0
    assert repeated_share(f"{line}\n{phrase}\n{line}\n", ignored=0.5) == 0.0


def test_letters_count_only_where_there_are_no_spaces() -> None:
    assert repeated_share("a" * 1_000) == 0.0
    assert repeated_share('{"key":"value"},' * 100) == 0.0
    assert repeated_share("我的订单") == 0.0


@given(st.text(alphabet=st.sampled_from("ab \n"), max_size=300), st.sampled_from([0.2, 0.5, 0.9]))
def test_the_short_way_never_hides_a_hit(text: str, most: float) -> None:
    exact = repeated_share(text)
    assert 0.0 <= exact < 1.0
    assert (repeated_share(text, ignored=most) > most) == (exact > most)


@given(st.lists(st.sampled_from("abcd"), max_size=60), st.integers(2, 5))
def test_phrases_by_brute_force(words: list[str], size: int) -> None:
    phrases = [tuple(words[start : start + size]) for start in range(len(words) - size + 1)]
    covered = {
        place
        for start, phrase in enumerate(phrases)
        if phrase in phrases[:start]
        for place in range(start, start + size)
    }
    assert repeated_phrases_share(words, size) == (len(covered) / len(words) if words else 0.0)


def test_the_most_frequent_phrase() -> None:
    words = ["to", "be", "or", "not", "to", "be"]
    assert top_phrase_share(words, 2) == pytest.approx(8 / 13)
    assert top_phrase_share(words, 3) == 0.0
    assert top_phrase_share([], 2) == 0.0
    assert top_phrase_share(["aa"] * 9, 2) == 1.0
    tie = ["a", "b", "a", "b", "long", "word", "long", "word"]
    assert top_phrase_share(["x", *tie], 2) == pytest.approx(16 / 21)


def test_parts() -> None:
    assert repeated_parts_shares(["ab", "cdef", "ab", "ab"]) == (0.5, 4 / 10)
    assert repeated_parts_shares([]) == (0.0, 0.0)


@pytest.mark.parametrize("text", ["a " * 50_000, "a b\n" * 25_000, "é" * 100_000, "我的 " * 30_000])
def test_long_texts_take_linear_time(text: str) -> None:
    started = time.process_time()
    repeated_share(text)
    assert time.process_time() - started < 1.0
