"""Where a chat template puts what the assistant wrote."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ftool.errors import DataError
from ftool.example import Example, Message

Turn = tuple[str, str]
"""What is given since the turn before, and what the assistant is to write, with its end."""
Shapes = dict[tuple[str, ...], list[Turn] | None]
"""The turns of conversations with these roles, as format strings of the contents."""
_MARK = re.compile(r"turn(\d+)turn")


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """The chat template of a tokenizer, and how it ends a turn."""

    tokenizer: Any
    end_of_turn: str
    appends_end: bool

    def turns(self, example: Example) -> list[Turn]:
        """Render a conversation up to every assistant turn and split it there.

        Raises:
            DataError: the template refuses the conversation or rewrites earlier turns.
        """
        found, text = list[Turn](), ""
        for index in _learned_messages(example):
            before, learned = self._turn(example, index)
            if not before.startswith(text):
                raise _rewrites(example)
            found.append((before[len(text) :], learned))
            text = before + learned
        return found

    def turns_at_once(self, example: Example, shapes: Shapes) -> list[Turn]:
        """Return `turns`, at a cost that grows with the turns and not with their square.

        Where the seams of long conversations are is learned once for all with the same roles, from
        marks in place of the contents. It counts only where the contents in these places give,
        character for character, the conversation and its last prompt as the template renders them.

        Raises:
            DataError: the template refuses the conversation or rewrites earlier turns.
        """
        learned = _learned_messages(example)
        messages = example.messages[: learned[-1] + 1] if learned else ()
        if len(learned) < 2 or example.tools or not all(map(_is_plain, messages)):
            return self.turns(example)
        roles = tuple(message.role for message in messages)
        if roles not in shapes:
            shapes[roles] = self._shape(messages)
        shape = shapes[roles]
        if shape is None:
            return self.turns(example)
        contents = [message.content for message in messages]
        found = [(given.format(*contents), answer.format(*contents)) for given, answer in shape]
        before = "".join(given + answer for given, answer in found[:-1]) + found[-1][0]
        if (before, found[-1][1]) != self._turn(example, learned[-1]):
            return self.turns(example)
        return found

    def _shape(self, messages: Sequence[Message]) -> list[Turn] | None:
        marked = (Message(one.role, f"turn{index}turn") for index, one in enumerate(messages))
        try:
            turns = self.turns(Example("shape", messages=tuple(marked)))
        except DataError:
            return None  # the conversation itself gets the sentence
        return [(_as_format(given), _as_format(learned)) for given, learned in turns]

    def _turn(self, example: Example, index: int) -> Turn:
        """Return all that is rendered before an assistant message, and what is learned of it."""
        before = self._render(example, index, generation_prompt=True)
        after = self._render(example, index + 1, generation_prompt=False)
        if not after.startswith(before):
            raise _rewrites(example)
        return before, self._up_to_end(after[len(before) :])

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


def _learned_messages(example: Example) -> list[int]:
    # What the assistant says first answers nothing; it is given, not learned.
    return [
        index
        for index, message in enumerate(example.messages)
        if index and message.role == "assistant"
    ]


def _is_plain(message: Message) -> bool:
    return not (message.name or message.tool_calls or message.tool_call_id)


def _as_format(marked: str) -> str:
    return _MARK.sub(r"{\1}", marked.replace("{", "{{").replace("}", "}}"))


def _rewrites(example: Example) -> DataError:
    return DataError(
        f"{example.id}: the chat template rewrites earlier turns, so what the assistant"
        " wrote cannot be told apart",
        hint="set model.chat_template to a template that only appends",
    )
