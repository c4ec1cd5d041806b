"""Keys of examples: equal bytes for those that say the same."""

import json
from collections.abc import Iterable
from typing import NamedTuple

import xxhash

from ftool.example import Example, Message


def fold(text: str) -> str:
    """Return a text without differences in case and white space."""
    return " ".join(text.casefold().split())


def _folded(messages: Iterable[Message]) -> Iterable[str]:
    for message in messages:
        yield message.role
        yield fold(message.content)
        if message.tool_calls:
            yield json.dumps([dict(call) for call in message.tool_calls], sort_keys=True)
        if message.reasoning_content:
            yield fold(message.reasoning_content)


def _digest(parts: Iterable[str]) -> bytes:
    return xxhash.xxh3_128_digest("\x1f".join(parts).encode("utf-8", "surrogatepass"))


def _tools(example: Example) -> list[str]:
    return [json.dumps(dict(tool), sort_keys=True) for tool in example.tools]


class Keys(NamedTuple):
    """Equal bytes for examples that belong together.

    `content`: one of them is enough; with a label the prompt decides, since one prompt has one
    label, else the whole conversation. `prompt`: they are asked the same (system message and tools
    are a part of it). `unit`: they are of one group, where they have one, else of one prompt.
    """

    content: bytes
    prompt: bytes
    unit: bytes


def keys_of(example: Example) -> Keys:
    """Return the keys of an example."""
    if example.text is not None:
        prompt = _digest([fold(example.text)])
    else:
        prompt = _digest([*_folded(example.prompt), *_tools(example)])
    content = prompt
    if example.label is None and example.text is None:
        content = _digest([*_folded(example.messages), *_tools(example)])
    unit = _digest(["group", example.group]) if example.group else prompt
    return Keys(content, prompt, unit)


def compared_text(example: Example) -> str:
    """Return the words by which an example is like another: what is asked, and answered freely.

    The system message is the same in many examples and would make all of them alike; a label says
    nothing that the prompt does not.
    """
    if example.text is not None:
        return example.text
    messages = example.prompt if example.label is not None else example.messages
    return "\n".join(message.content for message in messages if message.role != "system")
