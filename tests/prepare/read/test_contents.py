from typing import Any

import pytest

from ftool.prepare.read.contents import (
    Contents,
    as_json,
    calls_of,
    content_of,
    joined,
    objects_of,
    parsed,
    plain,
    tools_of,
)
from ftool.prepare.read.rows import Unusable

DIM = {"type": "function", "function": {"name": "dim", "arguments": {"level": 4}}}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (float("nan"), ""),
        ("a", "a"),
        (3, "3"),
        (1.5, "1.5"),
        (False, "false"),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"),
        ([{"text": "a"}], "a"),
        ([{"type": "input_text", "text": "a"}], "a"),
        ([{"type": "text", "value": "a"}], "a"),
        (["a", "b"], "a\n\nb"),
    ],
)
def test_contents_that_are_text(value: Any, text: str) -> None:
    assert content_of(value) == text


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ({"a": 1}, "not_text"),
        (b"a", "not_text"),
        ([1], "not_text"),
        ([{"type": "image_url", "image_url": {"url": "x"}}], "media"),
        ([{"type": "input_audio", "input_audio": {}}], "media"),
        ([{"inlineData": {"mimeType": "image/png"}}], "unknown_part"),
        ([{"type": "text", "text": "a"}, {"type": "video"}], "media"),
        ([{"type": "mystery", "text": "a"}], "unknown_part"),
    ],
)
def test_what_is_no_text_is_refused_by_name(value: Any, code: str) -> None:
    with pytest.raises(Unusable) as caught:
        content_of(value)
    assert caught.value.reason == code


@pytest.mark.parametrize(
    "written",
    [
        {"type": "function", "function": {"name": "dim", "arguments": '{"level": 4}'}},
        {"function": {"name": "dim", "arguments": {"level": 4}}},
        {"name": "dim", "arguments": {"level": 4}},
        {"name": "dim", "parameters": {"level": 4}},
    ],
)
def test_calls_have_one_form(written: dict[str, Any]) -> None:
    assert calls_of([written]) == [DIM]
    assert calls_of([{**written, "id": 7}]) == [{"id": "7", **DIM}]


def test_a_call_without_arguments_has_none() -> None:
    for empty in ("", None, {}):
        (call,) = calls_of([{"name": "f", "arguments": empty}])
        assert call["function"] == {"name": "f", "arguments": {}}


@pytest.mark.parametrize(
    ("calls", "code"),
    [
        ([{"arguments": {}}], "invalid_tool_calls"),
        ([{"name": "f", "arguments": "[1]"}], "invalid_tool_calls"),
        ([{"name": "f", "arguments": "{broken"}], "broken_json"),
        ([1], "invalid_tool_calls"),
        ({"name": "f"}, "invalid_tool_calls"),
    ],
)
def test_calls_that_are_none(calls: Any, code: str) -> None:
    with pytest.raises(Unusable) as caught:
        calls_of(calls)
    assert caught.value.reason == code


def test_tools_have_one_form() -> None:
    expected = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    for tool in (
        expected,
        {"name": "f", "parameters": {"type": "object"}},
        {"name": "f", "input_schema": {"type": "object"}},
        {"type": "function", "name": "f", "parameters": {"type": "object"}},
    ):
        assert tools_of([tool]) == (expected,)
    assert tools_of('[{"name": "f", "parameters": {"type": "object"}}]') == (expected,)
    assert tools_of(['{"name": "f", "parameters": {"type": "object"}}']) == (expected,)
    assert tools_of(None) == tools_of("") == ()


def test_anthropic_blocks() -> None:
    found = Contents.read(
        [
            {"type": "thinking", "thinking": "hm"},
            {"type": "text", "text": "I dim it."},
            {"type": "tool_use", "id": "t1", "name": "dim", "input": {"level": 4}},
            {
                "type": "tool_result",
                "tool_use_id": "t0",
                "content": [{"type": "text", "text": "ok"}],
            },
        ]
    )
    assert (found.text, found.reasoning) == ("I dim it.", "hm")
    assert found.calls == ({"id": "t1", **DIM},)
    assert [(m.role, m.content, m.tool_call_id) for m in found.results] == [("tool", "ok", "t0")]


def test_nulls_of_a_table_go() -> None:
    assert plain({"a": None, "b": [{"c": None, "d": 0}]}) == {"b": [{"d": 0}]}


def test_small_things() -> None:
    assert joined(["a", "", "b"]) == "a\n\nb" and joined([" a "]) == " a "
    assert as_json({"n": float("inf")}) == {"n": float("inf")} and as_json(2) == 2
    assert objects_of([{"a": 1}], "x") == [{"a": 1}]
    with pytest.raises(Unusable, match="too_deep"):
        parsed("[" * 500, "x")
