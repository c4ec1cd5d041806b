"""Units of work: runs of rows that are worked on apart, the same whatever works on them."""

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING

from ftool.artifacts import OnNote
from ftool.prepare.read.encoding import physical_lines, text_of
from ftool.prepare.read.json_text import read_json_lines
from ftool.prepare.read.plan import (
    UNPLANNED,
    Plan,
    is_foreign,
    notes_of,
    plan_input,
    planned_rows,
)
from ftool.prepare.read.rows import Row, size_of
from ftool.prepare.read.sources import Input, input_encoding, is_json_lines, no_rows
from ftool.prepare.read.trial import LARGE_BYTES, Drawn, draw_lines, draw_rows, line_ends

if TYPE_CHECKING:
    from pathlib import Path

UNIT_BYTES = 8 * 2**20
"""Bytes of a unit of a file of JSON Lines, at most but for the line that it ends with."""
LEAST_UNIT_BYTES = 2**20
UNITS_OF_A_FILE = 16
"""Smaller files make smaller units, so that processes which share one end together."""
UNIT_ROWS = 10_000
UNIT_CHARACTERS = 8 * 2**20
"""Rows and characters of a unit of any other input, at most."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A run of whole lines of a file; `line` is the number of its first one."""

    path: "Path"
    start: int
    end: int
    line: int
    is_last: bool


@dataclass(frozen=True, slots=True)
class Unit:
    """Rows of one input: given as such, or as a stretch of a file that is read where it is used.

    `origin` is the index of the source in the recipe, `shown` the name of the input, `suffix` what
    tells the ids of an input that is read twice apart, `plan` what its columns hold. Of a sample
    its input has more rows.
    """

    number: int
    origin: int
    shown: str
    suffix: str
    rows: tuple[Row, ...] | Stretch
    plan: Plan = UNPLANNED
    is_sample: bool = False

    @property
    def bytes(self) -> int:
        """About how much of its input it is."""
        if isinstance(self.rows, Stretch):
            return self.rows.end - self.rows.start
        return sum(map(size_of, self.rows))

    def read(self) -> Iterator[Row]:
        """Yield the rows."""
        if isinstance(self.rows, Stretch):
            yield from _read_stretch(self.rows)
        else:
            yield from self.rows


def divide(inputs: Sequence[Input], on_note: OnNote, *, trial: int | None = None) -> Iterator[Unit]:
    """Yield the units of all inputs in order; they depend on the data alone.

    Lines of JSON are independent, so a file of them is divided by bytes and read by whoever works
    on a part. Elsewhere a record can go on over several lines, and only reading tells where.

    Args:
        inputs: what is read.
        on_note: told what a person should know of an input.
        trial: only that many rows of each input, from all over it.

    Raises:
        DataError: an input is empty or damaged.
    """
    number = 0
    times: Counter[str] = Counter()
    for found in inputs:
        times[found.shown] += 1
        suffix = f"#{times[found.shown]}" if times[found.shown] > 1 else ""
        encoding = input_encoding(found, on_note)
        plan = plan_input(found, encoding)
        if is_foreign(found, plan):
            on_note(f"{found.shown} holds no examples and is not read")
            continue
        for sentence in notes_of(found):
            on_note(sentence)
        parts: Iterator[tuple[Row, ...] | Stretch]
        is_stretched = is_json_lines(found) and encoding == "utf-8" and plan.threads is None
        drawn = None
        if trial is not None:
            drawn = _drawn(found, encoding, plan, trial, is_stretched=is_stretched)
            parts = iter([drawn.rows])
            if told := drawn.told(found.shown):
                on_note(told)
        elif is_stretched:
            parts = _stretches(found)
        else:
            parts = _batches(planned_rows(found, encoding, plan))
        for part in parts:
            is_sample = drawn is not None and drawn.is_sample
            yield Unit(number, found.origin, found.shown, suffix, part, plan, is_sample)
            number += 1


def _drawn(found: Input, encoding: str, plan: Plan, count: int, *, is_stretched: bool) -> Drawn:
    """Return rows from all over an input; of a large file of lines only these are read."""
    if is_stretched and found.path is not None and found.path.stat().st_size > LARGE_BYTES:
        path, size = found.path, found.path.stat().st_size
        lines = (
            _read_stretch(Stretch(path, start, end, line, end == size))
            for start, end, line in draw_lines(path, count)
        )
        if rows := tuple(islice(chain.from_iterable(lines), count)):
            return Drawn(rows, None, is_whole=True)
    return draw_rows(planned_rows(found, encoding, plan), count, size=size_of)


def _stretches(found: Input) -> Iterator[Stretch]:
    assert found.path is not None
    size = found.path.stat().st_size
    if size == 0:
        raise no_rows(found)
    step = min(UNIT_BYTES, max(LEAST_UNIT_BYTES, size // UNITS_OF_A_FILE))
    start, line = 0, 1
    with found.path.open("rb") as file:
        while start < size:
            data = file.read(step) + file.readline()
            end = start + len(data)
            stretch = Stretch(found.path, start, end, line, end == size)
            if start == 0 and stretch.is_last and next(_read_stretch(stretch), None) is None:
                raise no_rows(found)
            yield stretch
            line += line_ends(data)
            start = end


def _read_stretch(stretch: Stretch) -> Iterator[Row]:
    with stretch.path.open("rb") as file:
        file.seek(stretch.start)
        data = file.read(stretch.end - stretch.start)
    text = text_of(io.BytesIO(data), "utf-8")
    yield from read_json_lines(physical_lines(text, first=stretch.line, ends_file=stretch.is_last))


def _batches(rows: Iterator[Row]) -> Iterator[tuple[Row, ...]]:
    batch: list[Row] = []
    characters = 0
    for row in rows:
        batch.append(row)
        characters += size_of(row)
        if len(batch) == UNIT_ROWS or characters >= UNIT_CHARACTERS:
            yield tuple(batch)
            batch, characters = [], 0
    if batch:
        yield tuple(batch)
