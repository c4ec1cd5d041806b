import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftool.example import Message
from ftool.prepare.read.conversation import REPAIRS, Conversations, folded
from ftool.prepare.read.rows import Unusable

Q_A = [("user", "q"), ("assistant", "a")]


def said(messages: list[Message]) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in messages]


def read(value: Any, **roles: list[str]) -> list[tuple[str, str]]:
    return said(Conversations(roles).read(value))  # type: ignore[arg-type]


def turns(*said: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in said]


@pytest.mark.parametrize(
    "value",
    [
        turns(("user", "q"), ("assistant", "a")),
        turns(("Customer", "q"), ("Support Agent", "a")),
        [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}],
        [{"speaker": "USER", "utterance": "q"}, {"speaker": "SYSTEM", "utterance": "a"}],
        [{"sender": "client", "text": "q"}, {"sender": "bot", "text": "a"}],
        [{"author": "user", "body": "q"}, {"author": "wizard", "body": "a"}],
        [{"Role": "user", "Content": "q"}, {"Role": "assistant", "Content": "a"}],
        [{"role": "user", "parts": [{"text": "q"}]}, {"role": "model", "parts": [{"text": "a"}]}],
        [{"chatMessage": {"role": "user", "content": "q"}}, {"m": {"role": "gpt", "content": "a"}}],
        [{"human": "q", "assistant": "a"}],
        [{"question": "q", "answer": "a"}],
        [["customer", "q"], ["agent", "a"]],
        [["q", "a"]],
        ["q", "a"],
        [{"text": "q", "metadata": {}}, {"text": "a", "metadata": {}}],
        json.dumps(turns(("user", "q"), ("assistant", "a"))),
    ],
)
def test_a_conversation_in_every_known_form(value: Any) -> None:
    assert read(value) == Q_A


@pytest.mark.parametrize("turn", [{"role": "boss", "content": "q"}, {"content": "q"}, {"role": 3}])
def test_a_speaker_nobody_knows(turn: dict[str, Any]) -> None:
    with pytest.raises(Unusable) as caught:
        read([turn, {"role": "assistant", "content": "a"}])
    assert caught.value.reason == "invalid_role"


def test_own_names_of_speakers_go_first() -> None:
    value = turns(("caller_7", "q"), ("Desk-2", "a"))
    assert read(value, user=["caller_*"], assistant=["desk_?"]) == Q_A
    swapped = turns(("agent", "q"), ("customer", "a"))
    assert read(swapped, user=["agent"], assistant=["customer"]) == Q_A
    assert folded(" End-User ") == "end_user"


def test_a_system_line_is_no_assistant_where_somebody_else_answers() -> None:
    value = turns(("system", "s"), ("user", "q"), ("system", "joined"), ("assistant", "a"))
    assert read(value) == [("system", "s"), *Q_A]


def repairs(value: Any) -> tuple[list[tuple[str, str]], dict[str, int]]:
    reader = Conversations()
    return said(reader.read(value)), dict(reader.repairs)


@pytest.mark.parametrize(
    ("value", "expected", "code"),
    [
        (
            [("user", "q"), ("user", "r"), ("assistant", "a")],
            [("user", "q\n\nr"), Q_A[1]],
            "turns_merged",
        ),
        (
            [("user", "q"), ("assistant", "a"), ("assistant", "b")],
            [Q_A[0], ("assistant", "a\n\nb")],
            "turns_merged",
        ),
        ([*Q_A, ("user", "thanks")], Q_A, "tail_cut"),
        ([Q_A[0], ("user", " "), Q_A[1]], Q_A, "empty_turns_dropped"),
        ([Q_A[0], ("system", "Agent joined"), Q_A[1]], Q_A, "system_lines_dropped"),
        (
            [("system", "s"), ("developer", "t"), *Q_A],
            [("system", "s\n\nt"), *Q_A],
            "system_lines_dropped",
        ),
    ],
)
def test_what_is_mended_is_counted(value: Any, expected: Any, code: str) -> None:
    assert repairs(turns(*value)) == (expected, {code: 1})
    assert code in REPAIRS.values()


