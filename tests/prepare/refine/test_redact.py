import json
import sys
import time
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftool.errors import DataError
from ftool.example import Example, Message
from ftool.prepare.refine import redact as module
from ftool.prepare.refine.redact import find_personal_data, redact
from ftool.recipe.blocks.data import Clean

MASK = Clean()


def chat(*contents: str, **fields: Any) -> Example:
    roles = ("user", "assistant")
    messages = tuple(
        Message(role=roles[place % 2], content=content)  # type: ignore[arg-type]
        for place, content in enumerate(contents)
    )
    return Example(id="a", messages=messages, **fields)


def contents(example: Example) -> list[str]:
    return [message.content for message in example.messages]


def test_one_value_has_one_number_in_the_whole_example() -> None:
    example = chat(
        "I am jo@example.com, call +44 7700 900123",
        "Is it JO@Example.com or al@example.com? 07700 900123?",
    )
    masked, counts = redact(example, MASK)
    assert contents(masked) == [
        "I am [EMAIL_1], call [PHONE_1]",
        "Is it [EMAIL_1] or [EMAIL_2]? [PHONE_1]?",
    ]
    assert counts == {"EMAIL": 3, "PHONE": 2}
    assert list(counts) == sorted(counts)


def test_numbers_begin_anew_in_the_next_example() -> None:
    for address in ("jo@example.com", "al@example.com"):
        masked, _ = redact(Example(id="a", text=f"to {address}"), MASK)
        assert masked.text == "to [EMAIL_1]"


def test_nothing_found_is_the_same_object() -> None:
    call = {"function": {"name": "f", "arguments": {"n": 1, "s": ["a"]}}}
    messages = (Message("user", "hi"), Message("assistant", "", tool_calls=(call,)))
    for example in (
        chat("hi", "hello"),
        Example(id="a", text="hi"),
        Example(id="a", messages=messages, extra={"note": "none", "n": 3, "rest": ["x", None]}),
    ):
        masked, counts = redact(example, MASK)
        assert masked is example
        assert counts == {}


@pytest.mark.parametrize("names", [False, True])
def test_keep_returns_at_once(names: bool) -> None:
    example = chat("jo@example.com")
    masked, counts = redact(example, Clean(personal_data="keep", names=names))
    assert masked is example
    assert counts == {}


def test_drop_counts_the_same() -> None:
    example = chat("jo@example.com, 203.0.113.7")
    assert redact(example, Clean(personal_data="drop")) == redact(example, MASK)
    assert redact(example, MASK)[1] == {"EMAIL": 1, "IP": 1}


def test_every_role_and_tool_calls_and_results() -> None:
    as_values = {"function": {"name": "mail", "arguments": {"to": ["jo@example.com"], "n": 2}}}
    as_json = {
        "id": "5550100",
        "function": {"name": "f", "arguments": '{"phone": "2125550123", "pin": "4821"}'},
    }
    flat = {"name": "jo@example.com", "arguments": "jo@example.com {not json"}
    example = Example(
        id="jo@example.com",
        messages=(
            Message("system", "You answer for al@example.com"),
            Message("user", "hi"),
            Message("assistant", "", tool_calls=(as_values, as_json, flat)),
            Message("tool", '{"mail": "jo@example.com"}', name="mail", tool_call_id="5550100"),
        ),
        group="jo@example.com",
        source="jo@example.com",
    )
    masked, counts = redact(example, MASK)
    assert masked.messages[0].content == "You answer for [EMAIL_1]"
    values, text, plain = masked.messages[2].tool_calls
    assert values == {"function": {"name": "mail", "arguments": {"to": ["[EMAIL_2]"], "n": 2}}}
    assert text["id"] == "5550100"
    assert json.loads(text["function"]["arguments"]) == {"phone": "[PHONE_1]", "pin": "[SECRET_1]"}
    assert plain == {"name": "jo@example.com", "arguments": "[EMAIL_2] {not json"}
    assert masked.messages[3].content == '{"mail": "[EMAIL_2]"}'
    assert masked.messages[3].tool_call_id == "5550100"
    assert (masked.id, masked.group, masked.source) == ("jo@example.com",) * 3
    assert counts == {"EMAIL": 4, "PHONE": 1, "SECRET": 1}
    assert example.messages[2].tool_calls[0] is as_values
    assert as_values["function"]["arguments"] == {"to": ["jo@example.com"], "n": 2}


