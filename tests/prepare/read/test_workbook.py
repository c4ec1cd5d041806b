import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from ftool.errors import DataError
from ftool.prepare.read.workbook import read_workbook, sheets_left_out

openpyxl = pytest.importorskip("openpyxl")


def write(path: Path, **sheets: list[list[Any]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def outcomes(path: Path, *, has_header: bool = True) -> list[tuple[int, Any]]:
    return [
        (row.line, row.reason or row.values) for row in read_workbook(path, has_header=has_header)
    ]


def test_the_first_sheet_with_rows_is_read(tmp_path: Path) -> None:
    rows = [
        ["text", "label", "label", None],
        ["q", 1.0, "x", None],
        [None, "", None],
        ["r", 2, None],
    ]
    path = write(tmp_path / "a.xlsx", empty=[], first=rows, second=[["a"], ["b"]])
    assert outcomes(path) == [
        (2, {"text": "q", "label": 1, "label_2": "x"}),
        (3, "empty_row"),
        (4, {"text": "r", "label": 2, "label_2": None}),
    ]
    assert sheets_left_out(path) == ["second"]


def test_without_a_header_columns_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xlsx", one=[["ham", "hi"], ["spam", "win"]])
    assert outcomes(path, has_header=False) == [
        (1, {"1": "ham", "2": "hi"}), (2, {"1": "spam", "2": "win"}),
    ]  # fmt: skip


def test_what_is_no_workbook(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"no zip")
    with pytest.raises(DataError, match="no Excel workbook"):
        outcomes(tmp_path / "a.xlsx")


def test_a_missing_library_is_said_with_its_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.xlsx", one=[["a"]])
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(DataError) as caught:
        outcomes(path)
    assert caught.value.hint == "pip install 'ftool[xlsx]'"
    assert sheets_left_out(path) == []


def test_cells_beyond_the_header_are_columns_of_their_own(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xlsx", one=[["text", "label"], ["q", "a", "note"], ["r", "b"]])
    assert outcomes(path) == [
        (2, {"text": "q", "label": "a", "column_3": "note"}),
        (3, {"text": "r", "label": "b", "column_3": None}),
    ]


def test_a_damaged_sheet_is_a_sentence(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xlsx", one=[["text"], *([f"row {n}"] for n in range(50))])
    with zipfile.ZipFile(path) as book:
        parts = {name: book.read(name) for name in book.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    with zipfile.ZipFile(path, "w") as book:
        for name, data in parts.items():
            book.writestr(name, data[: len(data) // 2] if name == sheet else data)
    with pytest.raises(DataError, match="damaged"):
        outcomes(path)
