"""How numbers of things, lists of names and long texts are written."""

from collections.abc import Sequence


def counted(number: int, noun: str, nouns: str = "") -> str:
    """Write a number with its noun; `nouns` is the plural where it is no noun with an s."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


def cut(text: str, letters: int) -> str:
    """Write at most so many letters of a text; the last is an ellipsis where some are missing."""
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def listed(names: Sequence[str], most: int) -> str:
    """Write at most so many names, and how many there are besides."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")