def test_kept_columns_are_masked_and_their_name_announces() -> None:
    extra = {
        "user_phone": "2125550123",
        "order_id": "2125550123",
        "age": 3,
        "mail": "jo@example.com",
    }
    masked, counts = redact(Example(id="a", text="jo@example.com", extra=extra), MASK)
    assert masked.extra == {
        "user_phone": "[PHONE_1]",
        "order_id": "2125550123",
        "age": 3,
        "mail": "[EMAIL_1]",
    }
    assert counts == {"EMAIL": 2, "PHONE": 1}


def test_the_order_of_columns_changes_nothing() -> None:
    columns = {"b": "al@example.com", "a": "jo@example.com"}
    turned = dict(reversed(columns.items()))
    results = [redact(Example(id="a", text="x", extra=extra), MASK) for extra in (columns, turned)]
    assert results[0] == results[1]
    assert results[0][0].extra == {"a": "[EMAIL_1]", "b": "[EMAIL_2]"}


def test_a_label_that_is_the_answer_stays() -> None:
    label = "write to jo@example.com"
    masked, counts = redact(chat("from jo@example.com", label, label=label), MASK)
    assert contents(masked) == ["from [EMAIL_1]", label]
    assert masked.label == label
    assert counts == {"EMAIL": 1}
    masked, _ = redact(chat("hi", label, label="mail"), MASK)
    assert contents(masked) == ["hi", "write to [EMAIL_1]"]


def test_placeholders_stay_and_their_numbers_are_not_given_again() -> None:
    masked, counts = redact(chat("jo@example.com", "not [EMAIL_7] but [PHONE_2]"), MASK)
    assert contents(masked) == ["[EMAIL_8]", "not [EMAIL_7] but [PHONE_2]"]
    assert counts == {"EMAIL": 1}
    assert redact(masked, MASK) == (masked, {})


@pytest.mark.parametrize(
    "around",
    [
        "```py\nx = '{}'\n```",
        "run `x {}` now",
        'client = Client("{}")',
        "to = '{}'",
        "~~~\n{}",
    ],
)
def test_samples_in_code_stay_and_what_may_be_somebodys_goes(around: str) -> None:
    for sample in ("user@example.com", "203.0.113.7", "AKIAIOSFODNN7EXAMPLE"):
        assert find_personal_data(around.format(sample)) == []
    for value, kind in (("anna@kunde.de", "EMAIL"), ("81.2.69.160", "IP")):
        text = around.format(value)
        assert [(f.kind, text[f.start : f.end]) for f in find_personal_data(text)] == [
            (kind, value)
        ]


@pytest.mark.parametrize("text", ["write to user@example.com", "'user@example.com' bounced"])
def test_samples_in_prose_are_masked_as_any_other(text: str) -> None:
    assert [found.kind for found in find_personal_data(text)] == ["EMAIL"]


PARTS = st.sampled_from(
    [
        *("jo@example.com", "+44 7700 900123", "4111 1111 1111 1111", "203.0.113.7", "2001:db8::1"),
        *("DE89 3704 0044 0532 0130 00", "078-05-1120", "password: hunter2", "call 5550100"),
        *("[EMAIL_1]", "[CARD_2]", "order 12345678", "2024-05-12", "https://u:p1@example.com"),
        *(" ", "\n", ".", ", ", ":", "@", "-", "(", ")", "x", "é", "١٢٣٤٥٦٧", "12"),
    ]
)


@given(st.lists(PARTS | st.text(max_size=6), max_size=12))
def test_spans_are_ordered_apart_and_inside(parts: list[str]) -> None:
    text = "".join(parts)
    position = 0
    for found in find_personal_data(text):
        assert position <= found.start < found.end <= len(text)
        position = found.end


@given(st.lists(PARTS | st.text(max_size=6), min_size=1, max_size=12))
def test_a_masked_text_keeps_its_rest(parts: list[str]) -> None:
    text = " ".join(parts)
    finds = find_personal_data(text)
    masked, counts = redact(Example(id="a", text=text), MASK)
    assert sum(counts.values()) == len(finds)
    rest = masked.text or ""
    position = 0
    for _, start, end in finds:
        untouched = text[position:start]
        assert rest.startswith(untouched + "[")
        rest = rest[len(untouched) :].partition("]")[2]
        position = end
    assert rest == text[position:]


