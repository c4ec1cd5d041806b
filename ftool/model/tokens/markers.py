"""Markers of a chat template inside what people wrote: found, and kept from being markers."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

BREAK = "\ufdd0"
"""A character that Unicode keeps out of text: where it stands, a text is tokenized in two."""
_THINKING = re.compile(r"[<\[]/?(\w+:)?(think|thought|reason)\w*[>\]]", re.IGNORECASE)
BEGINNING = 2
"""Characters; no marker is shorter."""
ANCHORS = ("\n", "a", ".")


def find_markers(tokenizer: Any, structure: str) -> re.Pattern[str] | None:
    """Return what finds the markers that a text of people may not have.

    These are the special tokens, and the other added tokens that the template writes around every
    message. The tags of reasoning are none: an answer may have them.

    Args:
        tokenizer: whose added tokens are looked at.
        structure: a plain conversation as the template writes it.
    """
    markers = {
        token.content
        for token in tokenizer.added_tokens_decoder.values()
        if (token.special or token.content in structure)
        and len(token.content.strip()) > 1
        and not _THINKING.fullmatch(token.content)
    }
    # Some tokenizers have a thousand: what begins alike is looked at once.
    longest_first = sorted(markers, key=lambda text: (text[:BEGINNING], -len(text)))
    groups = [
        f"{re.escape(begins)}(?:{'|'.join(re.escape(text[BEGINNING:]) for text in own)})"
        for begins, own in groupby(longest_first, key=lambda text: text[:BEGINNING])
    ]
    return re.compile("|".join(groups)) if groups else None


def broken(value: Any, markers: re.Pattern[str]) -> Any:
    """Return a value in whose texts every marker is broken behind its first character."""
    if isinstance(value, str):
        return markers.sub(lambda found: f"{found[0][0]}{BREAK}{found[0][1:]}", value)
    if isinstance(value, Mapping):
        return {key: broken(inner, markers) for key, inner in value.items()}
    if isinstance(value, Sequence):
        return [broken(inner, markers) for inner in value]
    return value


def texts_in(value: Any) -> Iterator[str]:
    """Yield the texts in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from texts_in(inner)
    elif isinstance(value, Sequence):
        for inner in value:
            yield from texts_in(inner)


def tokenize_broken(tokenizer: Any, text: str) -> list[int] | None:
    """Tokenize a text with breaks, so that no token crosses one; None where it cannot be done.

    A tokenizer may begin every text in a way of its own, so each piece but the first is tokenized
    behind an anchor, whose tokens are then left out.
    """

    def ids_of(piece: str) -> list[int]:
        return list(tokenizer(piece, add_special_tokens=False)["input_ids"])

    first, *others = text.split(BREAK)
    ids = ids_of(first)
    for piece in others:
        for anchor in ANCHORS:
            before, whole = ids_of(anchor), ids_of(anchor + piece)
            if whole[: len(before)] == before:
                ids += whole[len(before) :]
                break
        else:
            return None
    return ids
