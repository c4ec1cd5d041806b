import json

from hypothesis import given
from hypothesis import strategies as st

from ftool.example import Example, Message
from ftool.keys import answer_key, compared_text, compared_texts, fold, keys_of


def chat(*messages: tuple[str, str], label: str | None = None, **about: object) -> Example:
    made = tuple(Message(role, content) for role, content in messages)  # type: ignore[arg-type]
    return Example(id="a", messages=made, label=label, **about)  # type: ignore[arg-type]


def asked(prompt: str, answer: str, *, label: bool = False, group: str | None = None) -> Example:
    named = answer if label else None
    return chat(("user", prompt), ("assistant", answer), label=named, group=group)


def test_fold_ignores_case_and_white_space() -> None:
    assert fold("  One \t TWO\n") == "one two"
    assert fold("Straße") == fold("STRASSE")
    assert fold("one two") != fold("onetwo")


def test_keys_are_128_bits_that_never_change() -> None:
    content, _, unit = keys_of(Example(id="a", text="One  two"))
    assert content == unit
    assert content.hex() == "0e8fa0ea5fd6fe4ce8eb1460b6a93ffe"


def test_texts_are_equal_without_case_and_white_space() -> None:
    assert keys_of(Example(id="a", text="One  two")) == keys_of(Example(id="b", text="one two\n"))
    assert keys_of(Example(id="a", text="one")) != keys_of(Example(id="a", text="two"))


def test_with_a_label_the_prompt_decides() -> None:
    first, second = asked("Hi  there", "a", label=True), asked("hi there", "b", label=True)
    assert keys_of(first) == keys_of(second)
    assert keys_of(first).content == keys_of(first).unit


def test_without_a_label_the_whole_conversation_decides_and_the_prompt_is_the_unit() -> None:
    first, second = keys_of(asked("hi", "a")), keys_of(asked("hi", "b"))
    assert first[0] != second[0]
    assert first[1] == second[1]
    assert keys_of(asked("hi", "A")) == first


def test_tools_and_system_message_are_part_of_the_prompt() -> None:
    plain = asked("q", "a")
    tools = Example(id="a", messages=plain.messages, tools=({"name": "f"},))
    system = chat(("system", "s"), ("user", "q"), ("assistant", "a"))
    assert len({keys_of(example) for example in (plain, tools, system)}) == 3
    assert len({keys_of(example).unit for example in (plain, tools, system)}) == 3


def test_tool_calls_count_and_the_order_of_their_keys_does_not() -> None:
    def calling(call: dict[str, object]) -> Example:
        messages = (Message("user", "q"), Message("assistant", "", tool_calls=(call,)))
        return Example(id="a", messages=messages)

    one = keys_of(calling({"name": "f", "id": "1"}))
    assert one == keys_of(calling({"id": "1", "name": "f"}))
    assert one != keys_of(calling({"name": "g", "id": "1"}))


def test_a_group_is_the_unit_where_there_is_one() -> None:
    first, second = asked("hi", "a", group="g"), asked("ho", "b", group="g")
    assert keys_of(first).unit == keys_of(second).unit
    assert keys_of(first).content != keys_of(second).content
    assert keys_of(first).unit != keys_of(asked("hi", "a", group="h")).unit
    assert keys_of(asked("hi", "a", group="")).unit == keys_of(asked("hi", "a")).unit
    assert (
        keys_of(asked("hi", "a", group="hi")).unit != keys_of(Example(id="a", text="group hi")).unit
    )


def test_roles_and_borders_of_messages_count() -> None:
    parts = [
        chat(("user", "a b"), ("assistant", "c")),
        chat(("user", "a"), ("user", "b"), ("assistant", "c")),
        chat(("user", "a\x1fuser\x1fb"), ("assistant", "c")),
        chat(("system", "a"), ("user", "b"), ("assistant", "c")),
        chat(("user", "a"), ("assistant", "b c")),
    ]
    assert len({keys_of(part).content for part in parts}) == len(parts)


def test_lone_surrogates_have_keys() -> None:
    keys = keys_of(Example(id="a", text="bad \ud800"))
    assert keys != keys_of(Example(id="a", text="bad \ud801"))


WRITTEN = st.text("aB \t\x1fß", max_size=4)


@given(WRITTEN, WRITTEN, WRITTEN, WRITTEN)
def test_keys_are_equal_exactly_where_the_folded_texts_are(
    prompt: str, answer: str, other_prompt: str, other_answer: str
) -> None:
    first, second = keys_of(asked(prompt, answer)), keys_of(asked(other_prompt, other_answer))
    same_prompt = fold(prompt) == fold(other_prompt)
    assert (first[1] == second[1]) == same_prompt
    assert (first[0] == second[0]) == (same_prompt and fold(answer) == fold(other_answer))


def test_compared_are_the_words_that_tell_examples_apart() -> None:
    told = (("system", "be kind"), ("user", "q"), ("assistant", "refund"))
    assert compared_text(chat(*told, label="refund")) == "q"
    assert compared_text(chat(*told)) == "q\nrefund"
    assert compared_text(Example(id="a", text="as it is")) == "as it is"
    turns = (("user", "q"), ("assistant", "a"), ("user", "r"), ("assistant", "refund"))
    assert compared_text(chat(*turns, label="refund")) == "q\na\nr"


def test_an_unanswered_prompt_is_all_there_is() -> None:
    example = chat(("user", json.dumps({"q": 1})))
    content, _, unit = keys_of(example)
    assert content == unit
    assert compared_text(example) == '{"q": 1}'


def test_another_answer_beside_a_label_is_another_content() -> None:
    first = chat(("user", "hi"), ("assistant", "one"), label="a")
    second = chat(("user", "hi"), ("assistant", "two"), label="a")
    assert keys_of(first).content != keys_of(second).content
    assert keys_of(first).prompt == keys_of(second).prompt
    assert compared_texts(first) == ("hi", "one") and compared_text(first) == "hi\none"
    assert compared_texts(asked("hi", "a", label=True)) == ("hi", "")


def test_the_key_of_an_answer_is_what_it_says() -> None:
    def key(answer: str, *, label: bool = False) -> int:
        return answer_key(asked("hi", answer, label=label))

    assert key("Yes.") == key("yes") == key(" YES!")
    assert key("a > b") != key("a < b") and key("+") != key("-") and key("...") != key("!")
    assert key("a", label=True) == key("b", label=True) == 0 != key("a")
    assert answer_key(Example(id="a", text="x")) == 0
    calls = [
        Example(id="a", messages=(Message("user", "q"), Message("assistant", "", tool_calls=(c,))))
        for c in ({"name": "f"}, {"name": "g"})
    ]
    assert answer_key(calls[0]) != answer_key(calls[1])
