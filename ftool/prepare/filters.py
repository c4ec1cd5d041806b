"""Keep or drop, with a reason."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ftool.example import Example
from ftool.prepare.rows import Candidate, Rejected

if TYPE_CHECKING:
    from ftool.recipe.schema import Recipe


def _prompt_characters(example: Example) -> int:
    if example.text is not None:
        return len(example.text)
    return sum(len(message.content) for message in example.prompt if message.role != "system")


def _empty_text(example: Example, _: "Recipe") -> str | None:
    return "nothing is left of the text" if example.text == "" else None


def _empty_prompt(example: Example, _: "Recipe") -> str | None:
    is_empty = example.text is None and not _prompt_characters(example)
    return "nothing is left of the prompt" if is_empty else None


def _empty_completion(example: Example, _: "Recipe") -> str | None:
    is_empty = example.completion == "" and not example.messages[-1].tool_calls
    return "nothing is left of the completion" if is_empty else None


def _missing_label(example: Example, recipe: "Recipe") -> str | None:
    needed = isinstance(recipe.data.label_names, list)
    return "the label is empty" if needed and not example.label else None


def _unknown_label(example: Example, recipe: "Recipe") -> str | None:
    allowed = recipe.data.label_names
    unknown = isinstance(allowed, list) and example.label not in allowed
    return f"`{example.label}` is not in `label_names`" if unknown else None


def _too_short(example: Example, recipe: "Recipe") -> str | None:
    length, least = _prompt_characters(example), recipe.data.filter.min_characters
    return f"{length} characters; at least {least}" if length < least else None


def _too_long(example: Example, recipe: "Recipe") -> str | None:
    most = recipe.data.filter.max_characters
    length = len(example.text or "") + sum(len(message.content) for message in example.messages)
    return f"{length:,} characters; at most {most:,}" if most and length > most else None


FILTERS: dict[str, Callable[[Example, "Recipe"], str | None]] = {
    "empty_text": _empty_text,
    "empty_prompt": _empty_prompt,
    "empty_completion": _empty_completion,
    "missing_label": _missing_label,
    "unknown_label": _unknown_label,
    "too_short": _too_short,
    "too_long": _too_long,
}
"""Reason -> what finds it: a detail, or None where the example is fine. The first hit counts."""

LENGTHS = frozenset(("too_short", "too_long"))
"""Rules that rows of an assigned validation or test source are exempt from."""


def rejection(candidate: Candidate, recipe: "Recipe") -> Rejected | None:
    """Return the rejected row where a filter hits, else None."""
    for reason, find in FILTERS.items():
        if candidate.held_out and reason in LENGTHS:
            continue
        detail = find(candidate.example, recipe)
        if detail is not None:
            return candidate.rejected(reason, detail)
    return None
