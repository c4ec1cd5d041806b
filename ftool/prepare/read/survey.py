"""What the columns of an input hold, by a sample of its rows."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Look = Literal[
    "empty", "flag", "verdict", "number", "date", "identifier", "label", "text",
    "turns", "pairs", "strings", "list", "object", "media", "unknown",
]  # fmt: skip
"""What the values of a column look like; `unknown` where nobody has looked."""

NESTED_LOOKS = frozenset(("turns", "pairs", "strings", "list", "object", "media"))
"""Looks of columns whose values are no plain texts."""
VERDICTS = frozenset(("accept", "reject", "ignore"))
"""What an annotator decides about a row, as Prodigy writes it."""

FEW_VALUES = 500
"""So many different values of a column are kept."""
LONGEST_LABEL, MOST_LABEL_WORDS = 60, 6
MOST_LABELS = 500
LONG = 100
"""Values of more characters on average are texts."""
ROWS_PER_LABEL = 2
"""A label stands in two rows at least, on average; a text rarely stands twice."""
MOSTLY = 0.9
"""Share of the values that must look alike."""
FEW = 12
"""A sample of fewer rows than that cannot tell a label from a short text that is never repeated."""

_NUMBER = re.compile(r"[-+]?(?:\d[\d,]*)?\.?\d+(?:[eE][-+]?\d+)?%?")
_DATE = re.compile(
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}(?:[T ,].*)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}(?:[ ,T].*)?"
    r"|\d{1,2}:\d{2}(?::\d{2})?(?: ?[ap]m)?"
    r"|(?:\w{3,9},? )?(?:\d{1,2} \w{3,9}|\w{3,9} \d{1,2}),? \d{2,4}.*"
    r"|(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) \w{3} \d{1,2} [\d:]{8} .*",
    re.IGNORECASE,
)
_IDENTIFIER = re.compile(r"(?=\S*\d)[\w#:./@+-]{1,80}|https?://\S+|[0-9a-f]{8}-[0-9a-f-]{27}")
_ADDRESS = re.compile(
    r"https?://\S+|www\.\S+|\S+@\S+\.\w+|[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{16,}"
    r"|\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?",
    re.IGNORECASE,
)
"""What names a thing or a place, also where it stands in many rows."""
FORMS: tuple[tuple[Look, re.Pattern[str]], ...] = (
    ("number", _NUMBER),
    ("date", _DATE),
    ("identifier", _ADDRESS),
)
"""Looks that follow from how values are written."""
_SPEAKER = ("role", "from", "speaker", "author", "sender", "who", "user_type", "from_role")
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]")
"""Letters of languages that put no blanks between words."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What a sample shows of the columns of an input.

    `twins` has one number for columns whose values name one another, as a number and its name do.
    `values` are those of columns with few, `lengths` the mean characters of a value, `spread` how
    many values differ, `filled` the share of the rows that have one. `coded` are
    columns whose values are written like identifiers, however often they stand.
    """

    looks: Mapping[str, Look] = field(default_factory=dict)
    rows: int = 0
    twins: Mapping[str, int] = field(default_factory=dict)
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    lengths: Mapping[str, float] = field(default_factory=dict)
    spread: Mapping[str, int] = field(default_factory=dict)
    filled: Mapping[str, float] = field(default_factory=dict)
    coded: frozenset[str] = frozenset()

    def look(self, column: str) -> Look:
        """Return what the values of a column look like."""
        return self.looks.get(column, "unknown")

    def are_twins(self, columns: Sequence[str]) -> bool:
        """Tell whether each of these columns says the same as the first."""
        numbers = {self.twins.get(column) for column in columns}
        return len(numbers) == 1 and None not in numbers


UNSEEN = Survey()


def survey(rows: Iterable[Mapping[str, Any]]) -> Survey:
    """Look at the values of every column of some rows."""
    values: dict[str, list[Any]] = defaultdict(list)
    records = list(rows)
    for record in records:
        for name, value in record.items():
            values[name].append(value)
    looks = {name: look_of(own) for name, own in values.items()}
    texts = {
        name: [_text(value) for value in own if not _is_empty(value)]
        for name, own in values.items()
        if looks[name] not in NESTED_LOOKS
    }
    kinds = {name: tuple(dict.fromkeys(own)) for name, own in texts.items()}
    labels = [name for name, look in looks.items() if look in {"label", "number", "flag"}]
    return Survey(
        looks=looks,
        rows=len(records),
        twins=_twins(records, labels),
        values={name: own for name, own in kinds.items() if _are_few(own)},
        lengths={name: sum(map(len, own)) / len(own) for name, own in texts.items() if own},
        coded=frozenset(
            n for n, own in kinds.items() if own and _share(own, _IDENTIFIER) >= MOSTLY
        ),
        spread={name: len(own) for name, own in kinds.items()},
        filled={name: _filled(own) / len(records) for name, own in values.items()},
    )


def _twins(records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, int]:
    """Return a number for each column, equal where the values of two name one another."""
    numbers: dict[tuple[int, ...], int] = {}
    found = {}
    for name in names:
        seen: dict[str, int] = {}
        pattern = tuple(seen.setdefault(_text(row.get(name)), len(seen)) for row in records)
        if len(seen) > 1:
            found[name] = numbers.setdefault(pattern, len(numbers))
    return found


def look_of(values: Sequence[Any]) -> Look:
    """Return what the values of one column look like."""
    present = [value for value in values if not _is_empty(value)]
    if not present:
        return "empty"
    nested = _look_of_nested(present)
    if nested is not None:
        return nested
    if all(isinstance(value, bool) for value in present):
        return "flag"
    texts = [_text(value) for value in present]
    if sum(map(len, texts)) > LONG * len(texts):
        return "text"
    folded = {text.casefold() for text in texts}
    if folded <= {"true", "false"}:
        return "flag"
    if folded <= VERDICTS:
        return "verdict"
    written = next((look for look, form in FORMS if _share(texts, form) >= MOSTLY), None)
    if written is not None:
        return written
    if _look_like_labels(texts):
        return "label"
    return "identifier" if _are_identifiers(texts) else "text"


def _look_of_nested(present: Sequence[Any]) -> Look | None:
    """Return what lists and objects look like; None for plain values."""
    kinds = Counter(_nested(value) for value in present)
    kind, count = kinds.most_common(1)[0]
    return kind if kind is not None and count >= MOSTLY * len(present) else None


def _nested(value: Any) -> Look | None:
    if isinstance(value, bytes):
        return "media"
    if isinstance(value, Mapping):
        return "media" if {"bytes", "path"} <= value.keys() else "object"
    if isinstance(value, list | tuple):
        if all(isinstance(item, Mapping) for item in value):
            is_turns = any(name in item for item in value for name in _SPEAKER)
            return "turns" if is_turns else "list"
        if all(isinstance(item, list) and len(item) == 2 for item in value):
            return "pairs"
        return "strings" if all(isinstance(item, str) for item in value) else "list"
    if isinstance(value, str) and value.lstrip()[:2] in {"[{", "[["} and value.rstrip()[-1:] == "]":
        return "turns" if any(f'"{name}"' in value for name in _SPEAKER) else "list"
    return None


def _look_like_labels(texts: Sequence[str]) -> bool:
    """Tell few repeated short values from texts."""
    kinds = {text.strip() for text in texts}
    short = sum(_is_short(text) for text in kinds) >= MOSTLY * len(kinds)
    if not short or len(kinds) > MOST_LABELS:
        return False
    if len(texts) < FEW:
        return len(kinds) < len(texts)
    return len(texts) >= ROWS_PER_LABEL * len(kinds)


def _are_identifiers(values: Sequence[str]) -> bool:
    return bool(values) and _share(values, _IDENTIFIER) >= MOSTLY


def _are_few(values: Sequence[str]) -> bool:
    return len(values) <= FEW_VALUES and sum(map(len, values)) <= LONG * max(len(values), 1)


def _is_short(text: str) -> bool:
    most = LONGEST_LABEL // 4 if _UNSPACED.search(text) else LONGEST_LABEL
    return len(text) <= most and len(text.split()) <= MOST_LABEL_WORDS


def _share(texts: Sequence[str], pattern: re.Pattern[str]) -> float:
    return sum(bool(pattern.fullmatch(text.strip())) for text in texts) / len(texts)


def _filled(values: Sequence[Any]) -> int:
    return sum(not _is_empty(value) for value in values)


def _is_empty(value: Any) -> bool:
    return value is None or value != value or value == "" or value == [] or value == {}


def _text(value: Any) -> str:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, str) else "" if value is None else str(value)
