"""Model output -> label: exact, then normalized, then a field of a JSON object, else nothing."""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache

JSON_KEYS = ("label", "intent", "category", "answer")
"""The fields of a JSON object that may name the label; an object with one field needs none."""

_QUOTES = ('""', "''", "``", "\u201c\u201d", "\u2018\u2019", "\u201e\u201c", "\u00ab\u00bb")
_PUNCTUATION = ".,;:!?\u3002\uff0c\uff01\uff1f"
# Between letters or digits only: the labels `-1` and `+1` must not become the same.
_SEPARATORS = re.compile(r"(?<=[^\W_])[\s_-]+(?=[^\W_])")


_REASONING_END = re.compile(r".*</(?:\w*think\w*|thought)>\s*", re.DOTALL)

STEPS = ("exact", "normalized", "json")
"""How a label can be read, the strictest first."""


def without_reasoning(output: str) -> str:
    """Return an output without the reasoning that it begins with, which chat templates mark."""
    return _REASONING_END.sub("", output, count=1)


def read_label(output: str, label_names: Sequence[str]) -> tuple[str | None, str | None]:
    """Return the declared label that an output names and the step that read it, or twice None.

    An output is a label as it stands; or after case, separators (space, `_`, `-`), outer quotes
    and trailing punctuation are set aside; or as the value of a JSON object. A label inside a
    sentence is never guessed, and labels with the same normalized form are only read exactly.
    """
    labels = tuple(label_names)
    readers = (_match_exactly, _match_normalized, _match_json)
    for step, read in zip(STEPS, readers, strict=True):
        label = read(output, labels)
        if label is not None:
            return label, step
    return None, None


def _match_exactly(text: str, labels: tuple[str, ...]) -> str | None:
    exact, _ = _lookup(labels)
    return next((spelling for spelling in (text, text.strip()) if spelling in exact), None)


def _match_normalized(text: str, labels: tuple[str, ...]) -> str | None:
    return _lookup(labels)[1].get(_normalize(text))


@lru_cache(maxsize=8)
def _lookup(labels: tuple[str, ...]) -> tuple[frozenset[str], Mapping[str, str]]:
    """Return the labels, and those with an unmistakable normalized form by that form."""
    forms = {label: _normalize(label) for label in labels}
    uses = Counter(forms.values())
    clear = {form: label for label, form in forms.items() if form and uses[form] == 1}
    return frozenset(labels), clear


def _normalize(text: str) -> str:
    text = unicodedata.normalize("NFC", text).strip()
    while True:
        shorter = text.rstrip(_PUNCTUATION).strip()
        if len(shorter) > 1 and shorter[0] + shorter[-1] in _QUOTES:
            shorter = shorter[1:-1].strip()
        if shorter == text:
            return _SEPARATORS.sub(" ", text).casefold()
        text = shorter


def _match_json(output: str, labels: tuple[str, ...]) -> str | None:
    text = output.strip().removeprefix("```json").removeprefix("```").removesuffix("```").strip()
    if not text.startswith("{"):
        return None
    try:
        # Pairs, not a dict: a key given twice with two labels is no answer.
        pairs = json.loads(text, object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        return None
    named = [value for key, value in pairs if key.casefold() in JSON_KEYS]
    values = named or [value for _, value in pairs if len(pairs) == 1]
    texts = [_text(value) for value in values]
    found = {_match_exactly(text, labels) or _match_normalized(text, labels) for text in texts}
    found.discard(None)
    return found.pop() if len(found) == 1 else None


def _text(value: object) -> str:
    """Write a JSON scalar the way JSON does; lists and objects name no label."""
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, int | float) else ""