HOSTILE = {
    "letters": "a" * 100_000,
    "at": "@" * 100_000,
    "local": "a." * 50_000 + "@",
    "quoted": "a'" * 50_000,
    "domain": "a@" + "a." * 50_000,
    "addresses": "a@b.c" * 20_000,
    "digits": "1" * 100_000,
    "spaced": "1 " * 50_000,
    "cards": "4 1" * 33_000,
    "dashes": "0-" * 50_000,
    "dots": "1." * 50_000,
    "colons": "a:" * 50_000,
    "all colons": ":" * 100_000,
    "plus": "+1" * 50_000,
    "open": "(0" * 50_000,
    "call": "call 5550100 " * 7_000,
    "cue": "phone tel call " * 6_000 + "555",
    "assign": "password=" * 11_000,
    "is": "password is " * 8_000,
    "quotes": 'token="' * 14_000,
    "urls": "a://b:" * 16_000 + "@",
    "begin": "-----BEGIN RSA PRIVATE KEY-----\n" * 3_000,
    "key lines": "-----BEGIN PRIVATE KEY-----\n" + "A" * 90_000,
    "tokens": "eyJ" * 33_000 + ".eyJ",
    "dotted tokens": "eyJaaaaaaa." * 9_000,
    "prefixes": "ghp_" * 25_000,
    "bearer": "Bearer " * 14_000,
    "iban": "DE89" * 25_000,
    "ids": "order number " * 7_000 + "1234567",
    "white": " " * 100_000 + "1",
    "placeholders": "[EMAIL_1]" * 11_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_takes_linear_time(text: str) -> None:
    """Eight times the text takes eight times as long, not 64 times."""
    part = min(_seconds(text[-12_500:]) for _ in range(3))
    assert _seconds(text) < 24 * part + 0.05


def _seconds(text: str) -> float:
    started = time.process_time()
    find_personal_data(text)
    return time.process_time() - started


class _Recognizer:
    def __init__(self, supported_entities: list[str]) -> None:
        assert supported_entities == ["PERSON", "LOCATION"]


class _Analyzer:
    built = 0

    def __init__(self, **parts: Any) -> None:
        _Analyzer.built += 1

    def analyze(self, text: str, language: str, entities: list[str]) -> list[Any]:
        places = [(name, text.find(name)) for name in ("Ada Lovelace", "Ada", "London", "jo@")]
        return [
            SimpleNamespace(start=start, end=start + len(name))
            for name, start in places
            if start >= 0
        ]


@pytest.fixture
def presidio(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A stand-in of the same shape; `installed` says which packages are found."""
    package = ModuleType("presidio_analyzer")
    engines = ModuleType("presidio_analyzer.nlp_engine")
    recognizers = ModuleType("presidio_analyzer.predefined_recognizers")
    models: list[Any] = []
    vars(package).update(AnalyzerEngine=_Analyzer, RecognizerRegistry=lambda recognizers: None)
    vars(engines).update(SpacyNlpEngine=lambda models: state["models"].extend(models))
    vars(recognizers).update(SpacyRecognizer=_Recognizer)
    for stand_in in (package, engines, recognizers):
        monkeypatch.setitem(sys.modules, stand_in.__name__, stand_in)
    state: dict[str, Any] = {"installed": {"presidio-analyzer", "en_core_web_sm"}, "models": models}
    monkeypatch.setattr(module, "_is_installed", lambda name: name in state["installed"])
    _Analyzer.built = 0
    module._name_finder.cache_clear()
    yield state
    module._name_finder.cache_clear()


def test_names_by_the_installed_model(presidio: dict[str, Any]) -> None:
    settings = Clean(names=True)
    example = chat(
        "Ada Lovelace of London, jo@example.com", "Dear ada  lovelace, Ada Lovelace", " "
    )
    masked, counts = redact(example, settings)
    assert contents(masked) == [
        "[NAME_1] of [NAME_2], [EMAIL_1]",
        "Dear ada  lovelace, [NAME_1]",
        " ",
    ]
    assert counts == {"EMAIL": 1, "NAME": 3}
    redact(example, settings)
    assert _Analyzer.built == 1
    assert presidio["models"] == [{"lang_code": "en", "model_name": "en_core_web_sm"}]


@pytest.mark.parametrize(
    ("installed", "hint"),
    [
        (set(), "pip install 'ftool[pii]'"),
        ({"presidio-analyzer"}, "python -m spacy download en_core_web_sm"),
    ],
)
def test_names_without_what_finds_them(
    presidio: dict[str, Any], installed: set[str], hint: str
) -> None:
    presidio["installed"] = installed
    with pytest.raises(DataError, match="names") as raised:
        redact(chat("Ada"), Clean(names=True))
    assert hint in raised.value.hint
