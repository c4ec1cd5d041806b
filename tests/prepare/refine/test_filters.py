from collections.abc import Sequence
from typing import Any

import pytest

from ftool.errors import DataError
from ftool.example import Example, Message, Role
from ftool.prepare.read.rows import Finding
from ftool.prepare.refine import filters
from ftool.prepare.refine.filters import CHECKS, EMPTINESS, checks, find_fault
from ftool.prepare.write.describe import REASONS
from ftool.recipe.blocks.data import Data

CALL = ({"type": "function", "function": {"name": "f", "arguments": {}}},)
LOOP = "I want to cancel my order. " * 12
AWAY = "Thank you for your e-mail. I am out of the office until Monday."
REFUSAL = "As an AI language model, I cannot do that."


def data(**settings: Any) -> Data:
    kind = "text" if settings.get("quality") else "chat"
    made = {"sources": [{"path": "a.csv"}], "filter": settings, "kind": kind}
    return Data.model_validate(made)


def talk(*contents: str, label: str | None = None, roles: Sequence[Role] = ()) -> Example:
    names: Sequence[Role] = roles or ("user", "assistant") * len(contents)
    messages = tuple(map(Message, names, contents))
    return Example(id="a:1", messages=messages, label=label, source="a", line=1)


def text(content: str) -> Example:
    return Example(id="a", text=content)


def reason(example: Example, *, held_out: bool = False, **settings: Any) -> str:
    found = find_fault(example, data(**settings), held_out=held_out)
    return found.reason if found else ""


@pytest.mark.parametrize(
    ("example", "finding"),
    [
        (talk("hello", "x"), None),
        (talk("", "x"), Finding("empty_prompt", "nothing is left of the prompt")),
        (talk("hello", ""), Finding("empty_completion", "nothing is left of the completion")),
        (text(""), Finding("empty_text", "nothing is left of the text")),
        (talk("hi", "x"), Finding("too_short", "2 characters; at least 3", 2, 3)),
        (talk("h" * 40, "x" * 11), Finding("too_long", "51 characters; at most 50", 51, 50)),
        (text("ab"), Finding("too_short", "2 characters; at least 3", 2, 3)),
        (
            talk("hello", "hi", "", "x"),
            Finding("empty_turn", "message 3, by user, is empty"),
        ),
        (
            talk("hello", "", "again", "x"),
            Finding("empty_turn", "message 2, by assistant, is empty"),
        ),
    ],
)
def test_first_hit(example: Example, finding: Finding | None) -> None:
    settings = data(min_characters=3, max_characters=50)
    assert find_fault(example, settings, held_out=False) == finding


@pytest.mark.parametrize(
    ("example", "held_out", "expected"),
    [
        (talk("hi", "x"), "", ""),
        (talk("h" * 40, "x" * 40), "", ""),
        (talk("hello", REFUSAL), "", ""),
        (talk(AWAY, "thanks"), "", ""),
        (text(LOOP), "", ""),
        (talk("hello", "", "again", "x"), "", ""),
        (talk("", "x"), "empty_prompt", "empty_prompt"),
        (talk("hello", ""), "empty_completion", "empty_completion"),
        (text(""), "empty_text", "empty_text"),
    ],
)
def test_assigned_rows_go_only_when_empty(example: Example, held_out: str, expected: str) -> None:
    settings = {"min_characters": 3, "max_characters": 50}
    assert reason(example, held_out=True, **settings) == held_out
    assert reason(example, held_out=False, **settings) == expected or not expected


