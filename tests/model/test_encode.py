import pytest
from tiny import CHAT_TEMPLATE, tiny_tokenizer

from ftool.errors import DataError, RecipeError
from ftool.example import NOT_LEARNED, Example, Message
from ftool.model.encode import encode_examples, make_encoder, trim_prompt

CHAT = Example(
    "a",
    messages=(
        Message("system", "Be kind."),
        Message("user", "where is my box"),
        Message("assistant", "Which order?"),
        Message("user", "order 7"),
        Message("assistant", "It comes today."),
    ),
)


def learned_text(tokenizer, encoded):
    return tokenizer.decode([token for token in encoded.labels if token != NOT_LEARNED])


def test_every_assistant_turn_and_its_end_token_is_learned_and_nothing_else():
    tokenizer = tiny_tokenizer()
    encoded = make_encoder(tokenizer).example(CHAT)
    assert learned_text(tokenizer, encoded) == "Which order?<|im_end|>It comes today.<|im_end|>"
    assert tokenizer.decode(encoded.input_ids) == (
        tokenizer.apply_chat_template(
            [message.as_dict() for message in CHAT.messages], tokenize=False
        ).rstrip("\n")
    )
    assert encoded.input_ids[-1] == tokenizer.convert_tokens_to_ids("<|im_end|>")


@pytest.mark.parametrize("content", ["refund", " refund", "\nrefund", "é 🙂", "<|im_end|> x"])
def test_the_prompt_is_the_training_prefix_token_for_token(content):
    encoder = make_encoder(tiny_tokenizer())
    messages = (*CHAT.messages[:-1], Message("assistant", content))
    example = Example("a", messages=messages)
    prompt, whole = encoder.prompt(example), encoder.example(example)
    assert whole.input_ids[: len(prompt)] == tuple(prompt)
    assert whole.input_ids[len(prompt) :] == tuple(encoder.completion(example, content))


@pytest.mark.parametrize("template", [CHAT_TEMPLATE, "{{ bos_token }}" + CHAT_TEMPLATE])
def test_there_is_exactly_one_start_token(template):
    tokenizer = tiny_tokenizer(bos=True)
    tokenizer.chat_template = template
    encoded = make_encoder(tokenizer).example(CHAT)
    starts = [token for token in encoded.input_ids if token == tokenizer.bos_token_id]
    expected = 1 if "bos" in template or tokenizer("x")["input_ids"][0] == starts[:1] else 0
    assert len(starts) == expected


def test_a_template_without_end_token_gets_the_tokenizers():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    example = Example("a", messages=(Message("user", "hi"), Message("assistant", "yes")))
    encoded = make_encoder(tokenizer).example(example)
    assert learned_text(tokenizer, encoded) == "yes<|im_end|>"


def test_a_template_that_rewrites_earlier_turns_is_refused_by_name():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{{ messages | length }}" + CHAT_TEMPLATE
    with pytest.raises(DataError, match="a: the chat template rewrites earlier turns"):
        make_encoder(tokenizer).example(CHAT)


def test_a_base_without_template_is_refused():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(RecipeError, match="no chat template"):
        make_encoder(tokenizer)


def test_overlong_examples_are_rejected_by_name_or_their_prompt_is_trimmed():
    encoder = make_encoder(tiny_tokenizer())
    length = len(encoder.example(CHAT).input_ids)
    rejected = encode_examples([CHAT], encoder, max_length=length - 1)
    assert (rejected.examples, rejected.overlong) == ([], ["a"])
    trimmed = encode_examples([CHAT], encoder, max_length=length - 1, overlong="trim_prompt")
    assert trimmed.overlong == []
    assert len(trimmed.examples[0].input_ids) < length
    assert learned_text(encoder.tokenizer, trimmed.examples[0]) == "It comes today.<|im_end|>"


def test_a_completion_is_never_cut():
    encoder = make_encoder(tiny_tokenizer())
    example = Example("a", messages=(Message("user", "x y z"), Message("assistant", "w " * 50)))
    assert encode_examples([example], encoder, max_length=20, overlong="trim_prompt").overlong == [
        "a"
    ]
    shortened = trim_prompt(example, encoder, max_length=20)
    assert shortened.completion == example.completion


def test_an_empty_completion_still_learns_to_stop():
    encoder = make_encoder(tiny_tokenizer())
    example = Example("a", messages=(Message("user", "x"), Message("assistant", "")))
    assert learned_text(encoder.tokenizer, encoder.example(example)) == "<|im_end|>"


def test_a_text_is_learned_whole_in_windows():
    tokenizer = tiny_tokenizer()
    encoder = make_encoder(tokenizer, kind="text")
    example = Example("t", text="where is my box " * 10)
    windows = encode_examples([example], encoder, max_length=32).examples
    ids = [token for window in windows for token in window.input_ids]
    assert ids == [*tokenizer(example.text)["input_ids"], tokenizer.eos_token_id]
    assert [window.id for window in windows] == [f"t#{n}" for n in range(len(windows))]
    assert all(window.labels == (NOT_LEARNED, *window.input_ids[1:]) for window in windows)


def test_a_template_that_refuses_a_conversation_is_a_sentence():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        + CHAT_TEMPLATE
    )
    with pytest.raises(DataError, match=r"a: the chat template refuses .*no system role"):
        make_encoder(tokenizer).example(CHAT)


def test_what_the_assistant_says_first_is_given_not_learned():
    tokenizer = tiny_tokenizer()
    example = Example(
        "a",
        messages=(
            Message("assistant", "Hello!"),
            Message("user", "hi"),
            Message("assistant", "yes"),
        ),
    )
    encoded = make_encoder(tokenizer).example(example)
    assert learned_text(tokenizer, encoded) == "yes<|im_end|>"
    assert "Hello!" in tokenizer.decode(encoded.input_ids)
