"""What a content of others holds: text, parts of text, tool calls and their results."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ftool.example import Message
from ftool.prepare.read.json_text import TOO_DEEP, is_too_deep
from ftool.prepare.read.rows import Unusable

TEXT_PARTS = frozenset(("text", "input_text", "output_text"))
MEDIA_PARTS = ("image", "audio", "video", "file", "document", "media")
"""What the type of a part that is no text begins with or holds."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a content holds: text, tool calls, results of tools, and reasoning."""

    text: str = ""
    calls: tuple[Mapping[str, Any], ...] = ()
    results: tuple[Message, ...] = ()
    reasoning: str = ""

    @classmethod
    def read(cls, value: Any) -> "Contents":
        """Read a text or a list of parts.

        Raises:
            Unusable: it holds something that is no text.
        """
        if not isinstance(value, list):
            return cls(content_of(value))
        if all(isinstance(part, str) for part in value):
            return cls("\n\n".join(value))
        texts, calls, results, thoughts = list[str](), list[Any](), list[Message](), list[str]()
        for part in value:
            match part:
                case {"type": "tool_use", "name": name}:
                    made = {"id": part.get("id"), "name": name, "arguments": part.get("input")}
                    calls += calls_of([made])
                case {"type": "tool_result"}:
                    text = cls.read(part.get("content")).text
                    call = part.get("tool_use_id")
                    results.append(Message("tool", text, tool_call_id=str(call) if call else None))
                case {"type": "thinking", "thinking": str(text)}:
                    thoughts.append(text)
                case {"type": str(kind), "text": str(text)} if kind in TEXT_PARTS:
                    texts.append(text)
                case {"type": str(kind), "value": str(text)} if kind in TEXT_PARTS:
                    texts.append(text)
                case {"text": str(text)} if part.get("type") is None:
                    texts.append(text)
                case _:
                    raise _no_text(part)
        return cls("".join(texts), tuple(calls), tuple(results), "\n".join(thoughts))


def _no_text(part: Any) -> Unusable:
    if not isinstance(part, Mapping):
        return Unusable("not_text", "a content is a list, not a text")
    kind = str(part.get("type") or next(iter(part), "nothing"))
    if any(word in kind.casefold() for word in MEDIA_PARTS):
        return Unusable("media", f"a message holds a part of the type `{kind}`")
    return Unusable("unknown_part", f"a message holds a part of the type `{kind}`")


def content_of(value: Any) -> str:
    """Return a content as text: numbers are written out, text parts are joined.

    Raises:
        Unusable: it is something else.
    """
    if value is None or value != value:  # NaN is what tables have for nothing
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        raise Unusable("not_text", "a content is an object, not a text")
    if isinstance(value, list):
        return Contents.read(value).text
    if isinstance(value, bytes):
        raise Unusable("not_text", "a content is bytes, not a text")
    return str(value)


def calls_of(value: Any) -> list[Mapping[str, Any]]:
    """Return tool calls in the one form: id, type, function with its name and arguments.

    Source:
        Tool calls of OpenAI's chat completions, which chat templates take up.

    Raises:
        Unusable: they are no calls, or their arguments no object.
    """
    return [_call(item) for item in objects_of(value, "tool_calls")]


def _call(item: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = item.get("function")
    function = inner if isinstance(inner, Mapping) else item
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise Unusable("invalid_tool_calls", "a tool call has no name")
    arguments = function.get("arguments", function.get("parameters"))
    if isinstance(arguments, str):
        arguments = parsed(arguments, "tool_calls") if arguments.strip() else {}
    if not isinstance(arguments, Mapping | None):
        raise Unusable("invalid_tool_calls", f"the arguments of `{name}` are no object")
    made = {"type": "function", "function": {"name": name, "arguments": dict(arguments or {})}}
    call_id = item.get("id")
    return {"id": str(call_id), **made} if call_id else made


def tools_of(value: Any) -> tuple[Mapping[str, Any], ...]:
    """Return declarations of tools in the one form; those of functions alone are wrapped.

    Raises:
        Unusable: they are no list of objects.
    """
    return tuple(_tool(item) for item in objects_of(value, "tools"))


def _tool(item: Mapping[str, Any]) -> Mapping[str, Any]:
    if "function" in item or "name" not in item:
        return item
    renamed = {"input_schema": "parameters"}  # Anthropic's name
    function = {renamed.get(key, key): value for key, value in item.items() if key != "type"}
    return {"type": "function", "function": function}


def objects_of(value: Any, what: str) -> list[Mapping[str, Any]]:
    """Return the objects of a list, given as such or as its JSON text.

    Raises:
        Unusable: it is no list of objects.
    """
    if isinstance(value, str):
        value = parsed(value, what) if value.strip() else None
    if value is None:
        return []
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = [parsed(item, what) for item in value]
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise Unusable(f"invalid_{what}", f"`{what}` is no list of objects")
    return [as_json(item) for item in value]


def parsed(text: str, what: str) -> Any:
    """Return what JSON text within a row holds; it has to be as sound as the row itself.

    Raises:
        Unusable: it is not.
    """
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


def plain(value: Any) -> Any:
    """Return a value of a table without the nulls that it has for absent keys of objects."""
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value


def as_json(value: Any) -> Any:
    """Return a value as JSON can hold it: dates and the like become text."""
    if value is None or isinstance(value, str | int | bool):
        return value
    return json.loads(json.dumps(value, default=str))


def joined(values: Sequence[Any]) -> str:
    """Return several contents as one text, a blank line between them; empty ones are left out."""
    if len(values) == 1:
        return content_of(values[0])
    return "\n\n".join(text for text in map(content_of, values) if text.strip())
