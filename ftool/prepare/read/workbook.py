"""Read a sheet of an Excel workbook."""

import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError
from zipfile import BadZipFile

from ftool.errors import DataError
from ftool.prepare.read.delimited import unique
from ftool.prepare.read.encoding import open_bytes
from ftool.prepare.read.rows import Row

INSTALL = "pip install 'ftool[xlsx]'"


def read_workbook(path: Path, *, has_header: bool) -> Iterator[Row]:
    """Yield the rows of the first sheet that has some; a row is counted as the sheet counts it.

    Raises:
        DataError: openpyxl is missing, or the file is no workbook.
    """
    try:
        for _, records in _sheets(path):
            rows = _rows(records, has_header=has_header)
            first = next(rows, None)
            if first is not None:
                yield first
                yield from rows
                return
    except ImportError as error:
        raise DataError("Excel files need openpyxl", hint=INSTALL) from error


def sheets_left_out(path: Path) -> list[str]:
    """Return the names of the sheets behind the first one that has rows.

    Raises:
        DataError: the file is no workbook.
    """
    with suppress(ImportError):
        return [name for name, records in _sheets(path) if any(map(_is_filled, records))][1:]
    return []


def _sheets(path: Path) -> Iterator[tuple[str, Iterator[tuple[Any, ...]]]]:
    """Yield the name of every sheet and its rows."""
    import openpyxl

    damage = (BadZipFile, ParseError, zlib.error, KeyError, ValueError, TypeError, IndexError)
    with open_bytes(path) as file:
        try:
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
            for sheet in book.worksheets:
                sheet.reset_dimensions()  # which some programs write wrongly
                yield sheet.title, _undamaged(sheet.iter_rows(values_only=True), damage)
            book.close()
        except (*damage, OSError, AttributeError) as error:
            raise DataError(f"is damaged or no Excel workbook: {error}") from error


def _undamaged(
    records: Iterator[tuple[Any, ...]], damage: tuple[type[Exception], ...]
) -> Iterator[tuple[Any, ...]]:
    try:
        yield from records
    except damage as error:
        raise DataError(f"is damaged or no Excel workbook: {error}") from error


def _is_filled(values: tuple[Any, ...]) -> bool:
    return any(value not in (None, "") for value in values)


def _rows(records: Iterator[tuple[Any, ...]], *, has_header: bool) -> Iterator[Row]:
    header: list[str] = []
    for number, values in enumerate(records, start=1):
        filled = _is_filled(values)
        if not header and not filled:
            continue
        if not header:
            header = _header(values, has_header=has_header)
            if has_header:
                continue
        cells = [_plain(value) for value in values]
        while len(header) < len(cells) and _is_filled(values[len(header) :]):
            header = unique([*header, f"column_{len(header) + 1}"])
        record = dict(zip(header, [*cells, *[None] * len(header)], strict=False))
        if filled:
            yield Row(number, record, record)
        else:
            yield Row(number, record, reason="empty_row")


def _header(values: tuple[Any, ...], *, has_header: bool) -> list[str]:
    while values and values[-1] in (None, "") and has_header:
        values = values[:-1]
    if not has_header:
        return [str(number) for number in range(1, len(values) + 1)]
    return unique(
        [str(v).strip() if v not in (None, "") else f"column_{n}" for n, v in enumerate(values, 1)]
    )


def _plain(value: Any) -> Any:
    """Return a whole number that Excel holds as a decimal one as a whole number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
