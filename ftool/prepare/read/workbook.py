"""Read a sheet of an Excel workbook."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
        import openpyxl
    except ImportError as error:
        raise DataError("Excel files need openpyxl", hint=INSTALL) from error
    from zipfile import BadZipFile

    with open_bytes(path) as file:
        try:
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        except (BadZipFile, KeyError, ValueError, OSError) as error:
            raise DataError(f"is damaged or no Excel workbook: {error}") from error
        try:
            for sheet in book.worksheets:
                rows = _rows(sheet.iter_rows(values_only=True), has_header=has_header)
                first = next(rows, None)
                if first is not None:
                    yield first
                    yield from rows
                    return
        finally:
            book.close()


def sheets_left_out(path: Path) -> list[str]:
    """Return the names of the sheets behind the first one that has rows."""
    try:
        import openpyxl
    except ImportError:
        return []
    with open_bytes(path) as file:
        book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        filled = [
            s.title for s in book.worksheets if any(map(_is_filled, s.iter_rows(values_only=True)))
        ]
        book.close()
    return filled[1:]


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
        record = dict(zip(header, map(_plain, values), strict=False))
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
