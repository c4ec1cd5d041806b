import pytest

from ftool.example import EncodedExample, Example, Message, example_from_record


def test_a_message_leaves_out_what_is_not_set() -> None:
    assert Message("user", "hello").as_dict() == {"role": "user", "content": "hello"}


def test_a_message_keeps_tool_calls_and_names() -> None:
    call = {"type": "function", "function": {"name": "look_up", "arguments": {"order": 7}}}
    message = Message("assistant", "", tool_calls=(call,))
    assert message.as_dict() == {"role": "assistant", "content": "", "tool_calls": [call]}
    answer = Message("tool", "found", name="look_up", tool_call_id="c1")
    assert answer.as_dict() == {
        "role": "tool",
        "content": "found",
        "name": "look_up",
        "tool_call_id": "c1",
    }


@pytest.mark.parametrize("text", [None, "both"])
def test_an_example_is_a_conversation_or_a_text(text: str | None) -> None:
    messages = (Message("user", "hi"),) if text else ()
    with pytest.raises(ValueError, match="example e1 needs either messages or a text"):
        Example("e1", messages=messages, text=text)


def test_an_empty_text_is_a_text() -> None:
    assert Example("e1", text="").completion is None


def test_the_last_assistant_message_is_the_completion() -> None:
    system, user = Message("system", "Route."), Message("user", "Where is my parcel?")
    answered = Example("e1", messages=(system, user, Message("assistant", "delivery")))
    assert answered.completion == "delivery"
    assert answered.prompt == (system, user)


def test_a_conversation_that_ends_with_the_user_is_all_prompt() -> None:
    messages = (Message("assistant", "Hello"), Message("user", "Where is my parcel?"))
    example = Example("e1", messages=messages)
    assert example.completion is None
    assert example.prompt == messages


def test_learned_tokens_are_those_with_a_label() -> None:
    assert EncodedExample("e1", (5, 6, 7), (-100, 6, 7)).learned_tokens == 2


def test_a_dataset_of_an_earlier_version_has_neither_reasoning_nor_what_is_only_given():
    message = {"role": "assistant", "content": "x", "name": None}
    message |= {"tool_calls": None, "tool_call_id": None}
    record = {"id": "a", "messages": [message], "label": None, "group": None}
    record |= {"source": "s", "line": 1, "extra": "{}"}
    (read,) = example_from_record(record).messages
    assert (read.reasoning_content, read.learned) == (None, True)
    message |= {"reasoning_content": "hm", "learned": False}
    (read,) = example_from_record(record).messages
    assert (read.as_dict()["reasoning_content"], read.learned) == ("hm", False)
