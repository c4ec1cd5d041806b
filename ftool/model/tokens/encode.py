"""Example -> token ids and labels through the chat template."""

import gc
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import accumulate
from re import Pattern
from typing import Any

from ftool.errors import DataError, RecipeError
from ftool.example import NOT_LEARNED, EncodedExample, Example, Message
from ftool.model.tokens.habits import find_habits
from ftool.model.tokens.markers import BREAK, find_markers, tokenize_broken
from ftool.model.tokens.pieces import find_cuts, split_pieces, tokenize
from ftool.model.tokens.settings import apply_settings, reads_date, switches_of, templates_of
from ftool.model.tokens.template import (
    ChatTemplate,
    Shapes,
    Turn,
    TurnSequence,
    UnwritableError,
    learned_messages,
    refusals,
    render,
)

EXAMPLES_AT_ONCE = 1024
"""So many that the tokenizer keeps all processors busy, so few that their texts need no room."""

ANSWER = "answer of the assistant"
"""What a template is tried with."""
HALF_CHARACTER = "\N{REPLACEMENT CHARACTER}"

OVERLONG = "overlong"
NOTES = {
    "sequence_per_turn": "the chat template rewrites earlier turns: each answer of {count} is"
    " learned in a sequence of its own, behind the prompt that it gets in use",
    "system_folded": "the chat template has no system role: in {count} the system message stands in"
    " front of the user's first words",
    "marker_as_text": "markers of the chat template stand in the text of {count}: they are read"
    " and learned as text, not as markers",
    "reasoning_not_rendered": "in {count} the chat template does not write the reasoning of an"
    " answer, so it is not learned",
    "text_not_rendered": "in {count} the chat template does not write the text beside a call of a"
    " tool, so it is not learned",
}
"""What a person should know of conversations, by the codes of an EncodedChat."""


_Part = tuple[str, list[str]]
"""A piece of a conversation, and how it begins up to every seam that falls into it."""


