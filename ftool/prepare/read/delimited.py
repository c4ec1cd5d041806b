"""Read CSV and TSV row by row, so that one broken row costs one row."""

import csv
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ftool.errors import DataError
from ftool.prepare.read.encoding import MAX_LINE, Line, printable, unreadable
from ftool.prepare.read.rows import Row

DELIMITERS = (",", ";", "\t", "|")
_SEPARATOR = re.compile(r"\"?sep=(.)\"?", re.IGNORECASE)
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


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a text table is written: its fields, its header, and what quotation marks mean there.

    `delimiter` is found in the header line where it is None, first of all `usual`.
    """

    delimiter: str | None = None
    usual: str = ","
    has_header: bool = True


def read_delimited(physical: Iterator[Line], dialect: Dialect = Dialect()) -> Iterator[Row]:
    """Yield the rows of a table.

    A record goes on over several lines while a quote is open. Where such a record turns out to be
    broken, only its first line is rejected and reading goes on at the second. A line `sep=;`, which
    spreadsheets write first, names the delimiter.

    Raises:
        DataError: the header line is broken.
    """
    csv.field_size_limit(MAX_LINE)
    lines = _Lines(physical)
    header: list[str] = []
    delimiter = dialect.delimiter
    for first in lines:
        if not first[1].strip():
            yield Row(first[0], _bare(first[1]), reason="empty_row")
        elif not header and (named := _SEPARATOR.fullmatch(first[1].strip("\r\n"))):
            delimiter = delimiter or named[1]
        elif not header:
            delimiter = delimiter or _delimiter(first[1], dialect.usual)
            header = _header(lines, first, delimiter, has_names=dialect.has_header)
            if not dialect.has_header:
                yield _row(lines, first, delimiter, header)
        else:
            assert delimiter is not None
            yield _row(lines, first, delimiter, header)


def _delimiter(header: str, usual: str) -> str:
    unquoted = re.sub(r'"[^"]*"', "", header)
    if usual == "\t" and usual in unquoted:
        return usual
    return max(DELIMITERS, key=unquoted.count)


def _header(lines: _Lines, first: Line, delimiter: str, *, has_names: bool) -> list[str]:
    """Return the names of the columns: those of the header, or their positions from 1."""
    taken, fields, problem = _record(lines, first, delimiter)
    if not has_names:
        lines.give_back(taken[1:])
        fields = fields if not problem else _bare(first[1]).split(delimiter)
        return [str(number) for number in range(1, len(fields) + 1)]
    if problem:
        raise DataError(
            f"line {first[0]}: the header is broken ({problem[0]}: {problem[1]})",
            hint="mend that line: the names of the columns stand on it, and nothing else",
        )
    return unique([printable(name.strip()) or f"column_{i}" for i, name in enumerate(fields, 1)])


def unique(names: Sequence[str]) -> list[str]:
    """Return names of columns; one that stands again is numbered, `Comment`, `Comment_2`."""
    found: dict[str, None] = {}
    for name in names:
        number, own = 1, name
        while own in found:
            number += 1
            own = f"{name}_{number}"
        found[own] = None
    return list(found)


def _row(lines: _Lines, first: Line, delimiter: str, header: list[str]) -> Row:
    taken, fields, problem = _record(lines, first, delimiter)
    if not problem and len(fields) != len(header):
        problem = ("wrong_field_count", f"{len(fields)} fields; the header has {len(header)}")
    if problem and delimiter == "\t":  # few that write tabs quote; a mark is then a mark
        literal = _bare(first[1]).split("\t")
        if len(literal) == len(header):
            lines.give_back(taken[1:])
            taken, fields, problem = taken[:1], literal, None
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
    values = dict(zip(header, fields, strict=True))
    # With its values: where the header is a row of a table without one, they show it.
    is_header = [field.strip() for field in fields] == header
    return Row(first[0], raw, values, reason="repeated_header" if is_header else "")


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