@pytest.mark.parametrize(
    ("roles", "place"),
    [
        ("su a", None),
        ("u a", None),
        ("a u a", None),
        ("s a u a", None),
        ("u A t a", None),
        ("u A t t a u a", None),
        ("u A t A t a", None),
        ("u A t u a", None),
        ("u s a", 2),
        ("s s u a", 2),
        ("u u a", 2),
        ("u a a", 3),
        ("u A a", 3),
        ("u a t a", 3),
        ("u t a", 2),
        ("t u a", 1),
    ],
)
def test_role_order(roles: str, place: int | None) -> None:
    """`A` is an assistant that calls a tool."""
    names: dict[str, Role] = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    messages = tuple(
        Message(names[letter.lower()], "words", tool_calls=CALL if letter == "A" else ())
        for letter in roles.replace(" ", "")
    )
    found = find_fault(Example(id="a", messages=messages), data(), held_out=False)
    if place is None:
        assert found is None
    else:
        assert found is not None and found.reason == "role_order"
        assert found.detail.startswith(f"message {place}, by ")


def test_tool_calls_need_no_content_and_tools_may_return_nothing() -> None:
    messages = (
        Message("user", "hello"),
        Message("assistant", "", tool_calls=CALL),
        Message("tool", ""),
        Message("assistant", "", tool_calls=CALL),
    )
    assert find_fault(Example(id="a", messages=messages), data(), held_out=False) is None


@pytest.mark.parametrize(
    ("example", "settings", "expected"),
    [
        (talk(LOOP, "x"), {}, "repetitive"),
        (talk("hello", LOOP), {}, "repetitive"),
        (text(LOOP), {}, "repetitive"),
        (talk(LOOP, "x"), {"repetition": None}, ""),
        (talk(LOOP, "x"), {"repetition": 1.0}, ""),
        (talk(AWAY, "x"), {}, "boilerplate"),
        (text(AWAY), {}, "boilerplate"),
        (talk("hello", AWAY), {}, "boilerplate"),
        (talk(AWAY, "x"), {"boilerplate": False}, ""),
        (talk("hello", REFUSAL), {}, "refusal"),
        (talk("hello", REFUSAL, "and now?", "Gladly."), {}, "refusal"),
        (talk("hello", REFUSAL), {"refusals": False}, ""),
        (talk(REFUSAL, "x"), {}, ""),
        (text(REFUSAL), {}, ""),
        (talk("hello", REFUSAL, label=REFUSAL), {}, ""),
        (talk("rules", REFUSAL, "x", roles=("system", "user", "assistant")), {}, ""),
    ],
)
def test_named_rules(example: Example, settings: dict[str, Any], expected: str) -> None:
    assert reason(example, **settings) == expected


def test_values_and_thresholds_are_told() -> None:
    found = find_fault(talk(LOOP, "x"), data(repetition=0.25), held_out=False)
    assert found is not None and found.threshold == 0.25
    assert found.value == pytest.approx(66 / 72)
    assert found.detail == "0.92 of the words stand in repeats; at most 0.25"


@pytest.fixture
def languages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []

    def detect(text: str) -> tuple[str, float]:
        asked.append(text)
        return ("unknown", 0.0) if len(text) < 20 else ("en" if "the" in text else "de", 0.75)

    monkeypatch.setattr(filters, "detect_language", detect)
    monkeypatch.setattr(filters, "wanted_languages", frozenset)
    return asked