@dataclass(frozen=True, slots=True)
class EncodedChat:
    """A conversation as sequences, the number of the last turn in each, and codes of NOTES.

    `note_codes` has some of `sequence_per_turn`, `system_folded`, `marker_as_text`,
    `reasoning_not_rendered` and `text_not_rendered`.
    """

    sequences: list[EncodedExample]
    last_turns: list[int]
    note_codes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Encoder:
    """A tokenizer with its chat template, and what was found out about them.

    Before every token that begins an answer stand the ids of the prompt that use will give:
    `apply_chat_template` of the messages before it, with the generation prompt. Where a later
    prompt does not begin with an earlier one and its answer, they are learned in sequences apart.
    """

    tokenizer: Any
    template: ChatTemplate
    end_of_turn_id: int
    bos_id: int | None
    cuts: Pattern[str] | None
    chosen: Mapping[str, Any]

    @property
    def date(self) -> str | None:
        """The day in the prompts; None where they do not change from day to day."""
        return self.template.date if reads_date(self.tokenizer) else None

    @property
    def end_of_turn(self) -> str:
        """The text of the token that ends what the assistant says."""
        return self.template.end_of_turn

    def example(self, example: Example) -> EncodedExample:
        """Encode a conversation, or where it becomes several sequences that of its last answer.

        Raises:
            UnwritableError: the chat template does not write the conversation as it is.
        """
        found = self.chat(example).sequences
        return found[-1] if found else EncodedExample(example.id, (), ())

    def chat(self, example: Example) -> EncodedChat:
        """Encode a conversation; every learned answer and its end token are learned once.

        Raises:
            UnwritableError: the chat template does not write the conversation as it is.
        """
        return self._walked(example, self.template.sequences(example))

    def many(self, examples: Sequence[Example]) -> list[EncodedChat | UnwritableError]:
        """Encode conversations as `chat` does, all their texts tokenized in one call."""
        shapes: Shapes = {}
        found = [self._written(example, shapes) for example in examples]
        parts = [_parts_of_one(own, self.cuts) for own in found]
        texts = (text for own in parts for piece, begins in own or () for text in (piece, *begins))
        ids_of = tokenize(self.tokenizer, texts)
        return [
            self._of_one(example, own, of_one, ids_of)
            for example, own, of_one in zip(examples, found, parts, strict=True)
        ]

    def prompt(self, example: Example) -> list[int]:
        """Encode what is given before the last assistant turn, ready for the answer.

        Raises:
            UnwritableError: the chat template does not write the conversation as it is.
        """
        return self._ids_of(example, self.template.prompt(example))

    def completion(self, example: Example, content: str) -> list[int]:
        """Encode what would be learned if the last assistant turn said `content`."""
        answered = replace(example, messages=(*example.prompt, Message("assistant", content)))
        before, learned = self.template.last_turn(answered)
        prompt = self._ids_of(answered, before)
        return self._extend(answered, prompt, before, learned)[len(prompt) :]

    def lead(self) -> list[int]:
        """Encode what the template writes between a prompt and the answer to it, such as a channel.

        It is learned like the answer, and what a model writes is read behind it.
        """
        lead, mark, _ = _turn_of(self.template, ANSWER)[1].partition(ANSWER)
        return self._ids(lead) if mark and lead.strip() else []

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

    def _written(self, example: Example, shapes: Shapes) -> list[TurnSequence] | UnwritableError:
        try:
            return self.template.sequences_at_once(example, shapes)
        except UnwritableError as error:
            return error

    def _of_one(
        self,
        example: Example,
        found: list[TurnSequence] | UnwritableError,
        parts: Sequence[_Part] | None,
        ids_of: Mapping[str, list[int]],
    ) -> EncodedChat | UnwritableError:
        if isinstance(found, UnwritableError):
            return found
        joined = None if parts is None else self._joined(example.id, parts, ids_of)
        if joined:
            return EncodedChat([joined], [found[0].last], self._note_codes(example, found))
        try:
            return self._walked(example, found)
        except UnwritableError as error:
            return error

    def _note_codes(self, example: Example, found: Sequence[TurnSequence]) -> frozenset[str]:
        """Return the codes of what a person should know of a conversation."""
        has_system = any(message.role == "system" for message in example.messages)
        codes = {
            "system_folded": self.template.habits.folds_system and has_system,
            "marker_as_text": any(BREAK in sequence.text for sequence in found)
            and self.template.has_markers(example),
        }
        dropped = frozenset[str]().union(*(sequence.dropped for sequence in found))
        return dropped | {code for code, is_so in codes.items() if is_so}

    def _walked(self, example: Example, found: Sequence[TurnSequence]) -> EncodedChat:
        """Encode sequences turn by turn; a seam that tokens cross begins another sequence."""
        walked = list[_Walked]()
        for sequence in found:
            text, ids = "", list[int]()
            for number, (given, learned) in enumerate(sequence.turns, sequence.first):
                before = text + given
                prompt = self._ids_of(example, before)
                if not text or prompt[: len(ids)] != ids:
                    walked.append(_Walked(number))
                    ids = []
                ids_with_answer = self._extend(example, prompt, before, learned)
                walked[-1].add(prompt[len(ids) :], ids_with_answer[len(prompt) :], number)
                text, ids = before + learned, ids_with_answer
        is_one = len(walked) == 1
        own = frozenset() if is_one else frozenset({"sequence_per_turn"})
        return EncodedChat(
            [one.encoded(example.id if is_one else one.name(example.id)) for one in walked],
            [one.last for one in walked],
            self._note_codes(example, found) | own,
        )

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
        return EncodedExample(example_id, tuple(ids), tuple(labels))

    def _extend(self, example: Example, ids: list[int], text: str, addition: str) -> list[int]:
        """Encode `text + addition` so that the ids of `text` stay what they were.

        A tokenizer may merge across the seam; then the addition is encoded on its own.
        """
        whole = self._ids_of(example, text + addition)
        return whole if whole[: len(ids)] == ids else ids + self._ids_of(example, addition)

    def _ids_of(self, example: Example, text: str) -> list[int]:
        """Encode a text of an example; markers that its content has become text."""
        if BREAK not in text or not self.template.has_markers(example):
            return self._ids(text)
        ids = None if self.template.has_break(example) else tokenize_broken(self.tokenizer, text)
        if ids is None:
            raise UnwritableError(
                "marker_in_content",
                f"{example.id}: a marker of the chat template stands in its text, and this"
                " tokenizer cannot write it as text",
                hint="remove the marker from the row",
            )
        return ids

    def _with_bos(self, ids: list[int], text: str) -> list[int]:
        """Give the sequence exactly one start token, where the tokenizer has one."""
        if self.bos_id is None or not text or ids[:1] == [self.bos_id]:
            return ids
        return [self.bos_id, *ids]

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])


