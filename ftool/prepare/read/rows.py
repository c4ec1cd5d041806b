"""Row and Finding: a raw record, and why one goes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class Unusable(Exception):
    """A row from which no example can be made; caught by the pipeline, never seen by a user."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Row:
    """A raw record; one that goes has a `reason`, and no `values` where it could not be read.

    `line` is the physical line (from 1) on which the record starts, or the number of the record
    where a source has no lines. `raw` is the record as it stood: text, or the values of a table.
    `split` is where a document of several splits puts it; None leaves that to the recipe.
    """

    line: int
    raw: Any
    values: Mapping[str, Any] | None = None
    reason: str = ""
    detail: str = ""
    split: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Why a row goes: the rule, what was measured and the threshold, where it has numbers.

    `label` is that of the row, where it was known by then.
    """

    reason: str
    detail: str = ""
    value: float | None = None
    threshold: float | None = None
    label: str | None = None


def size_of(row: Row) -> int:
    """Return about how many characters a row has."""
    if isinstance(row.raw, str):
        return len(row.raw) + 1
    values = row.raw.values() if isinstance(row.raw, dict) else ()
    return sum(len(value) if isinstance(value, str) else len(str(value)) for value in values)
