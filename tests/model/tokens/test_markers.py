import re

import pytest
from chat_families import FAMILIES, family_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from ftool.example import NOT_LEARNED, Example, Message
from ftool.model.tokens.encode import encode_examples, make_encoder
from ftool.model.tokens.markers import BREAK, broken, find_markers, texts_in, tokenize_broken

CALL = {"type": "function", "function": {"name": "look", "arguments": {"what": "<|im_end|>"}}}


def encoded(family, user, answer):
    encoder = make_encoder(family_tokenizer(family))
    messages = (Message("user", user), Message("assistant", answer))
    return encoder, encode_examples([Example("a", messages=messages)], encoder, max_length=500)


@pytest.mark.parametrize("family", FAMILIES.keys() - {"escaping"})
@pytest.mark.parametrize("place", ["user", "assistant"])
def test_a_marker_in_a_text_becomes_no_marker(family, place):
    tokenizer = family_tokenizer(family)
    marker = make_encoder(tokenizer).end_of_turn
    texts = {"user": "question", "assistant": "answer"}
    plain = encoded(family, **_named(texts))[1].examples[0]
    texts[place] = f"before {marker} behind"
    encoder, found = encoded(family, **_named(texts))
    (one,) = found.examples
    marker_id = tokenizer.convert_tokens_to_ids(marker)
    assert one.input_ids.count(marker_id) == plain.input_ids.count(marker_id)
    assert found.notes["marker_as_text"] == 1
    whole = tokenizer.decode(one.input_ids)
    assert whole.count(marker) == tokenizer.decode(plain.input_ids).count(marker) + 1
    assert one.labels[-1] == encoder.end_of_turn_id
    learned = tokenizer.decode([label for label in one.labels if label != NOT_LEARNED])
    assert (marker in learned.removesuffix(encoder.end_of_turn)) == (place == "assistant")


def _named(texts):
    return {"user": texts["user"], "answer": texts["assistant"]}


WORDS = st.lists(
    st.sampled_from(("a", " ", "\n", "é", "<|im_end|>", "<", "|", "im_end")), max_size=8
)


@settings(max_examples=60, deadline=None)
@given(words=WORDS)
def test_text_and_number_of_real_markers_stay(words):
    content = "".join(words)
    encoder, found = encoded("chatml", content, content)
    (one,) = found.examples
    tokenizer = encoder.tokenizer
    assert one.input_ids.count(encoder.end_of_turn_id) == 2
    assert tokenizer.decode(one.input_ids) == (
        f"<|im_start|>user\n{content}<|im_end|>\n<|im_start|>assistant\n{content}<|im_end|>"
    )


@pytest.mark.parametrize(
    "harmless",
    [
        "</think>",
        "<think>x</think>",
        "a < b | c > d",
        "<tool_call>",
        "im_end",
        "<b>",
        "[INST",
        "\n\n",
    ],
)
def test_what_is_no_marker_stays_as_it_is(harmless):
    for family in ("qwen", "chatml", "gemma"):
        _, found = encoded(family, harmless, harmless)
        assert found.notes == {} or harmless == "<tool_call>"


def test_tags_of_reasoning_are_no_markers_even_where_they_are_tokens():
    tokenizer = family_tokenizer("reasoning")
    markers = find_markers(tokenizer, "<|im_start|>")
    assert markers.search("<think>") is None and markers.search("</think>") is None
    assert markers.search("<|im_start|>")


def test_every_text_of_a_value_is_broken_and_found():
    markers = re.compile(re.escape("<|im_end|>"))
    found = broken({"a": ["<|im_end|>", 1, None], "b": {"c": "x"}}, markers)
    assert found == {"a": [f"<{BREAK}|im_end|>", 1, None], "b": {"c": "x"}}
    assert list(texts_in([CALL, 1, "y"])) == ["function", "look", "<|im_end|>", "y"]


def test_markers_in_calls_and_results_become_text_too():
    encoder = make_encoder(family_tokenizer("qwen"))
    messages = (
        Message("user", "look"),
        Message("assistant", "", tool_calls=(CALL,)),
        Message("tool", "<|im_end|>"),
        Message("assistant", "ok"),
    )
    chat = encoder.chat(Example("a", messages=messages))
    assert "marker_as_text" in chat.note_codes
    (one,) = chat.sequences
    assert one.input_ids.count(encoder.end_of_turn_id) == len(messages)


def test_a_template_that_escapes_what_breaks_a_marker_leaves_the_row_out_by_name():
    tokenizer = family_tokenizer("escaping")
    encoder = make_encoder(tokenizer)
    messages = (Message("user", "a <|im_end|>"), Message("assistant", "b"))
    found = encode_examples([Example("a", messages=messages)], encoder, max_length=99)
    assert [(one.code, one.id) for one in found.left_out] == [("marker_in_content", "a")]


def test_a_text_with_a_marker_and_what_breaks_markers_is_left_out_by_name():
    _, found = encoded("chatml", f"<|im_end|>{BREAK}", "x")
    assert [one.code for one in found.left_out] == ["marker_in_content"]
    _, found = encoded("chatml", f"no marker {BREAK}", "x")
    assert found.left_out == [] and found.notes == {}


def test_a_tokenizer_whose_tokens_depend_on_all_before_cannot_break():
    class Whole:
        def __call__(self, text, add_special_tokens):
            return {"input_ids": [hash(text)]}

    assert tokenize_broken(Whole(), f"a{BREAK}b") is None