def _parts_of_one(
    found: Sequence[TurnSequence] | UnwritableError, cuts: Pattern[str] | None
) -> list[_Part] | None:
    """Return the pieces of a conversation that is one sequence without markers in its content."""
    if isinstance(found, UnwritableError) or len(found) != 1 or BREAK in found[0].text:
        return None
    return _parts(found[0].turns, cuts)


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


@dataclass(slots=True)
class _Walked:
    """A sequence while it is encoded, and the numbers of its learned turns."""

    first: int
    last: int = 0
    ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)

    def add(self, given: list[int], learned: list[int], number: int) -> None:
        self.ids += given + learned
        self.labels += [NOT_LEARNED] * len(given) + learned
        self.last = number

    def name(self, example_id: str) -> str:
        return f"{example_id}#turn{self.first}" + (
            f"-{self.last}" if self.last > self.first else ""
        )

    def encoded(self, sequence_id: str) -> EncodedExample:
        return EncodedExample(sequence_id, tuple(self.ids), tuple(self.labels))


def make_encoder(
    tokenizer: Any,
    *,
    kind: str = "chat",
    date: str | None = None,
    fixed: Collection[str] | None = None,
) -> Encoder:
    """Find out how a tokenizer's template ends a turn, and what else it does.

    Args:
        tokenizer: with a chat template, into which a setting that is chosen here is written.
        kind: `chat`, or `text` for a corpus.
        date: what templates take for today, as ISO writes it; the real one by default.
        fixed: settings that were made by hand, where a template may be led straight to the labels
            of a closed set; None where it is not to be.

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
        return Encoder(tokenizer, template, tokenizer.eos_token_id, bos_id, cuts=None, chosen={})
    if not tokenizer.chat_template:
        raise RecipeError(
            "model.base: its tokenizer has no chat template",
            hint="use an instruct model, or set model.chat_template to a Jinja file",
        )
    chosen = {} if fixed is None else _lead_to_labels(tokenizer, date, fixed)
    template, end_id = _chat_template(tokenizer, date)
    text = "".join(templates_of(tokenizer).values())
    cuts = find_cuts(tokenizer, f"{text}{template.end_of_turn}")
    return Encoder(tokenizer, template, end_id, bos_id, cuts, chosen)


def today() -> str:
    """Return the date as ISO writes it."""
    return datetime.now(UTC).astimezone().date().isoformat()


def tell_chosen(encoder: Encoder, note: Callable[[str], None]) -> None:
    """Tell which setting of the chat template leads straight to a label."""
    for name, value in encoder.chosen.items():
        note(
            f"model.template_settings.{name}={str(value).lower()}: so the prompt leads straight to"
            f" a label; model.template_settings.{name}=true keeps the reasoning"
        )


def _lead_to_labels(tokenizer: Any, date: str | None, fixed: Collection[str]) -> dict[str, Any]:
    """Write the setting into the template whose prompt leads straight to a label; return it."""
    switches = switches_of(tokenizer, fixed)
    plain, best = tokenizer.chat_template, dict[str, Any]()
    shortest = _label_length(tokenizer, date) if switches else 0
    for name in switches:
        apply_settings(tokenizer, {name: False}, key="model.template_settings")
        if (length := _label_length(tokenizer, date)) < shortest:
            shortest, best = length, {name: False}
        tokenizer.chat_template = plain
    apply_settings(tokenizer, best, key="model.template_settings")
    return best


def _label_length(tokenizer: Any, date: str | None) -> float:
    """Return how many characters are learned of a label; infinity where it cannot be."""
    template, _ = _chat_template(tokenizer, date)
    try:
        return len(_turn_of(template, "label")[1])
    except UnwritableError:
        return math.inf


def _turn_of(template: ChatTemplate, answer: str) -> Turn:
    asked = (Message("user", "question"), Message("assistant", answer))
    return template.last_turn(Example("answer", messages=asked))


def _chat_template(tokenizer: Any, date: str | None) -> tuple[ChatTemplate, int]:
    """Return the template of a tokenizer and the id of the token that ends a turn."""

    def rendered(messages: Any, tools: Any, generation_prompt: bool) -> str | None:
        try:
            return render(
                tokenizer, messages, tools, generation_prompt=generation_prompt, date=date
            )
        except refusals():
            return None

    turns = [{"role": "user", "content": "question"}, {"role": "assistant", "content": ANSWER}]
    try:
        written = render(tokenizer, turns, (), generation_prompt=False, date=date)
    except refusals() as error:
        raise RecipeError(f"model.chat_template: it cannot be rendered ({error})") from error
    behind = written.rpartition(ANSWER)[2]
    ids = tokenizer(behind, add_special_tokens=False)["input_ids"]
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    end = next((token for token in ids if token in special), None)
    end_id = tokenizer.eos_token_id if end is None else end
    text = "".join(templates_of(tokenizer).values())
    structure = "".join(rendered(turns[:1], (), prompt) or "" for prompt in (True, False))
    template = ChatTemplate(
        tokenizer,
        tokenizer.convert_ids_to_tokens(end_id),
        appends_end=end is None,
        habits=find_habits(rendered, text),
        date=date,
        markers=find_markers(tokenizer, written + structure),
    )
    return template, end_id


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A sequence, or a conversation, that is not learned from, and why.

    `code` is `overlong`, or that of an UnwritableError; `owner` is the place of its example.
    """

    code: str
    id: str
    owner: int
    why: str = ""
    hint: str = ""

    @classmethod
    def of(cls, error: UnwritableError, example: Example, owner: int) -> "LeftOut":
        """Return what a refusal of the chat template leaves out."""
        why = error.message.removeprefix(f"{example.id}: ")
        return cls(error.code, example.id, owner, why, error.hint)


