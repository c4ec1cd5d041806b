from typing import Any

import pytest

from ftool.prepare.read.proposal import ambiguous_label, named, unknown_columns
from ftool.prepare.read.shape import AmbiguousLabel
from ftool.prepare.read.survey import Survey, survey

TEXTS = [f"{who} wrote that the {thing} is broken" for who in ("Ann", "Bob") for thing in "abcdef"]


def table(**columns: Any) -> list[dict[str, Any]]:
    return [{name: values[n % len(values)] for name, values in columns.items()} for n in range(12)]


def hint(columns: dict[str, Any], kind: str = "chat") -> tuple[str, str]:
    rows = table(**columns)
    found = unknown_columns("a.csv", list(rows[0]), kind, survey(rows))
    return found.code, found.hint.partition("recipe: ")[2] or found.hint


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (
            {"no": range(12), "who": TEXTS, "team_x": ["a", "b"]},
            "columns: {prompt: who, label: team_x}",
        ),
        ({"frage_x": TEXTS, "was": TEXTS}, "columns: {prompt: frage_x, completion: was}"),
        ({"a b": TEXTS, "c: d": ["x", "y"]}, 'columns: {prompt: a b, label: "c: d"}'),
        ({"words": TEXTS, "n:": [0, 1]}, 'columns: {prompt: words, label: "n:"}'),
        (
            {"thread_id": [1, 1, 2], "author": ["Ann", "Bob"], "body": TEXTS},
            "columns: {conversation: thread_id, role: author, content: body}, roles: "
            "{user: [Ann], assistant: [Bob]}",
        ),
    ],
)
def test_what_to_write_follows_from_what_columns_hold(columns: Any, expected: str) -> None:
    assert hint(columns) == ("unknown_columns", expected)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"bill": ["bill", "ship"], TEXTS[0]: TEXTS}, "columns: {prompt: 2, label: 1}"),
        (
            {"1": [0, 1], "Ann wrote that the z is quite broken today": TEXTS},
            "{prompt: 2, label: 1}",
        ),
        ({TEXTS[0]: TEXTS, TEXTS[1]: TEXTS[::-1]}, "columns: {prompt: 1, completion: 2}"),
    ],
)
def test_a_first_line_that_is_a_row(columns: Any, expected: str) -> None:
    code, told = hint(columns)
    assert code == "no_header" and expected in told and "header: none" in told


@pytest.mark.parametrize("name", ["rejected", "Rejected", "dispreferred"])
def test_nothing_ever_proposes_to_learn_what_was_rejected(name: str) -> None:
    for other in ({"asked": TEXTS}, {"x": ["a", "b"]}, {}):
        rows = table(**{**other, name: TEXTS})
        found = unknown_columns("a.csv", list(rows[0]), "chat", survey(rows))
        assert f": {name}" not in found.hint


def test_nothing_to_learn_from() -> None:
    assert "no column holds text" in hint({"n": range(12), "m": range(12)})[1]
    assert "data.kind=text" in hint({"words": TEXTS})[1]
    assert hint({"page": TEXTS, "n": range(12)}, "text")[1] == "columns: {text: page}"


def test_a_question_names_one_that_works_as_it_stands() -> None:
    found = ambiguous_label("a.csv", AmbiguousLabel(("kind", "topic"), "words"))
    assert found.code == "ambiguous_label"
    assert found.hint.endswith("columns: {prompt: words, label: kind}")


def test_many_columns_are_cut() -> None:
    assert named([f"c{n}" for n in range(30)]).endswith("and 10 more")
    assert unknown_columns("a", ["x" * 999], "chat", Survey()).message.count("x") < 200


def test_who_opens_is_the_user_where_names_say_nothing() -> None:
    def told(*speakers: str) -> str:
        rows = table(
            thread_id=[1, 1, 2], sender=list(speakers), body=TEXTS, timestamp=["2026-01-02"]
        )
        return unknown_columns("a.csv", list(rows[0]), "chat", survey(rows)).hint

    assert told("Zoe", "Bob").endswith("roles: {user: [Zoe], assistant: [Bob]}")
    assert told("Zoe", "visitor").endswith("roles: {user: [visitor], assistant: [Zoe]}")
    assert told("agent", "Zoe").endswith("roles: {user: [Zoe], assistant: [agent]}")
    assert "content: body, time: timestamp}" in told("Zoe", "Bob")
