from dataclasses import replace

import pytest
from chat_families import family_tokenizer

from ftool.example import Example, Message
from ftool.model.tokens.encode import make_encoder
from ftool.model.tokens.template import ChatTemplate, UnwritableError


def chat(turns, *, system="", answer="yes {0} turn1turn"):
    messages = [Message("system", system)] if system else []
    for number in range(turns):
        messages += [Message("user", f"question {number}"), Message("assistant", answer)]
    return Example("a", messages=tuple(messages))


class Rendering:
    """A tokenizer that counts what it renders."""

    def __init__(self, tokenizer):
        self.tokenizer, self.messages = tokenizer, []

    def apply_chat_template(self, messages, **options):
        self.messages.append(len(messages))
        return self.tokenizer.apply_chat_template(messages, **options)


def template(family="chatml"):
    rendering = Rendering(family_tokenizer(family))
    return ChatTemplate(rendering, "<|im_end|>", appends_end=False), rendering.messages


def test_turns_are_what_is_given_and_what_the_assistant_writes():
    own, _ = template()
    (sequence,) = own.sequences(chat(2, answer="yes"))
    assert sequence.turns == (
        ("<|im_start|>user\nquestion 0<|im_end|>\n<|im_start|>assistant\n", "yes<|im_end|>"),
        ("\n<|im_start|>user\nquestion 1<|im_end|>\n<|im_start|>assistant\n", "yes<|im_end|>"),
    )
    assert (sequence.first, sequence.last) == (1, 2)
    assert own.sequences(Example("a", messages=(Message("assistant", "Hello!"),))) == []


def test_a_long_conversation_is_rendered_twice_once_its_shape_is_known():
    own, rendered = template()
    shapes = {}
    assert own.sequences_at_once(chat(8), shapes) == own.sequences(chat(8))
    rendered.clear()
    assert own.sequences_at_once(chat(8, answer="no"), shapes) == own.sequences(
        chat(8, answer="no")
    )
    assert rendered[:2] == [15, 16]
    assert len(rendered) == 2 + 2 * 8
    assert len(shapes) == 1


def test_messages_behind_the_last_answer_do_not_count():
    own, _ = template()
    longer = Example("a", messages=(*chat(2).messages, Message("user", "one more")))
    assert own.sequences_at_once(longer, {}) == own.sequences(chat(2))


@pytest.mark.parametrize("answer", ["  spaces around ", "\n"])
def test_a_shape_that_does_not_fit_is_not_used(answer):
    tokenizer = family_tokenizer("llama")
    own = make_encoder(tokenizer).template
    found = own.sequences_at_once(chat(3, answer=answer), {})
    assert found == own.sequences(chat(3, answer=answer))
    assert [learned for _, learned in found[0].turns] == [f"{answer.strip()}<|eot_id|>"] * 3


def test_a_template_that_rewrites_only_some_contents_gives_a_sequence_a_turn():
    own, _ = template("thinking")
    shapes = {}
    assert own.sequences_at_once(chat(3), shapes) == own.sequences(chat(3))
    found = own.sequences_at_once(chat(3, answer="hm</think>yes"), shapes)
    assert [(one.first, one.last) for one in found] == [(1, 1), (2, 2), (3, 3)]
    assert [one.turns[0][1] for one in found] == ["hm</think>yes<|im_end|>"] * 3
    assert found[2].turns[0][0].count("hm</think>") == 0


def test_a_template_that_tells_the_last_prompt_apart_gives_a_sequence_a_turn():
    tokenizer = family_tokenizer("chatml")
    dated = "{% if add_generation_prompt and 'now' in messages[-1]['content'] %}!{% endif %}"

    class Dated:
        chat_template = ""

        def apply_chat_template(self, messages, **options):
            own = dated + tokenizer.chat_template
            return tokenizer.apply_chat_template(messages, chat_template=own, **options)

    own = ChatTemplate(Dated(), "<|im_end|>", appends_end=False)
    shapes = {}
    assert [one.last for one in own.sequences_at_once(chat(2), shapes)] == [2]
    late = (*chat(1).messages, Message("user", "now"), Message("assistant", "yes"))
    found = own.sequences_at_once(Example("b", messages=late), shapes)
    assert [one.turns[0][0][0] for one in found] == ["<", "!"]


def test_an_answer_that_is_not_learned_is_given():
    own, _ = template()
    messages = [replace(one, learned=number != 1) for number, one in enumerate(chat(2).messages)]
    (sequence,) = own.sequences_at_once(Example("a", messages=tuple(messages)), {})
    ((given, learned),) = sequence.turns
    assert (given.count("yes {0}"), learned) == (1, "yes {0} turn1turn<|im_end|>")


def test_roles_that_a_template_refuses_are_named_with_their_example():
    own = make_encoder(family_tokenizer("strict")).template
    twice = (*chat(1).messages, *chat(1).messages[1:])
    with pytest.raises(UnwritableError, match="a: the chat template refuses") as refused:
        own.sequences_at_once(Example("a", messages=twice), {})
    assert refused.value.code == "template_refuses"
