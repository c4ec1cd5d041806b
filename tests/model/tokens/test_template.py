import pytest
from chat_families import family_tokenizer

from ftool.errors import DataError
from ftool.example import Example, Message
from ftool.model.tokens.encode import make_encoder
from ftool.model.tokens.template import ChatTemplate


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
    assert own.turns(chat(2, answer="yes")) == [
        ("<|im_start|>user\nquestion 0<|im_end|>\n<|im_start|>assistant\n", "yes<|im_end|>"),
        ("\n<|im_start|>user\nquestion 1<|im_end|>\n<|im_start|>assistant\n", "yes<|im_end|>"),
    ]
    assert own.turns(Example("a", messages=(Message("assistant", "Hello!"),))) == []


def test_a_long_conversation_is_rendered_twice_once_its_shape_is_known():
    own, rendered = template()
    shapes = {}
    assert own.turns_at_once(chat(8), shapes) == own.turns(chat(8))
    rendered.clear()
    assert own.turns_at_once(chat(8, answer="no"), shapes) == own.turns(chat(8, answer="no"))
    assert rendered[:2] == [15, 16]
    assert len(rendered) == 2 + 2 * 8
    assert len(shapes) == 1


def test_messages_behind_the_last_answer_do_not_count():
    own, _ = template()
    longer = Example("a", messages=(*chat(2).messages, Message("user", "one more")))
    assert own.turns_at_once(longer, {}) == own.turns(chat(2))


@pytest.mark.parametrize("answer", ["  spaces around ", "\n"])
def test_a_shape_that_does_not_fit_is_not_used(answer):
    tokenizer = family_tokenizer("llama")
    own = make_encoder(tokenizer).template
    turns = own.turns_at_once(chat(3, answer=answer), {})
    assert turns == own.turns(chat(3, answer=answer))
    assert [learned for _, learned in turns] == [f"{answer.strip()}<|eot_id|>"] * 3


def test_a_template_that_rewrites_only_some_contents_is_refused_by_name():
    own, _ = template("thinking")
    shapes = {}
    assert own.turns_at_once(chat(3), shapes) == own.turns(chat(3))
    with pytest.raises(DataError, match="a: the chat template rewrites earlier turns"):
        own.turns_at_once(chat(3, answer="hm</think>yes"), shapes)
    # The last answer is nowhere earlier.
    assert own.turns_at_once(chat(1, answer="hm</think>yes"), shapes)[0][1] == (
        "hm</think>yes<|im_end|>"
    )


def test_a_template_that_tells_the_last_prompt_apart_is_refused_by_name():
    tokenizer = family_tokenizer("chatml")
    dated = "{% if add_generation_prompt and 'now' in messages[-1]['content'] %}!{% endif %}"

    class Dated:
        def apply_chat_template(self, messages, **options):
            own = dated + tokenizer.chat_template
            return tokenizer.apply_chat_template(messages, chat_template=own, **options)

    own = ChatTemplate(Dated(), "<|im_end|>", appends_end=False)
    shapes = {}
    assert len(own.turns_at_once(chat(2), shapes)) == 2
    late = (*chat(1).messages, Message("user", "now"), Message("assistant", "yes"))
    with pytest.raises(DataError, match="b: the chat template rewrites earlier turns"):
        own.turns_at_once(Example("b", messages=late), shapes)


def test_roles_that_a_template_refuses_are_named_with_their_example():
    own = make_encoder(family_tokenizer("gemma")).template
    with pytest.raises(DataError, match=r"a: the chat template refuses .*System role not supp"):
        own.turns_at_once(chat(2, system="Be kind."), {})
