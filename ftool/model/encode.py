"""Example -> token ids and labels through the chat template."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ftool.errors import DataError, RecipeError
from ftool.example import NOT_LEARNED, EncodedExample, Example, Message

Turn = tuple[str, list[int], list[int]]
"""The text so far, the prompt's new token ids, and the assistant's token ids."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """A tokenizer with its chat template, and what was found out about them.

    Prompts and completions are encoded by one walk over the turns, so a prompt at evaluation is
    the training prefix token for token.
    """

    tokenizer: Any
    end_of_turn: str
    end_of_turn_id: int
    appends_end: bool
    bos_id: int | None

    def example(self, example: Example) -> EncodedExample:
        """Encode a conversation; every assistant turn and its end token are learned.

        Raises:
            DataError: the template cannot be split at the assistant's turns.
        """
        ids: list[int] = []
        labels: list[int] = []
        for _, prompt, learned in self._turns(example):
            ids += prompt + learned
            labels += [NOT_LEARNED] * len(prompt) + learned
        return EncodedExample(example.id, tuple(ids), tuple(labels))

    def prompt(self, example: Example) -> list[int]:
        """Encode what is given before the last assistant turn, ready for the answer."""
        probe = replace(example, messages=(*example.prompt, Message("assistant", "x")))
        *earlier, (_, prompt, _) = self._turns(probe)
        return [token for _, given, learned in earlier for token in given + learned] + prompt

    def completion(self, example: Example, content: str) -> list[int]:
        """Encode what would be learned if the last assistant turn said `content`."""
        probe = replace(example, messages=(*example.prompt, Message("assistant", content)))
        return list(self._turns(probe))[-1][2]

    def text(self, example: Example, max_length: int) -> list[EncodedExample]:
        """Encode a text of a corpus, all learned, in windows of at most `max_length` tokens."""
        ids = self._with_bos(self._ids(example.text or ""), example.text or "")
        ids.append(self.tokenizer.eos_token_id)
        windows = [ids[start : start + max_length] for start in range(0, len(ids), max_length)]
        return [
            EncodedExample(
                f"{example.id}#{number}" if len(windows) > 1 else example.id,
                tuple(window),
                # The first token of a window is predicted from nothing.
                (NOT_LEARNED, *window[1:]),
            )
            for number, window in enumerate(windows)
            if len(window) > 1
        ]

    def _turns(self, example: Example) -> Iterator[Turn]:
        text, ids = "", list[int]()
        for index, message in enumerate(example.messages):
            # What the assistant says first answers nothing; it is given, not learned.
            if message.role != "assistant" or index == 0:
                continue
            before = self._render(example, index, generation_prompt=True)
            after = self._render(example, index + 1, generation_prompt=False)
            if not before.startswith(text) or not after.startswith(before):
                raise DataError(
                    f"{example.id}: the chat template rewrites earlier turns, so what the assistant"
                    " wrote cannot be told apart",
                    hint="set model.chat_template to a template that only appends",
                )
            given = self._extend(ids, text, before[len(text) :])
            learned_text = self._up_to_end(after[len(before) :])
            whole = self._extend(given, before, learned_text)
            yield before, given[len(ids) :], whole[len(given) :]
            text, ids = before + learned_text, whole

    def _render(self, example: Example, count: int, *, generation_prompt: bool) -> str:
        from jinja2 import TemplateError

        try:
            return str(
                self.tokenizer.apply_chat_template(
                    [message.as_dict() for message in example.messages[:count]],
                    tools=[dict(tool) for tool in example.tools] or None,
                    tokenize=False,
                    add_generation_prompt=generation_prompt,
                )
            )
        except (TemplateError, ValueError, TypeError) as error:
            raise DataError(
                f"{example.id}: the chat template refuses this conversation ({error})",
                hint="remove data.system or these turns, or set model.chat_template",
            ) from error

    def _up_to_end(self, completion: str) -> str:
        if self.appends_end:
            return completion.rstrip() + self.end_of_turn
        position = completion.rfind(self.end_of_turn)
        return completion[: position + len(self.end_of_turn)] if position >= 0 else completion

    def _extend(self, ids: list[int], text: str, addition: str) -> list[int]:
        """Encode `text + addition` so that the ids of `text` stay what they were.

        A tokenizer may merge across the seam; then the addition is encoded on its own.
        """
        whole = self._with_bos(self._ids(text + addition), text + addition)
        return whole if whole[: len(ids)] == ids else ids + self._ids(addition)

    def _with_bos(self, ids: list[int], text: str) -> list[int]:
        """Give the sequence exactly one start token, where the tokenizer has one."""
        if self.bos_id is None or not text or ids[:1] == [self.bos_id]:
            return ids
        return [self.bos_id, *ids]

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])


def make_encoder(tokenizer: Any, *, kind: str = "chat") -> Encoder:
    """Find out how a tokenizer's template ends a turn and how it starts a sequence.

    Raises:
        RecipeError: chats cannot be rendered, or a corpus cannot be ended.
    """
    starts = tokenizer("x")["input_ids"][:1]
    adds_bos = tokenizer.bos_token_id is not None and starts == [tokenizer.bos_token_id]
    bos_id = tokenizer.bos_token_id if adds_bos else None
    if tokenizer.eos_token_id is None:
        raise RecipeError("model.base: its tokenizer has no end token, so it would never stop")
    if kind == "text":
        return Encoder(tokenizer, tokenizer.eos_token, tokenizer.eos_token_id, True, bos_id)
    if not tokenizer.chat_template:
        raise RecipeError(
            "model.base: its tokenizer has no chat template",
            hint="use an instruct model, or set model.chat_template to a Jinja file",
        )
    end = _template_end(tokenizer)
    end_id = tokenizer.eos_token_id if end is None else end
    text = tokenizer.convert_ids_to_tokens(end_id)
    return Encoder(tokenizer, text, end_id, end is None, bos_id)


def _template_end(tokenizer: Any) -> int | None:
    """Return the special token that the template puts behind an assistant turn, if any."""
    from jinja2 import TemplateError

    answer = "answer of the assistant"
    turns = [{"role": "user", "content": "question"}, {"role": "assistant", "content": answer}]
    try:
        rendered = str(tokenizer.apply_chat_template(turns, tokenize=False))
    except (TemplateError, ValueError, TypeError) as error:
        raise RecipeError(f"model.chat_template: it cannot be rendered ({error})") from error
    behind = rendered.rpartition(answer)[2]
    ids = tokenizer(behind, add_special_tokens=False)["input_ids"]
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    return next((token for token in ids if token in special), None)


@dataclass(frozen=True, slots=True)
class EncodedExamples:
    """What fitted, and the ids of the examples that were longer than allowed."""

    examples: list[EncodedExample]
    overlong: list[str]


def encode_examples(
    examples: Sequence[Example], encoder: Encoder, *, max_length: int, overlong: str = "reject"
) -> EncodedExamples:
    """Encode the examples of a split; longer ones are rejected by name or their prompt trimmed.

    Raises:
        DataError: an example has nothing to learn.
    """
    encoded: list[EncodedExample] = []
    rejected: list[str] = []
    for example in examples:
        if example.text is not None:
            encoded += encoder.text(example, max_length)
            continue
        candidate = encoder.example(example)
        if len(candidate.input_ids) > max_length and overlong == "trim_prompt":
            candidate = encoder.example(trim_prompt(example, encoder, max_length=max_length))
        if len(candidate.input_ids) > max_length:
            rejected.append(example.id)
        elif candidate.learned_tokens == 0:
            raise DataError(f"{example.id}: nothing to learn, no assistant message has content")
        else:
            encoded.append(candidate)
    return EncodedExamples(encoded, rejected)


def trim_prompt(example: Example, encoder: Encoder, *, max_length: int) -> Example:
    """Shorten the prompt until the example fits: oldest turns first, then the user's last words.

    A completion is never cut; where even that is too long, the example stays too long.
    """
    while (excess := len(encoder.example(example).input_ids) - max_length) > 0:
        shorter = _drop_oldest_turn(example) or _cut_last_user(example, encoder, excess)
        if shorter is None:
            return example
        example = shorter
    return example


def _drop_oldest_turn(example: Example) -> Example | None:
    users = [index for index, message in enumerate(example.messages) if message.role == "user"]
    if len(users) < 2:
        return None
    kept = example.messages[: users[0]] + example.messages[users[1] :]
    return replace(example, messages=kept)


def _cut_last_user(example: Example, encoder: Encoder, excess: int) -> Example | None:
    messages = list(example.messages)
    for index in reversed(range(len(messages))):
        if messages[index].role == "user":
            ids = encoder._ids(messages[index].content)
            if len(ids) <= 1:
                return None
            text = encoder.tokenizer.decode(ids[: max(1, len(ids) - excess)])
            messages[index] = replace(messages[index], content=text)
            return replace(example, messages=tuple(messages))
    return None
