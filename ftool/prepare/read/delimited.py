"""Read CSV and TSV row by row, so that one broken row costs one row."""

import csv
import re
from collections import deque
from collections.abc import Iterator, Sequence

from ftool.errors import DataError
from ftool.prepare.read.encoding import MAX_LINE, Line, printable, unreadable
from ftool.prepare.read.rows import Row

DELIMITERS = (",", ";", "\t", "|")
MAX_RECORD_LINES = 1_000
MAX_RECORD = 1_000_000
"""Bounds of a record whose quoted field goes on over several lines, in lines and characters."""


class _Lines:
    """Physical lines that can be given back."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self._given_back: deque[Line] = deque()

    def __iter__(self) -> Iterator[Line]:
        return self

    def __next__(self) -> Line:
        return self._given_back.popleft() if self._given_back else next(self._lines)

    def give_back(self, lines: Sequence[Line]) -> None:
        self._given_back.extendleft(reversed(lines))


def read_delimited(physical: Iterator[Line]) -> Iterator[Row]:
    """Yield the rows below the header line.

    A record goes on over several lines while a quote is open. Where such a record turns out to be
    broken, only its first line is rejected and reading goes on at the second.

    Raises:
        DataError: the header line is broken, or names a column twice.
    """
    csv.field_size_limit(MAX_LINE)
    lines = _Lines(physical)
    header: list[str] = []
    delimiter = ","
    for first in lines:
        if not first[1].strip():
            yield Row(first[0], _bare(first[1]), reason="empty_row")
        elif not header:
            delimiter = _delimiter(first[1])
            header = _header(lines, first, delimiter)
        else:
            yield _row(lines, first, delimiter, header)


def _delimiter(header: str) -> str:
    unquoted = re.sub(r'"[^"]*"', "", header)
    return max(DELIMITERS, key=unquoted.count)


def _header(lines: _Lines, first: Line, delimiter: str) -> list[str]:
    _, fields, problem = _record(lines, first, delimiter)
    if problem:
        raise DataError(f"line {first[0]}: the header is broken ({problem[0]}: {problem[1]})")
    names = [printable(name.strip()) or f"column_{i}" for i, name in enumerate(fields, start=1)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"line {first[0]}: the header names {', '.join(f'`{name}`' for name in twice)} twice",
            hint="rename one of the columns",
        )
    return names


def _row(lines: _Lines, first: Line, delimiter: str, header: list[str]) -> Row:
    taken, fields, problem = _record(lines, first, delimiter)
    if not problem and len(fields) != len(header):
        problem = ("wrong_field_count", f"{len(fields)} fields; the header has {len(header)}")
    if problem:
        lines.give_back(taken[1:])
        raw = _bare(first[1])
        reason, detail = unreadable(raw) or problem
        return Row(first[0], raw, reason=reason, detail=detail)
    raw = _bare("".join(text for _, text in taken))
    unusable = unreadable(raw)
    if unusable:
        return Row(first[0], raw, reason=unusable[0], detail=unusable[1])
    if not any(field.strip() for field in fields):
        return Row(first[0], raw, reason="empty_row")
    return Row(first[0], raw, dict(zip(header, fields, strict=True)))


def _record(
    lines: _Lines, first: Line, delimiter: str
) -> tuple[list[Line], list[str], tuple[str, str] | None]:
    """Return the physical lines of one record, its fields, and what is wrong with it."""
    taken = [first]

    def feed() -> Iterator[str]:
        yield first[1]
        size = len(first[1])
        for line in lines:
            taken.append(line)
            size += len(line[1])
            if len(taken) > MAX_RECORD_LINES or size > MAX_RECORD:
                return
            yield line[1]

    try:
        return taken, next(csv.reader(feed(), delimiter=delimiter, strict=True)), None
    except csv.Error as error:
        if "unexpected end" in str(error):
            return taken, [], ("unclosed_quote", "a quote is opened and not closed")
        return taken, [], ("broken_quote", str(error))


def _bare(line: str) -> str:
    return line.removesuffix("\n").removesuffix("\r")
