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

    `content`: one of them is enough; where the label is the answer the prompt decides, since one
    prompt has one label, else the whole conversation. `prompt`: they are asked the same (system
    message and tools are a part of it). `unit`: they are of one group, where they have one, else of
    one prompt.
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
    if example.text is None and not answers_with_label(example):
        content = _digest([*_folded(example.messages), *_tools(example)])
    unit = _digest(["group", example.group]) if example.group else prompt
    return Keys(content, prompt, unit)


def answers_with_label(example: Example) -> bool:
    """Tell whether a label is all that is answered."""
    return example.label is not None and example.completion in (None, example.label)


def answers_freely(example: Example) -> bool:
    """Tell whether something is answered, and not a label alone."""
    return example.text is None and not answers_with_label(example)


def free_answer(example: Example) -> str:
    """Return the answer that is no label, or nothing."""
    return "" if answers_with_label(example) else example.completion or ""


def asked_text(example: Example) -> str:
    """Return what is asked, without the system message, or the text of a corpus."""
    if example.text is not None:
        return example.text
    return "\n".join(message.content for message in example.prompt if message.role != "system")


def compared_texts(example: Example) -> tuple[str, str]:
    """Return the words by which an example is like another: what is asked, and answered freely.

    The system message is the same in many examples and would make all of them alike; a label says
    nothing that the prompt does not.
    """
    return asked_text(example), free_answer(example) if example.text is None else ""


def compared_text(example: Example) -> str:
    """Return both `compared_texts` in one."""
    return "\n".join(filter(None, compared_texts(example)))


def answer_key(example: Example) -> int:
    """Return 64 bits that are equal where free answers say the same; 0 where there is none.

    Marks at the end are none of it; where an answer is in signs alone, they are all of it.
    """
    if not answers_freely(example):
        return 0
    answer = fold(example.completion or "")
    said = answer.rstrip(".!?\u2026 ") or answer
    calls = example.messages[-1].tool_calls
    if calls:
        said += json.dumps([dict(call) for call in calls], sort_keys=True)
    return xxhash.xxh3_64_intdigest(said.encode("utf-8", "surrogatepass"))