def test_what_is_right_is_not_mended() -> None:
    value = turns(("system", "s"), *Q_A, *Q_A)
    assert repairs(value) == ([("system", "s"), *Q_A, *Q_A], {})


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (turns(("user", "q")), "last_not_assistant"),
        (turns(("user", "q"), ("assistant", " ")), "empty_completion"),
        ([], "no_messages"),
        ("", "no_messages"),
        ("hello", "not_messages"),
        ({"role": "user"}, "not_messages"),
        ([3], "not_messages"),
        ("[{broken", "broken_json"),
    ],
)
def test_conversations_that_teach_nothing(value: Any, code: str) -> None:
    with pytest.raises(Unusable) as caught:
        read(value)
    assert caught.value.reason == code


@pytest.mark.parametrize("off", [{"weight": 0}, {"train": False}, {"loss": False}, {"weight": "0"}])
def test_an_answer_of_no_weight_is_only_given(off: dict[str, Any]) -> None:
    value = turns(*Q_A, *Q_A)
    value[1] |= off
    assert [m.learned for m in Conversations().read(value)] == [True, False, True, True]
    on = {name: 1 for name in off}
    value[1] |= on
    assert all(m.learned for m in Conversations().read(value))


def test_a_weight_of_a_user_changes_nothing() -> None:
    value = turns(*Q_A)
    value[0] |= {"weight": 0}  # type: ignore[dict-item]
    assert all(m.learned for m in Conversations().read(value))


CALL = {"type": "function", "function": {"name": "dim", "arguments": {"level": 4}}}


@pytest.mark.parametrize(
    "call",
    [
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "assistant", "function_call": {"name": "dim", "arguments": '{"level": 4}'}},
        {"from": "function_call", "value": '{"name": "dim", "arguments": {"level": 4}}'},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "name": "dim", "input": {"level": 4}}],
        },
    ],
)
@pytest.mark.parametrize(
    "result",
    [
        {"role": "tool", "content": "ok"},
        {"role": "function", "name": "dim", "content": "ok"},
        {"from": "observation", "value": "ok"},
        {"role": "user", "content": [{"type": "tool_result", "content": "ok"}]},
    ],
)
def test_calls_and_results_of_tools(call: dict[str, Any], result: dict[str, Any]) -> None:
    value = [{"role": "user", "content": "q"}, call, result, {"role": "assistant", "content": "a"}]
    found = Conversations().read(value)
    assert said(found) == [("user", "q"), ("assistant", ""), ("tool", "ok"), ("assistant", "a")]
    assert found[1].tool_calls == (CALL,)


def test_reasoning_is_kept() -> None:
    value = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "a", "reasoning_content": "hm"},
    ]
    assert Conversations().read(value)[1].reasoning_content == "hm"


def test_parts_that_nothing_reads_are_remembered() -> None:
    reader = Conversations()
    reader.read([{"role": "user", "content": "q", "mood": "x", "none": None}, *turns(Q_A[1])])
    assert reader.unread == {"mood"}


ROLES = st.sampled_from(["system", "user", "assistant"])
CONTENT = st.text(alphabet="ab \n", max_size=5)


@given(st.lists(st.tuples(ROLES, CONTENT), min_size=1, max_size=8))
def test_mended_conversations_take_turns_and_lose_no_word_but_what_is_told(value: Any) -> None:
    reader = Conversations()
    try:
        found = reader.read(turns(*value))
    except Unusable as why:
        assert why.reason in {"empty_completion", "last_not_assistant"}
        return
    roles = [message.role for message in found]
    spoken = [role for role in roles if role != "system"]
    assert roles[-1] == "assistant" and "system" not in roles[1:]
    assert all(one != other for one, other in pairwise(spoken))
    if not reader.repairs:
        assert said(found) == value


def test_of_two_answers_in_a_row_the_wanted_one_is_learned() -> None:
    value: list[dict[str, Any]] = turns(Q_A[0], ("assistant", "bad"), ("assistant", "good"))  # type: ignore[assignment]
    value[1]["weight"] = 0
    assert read(value) == [Q_A[0], ("assistant", "good")]
