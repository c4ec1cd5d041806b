"""row -> Example: a conversation, a prompt with its completion, a text with its label, a text."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftool.errors import did_you_mean
from ftool.example import Example, Message
from ftool.prepare.read.choices import chosen
from ftool.prepare.read.contents import as_json, content_of, joined, parsed, plain, tools_of
from ftool.prepare.read.conversation import Conversations, names_speaker
from ftool.prepare.read.mapping import column_named
from ftool.prepare.read.proposal import (
    THREAD_PARTS,
    Problem,
    ambiguous_label,
    named,
    unknown_columns,
)
from ftool.prepare.read.rows import Row, Unusable
from ftool.prepare.read.shape import AmbiguousLabel, Given, Shape, detect
from ftool.prepare.read.survey import UNSEEN, Survey

if TYPE_CHECKING:
    from ftool.recipe.blocks.data import Columns, Data, Source

ANSWER = "answer"
"""Stands for what is answered, while what is before it is brought into order."""
COLUMN_NAMES = ("messages", "history", "system", "prompt", "completion", "text", "label")
"""The parts of a row that a recipe can name; those of a message a row are read before."""


_LISTED = re.compile(r"\[\s*['\"].*['\"]\s*(?:,.*)?\]")
"""A list that a table holds as a text."""
MEDIA_MARKS = ("<image>", "<audio>", "<video>")


@dataclass(frozen=True, slots=True)
class Found:
    """What the columns of a row mean, and those that nothing reads."""

    shape: Shape | AmbiguousLabel | None
    missing: list[str]
    unread: list[str]


class Reader:
    """Turns rows of one input into examples.

    It remembers the columns seen, how they were read, the `repairs` of conversations, and the
    parts of messages left `unused`.

    Args:
        shown: the name of the input.
        suffix: what tells the ids of an input that is read twice apart.
        source: columns, roles and names of labels, where the recipe says so.
        data: the recipe's block.
        survey: what the columns hold.
        threads: part -> column, where every row was a message and conversations were made of them.
    """

    def __init__(
        self,
        shown: str,
        suffix: str,
        source: "Source",
        data: "Data",
        survey: Survey = UNSEEN,
        threads: Mapping[str, str] | None = None,
    ) -> None:
        self._shown, self._suffix, self._source, self._data = shown, suffix, source, data
        self._survey, self._threads = survey, threads or {}
        self._found: dict[tuple[str, ...], Found] = {}
        self._turn_columns = {name for name, look in survey.looks.items() if look == "turns"}
        self._conversations = Conversations(source.roles)
        self.columns: dict[str, None] = {}
        self.named: set[str] = set()

    @property
    def repairs(self) -> Counter[str]:
        """How many conversations each repair has changed, by its code."""
        return self._conversations.repairs

    @property
    def matched(self) -> list[str]:
        """Keys of `labels` and patterns of `roles` that some row has."""
        return sorted(self.named | self._conversations.matched)

    @property
    def unused(self) -> set[str]:
        """Parts of messages that nothing reads."""
        return self._conversations.unread

    def example(self, row: Row) -> Example:
        """Return the example that a row is.

        Raises:
            Unusable: no example can be made of it.
        """
        if row.values is None or row.reason:
            raise Unusable(row.reason, row.detail)
        found = self._columns_of(row.values)
        if isinstance(found.shape, AmbiguousLabel):
            columns = ", ".join(found.shape.columns)
            raise Unusable("ambiguous_label", f"each of {columns} could be the label")
        if found.shape is None:
            raise Unusable("missing_field", f"it only has {', '.join(row.values)}")
        if found.missing:
            raise Unusable("missing_field", f"it has no {', '.join(found.missing)}")
        return self._example(row, row.values, found.shape)

    @property
    def recognised(self) -> bool:
        """Whether any row had a shape that is known."""
        return any(isinstance(found.shape, Shape) for found in self._found.values())

    @property
    def readings(self) -> list[dict[str, Any]]:
        """How rows were read: which columns play which part, and which none."""
        return [
            {"parts": self._parts(found.shape), "unread": found.unread}
            for found in self._found.values()
            if isinstance(found.shape, Shape) and not found.missing
        ]

    def _parts(self, shape: Shape) -> dict[str, list[str]]:
        parts = {part: list(columns) for part, columns in shape.parts().items()}
        if self._threads:
            del parts["messages"]
            parts = {part: [column] for part, column in self._threads.items()} | parts
        return parts

    @property
    def problem(self) -> Problem | None:
        """What a person should know where no row could be read as the recipe says."""
        columns = list(self.columns)
        if not columns:
            return None
        given = given_columns(self._source.columns, columns)
        if not self._threads:
            given = {**given, **given_columns(self._source.columns, columns, THREAD_PARTS)}
        missing = [name for names in given.values() for name in names if name not in columns]
        if missing:
            near = did_you_mean(missing[0], columns)
            listed = ", ".join(f"`{name}`" for name in missing)
            return Problem(
                "unknown_column",
                f"{self._shown} has no column {listed}{near}\n  its columns: {named(columns)}",
                "correct `columns` of this source in the recipe",
            )
        learned = (*given.get("completion", ()), *given.get("label", ()))
        twice = [name for name in given.get("prompt", ()) if name in learned]
        if twice:
            return Problem(
                "same_column",
                f"{self._shown}: `{twice[0]}` cannot be both what is given and what is learned",
                "correct `columns` of this source in the recipe",
            )
        if self.recognised:
            return None
        doubts = [f.shape for f in self._found.values() if isinstance(f.shape, AmbiguousLabel)]
        if doubts:
            return ambiguous_label(self._shown, doubts[0])
        return unknown_columns(self._shown, columns, self._data.kind, self._survey)

    def _columns_of(self, values: Mapping[str, Any]) -> Found:
        """Return what columns mean, found once for equal names."""
        names = tuple(values)
        if names not in self._found:
            self.columns.update(dict.fromkeys(names))
            self._found[names] = self._detect(names)
        return self._found[names]

    def _detect(self, names: tuple[str, ...]) -> Found:
        given = given_columns(self._source.columns, names)
        if self._threads:
            given = {**given, "messages": ("messages",)}
        shape = detect(names, given, self._data.kind, self._survey)
        if not isinstance(shape, Shape):
            return Found(shape, [], [])
        used = dict.fromkeys(column for columns in shape.parts().values() for column in columns)
        used |= dict.fromkeys(self._threads.values())
        kept = {*self._data.keep_columns, self._data.split.group}
        return Found(
            shape,
            missing=[column for column in used if column not in (*names, *self._threads.values())],
            unread=[name for name in names if name not in used and name not in kept],
        )

    def _example(self, row: Row, values: Mapping[str, Any], shape: Shape) -> Example:
        data = self._data
        if shape.wanted or shape.verdict or shape.media:
            self._refuse_unwanted(values, shape)
        label = self._label(values[shape.label]) if shape.label else None
        if shape.label and not label and data.label_names != "none":
            raise Unusable("missing_label", f"`{shape.label}` is empty")
        group = content_of(values.get(data.split.group)) if data.split.group else ""
        about: dict[str, Any] = {
            "id": f"{self._shown}:{row.line}{self._suffix}",
            "source": self._shown,
            "line": row.line,
            "group": group or None,
            "extra": self._kept(values) if data.keep_columns else {},
        }
        if shape.text:
            text = joined([values[name] for name in shape.text])
            return Example(text=text, label=label, **about)
        is_table = not isinstance(row.raw, str)
        messages = self._messages(values, shape, label, is_table=is_table)
        system = joined([values[name] for name in shape.system]) if shape.system else ""
        system = system or data.system or ""
        if system and messages[0].role != "system":
            messages = [Message("system", system), *messages]
        if label is None and isinstance(data.label_names, list):
            label = self._label(messages[-1].content)
        tools = values[shape.tools] if shape.tools else None
        return Example(
            messages=tuple(messages),
            tools=tools_of(plain(tools) if is_table else tools) if tools else (),
            label=label if data.label_names != "none" else None,
            **about,
        )

    def _kept(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {n: as_json(values[n]) for n in self._data.keep_columns if n in values}

    def _refuse_unwanted(self, values: Mapping[str, Any], shape: Shape) -> None:
        """Refuse a row whose answer nobody wants, and one that is more than its text."""
        if shape.wanted and _is_false(values[shape.wanted]):
            raise Unusable("unwanted_answer", f"`{shape.wanted}` is false")
        if shape.verdict:
            verdict = content_of(values[shape.verdict]).strip().casefold()
            if verdict != "accept":
                raise Unusable("not_accepted", f"`{shape.verdict}` is {verdict or 'empty'}")
        if shape.media and values[shape.media] not in (None, [], {}, ""):
            read = (shape.messages, *shape.prompt)
            said = str([values[name] for name in read if name is not None])
            if not isinstance(values[shape.media], str) or any(m in said for m in MEDIA_MARKS):
                raise Unusable("media", f"`{shape.media}` is part of what is given")

    def _messages(
        self, values: Mapping[str, Any], shape: Shape, label: str | None, *, is_table: bool
    ) -> list[Message]:
        read = self._conversations
        if shape.messages:
            messages = read.messages(values[shape.messages], is_table=is_table)
            if label and messages[-1].role == "user":
                messages.append(Message("assistant", label))
            return _learnable(read.repair(messages))
        asked = [v for name in shape.prompt if (v := self._read(values[name], name)) is not None]
        if len(asked) == 1 and (turns := _turns(asked[0])):
            before = read.messages(turns, is_table=is_table)
        else:
            history = self._history(values, shape)
            before = [*history, Message("user", joined(asked))]
            if history:
                before = read.repair([*before, Message("assistant", ANSWER)])[:-1]
        if not shape.completion:
            return [*before, Message("assistant", label or "")]
        answers = [self._read(values[name], name) for name in shape.completion]
        if shape.choices:
            listed, right = chosen(values[shape.choices], answers[0])
            return [*before[:-1], Message("user", f"{before[-1].content}\n\n{listed}"), right]
        if len(answers) == 1 and (turns := _turns(answers[0])):
            after = read.messages(turns, is_table=is_table)
            is_whole = after[0].role != "assistant"  # the prompt stands in it again
            return _learnable(read.repair(after if is_whole else [*before, *after]))
        answer = Message("assistant", joined([self._answer(answer) for answer in answers]))
        return [*before, answer]

    def _read(self, value: Any, column: str) -> Any:
        """Return the turns that a column holds as JSON text, or the value as it is."""
        is_text = column in self._turn_columns and isinstance(value, str)
        return parsed(value, column) if is_text and value.strip() else value

    def _history(self, values: Mapping[str, Any], shape: Shape) -> list[Message]:
        """Return the turns before a prompt."""
        value = values[shape.history] if shape.history else None
        if value is None or value in ("", []):
            return []
        return self._conversations.messages(value)

    def _answer(self, value: Any) -> Any:
        """Return one answer where several are allowed: SQuAD's object of answers, or a list."""
        if isinstance(value, Mapping) and isinstance(value.get("text"), list):
            value = value["text"]
            if not value:
                raise Unusable("empty_completion", "there is no answer")
        if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
            if len(set(value)) > 1:
                self.repairs["first_answer_taken"] += 1
            return value[0]
        return value

    def _label(self, value: Any) -> str:
        """Return a label on one line, by its name where the recipe gives one."""
        if not isinstance(value, str):
            value = _one_label(value)
        label = " ".join(value.split())
        if label[:1] == "[" and _LISTED.fullmatch(label):
            raise Unusable("several_labels", f"the label is a list: {label[:100]}")
        if not self._source.labels:
            return label
        whole = label.removesuffix(".0")
        if label not in self._source.labels and whole in self._source.labels:
            label = whole
        if label in self._source.labels:
            self.named.add(label)
            return self._source.labels[label]
        return label


