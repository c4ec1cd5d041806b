"""row -> Example (messages, prompt/completion, alpaca, sharegpt, text+label, text), detected."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from ftool.errors import DataError, did_you_mean
from ftool.example import Example, Message, Role
from ftool.prepare.read.json_text import TOO_DEEP, is_too_deep
from ftool.prepare.read.rows import Row, Unusable
from ftool.wording import cut, listed

if TYPE_CHECKING:
    from ftool.recipe.blocks.data import Columns, Data

MESSAGES = ("messages", "conversations", "conversation")
PAIRS = (
    ("prompt", "completion"),
    ("prompt", "response"),
    ("question", "answer"),
    ("instruction", "output"),
    ("instruction", "response"),
    ("input", "output"),
)
TEXTS = ("text", "message", "utterance", "sentence", "query")
COLUMNS_SHOWN, LETTERS_SHOWN = 20, 60
LABELS = ("label", "category", "intent", "class")


ROLE_NAMES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
}

MESSAGE_PARTS = frozenset(
    ("role", "from", "content", "value", "name", "tool_calls", "tool_call_id")
)
"""What is read of a message."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Which column of a row plays which part."""

    messages: str | None = None
    system: str | None = None
    prompt: str | None = None
    input: str | None = None
    completion: str | None = None
    text: str | None = None
    label: str | None = None
    tools: str | None = None

    def missing(self, names: Collection[str]) -> list[str]:
        """Return the columns that a row of these names lacks."""
        used = [getattr(self, part.name) for part in fields(self)]
        return [column for column in used if column is not None and column not in names]


class Reader:
    """Turns rows of one input into examples.

    It remembers the columns seen, whether any made sense, and the parts of messages left `unused`.

    Args:
        shown: the name of the input.
        suffix: what tells the ids of an input that is read twice apart.
        columns: which column plays which part, where the recipe says so.
        data: the recipe's block.
    """

    def __init__(self, shown: str, suffix: str, columns: "Columns", data: "Data") -> None:
        self._shown, self._suffix, self._data = shown, suffix, data
        self._given = columns.model_dump(exclude_none=True)
        self._shapes: dict[tuple[str, ...], tuple[Shape | None, list[str]]] = {}
        self.columns: dict[str, None] = {}
        self.unused: set[str] = set()

    def example(self, row: Row) -> Example:
        """Return the example that a row is.

        Raises:
            Unusable: no example can be made of it.
        """
        if row.values is None:
            raise Unusable(row.reason, row.detail)
        shape, missing = self._shape(row.values)
        if shape is None:
            raise Unusable("missing_field", f"it only has {', '.join(row.values)}")
        if missing:
            raise Unusable("missing_field", f"it has no {', '.join(missing)}")
        names = {"id": f"{self._shown}:{row.line}{self._suffix}", "source": self._shown}
        return _example(row, row.values, shape, names, self._data, self.unused)

    @property
    def recognised(self) -> bool:
        """Whether any row had a shape that is known."""
        return any(shape for shape, _ in self._shapes.values())

    def _shape(self, values: Mapping[str, Any]) -> tuple[Shape | None, list[str]]:
        """Return the shape of a row and the columns that it lacks, found once for equal names."""
        names = tuple(values)
        if names not in self._shapes:
            self.columns.update(dict.fromkeys(names))
            shape = detect(names, self._given, self._data.kind)
            self._shapes[names] = shape, shape.missing(names) if shape else []
        return self._shapes[names]


def check_columns(
    shown: str, columns: Sequence[str], *, recognised: bool, given: "Columns", data: "Data"
) -> None:
    """Refuse an input whose rows lack what the recipe names, or mean nothing.

    Raises:
        DataError: a named column is in no row, or no row has a shape that is known.
    """
    if not columns:
        return
    named = given.model_dump(exclude_none=True).values()
    missing = [f"`{name}`" for name in named if name not in columns]
    if missing:
        near = did_you_mean(missing[0].strip("`"), list(columns))
        raise DataError(
            f"{shown} has no column {', '.join(missing)}{near}\n  its columns: {_named(columns)}",
            hint="correct `columns` of this source in the recipe",
        )
    if not recognised:
        raise _undetected(shown, list(columns), data.kind)


