from time import perf_counter
from typing import Any

import pytest

from ftool.prepare.read.survey import Survey, look_of, survey


@pytest.mark.parametrize(
    ("values", "look"),
    [
        (["", None, float("nan"), []], "empty"),
        ([True, False], "flag"),
        (["true", "False", ""], "flag"),
        (["accept", "reject", "ignore"], "verdict"),
        (["accept", "maybe"] * 6, "label"),
        ([1, 2.5, "-3", "1,000", "7%"], "number"),
        (["2026-01-02", "2026-01-02T10:00:01Z"], "date"),
        (["01/02/2026", "3.4.2026 10:00"], "date"),
        (["Tue Oct 31 22:10:47 +0000 2017"], "date"),
        (["ham", "spam", "ham", "spam"], "label"),
        (["card arrival", "lost card"] * 10, "label"),
        (["where is it", "it never came", "cancel it", "pay me"], "text"),
        (["A-1", "B-2", "C-33"], "identifier"),
        (["10.1.2.3", "10.1.2.3", "10.1.2.4"], "identifier"),
        (["https://a.example/x"] * 5, "identifier"),
        ([[{"role": "user", "content": "q"}]], "turns"),
        (['[{"from": "human", "value": "q"}]'], "turns"),
        ([[["q", "a"]]], "pairs"),
        ([["a", "b"], ["c"]], "strings"),
        ([[1, 2], [3]], "list"),
        ([{"text": ["a"]}], "object"),
        ([{"bytes": b"", "path": "x.png"}], "media"),
        ([b"\x89PNG"], "media"),
    ],
)
def test_what_values_look_like(values: list[Any], look: str) -> None:
    assert look_of(values) == look


def test_a_long_text_that_repeats_is_no_label() -> None:
    text = "Answer the question of the customer in two short sentences, without a greeting."
    assert look_of([text] * 50) == "text"
    asked = "\u6211\u4eec\u660e\u5929\u4e5d\u70b9\u5f00\u95e8" * 4  # no blanks between words
    assert look_of([asked] * 50) == "text"


def test_many_different_short_texts_are_no_labels() -> None:
    assert look_of([f"pay bill {number % 30} now" for number in range(40)]) == "text"
    assert look_of([f"intent {number % 20}" for number in range(40)]) == "label"


def test_a_column_and_the_names_of_its_numbers_are_twins() -> None:
    rows = [{"label": n % 3, "label_text": "abc"[n % 3], "lang": "en"} for n in range(12)]
    found = survey(rows)
    assert found.are_twins(("label", "label_text"))
    assert not found.are_twins(("label", "lang"))
    assert (found.rows, found.spread["label"], found.filled["lang"]) == (12, 3, 1.0)
    assert found.values["label_text"] == ("a", "b", "c")


def test_a_column_nobody_has_looked_at() -> None:
    assert Survey().look("x") == "unknown"
    assert survey([{"a": ""}, {"a": "b c"}]).filled == {"a": 0.5}


def test_many_columns_and_large_values_are_looked_at_quickly() -> None:
    start = perf_counter()
    survey([{f"c{n}": n * row % 7 for n in range(400)} for row in range(500)])
    assert perf_counter() - start < 10
    found = survey([{"image": {"bytes": b"x" * 1000, "path": "a"}, "text": "a b " * 999}] * 9)
    assert "image" not in found.values and "text" not in found.values
