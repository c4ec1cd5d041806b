import pytest
from prepare_columns import LABELS, TEXTS, table

from ftool.prepare.read.mapping import (
    RULES,
    Rule,
    candidates,
    column_named,
    fold,
    lacks_header,
    says_nothing,
    words_of,
)
from ftool.prepare.read.survey import Survey, survey

LOOKS = (
    *("flag", "verdict", "number", "date", "identifier", "label", "text"),
    *("turns", "pairs", "strings", "list", "object", "media"),
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.part)
def test_a_rule_takes_its_names_with_its_looks_and_no_others(rule: Rule) -> None:
    assert len(set(rule.names)) == len(rule.names)
    for look in LOOKS:
        for name in (rule.names[0], rule.names[-1]):
            seen = Survey({name: look})  # type: ignore[dict-item]
            assert bool(candidates(rule.part, [name], seen)) == (look in rule.looks), (name, look)
    assert not candidates(rule.part, ["zzz"], Survey({"zzz": next(iter(rule.looks))}))


def test_a_part_is_listed_once() -> None:
    assert len({rule.part for rule in RULES}) == len(RULES)


def test_a_header_that_is_a_row() -> None:
    rows = table(**{"bill": LABELS, "the invoice is wrong": TEXTS})
    assert lacks_header(list(rows[0]), survey(rows))
    twice = [*table(text=TEXTS, label=LABELS), {"text": "text", "label": "label"}]
    assert not lacks_header(list(twice[0]), survey(twice))
    asked = table(
        **{"Timestamp": ["2026-01-02"], "How would you rate the help that you got today?": TEXTS}
    )
    assert not lacks_header(list(asked[0]), survey(asked))


def test_names() -> None:
    assert fold(" User-Message* ") == "user_message"
    assert words_of("customerIntent_fine") == {"customer", "intent", "fine"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [("kind", True), ("column_3", False), ("_view_id", False), ("prompt", False), ("id", False)],
)
def test_names_that_leave_open_what_a_column_holds(name: str, expected: bool) -> None:
    assert says_nothing(name) is expected


def test_columns_are_named_or_counted_from_one() -> None:
    assert [column_named(one, ["a", "b"]) for one in ("b", 1, 2, 3)] == ["b", "a", "b", "3"]