def _undetected(shown: str, columns: list[str], kind: str) -> DataError:
    first, last = cut(columns[0], LETTERS_SHOWN), cut(columns[-1], LETTERS_SHOWN)
    if kind == "text":
        return DataError(
            f"{shown}: no text column found among {_named(columns)}",
            hint=f"name it in the recipe: columns: {{text: {last}}}",
        )
    is_corpus = detect(columns, {}, "text") is not None
    corpus = "\n  a corpus without answers needs `data.kind: text`" if is_corpus else ""
    parts = f"prompt: {first}, label: {last}" if len(columns) > 1 else f"messages: {first}"
    return DataError(
        f"{shown}: no conversation, prompt with completion, or text with label "
        f"found among its columns {_named(columns)}{corpus}",
        hint=f"name them in the recipe: columns: {{{parts}}}",
    )


def _named(columns: Sequence[str]) -> str:
    """Name columns; what no column is called, such as a row read as the header, is cut."""
    return listed([cut(name, LETTERS_SHOWN) for name in columns], COLUMNS_SHOWN)


def detect(names: Collection[str], given: Mapping[str, str], kind: str) -> Shape | None:
    """Return the shape that column names mean; what the recipe names goes first.

    Names are compared without regard to case. None where they mean nothing for this kind of data.
    """
    by_name = {name.strip().casefold(): name for name in names}

    def first(*allowed: str) -> str | None:
        return next((by_name[name] for name in allowed if name in by_name), None)

    if kind == "text":
        text = given.get("text") or first(*TEXTS, "content", "document")
        return Shape(text=text, label=given.get("label")) if text else None
    system, tools = given.get("system") or first("system"), first("tools")
    pair_named = given.keys() & {"prompt", "completion", "text"}
    messages = given.get("messages") or (None if pair_named else first(*MESSAGES))
    if messages:
        return Shape(messages=messages, system=system, tools=tools, label=given.get("label"))
    shape = _pair(by_name, first, given) or _labelled(first, given)
    if shape is None:
        return None
    return Shape(system=system, tools=tools, **shape)


def _pair(
    by_name: Mapping[str, str], first: Any, given: Mapping[str, str]
) -> dict[str, str] | None:
    """Return the columns of a prompt and its completion."""
    named = given.get("prompt") or given.get("text")
    if "label" in given and "completion" not in given:
        return None
    text = first(*TEXTS) if "completion" in given else None
    for prompt_name, completion_name in PAIRS:
        prompt = named or by_name.get(prompt_name) or text
        completion = given.get("completion") or by_name.get(completion_name)
        if prompt and completion and prompt != completion:
            parts = {"prompt": prompt, "completion": completion}
            if prompt_name == "instruction" and not named and "input" in by_name:
                parts["input"] = by_name["input"]
            return parts | ({"label": given["label"]} if "label" in given else {})
    return None


def _labelled(first: Any, given: Mapping[str, str]) -> dict[str, str] | None:
    """Return the columns of a text and its label, which is the completion too."""
    if "completion" in given:
        return None
    prompt = given.get("prompt") or given.get("text") or first(*TEXTS, *(p for p, _ in PAIRS))
    label = given.get("label") or first(*LABELS)
    return {"prompt": prompt, "label": label} if prompt and label and prompt != label else None


def _example(
    row: Row,
    values: Mapping[str, Any],
    shape: Shape,
    names: Mapping[str, str],
    data: "Data",
    unused: set[str],
) -> Example:
    label = _label(values[shape.label]) if shape.label else None
    if shape.label and not label and data.label_names != "none":
        raise Unusable("missing_label", f"`{shape.label}` is empty")
    group = _content(values.get(data.split.group)) if data.split.group else ""
    about: dict[str, Any] = {
        **names,
        "line": row.line,
        "group": group or None,
        "extra": {name: _plain(values[name]) for name in data.keep_columns if name in values},
    }
    if shape.text:
        return Example(text=_content(values[shape.text]), label=label, **about)
    messages = _messages(values, shape, label, unused)
    system = _content(values[shape.system]) if shape.system else ""
    system = system or data.system or ""
    if system and messages[0].role != "system":
        messages = [Message("system", system), *messages]
    if label is None and isinstance(data.label_names, list):
        label = _label(messages[-1].content)
    return Example(
        messages=tuple(messages),
        tools=_objects(values[shape.tools], "tools") if shape.tools else (),
        label=label if data.label_names != "none" else None,
        **about,
    )


