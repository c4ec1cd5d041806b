from datetime import datetime
from typing import Any

import pytest

from ftool.prepare.read.rows import Row
from ftool.prepare.read.survey import survey
from ftool.prepare.read.threads import thread_columns, thread_rows
from ftool.recipe.blocks.data import Source

COLUMNS = {"conversation": "chat", "role": "who", "content": "said"}


def rows(*records: dict[str, Any]) -> list[Row]:
    return [Row(number, record, record) for number, record in enumerate(records, start=2)]


def spoken(found: list[Row]) -> list[list[tuple[str, str]]]:
    return [
        [(m["role"], m["content"]) for m in row.values["messages"]] for row in found if row.values
    ]


MESSAGES = [
    {"chat": "A", "when": "2026-01-02T10:02", "who": "agent", "said": "a", "team": ""},
    {"chat": "B", "when": "2026-01-02T10:01", "who": "customer", "said": "r", "team": "x"},
    {"chat": "A", "when": "2026-01-02T10:00", "who": "customer", "said": "q", "team": "y"},
]


def test_rows_become_conversations() -> None:
    found = list(thread_rows(rows(*MESSAGES), COLUMNS))
    assert spoken(found) == [[("agent", "a"), ("customer", "q")], [("customer", "r")]]
    assert [row.line for row in found] == [2, 3]
    assert found[0].values == {
        **{"chat": "A", "when": "2026-01-02T10:02", "team": "y"},
        "messages": found[0].values["messages"],
    }


def test_a_time_orders_them() -> None:
    found = list(thread_rows(rows(*MESSAGES), {**COLUMNS, "time": "when"}))
    assert spoken(found)[0] == [("customer", "q"), ("agent", "a")]


@pytest.mark.parametrize(
    ("early", "late"),
    [
        (9, 10),
        ("9", "10"),
        ("2026-01-02T10:00:00Z", "2026-01-02T12:00:00+01:00"),
        (datetime(2026, 1, 2), datetime(2026, 1, 3)),
        ("Tue Oct 31 22:10:47 +0000 2017", "Wed Nov 01 01:00:00 +0000 2017"),
        ("9/30/2025 10:00", "10/01/2025 09:00"),
        ("30/9/2025 10:00", "01/10/2025 09:00"),
        ("30.9.2025 10:00", "01.10.2025 09:00"),
        ("Mon, 01 Sep 2025 10:00:00 +0000", "Wed, 01 Oct 2025 10:00:00 +0000"),
    ],
)
def test_times_in_many_forms(early: Any, late: Any) -> None:
    records = [{**MESSAGES[0], "when": late}, {**MESSAGES[2], "when": early}]
    found = list(thread_rows(rows(*records), {**COLUMNS, "time": "when"}))
    assert spoken(found) == [[("customer", "q"), ("agent", "a")]]


@pytest.mark.parametrize("wrong", ["soon", "", None, float("nan"), 10**400])
def test_a_conversation_that_cannot_be_ordered_goes_alone(wrong: Any) -> None:
    records = [*MESSAGES[:2], {**MESSAGES[2], "when": wrong}]
    found = list(thread_rows(rows(*records), {**COLUMNS, "time": "when"}))
    assert [(row.line, row.reason) for row in found] == [(2, "unordered_time"), (3, "")]
    assert found[0].raw == [MESSAGES[0], records[2]] and "line 4" in found[0].detail


def test_a_day_that_could_be_the_month_is_not_guessed() -> None:
    records = [{**MESSAGES[0], "when": f"0{n}/01/2024 10:00"} for n in (1, 2)]
    found = list(thread_rows(rows(*records), {**COLUMNS, "time": "when"}))
    assert [row.reason for row in found] == ["unordered_time"]


@pytest.mark.parametrize("nobody", ["", " ", None, float("nan")])
def test_messages_of_no_conversation_are_not_joined(nobody: Any) -> None:
    found = list(thread_rows(rows({**MESSAGES[0], "chat": nobody}, *MESSAGES[:1]), COLUMNS))
    assert [(row.line, row.reason) for row in found] == [(2, "missing_field"), (3, "")]


def test_splits_stay_apart() -> None:
    both = [Row(n, MESSAGES[0], MESSAGES[0], split=s) for n, s in ((1, None), (2, "test"))]
    assert [row.split for row in thread_rows(both, COLUMNS)] == [None, "test"]


def test_rows_that_cannot_be_read_are_passed_on() -> None:
    broken, lacking = Row(2, "x", reason="broken_json"), Row(3, {"chat": "A"}, {"chat": "A"})
    found = list(thread_rows([broken, lacking, *rows(*MESSAGES)], COLUMNS))
    assert found[:2] == [broken, lacking] and len(found) == 4


def found_columns(records: list[dict[str, Any]], **source: Any) -> dict[str, str] | None:
    return thread_columns(Source(path="a.csv", **source), survey(records))


def helpdesk(who: tuple[str, str] = ("customer", "agent")) -> list[dict[str, Any]]:
    return [
        {"ticket_id": n // 2, "author": who[n % 2], "body": f"text number {n} of some words"}
        for n in range(20)
    ]


def test_columns_that_make_every_row_a_message_are_found() -> None:
    assert found_columns(helpdesk()) == {
        "conversation": "ticket_id", "role": "author", "content": "body",
    }  # fmt: skip
    own = {"roles": {"user": ["p*"], "assistant": ["d*"]}}
    assert found_columns(helpdesk(("p1", "d1")), **own) is not None


@pytest.mark.parametrize(
    "records",
    [
        helpdesk(("Ann", "Bob")),
        helpdesk(("customer", "customer")),
        [{**row, "ticket_id": n} for n, row in enumerate(helpdesk())],
        [{"ticket_id": n // 2, "body": f"text {n} of words"} for n in range(20)],
    ],
)
def test_others_are_left_alone(records: list[dict[str, Any]]) -> None:
    assert found_columns(records) is None


def test_named_columns_go_first() -> None:
    named = {"conversation": 1, "role": "author", "content": "body"}
    assert found_columns(helpdesk(("Ann", "Bob")), columns=named) == {
        "conversation": "ticket_id", "role": "author", "content": "body",
    }  # fmt: skip
    assert found_columns(helpdesk(), columns={"prompt": "body", "label": "author"}) is None


def test_a_mistyped_column_makes_no_conversations() -> None:
    named = {"conversation": "ticket", "role": "author", "content": "body"}
    assert found_columns(helpdesk(), columns=named) is None