def test_language(languages: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    german = talk("Wo bleibt mein Paket", "Es kommt morgen")
    found = find_fault(german, data(languages=["en", "fr"]), held_out=False)
    sentence = "detected `de` (confidence 0.75); kept are en, fr"
    assert found == Finding("language", sentence, 0.75, 0.5)
    assert reason(german, languages=["de"]) == reason(german) == ""
    assert reason(talk("where is the parcel", "soon"), languages=["en"]) == ""
    assert reason(talk("kurz", "ja"), languages=["en"]) == ""
    assert reason(german, held_out=True, languages=["en"]) == ""
    monkeypatch.setattr(filters, "detect_language", lambda _: ("de", 0.49))
    assert reason(german, languages=["en"]) == ""


def test_language_of_what_is_written(languages: list[str]) -> None:
    roles: tuple[Role, ...] = ("system", "user", "assistant")
    reason(talk("be kind", "hello", "x", roles=roles), languages=["en"])
    reason(talk("be kind", "hello", "x", roles=roles, label="x"), languages=["en"])
    assert languages == ["hello\nx", "hello"]


def test_language_codes_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(codes: tuple[str, ...]) -> frozenset[str]:
        raise DataError(f"unknown {codes}")

    monkeypatch.setattr(filters, "wanted_languages", refuse)
    with pytest.raises(DataError, match="xx"):
        reason(talk("hello", "x"), languages=["xx"])


def test_quality_is_for_texts() -> None:
    short = "A text of a few words that is no page of the web."
    assert reason(text(short)) == ""
    assert reason(text(short), quality=["gopher"]) == "gopher_word_count"
    assert reason(text(short), quality=["c4"]) == "c4_sentences"
    assert reason(text(short), quality=["c4", "gopher"]) == "c4_sentences"
    assert reason(text(short), held_out=True, quality=["gopher"]) == ""
    assert reason(talk(short, short), quality=["gopher", "c4"]) == ""


def test_stop_words_only_where_english_is_wanted(languages: list[str]) -> None:
    def rules(**settings: Any) -> set[str]:
        example = text("words " * 60)
        return {rule for rule, *_ in checks(example, data(**settings), held_out=False)}

    assert "gopher_stop_words" in rules(quality=["gopher"])
    assert "gopher_stop_words" in rules(quality=["gopher"], languages=["en", "de"])
    assert "gopher_stop_words" not in rules(quality=["gopher"], languages=["de"])


def test_checks_tell_every_rule_that_applies() -> None:
    told = list(checks(talk("hello", REFUSAL), data(max_characters=20), held_out=False))
    assert told == [
        ("empty_prompt", "there is a prompt", True),
        ("empty_completion", "there is a completion", True),
        ("role_order", "user and assistant take turns", True),
        ("too_short", "5 characters; at least 2", True),
        ("too_long", "47 characters; at most 20", False),
        ("repetitive", "no words stand in repeats; at most 0.5 of them may", True),
        ("boilerplate", "no message is automatic mail", True),
        ("refusal", "the assistant says `as an ai language model, ...`", False),
    ]
    held_out = checks(talk("hello", REFUSAL), data(), held_out=True)
    assert [rule for rule, _, _ in held_out] == ["empty_prompt", "empty_completion"]


def test_checks_measure_what_surely_passes() -> None:
    phrase = " ".join(f"w{number}" for number in range(20))
    other = " ".join(f"v{number}" for number in range(60))
    told = {
        rule: said
        for rule, said, _ in checks(text(f"{phrase} {other} {phrase}"), data(), held_out=False)
    }
    assert told["repetitive"] == "0.20 of the words stand in repeats; at most 0.5"


def test_the_first_fault_is_the_first_failed_check() -> None:
    for example in (talk("", ""), talk("h", LOOP), text(AWAY), talk(AWAY, REFUSAL)):
        failed = [rule for rule, _, passes in checks(example, data(), held_out=False) if not passes]
        assert reason(example) == failed[0]


def test_every_reason_has_words_and_its_place() -> None:
    assert set(CHECKS) <= set(REASONS)
    assert list(CHECKS)[:3] == sorted(EMPTINESS, key=list(CHECKS).index)


@pytest.mark.parametrize(
    ("prompt", "passes"),
    [
        *(("好", True), ("네", True), ("は", True), ("\N{THUMBS UP SIGN}", True)),
        *(("k", False), ("?", False), ("é", False), ("\N{HALFWIDTH KATAKANA LETTER HA}", False)),
    ],
)
def test_one_wide_character_is_long_enough(prompt: str, passes: bool) -> None:
    for example in (talk(prompt, "x"), text(prompt)):
        assert (reason(example) != "too_short") is passes
    assert reason(talk(prompt, "x"), min_characters=3) == "too_short"
