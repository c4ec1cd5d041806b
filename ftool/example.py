"""Message, Example, EncodedExample: the unit of data."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant", "tool")
SPLITS = ("train", "validation", "test")
NOT_LEARNED = -100
"""The label of a token that the loss ignores (torch's and transformers' own value)."""


def is_held_out(split: str | None) -> bool:
    """Tell a split that is not learned from."""
    return split is not None and split != SPLITS[0]


@dataclass(frozen=True, slots=True)
class Message:
    """One part of a conversation, in the words of chat templates.

    `reasoning_content` is what the assistant thought before it answered; an answer that is not
    `learned` is only given.
    """

    role: Role
    content: str
    name: str | None = None
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    learned: bool = True

    def as_dict(self) -> dict[str, Any]:
        """Return what a chat template expects: unset fields are absent."""
        fields: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.name is not None:
            fields["name"] = self.name
        if self.tool_calls:
            fields["tool_calls"] = [dict(call) for call in self.tool_calls]
        if self.tool_call_id is not None:
            fields["tool_call_id"] = self.tool_call_id
        if self.reasoning_content is not None:
            fields["reasoning_content"] = self.reasoning_content
        return fields


@dataclass(frozen=True, slots=True)
class Example:
    """A cleaned unit of data: a conversation or a text, never both.

    `label` is the class that the last assistant message names, where the task has classes;
    `group` is the unit that must not straddle splits; `source` and `line` say where it came from.
    """

    id: str
    messages: tuple[Message, ...] = ()
    text: str | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    label: str | None = None
    group: str | None = None
    source: str = ""
    line: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what is neither a conversation nor a text, or both."""
        if bool(self.messages) == (self.text is not None):
            raise ValueError(f"example {self.id} needs either messages or a text")

    @property
    def prompt(self) -> tuple[Message, ...]:
        """Everything before the last assistant message."""
        return self.messages[:-1] if self.completion is not None else self.messages

    @property
    def completion(self) -> str | None:
        """The content of the last message where the assistant wrote it, else None."""
        last = self.messages[-1] if self.messages else None
        return last.content if last is not None and last.role == "assistant" else None


@dataclass(frozen=True, slots=True)
class EncodedExample:
    """Token ids and what is learned of them; `labels` is -100 where nothing is."""

    id: str
    input_ids: tuple[int, ...]
    labels: tuple[int, ...]

    @property
    def learned_tokens(self) -> int:
        """How many tokens the loss is computed on."""
        return sum(label != NOT_LEARNED for label in self.labels)


def example_from_record(record: Mapping[str, Any]) -> Example:
    """Return the example that a stored record holds."""
    messages = tuple(
        Message(
            role=message["role"],
            content=message["content"],
            name=message["name"],
            tool_calls=tuple(json.loads(message["tool_calls"] or "[]")),
            tool_call_id=message["tool_call_id"],
            # A dataset of an earlier version has neither of these.
            reasoning_content=message.get("reasoning_content"),
            learned=message.get("learned") is not False,
        )
        for message in record.get("messages") or ()
    )
    return Example(
        id=record["id"],
        messages=messages,
        text=record.get("text"),
        tools=tuple(json.loads(tool) for tool in record.get("tools") or ()),
        label=record["label"],
        group=record["group"],
        source=record["source"],
        line=record["line"],
        extra=json.loads(record["extra"]),
    )
