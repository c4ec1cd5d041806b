"""Row, Candidate, Rejected: a record on its way from a source to a split or out."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from ftool.example import Example


class Unusable(Exception):
    """A row from which no example can be made; caught by the pipeline, never seen by a user."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Row:
    """A raw record; `values` is None where it could not be read, and `reason` says why.

    `line` is the physical line (from 1) on which the record starts, or the number of the record
    where a source has no lines. `raw` is the record as it stood: text, or the values of a table.
    """

    line: int
    raw: Any
    values: Mapping[str, Any] | None = None
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A removed row as it was, and why it was removed."""

    source: str
    line: int
    reason: str
    detail: str
    raw: Any


@dataclass(frozen=True, slots=True)
class Candidate:
    """An example that may still be rejected.

    `origin` is the index of its source in the recipe, `assigned` the split of that source.
    """

    example: Example
    raw: Any
    origin: int
    assigned: str | None

    @property
    def held_out(self) -> bool:
        """Whether its source is assigned to validation or test, which keep their rows."""
        return self.assigned in {"validation", "test"}

    def with_example(self, example: Example) -> Self:
        """Return the same candidate with a rewritten example."""
        return replace(self, example=example)

    def rejected(self, reason: str, detail: str = "") -> Rejected:
        """Return the row that goes out."""
        return Rejected(self.example.source, self.example.line, reason, detail, self.raw)
