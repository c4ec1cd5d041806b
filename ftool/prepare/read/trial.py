"""Rows from all over an input, for a trial: a file that is sorted by label begins with one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import BinaryIO

from ftool.prepare.read.rows import Row

SEED = 17
CHUNK_BYTES = 2**22
LARGE_BYTES = 2**25
"""Size of a file of lines from which only the drawn ones are read."""
MOST_CHARACTERS = 2**28
"""Characters of rows that are read to draw some of them: seconds of a file that takes minutes."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Rows in their order, out of how many, and whether those are all that the input has.

    `read` is None where nobody counted.
    """

    rows: tuple[Row, ...]
    read: int | None
    is_whole: bool

    @property
    def is_sample(self) -> bool:
        """Whether the input has more rows."""
        return not self.is_whole or len(self.rows) != self.read

    def told(self, shown: str) -> str:
        """Say which rows of an input are tried; nothing where all of them are."""
        if not self.is_sample:
            return ""
        tried = f"{shown}: {len(self.rows):,}"
        if self.read is None:
            return f"{tried} rows from all over it are tried"
        if self.is_whole:
            return f"{tried} of its {self.read:,} rows are tried"
        return f"{tried} of its first {self.read:,} rows are tried, and none of those behind them"


def draw_rows(rows: Iterator[Row], count: int, *, size: Callable[[Row], int]) -> Drawn:
    """Draw rows while reading, each as likely as another, the same at every call.

    Args:
        rows: of an input.
        count: how many to draw.
        size: returns about how many characters a row has; after many no more are read.

    Source:
        Algorithm R, in Vitter 1985, Random Sampling with a Reservoir (doi 10.1145/3147.3165).
    """
    luck = Random(SEED)
    drawn: list[tuple[int, Row]] = []
    characters = read = 0
    for number, row in enumerate(rows):
        if characters >= MOST_CHARACTERS:
            return Drawn(_in_order(drawn), read, is_whole=False)
        read += 1
        characters += size(row)
        if number < count:
            drawn.append((number, row))
        elif (place := luck.randrange(read)) < count:
            drawn[place] = (number, row)
    return Drawn(_in_order(drawn), read, is_whole=True)


def _in_order(drawn: list[tuple[int, Row]]) -> tuple[Row, ...]:
    return tuple(row for _, row in sorted(drawn, key=lambda one: one[0]))


def draw_lines(path: Path, count: int) -> Iterator[tuple[int, int, int]]:
    """Yield start, end and number of lines of a file from all over it, without reading the rest.

    The file is cut into equal parts, and of each the line behind a place in it is drawn.
    """
    luck, size = Random(SEED), path.stat().st_size
    number, position = 1, 0
    with path.open("rb") as file:
        for part in range(count):
            first, last = part * size // count, (part + 1) * size // count
            place = luck.randrange(first, last) if last > first else first
            if place < position:
                continue
            number += _count_ends(file, place - position)
            number += line_ends(file.readline())
            start = file.tell()
            line = file.readline()
            if not line:
                return
            position = start + len(line)
            yield start, position, number
            number += line_ends(line)


def _count_ends(file: BinaryIO, length: int) -> int:
    r"""Count the line ends in the next bytes of a file; a last `\r` may take a `\n` along."""
    ends = 0
    while length > 0 and (data := file.read(min(length, CHUNK_BYTES))):
        length -= len(data)
        if data.endswith(b"\r"):
            data += file.read(1)
            length -= 1
        ends += line_ends(data)
    return ends


def line_ends(data: bytes) -> int:
    r"""Count lines that end: with \n, \r\n or \r alone, as in Python's text files."""
    return data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")