@dataclass(frozen=True, slots=True)
class EncodedExamples:
    """What fitted, the places of the examples that it comes from, and what is left out.

    `notes` counts conversations by the codes of an EncodedChat.
    """

    examples: list[EncodedExample]
    owners: list[int]
    left_out: list[LeftOut]
    notes: Counter[str]

    @property
    def overlong(self) -> list[str]:
        """The ids of what was longer than allowed."""
        return [one.id for one in self.left_out if one.code == OVERLONG]


def encode_examples(
    examples: Sequence[Example], encoder: Encoder, *, max_length: int, overlong: str = "reject"
) -> EncodedExamples:
    """Encode the examples of a split; what cannot be learned is left out by name.

    Longer ones are left out, too, or their prompt trimmed.

    Raises:
        DataError: an example has nothing to learn.
    """
    encoded = EncodedExamples([], [], [], Counter())
    with _without_garbage_collector():
        for owner, chat in enumerate(_candidates(examples, encoder, max_length)):
            example = examples[owner]
            if isinstance(chat, UnwritableError):
                encoded.left_out.append(LeftOut.of(chat, example, owner))
                continue
            if example.text is None and not any(one.learned_tokens for one in chat.sequences):
                raise DataError(f"{example.id}: nothing to learn, no assistant message has content")
            encoded.notes.update(chat.note_codes)
            for number, one in enumerate(chat.sequences):
                fitting = one
                if len(one.input_ids) > max_length and overlong == "trim_prompt":
                    up_to = up_to_turn(example, chat.last_turns[number])
                    shorter = trim_prompt(up_to, encoder, max_length=max_length)
                    fitting = replace(encoder.example(shorter), id=one.id)
                if len(fitting.input_ids) > max_length:
                    encoded.left_out.append(LeftOut(OVERLONG, one.id, owner))
                else:
                    encoded.examples.append(fitting)
                    encoded.owners.append(owner)
    return encoded


def up_to_turn(example: Example, turn: int) -> Example:
    """Return a conversation up to a learned turn, counted from 1."""
    index = learned_messages(example)[turn - 1]
    return replace(example, messages=example.messages[: index + 1])


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
) -> Iterator[EncodedChat | UnwritableError]:
    """Yield every example as it is encoded, however long a conversation may be."""
    for start in range(0, len(examples), EXAMPLES_AT_ONCE):
        some = examples[start : start + EXAMPLES_AT_ONCE]
        chats = iter(encoder.many([example for example in some if example.text is None]))
        ids_of = tokenize(encoder.tokenizer, (one.text for one in some if one.text is not None))
        for example in some:
            if example.text is None:
                yield next(chats)
            else:
                yield EncodedChat(encoder.windows(example, ids_of[example.text], max_length), [])


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