def _messages(
    values: Mapping[str, Any], shape: Shape, label: str | None, unused: set[str]
) -> list[Message]:
    if shape.messages:
        messages = _conversation(values[shape.messages], unused)
        if label and messages[-1].role == "user":
            messages.append(Message("assistant", label))
        if messages[-1].role != "assistant":
            raise Unusable("last_not_assistant", f"the last message is by {messages[-1].role}")
        return messages
    assert shape.prompt is not None
    prompt = _content(values[shape.prompt])
    if shape.input and (added := _content(values[shape.input])):
        prompt = f"{prompt}\n\n{added}"
    completion = _content(values[shape.completion]) if shape.completion else label or ""
    return [Message("user", prompt), Message("assistant", completion)]


def _conversation(value: Any, unused: set[str]) -> list[Message]:
    if isinstance(value, str) and value.lstrip()[:1] not in {"[", "{", ""}:
        raise Unusable("not_messages", "the conversation is text, no list of messages")
    if isinstance(value, str):
        value = _parsed(value, "messages")
    if value is None or (isinstance(value, Sequence) and not value):
        raise Unusable("no_messages", "the conversation is empty")
    if not isinstance(value, list):
        raise Unusable("not_messages", "the conversation is no list of messages")
    messages = [_message(item, place) for place, item in enumerate(value, start=1)]
    for item in value:
        unused.update(part for part in item.keys() - MESSAGE_PARTS if item[part] is not None)
    return messages


def _message(item: Any, place: int) -> Message:
    if not isinstance(item, Mapping):
        raise Unusable("not_messages", f"message {place} is no object with a role and a content")
    written = item.get("role", item.get("from"))
    role = ROLE_NAMES.get(written.strip().casefold()) if isinstance(written, str) else None
    if role is None:
        allowed = "system, user, assistant, tool"
        raise Unusable("invalid_role", f"message {place}: {written!r}; allowed are {allowed}")
    name, call_id = item.get("name"), item.get("tool_call_id")
    return Message(
        role=role,
        content=_content(item.get("content", item.get("value"))),
        name=str(name) if name else None,
        tool_calls=_objects(item.get("tool_calls"), "tool_calls"),
        tool_call_id=str(call_id) if call_id else None,
    )


def _objects(value: Any, what: str) -> tuple[Mapping[str, Any], ...]:
    """Return the objects of `tools` or `tool_calls`, given as a list or as its JSON text."""
    if isinstance(value, str):
        value = _parsed(value, what) if value.strip() else None
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise Unusable(f"invalid_{what}", f"`{what}` is no list of objects")
    return tuple(_plain(item) for item in value)


def _parsed(text: str, what: str) -> Any:
    """Return what JSON text within a row holds; it has to be as sound as the row itself."""
    if is_too_deep(text):
        raise Unusable("too_deep", f"`{what}`: {TOO_DEEP}")
    try:
        value = json.loads(text)
    except ValueError as error:
        raise Unusable("broken_json", f"`{what}`: {error}") from error
    if "\\u" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            detail = f"`{what}`: half of a character pair stands alone"
            raise Unusable("lone_surrogate", detail) from error
    return value


def _content(value: Any) -> str:
    """Return a content as text: numbers are written out, text parts are joined."""
    if value is None or value != value:  # NaN is what tables have for nothing
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        raise Unusable("not_text", "a content is an object, not a text")
    if isinstance(value, list):
        texts = [part.get("text") if isinstance(part, Mapping) else None for part in value]
        if not all(isinstance(text, str) for text in texts):
            raise Unusable("not_text", "a content is a list, not a text")
        return "".join(map(str, texts))
    if isinstance(value, bytes):
        raise Unusable("not_text", "a content is bytes, not a text")
    return str(value)


def _label(value: Any) -> str:
    """Return a label on one line."""
    return " ".join(_content(value).split())


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it: dates and the like become text."""
    if value is None or isinstance(value, str | int | bool):
        return value
    return json.loads(json.dumps(value, default=str))
