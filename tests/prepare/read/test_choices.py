from typing import Any

import pytest

from ftool.prepare.read.choices import chosen
from ftool.prepare.read.rows import Unusable

LISTED = "A. a lamp\nB. a desk\nC. a chair"
TEXTS = ["a lamp", "a desk", "a chair"]


@pytest.mark.parametrize("right", [1, "1", "B", "a desk", " B "])
@pytest.mark.parametrize(
    "choices",
    [
        TEXTS,
        {"label": ["A", "B", "C"], "text": TEXTS},
        [{"label": name, "text": text} for name, text in zip("ABC", TEXTS, strict=True)],
    ],
)
def test_the_right_one_in_many_forms(choices: Any, right: Any) -> None:
    listed, answer = chosen(choices, right)
    assert (listed, answer.role, answer.content) == (LISTED, "assistant", "a desk")


def test_own_labels_go_before_indices() -> None:
    listed, answer = chosen({"label": ["1", "2", "3"], "text": TEXTS}, "1")
    assert listed.startswith("1. a lamp") and answer.content == "a lamp"


@pytest.mark.parametrize(("choices", "right"), [(TEXTS, 3), (TEXTS, None), ([], 0), ("x", 0)])
def test_none_of_them(choices: Any, right: Any) -> None:
    with pytest.raises(Unusable) as caught:
        chosen(choices, right)
    assert caught.value.reason == "unknown_choice"


def test_a_number_is_an_index_also_where_choices_are_numbers() -> None:
    assert chosen(["4", "2", "0", "6"], 2)[1].content == "0"
    assert chosen(["4", "2", "0", "6"], "2")[1].content == "2"


def test_more_choices_than_letters_are_numbered() -> None:
    listed, answer = chosen([f"choice {n}" for n in range(30)], 29)
    assert listed.startswith("1. choice 0\n") and answer.content == "choice 29"
