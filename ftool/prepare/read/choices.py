"""A question with choices, of which one is right."""

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from ftool.example import Message
from ftool.prepare.read.contents import content_of
from ftool.prepare.read.rows import Unusable


def chosen(choices: Any, right: Any) -> tuple[str, Message]:
    """Return the choices as lines `A. text`, and the right one as the answer.

    Args:
        choices: a list of texts, or an object of lists `label` and `text`.
        right: the index of the right one from 0, its letter or label, or its text.

    Raises:
        Unusable: there are no choices, or none of them is meant.
    """
    texts, labels = _texts(choices)
    if not texts:
        raise Unusable("unknown_choice", "there are no choices")
    place = _place(right, texts, labels)
    if place is None:
        raise Unusable("unknown_choice", f"{right!r} is none of {len(texts)} choices")
    is_lettered = len(texts) <= len(ascii_uppercase)
    shown = labels or (list(ascii_uppercase) if is_lettered else numbers(1, len(texts)))
    lines = (f"{label}. {text}" for label, text in zip(shown, texts, strict=False))
    return "\n".join(lines), Message("assistant", texts[place])


def _texts(choices: Any) -> tuple[list[str], list[str]]:
    """Return the texts of choices, with their labels where they have some."""
    labels: Any = None
    if isinstance(choices, Mapping):
        labels, choices = choices.get("label", choices.get("labels")), choices.get("text")
    if isinstance(choices, list) and choices and all(isinstance(one, Mapping) for one in choices):
        labels = [one.get("label") for one in choices]
        choices = [one.get("text") for one in choices]
    if not isinstance(choices, list):
        return [], []
    texts = [content_of(choice) for choice in choices]
    has_labels = isinstance(labels, list) and len(labels) == len(texts)
    return texts, [content_of(label) for label in labels] if has_labels else []


def _place(right: Any, texts: Sequence[str], labels: Sequence[str]) -> int | None:
    """Return which choice is meant: by its label, its text, or its index."""
    meant = content_of(right).strip()
    indices, letters = numbers(0, len(texts)), list(ascii_uppercase[: len(texts)])
    is_index = isinstance(right, int) and not isinstance(right, bool)
    for names in (labels, indices, letters) if is_index else (labels, texts, letters, indices):
        if meant in names:
            return names.index(meant)
    return None


def numbers(first: int, count: int) -> list[str]:
    """Return numbers in a row as texts."""
    return [str(number) for number in range(first, first + count)]
