"""Where a chat template puts what the assistant wrote."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

from ftool.errors import DataError
from ftool.example import Example, Message
from ftool.model.tokens.habits import Habits, with_text_arguments
from ftool.model.tokens.markers import BREAK, broken, texts_in
from ftool.model.tokens.settings import reads_date, template_of_day

Turn = tuple[str, str]
"""What is given since the turn before, and what the assistant is to write, with its end."""
Shapes = dict[tuple[tuple[str, bool], ...], list[Turn] | None]
"""Roles, and what is learned -> the turns of such conversations, as format strings of contents."""
AS_WRITTEN = Habits()
NOT_RENDERED = {
    "tools": "descriptions of tools",
    "tool_calls": "calls of tools",
    "results": "results of tools",
}
_MARK = re.compile(r"turn(\d+)turn")
_MARKED = "turn0turn"
_CUT_TAG = re.compile(r"<[/|\w]*$")
_OPENED = re.compile(r"<(\w*think\w*|thought|reasoning)>\s*$")
_CLOSED = re.compile(
    r"\s*(?:<(?:\w*think\w*|thought|reasoning)>\s*)?</(?:\w*think\w*|thought|reasoning)>\s*"
    r"|\s*<\|channel>thought\s*<channel\|>\s*"
)


class UnwritableError(DataError):
    """A conversation that the chat template does not write as it is.

    Args:
        code: `template_refuses`, `tools_not_rendered` or `marker_in_content`.
        message: which one, and why.
        hint: what to do about it.
    """

    def __init__(self, code: str, message: str, *, hint: str = "") -> None:
        self.code = code
        super().__init__(message, hint=hint)


@dataclass(frozen=True, slots=True)
class TurnSequence:
    """Turns that a model reads as one text; a template that rewrites earlier turns gives several.

    `first` and `last` number its learned turns among those of the conversation, from 1.
    """

    turns: tuple[Turn, ...]
    first: int = 1
    dropped: frozenset[str] = frozenset()

    @property
    def last(self) -> int:
        """The number of the last learned turn."""
        return self.first + len(self.turns) - 1

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(given + learned for given, learned in self.turns)


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """The chat template of a tokenizer, how it ends a turn, and what else it does.

    `date` (as ISO writes it) stands for today in every prompt; `markers` finds what may stand in no
    content as it is.
    """

    tokenizer: Any
    end_of_turn: str
    appends_end: bool
    habits: Habits = AS_WRITTEN
    date: str | None = None
    markers: re.Pattern[str] | None = None

    def sequences(self, example: Example) -> list[TurnSequence]:
        """Render a conversation up to every assistant turn, as few texts as give every prompt.

        Raises:
            UnwritableError: the template refuses the conversation, or writes a part of it nowhere.
        """
        found, text = list[TurnSequence](), ""
        example = self._as_read(example)
        for number, index in enumerate(learned_messages(example), 1):
            before, learned = self._turn(example, index)
            dropped = _dropped(example.messages[index], learned)
            if found and before.startswith(text):
                so_far = found.pop()
                turns = (*so_far.turns, (before[len(text) :], learned))
                new = TurnSequence(turns, so_far.first, so_far.dropped | dropped)
            else:
                new = TurnSequence(((before, learned),), number, dropped)
            found.append(new)
            text = before + learned
        return found

    def sequences_at_once(self, example: Example, shapes: Shapes) -> list[TurnSequence]:
        """Return `sequences`, at a cost that grows with the turns and not with their square.

        Where the seams of long conversations are is learned once for all with the same roles, from
        marks in place of the contents. It counts only where the contents in these places give,
        character for character, the conversation and its last prompt as the template renders them.

        Raises:
            UnwritableError: the template refuses the conversation, or writes a part of it nowhere.
        """
        learned = learned_messages(example)
        messages = example.messages[: learned[-1] + 1] if learned else ()
        if len(learned) < 2 or example.tools or not all(map(_is_plain, messages)):
            return self.sequences(example)
        roles = tuple((message.role, message.learned) for message in messages)
        if roles not in shapes:
            shapes[roles] = self._shape(messages)
        shape = shapes[roles]
        if shape is None or self.has_markers(example):
            return self.sequences(example)
        contents = [message.content for message in messages]
        found = [(given.format(*contents), answer.format(*contents)) for given, answer in shape]
        before = "".join(given + answer for given, answer in found[:-1]) + found[-1][0]
        if (before, found[-1][1]) != self._turn(self._as_read(example), self._place(messages)):
            return self.sequences(example)
        return [TurnSequence(tuple(found))]

    def prompt(self, example: Example) -> str:
        """Render what is given before the last assistant turn, ready for the answer.

        Raises:
            UnwritableError: the template refuses the conversation, or writes a part of it nowhere.
        """
        given = self._as_read(replace(example, messages=example.prompt))
        return self._render(given, len(given.messages), generation_prompt=True)

    def last_turn(self, example: Example) -> Turn:
        """Render the prompt of the last message, and what is learned of it.

        Raises:
            UnwritableError: the template refuses the conversation, or writes a part of it nowhere.
        """
        example = self._as_read(example)
        return self._turn(example, len(example.messages) - 1)

    def _place(self, messages: Sequence[Message]) -> int:
        """Return where the last of some messages is once system messages are folded."""
        return len(self._folded(messages)) - 1

    def _as_read(self, example: Example) -> Example:
        """Return a conversation as the template takes it; refuse what it does not write.

        What the template has no role for goes in front of the next message of the user.
        """
        self._refuse_unwritten(example)
        return replace(example, messages=self._folded(example.messages))

    def _folded(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        if not self.habits.folds_system or all(one.role != "system" for one in messages):
            return tuple(messages)
        folded, waiting = list[Message](), list[str]()
        for message in messages:
            if message.role == "system":
                waiting.append(message.content)
            elif waiting:
                first = Message("user", "\n\n".join(waiting))
                if message.role == "user":
                    first = replace(message, content=f"{first.content}\n\n{message.content}")
                folded += [first] if message.role == "user" else [first, message]
                waiting = []
            else:
                folded.append(message)
        return (*folded, *(Message("user", "\n\n".join(waiting)) for _ in waiting[:1]))

    def _refuse_unwritten(self, example: Example) -> None:
        habits, messages = self.habits, example.messages
        writes_calls = habits.writes_calls and (example.tools or not habits.calls_need_tools)
        unwritten = {
            "tools": bool(example.tools) and not habits.writes_tools,
            "tool_calls": not writes_calls and any(one.tool_calls for one in messages),
            "results": not habits.writes_results and any(one.role == "tool" for one in messages),
        }
        if missing := [NOT_RENDERED[what] for what, is_so in unwritten.items() if is_so]:
            raise UnwritableError(
                "tools_not_rendered",
                f"{example.id}: the chat template writes no {' and no '.join(missing)}, so they"
                " would be missing without a word",
                hint="take a base whose template has tools, or set model.chat_template",
            )

    def _shape(self, messages: Sequence[Message]) -> list[Turn] | None:
        marked = (
            Message(one.role, f"turn{index}turn", learned=one.learned)
            for index, one in enumerate(messages)
        )
        try:
            found = self.sequences(Example("shape", messages=tuple(marked)))
        except DataError:
            return None  # the conversation itself gets the sentence
        if len(found) != 1:
            return None
        return [(_as_format(given), _as_format(learned)) for given, learned in found[0].turns]

    def _turn(self, example: Example, index: int) -> Turn:
        """Return all that is rendered before an assistant message, and what is learned of it."""
        before = self._render(example, index, generation_prompt=True)
        after = self._render(example, index + 1, generation_prompt=False)
        if after.startswith(before):
            return before, self._up_to_end(after[len(before) :])
        return before, self._up_to_end(self._behind(example, index, before))

    def _behind(self, example: Example, index: int, before: str) -> str:
        """Return what the template writes of an answer where it does not begin with its prompt.

        The message in front of it is marked in both texts, so that what stands behind the mark is
        the generation prompt in one and the whole turn in the other.
        """
        messages = list(example.messages[: index + 1])
        messages[index - 1] = replace(messages[index - 1], content=_MARKED)
        marked = replace(example, messages=tuple(messages))
        given = self._render(marked, index, generation_prompt=True)
        whole = self._render(marked, index + 1, generation_prompt=False)
        is_marked = _MARKED in given and _MARKED in whole
        prompt, turn = given.rpartition(_MARKED)[2], whole.rpartition(_MARKED)[2]
        answer = messages[index]
        learned = _continued(prompt, turn, _reasoning(answer))
        if learned is None:
            # What it writes of the message before may differ a little; the head of a turn is alike.
            bare = self._render(marked, index, generation_prompt=False).rpartition(_MARKED)[2]
            head = prompt.removeprefix(bare) if prompt != bare else ""
            learned = turn.partition(head)[2] if head.strip() and head in turn else None
        if learned is None and _reasoning(answer):
            plain = replace(example, messages=(*example.messages[:index], _without(answer)))
            return self._turn(plain, index)[1]
        if learned is None or not (is_marked and before.endswith(prompt)):
            raise UnwritableError(
                "template_refuses",
                f"{example.id}: the chat template writes the answer of message {index + 1} so that"
                " it does not continue its own prompt",
                hint="set model.chat_template to a template whose answers follow their prompt",
            )
        return learned

    def _render(self, example: Example, count: int, *, generation_prompt: bool) -> str:
        messages: Any = [self._as_dict(message) for message in example.messages[:count]]
        tools: Any = [dict(tool) for tool in example.tools]
        is_broken = self.has_markers(example)
        if is_broken and self.markers:
            messages, tools = broken(messages, self.markers), broken(tools, self.markers)
        try:
            text = render(
                self.tokenizer, messages, tools, generation_prompt=generation_prompt, date=self.date
            )
        except refusals() as error:
            raise UnwritableError(
                "template_refuses",
                f"{example.id}: the chat template refuses this conversation ({error})",
                hint="mend these turns, or set model.chat_template",
            ) from error
        if is_broken and repr(BREAK)[1:-1] in text:
            raise UnwritableError(
                "marker_in_content",
                f"{example.id}: a marker of the chat template stands in its text, and the template"
                " writes that so that it cannot be told from a real one",
                hint="remove the marker from the row",
            )
        return text

    def has_markers(self, example: Example) -> bool:
        """Tell whether a marker stands in what people wrote."""
        find = self.markers
        return find is not None and any(find.search(text) for text in _texts(example))

    def has_break(self, example: Example) -> bool:
        """Tell whether what people wrote has the character that breaks markers."""
        return any(BREAK in text for text in _texts(example))

    def _as_dict(self, message: Message) -> dict[str, Any]:
        fields = message.as_dict()
        key = self.habits.reasoning_key
        if message.reasoning_content is not None and key != "reasoning_content":
            fields[key] = fields.pop("reasoning_content")
        if message.tool_calls and self.habits.text_arguments:
            fields["tool_calls"] = [with_text_arguments(call) for call in message.tool_calls]
        return fields

    def _up_to_end(self, completion: str) -> str:
        if self.appends_end:
            return completion.rstrip() + self.end_of_turn
        position = completion.rfind(self.end_of_turn)
        return completion[: position + len(self.end_of_turn)] if position >= 0 else completion


def refusals() -> tuple[type[Exception], ...]:
    """Return what a chat template raises where it does not take a conversation."""
    from jinja2 import TemplateError

    return TemplateError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError


def render(
    tokenizer: Any,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]],
    *,
    generation_prompt: bool,
    date: str | None,
) -> str:
    """Render messages by the chat template of a tokenizer, on a day of one's own.

    Raises:
        Exception: one of `refusals`, where the template does not take them.
    """
    own = {}
    if date is not None and reads_date(tokenizer):
        own["chat_template"] = template_of_day(tokenizer, date, has_tools=bool(tools))
    return str(
        tokenizer.apply_chat_template(
            list(messages),
            tools=list(tools) or None,
            tokenize=False,
            add_generation_prompt=generation_prompt,
            **own,
        )
    )


def _continued(prompt: str, turn: str, reasoning: str) -> str | None:
    """Return how a turn goes on behind its prompt; None where it does not.

    A prompt may open a block of reasoning that the template leaves out of the turn, or close one
    that it writes otherwise.

    Args:
        prompt: what the generation prompt adds.
        turn: the whole turn as the template writes it.
        reasoning: of the assistant; "" where there is none.
    """
    if turn.startswith(prompt):
        return turn[len(prompt) :]
    pairs = zip(prompt, turn, strict=False)
    common = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
    if cut_tag := _CUT_TAG.search(prompt[:common]):
        common = cut_tag.start()
    rest, answer = prompt[common:], turn[common:]
    if not rest.strip():
        return answer
    if opened := _OPENED.search(rest):
        thought = f"{reasoning.strip()}\n" if reasoning.strip() else "\n"
        return f"{thought}</{opened[1]}>\n\n{answer.lstrip()}"
    if _CLOSED.fullmatch(rest) and not reasoning.strip():
        return _CLOSED.sub("", answer, count=1) if _CLOSED.match(answer) else answer
    return None


def _reasoning(message: Message) -> str:
    """Return the reasoning of a message, in its own field or in front of the answer."""
    if message.reasoning_content:
        return message.reasoning_content
    thought, tag, _ = message.content.partition("</think>")
    return thought.rpartition("<think>")[2].strip() if tag else ""


def _without(message: Message) -> Message:
    """Return a message without its reasoning."""
    content = message.content.rpartition("</think>")[2].lstrip("\n")
    return replace(message, content=content, reasoning_content=None)


def _dropped(message: Message, learned: str) -> frozenset[str]:
    """Return what of an answer the template did not write."""
    parts = {
        "reasoning_not_rendered": _reasoning(message),
        "text_not_rendered": message.content if message.tool_calls else "",
    }
    return frozenset(
        code for code, text in parts.items() if text.strip() and text.strip() not in learned
    )


def learned_messages(example: Example) -> list[int]:
    """Return the places of the messages that are learned."""
    # What the assistant says first answers nothing; it is given, not learned.
    return [
        index
        for index, message in enumerate(example.messages)
        if index and message.role == "assistant" and message.learned
    ]


def _texts(example: Example) -> Iterator[str]:
    """Yield all that people wrote of a conversation."""
    for message in example.messages:
        yield message.content
        yield message.reasoning_content or ""
        for call in message.tool_calls:
            yield from texts_in(call)
    for tool in example.tools:
        yield from texts_in(tool)


def _is_plain(message: Message) -> bool:
    return not (
        message.name or message.tool_calls or message.tool_call_id or message.reasoning_content
    )


def _as_format(marked: str) -> str:
    return _MARK.sub(r"{\1}", marked.replace("{", "{{").replace("}", "}}"))