def given_columns(
    columns: "Columns", names: Sequence[str], parts: Sequence[str] = COLUMN_NAMES
) -> Given:
    """Return the columns that a recipe names for parts of a row; numbers count from 1."""
    own: dict[str, tuple[str, ...]] = {}
    for part in parts:
        given = getattr(columns, part)
        if given is not None:
            listed = given if isinstance(given, list) else [given]
            own[part] = tuple(column_named(one, names) for one in listed)
    return own


def _one_label(value: Any) -> str:
    """Return the label of a value that is no text.

    Raises:
        Unusable: it holds several.
    """
    if isinstance(value, list | tuple):
        if len(value) > 1:
            raise Unusable("several_labels", f"{len(value)} labels: {value!r}"[:200])
        value = value[0] if value else None
    if isinstance(value, list | Mapping):
        raise Unusable("several_labels", "the label is a list or an object, such as spans")
    return content_of(value)


def _turns(value: Any) -> list[Any]:
    """Return the turns that a prompt or completion is, one or a list; none of a text."""
    if isinstance(value, str):
        return []
    turns = [value] if isinstance(value, Mapping) else value
    is_list = isinstance(turns, list) and bool(turns) and isinstance(turns[0], Mapping)
    return turns if is_list and names_speaker(turns[0]) else []


def _is_false(value: Any) -> bool:
    return value is False or (isinstance(value, str) and value.strip().casefold() == "false")


def _learnable(messages: list[Message]) -> list[Message]:
    """Return messages up to the last one that is learned; a first one has no prompt.

    Raises:
        Unusable: nothing is learned.
    """
    learned = [
        number
        for number, message in enumerate(messages)
        if number and message.role == "assistant" and message.learned
    ]
    if not learned and all(m.learned for m in messages):
        return messages  # an answer to nothing, which the filters name
    if not learned:
        raise Unusable("unwanted_answer", "every answer has the weight 0")
    return messages[: learned[-1] + 1]
