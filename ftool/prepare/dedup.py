"""Exact duplicates: which examples say the same, and which of them stays."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from ftool.example import Example, Message
from ftool.prepare.rows import Candidate, Rejected


def fold(text: str) -> str:
    """Return a text without differences in case and white space."""
    return " ".join(text.casefold().split())


def _digest(value: Any) -> bytes:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _folded(messages: Sequence[Message]) -> list[Any]:
    return [
        [message.role, fold(message.content), [dict(call) for call in message.tool_calls]]
        for message in messages
    ]


def prompt_key(example: Example) -> bytes:
    """Return equal bytes for equal prompts (system message and tools are part of one) or texts."""
    if example.text is not None:
        return _digest(fold(example.text))
    return _digest([_folded(example.prompt), [dict(tool) for tool in example.tools]])


def example_key(example: Example) -> bytes:
    """Return equal bytes for examples of which one is enough.

    With a label the prompt decides, since one prompt has one label; else the whole conversation.
    """
    if example.label is not None or example.text is not None:
        return prompt_key(example)
    return _digest([_folded(example.messages), [dict(tool) for tool in example.tools]])


def drop_duplicates(
    candidates: Sequence[Candidate], *, exact: bool
) -> tuple[list[Candidate], list[Rejected]]:
    """Split candidates into those that stay and repeats.

    Rows of sources assigned to validation and test always stay, and their twins elsewhere always
    go. Among the others the first stays, unless repeats are wanted (`exact` is off).
    """
    keys = [example_key(candidate.example) for candidate in candidates]
    held_out: dict[bytes, Candidate] = {}
    for split in ("test", "validation"):
        for key, candidate in zip(keys, candidates, strict=True):
            if candidate.assigned == split:
                held_out.setdefault(key, candidate)
    first: dict[bytes, Candidate] = {}
    kept: list[Candidate] = []
    rejected: list[Rejected] = []
    for key, candidate in zip(keys, candidates, strict=True):
        twin = held_out.get(key)
        if candidate.held_out:
            kept.append(candidate)
        elif twin is not None:
            rejected.append(candidate.rejected(f"leaks_into_{twin.assigned}", _like(twin)))
        elif exact and key in first:
            rejected.append(_repeat(candidate, first[key]))
        else:
            first.setdefault(key, candidate)
            kept.append(candidate)
    return kept, rejected


def _repeat(candidate: Candidate, twin: Candidate) -> Rejected:
    if candidate.example.label == twin.example.label:
        return candidate.rejected("exact_duplicate", _like(twin))
    label = f"{_like(twin)}, labelled `{twin.example.label}`"
    return candidate.rejected("conflicting_label", label)


def _like(twin: Candidate) -> str:
    return f"same as {twin.example.id}"
