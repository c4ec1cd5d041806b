"""Example -> token ids and labels through the chat template."""

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import accumulate
from re import Pattern
from typing import Any

from ftool.errors import DataError, RecipeError
from ftool.example import NOT_LEARNED, EncodedExample, Example, Message
from ftool.model.tokens.pieces import find_cuts, split_pieces, tokenize
from ftool.model.tokens.template import ChatTemplate, Shapes, Turn

EXAMPLES_AT_ONCE = 1024
"""So many that the tokenizer keeps all processors busy, so few that their texts need no room."""

HALF_CHARACTER = "\N{REPLACEMENT CHARACTER}"

_Part = tuple[str, list[str]]
"""A piece of a conversation, and how it begins up to every seam that falls into it."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """A tokenizer with its chat template, and what was found out about them.

    Prompts and completions are encoded by one walk over the turns, so a prompt at evaluation is
    the training prefix token for token.
    """

    tokenizer: Any
    template: ChatTemplate
    end_of_turn_id: int
    bos_id: int | None
    cuts: Pattern[str] | None

    @property
    def end_of_turn(self) -> str:
        """The text of the token that ends what the assistant says."""
        return self.template.end_of_turn

    def example(self, example: Example) -> EncodedExample:
        """Encode a conversation; every assistant turn and its end token are learned.

        Special tokens that stand in a message are read as the model reads them in use, and are
        learned only where the assistant wrote them.

        Raises:
            DataError: the template cannot be split at the assistant's turns.
        """
        return self._walked(example.id, self.template.turns(example))

    def many(self, examples: Sequence[Example]) -> list[EncodedExample]:
        """Encode conversations as `example` does, all their texts tokenized in one call.

        Raises:
            DataError: the template cannot be split at the assistant's turns.
        """
        shapes: Shapes = {}
        turns = [self.template.turns_at_once(example, shapes) for example in examples]
        parts = [_parts(own, self.cuts) for own in turns]
        texts = (text for own in parts for piece, begins in own for text in (piece, *begins))
        ids_of = tokenize(self.tokenizer, texts)
        return [
            self._joined(example.id, own, ids_of) or self._walked(example.id, of_one)
            for example, own, of_one in zip(examples, parts, turns, strict=True)
        ]

    def prompt(self, example: Example) -> list[int]:
        """Encode what is given before the last assistant turn, ready for the answer."""
        probe = replace(example, messages=(*example.prompt, Message("assistant", "x")))
        *earlier, (prompt, _) = self._walk(self.template.turns(probe))
        return [token for given, learned in earlier for token in given + learned] + prompt

    def completion(self, example: Example, content: str) -> list[int]:
        """Encode what would be learned if the last assistant turn said `content`."""
        probe = replace(example, messages=(*example.prompt, Message("assistant", content)))
        return list(self._walk(self.template.turns(probe)))[-1][1]

    def text(self, example: Example, max_length: int) -> list[EncodedExample]:
        """Encode a text of a corpus, all learned, in windows of at most `max_length` tokens."""
        return self.windows(example, self._ids(example.text or ""), max_length)

    def windows(
        self, example: Example, text_ids: list[int], max_length: int
    ) -> list[EncodedExample]:
        """Cut the token ids of a text into windows, with start and end token."""
        ids = [*self._with_bos(text_ids, example.text or ""), self.tokenizer.eos_token_id]
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

    def _walked(self, example_id: str, turns: Sequence[Turn]) -> EncodedExample:
        ids, labels = list[int](), list[int]()
        for prompt, learned in self._walk(turns):
            ids += prompt + learned
            labels += [NOT_LEARNED] * len(prompt) + learned
        return EncodedExample(example_id, tuple(ids), tuple(labels))

    def _walk(self, turns: Sequence[Turn]) -> Iterator[tuple[list[int], list[int]]]:
        """Yield the prompt's new token ids and the assistant's, turn by turn."""
        text, ids = "", list[int]()
        for given, learned in turns:
            prompt = self._extend(ids, text, given)
            whole = self._extend(prompt, text + given, learned)
            yield prompt[len(ids) :], whole[len(prompt) :]
            text, ids = text + given + learned, whole

    def _joined(
        self, example_id: str, parts: Sequence[_Part], ids_of: Mapping[str, list[int]]
    ) -> EncodedExample | None:
        """Join the token ids of pieces; None where the walk would not find them so.

        What stands before a seam has to have the same token ids alone as in the whole.
        """
        ids, seams = list[int](), list[int]()
        for piece, begins in parts:
            own = ids_of[piece]
            for before in (ids_of[begin] for begin in begins):
                if own[: len(before)] != before:
                    return None
                seams.append(len(ids) + len(before))
            ids += own
        if not seams or not seams[0]:
            return None
        labels = list[int]()
        for number, seam in enumerate([*seams, len(ids)]):
            new = ids[len(labels) : seam]
            labels += new if number % 2 else [NOT_LEARNED] * len(new)
        whole = self._with_bos(ids, "given")
        starts = [NOT_LEARNED] * (len(whole) - len(ids))
        return EncodedExample(example_id, tuple(whole), (*starts, *labels))

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


def _parts(turns: Sequence[Turn], cuts: Pattern[str] | None) -> list[_Part]:
    seams = list(accumulate(len(text) for turn in turns for text in turn))
    parts, start, passed = list[_Part](), 0, 0
    for piece in split_pieces("".join(text for turn in turns for text in turn), cuts):
        begins = []
        while passed < len(seams) - 1 and seams[passed] <= start + len(piece):
            begins.append(piece[: seams[passed] - start])
            passed += 1
        parts.append((piece, begins))
        start += len(piece)
    return parts


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
        template = ChatTemplate(tokenizer, tokenizer.eos_token, appends_end=True)
        return Encoder(tokenizer, template, tokenizer.eos_token_id, bos_id, cuts=None)
    if not tokenizer.chat_template:
        raise RecipeError(
            "model.base: its tokenizer has no chat template",
            hint="use an instruct model, or set model.chat_template to a Jinja file",
        )
    end = _template_end(tokenizer)
    end_id = tokenizer.eos_token_id if end is None else end
    text = tokenizer.convert_ids_to_tokens(end_id)
    template = ChatTemplate(tokenizer, text, appends_end=end is None)
    cuts = find_cuts(tokenizer, f"{tokenizer.chat_template}{text}")
    return Encoder(tokenizer, template, end_id, bos_id, cuts)


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
    with _without_garbage_collector():
        for example, candidates in _candidates(examples, encoder, max_length):
            if example.text is not None:
                encoded += candidates
                continue
            (candidate,) = candidates
            if len(candidate.input_ids) > max_length and overlong == "trim_prompt":
                candidate = encoder.example(trim_prompt(example, encoder, max_length=max_length))
            if len(candidate.input_ids) > max_length:
                rejected.append(example.id)
            elif candidate.labels.count(NOT_LEARNED) == len(candidate.labels):
                raise DataError(f"{example.id}: nothing to learn, no assistant message has content")
            else:
                encoded.append(candidate)
    return EncodedExamples(encoded, rejected)


@contextmanager
def _without_garbage_collector() -> Iterator[None]:
    """Let reference counts alone free memory: encoding makes no cycles, and what it makes stays.

    Looking for cycles among all examples again and again takes a sixth of the time of encoding.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _candidates(
    examples: Sequence[Example], encoder: Encoder, max_length: int
) -> Iterator[tuple[Example, list[EncodedExample]]]:
    """Yield every example as it is encoded, however long a conversation may be."""
    for start in range(0, len(examples), EXAMPLES_AT_ONCE):
        some = examples[start : start + EXAMPLES_AT_ONCE]
        chats = iter(encoder.many([example for example in some if example.text is None]))
        ids_of = tokenize(encoder.tokenizer, (one.text for one in some if one.text is not None))
        for example in some:
            if example.text is None:
                yield example, [next(chats)]
            else:
                yield example, encoder.windows(example, ids_of[example.text], max_length)


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
            text = _beginning(encoder, ids, max(1, len(ids) - excess))
            if not text:
                return None
            messages[index] = replace(messages[index], content=text)
            return replace(example, messages=tuple(messages))
    return None


def _beginning(encoder: Encoder, ids: list[int], count: int) -> str:
    """Return the text of at most `count` first tokens that has fewer than all; "" where none has.

    Half a character becomes a mark that may take as many tokens as the whole, so it goes.
    """
    for end in range(min(count, len(ids) - 1), 0, -1):
        text = str(encoder.tokenizer.decode(ids[:end])).rstrip(HALF_CHARACTER)
        if len(encoder._ids(text)) < len(ids):
            return text
    return ""
