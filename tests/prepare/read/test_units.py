import json
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prepare_files import recipe_for
from pyarrow import parquet

from ftool.artifacts import ignore_note
from ftool.errors import DataError
from ftool.prepare.read import units
from ftool.prepare.read.rows import Row
from ftool.prepare.read.sources import Input, find_inputs, input_encoding, read_rows
from ftool.prepare.read.units import Stretch, Unit, divide


def inputs(folder: Path, *names: str) -> list[Input]:
    return find_inputs(folder, recipe_for(folder, *names).data.sources, ignore_note)


def divided(folder: Path, *names: str, unit_bytes: int = units.UNIT_BYTES) -> list[Unit]:
    with patch.object(units, "UNIT_BYTES", unit_bytes):
        return list(divide(inputs(folder, *names), ignore_note))


def rows_of(found: Sequence[Unit]) -> list[Row]:
    return [row for unit in found for row in unit.read()]


def line(number: int, text: str = "q") -> str:
    return json.dumps({"n": number, "text": text}, ensure_ascii=False)


@pytest.mark.parametrize("unit_bytes", [1, 7, 20, 21, 22, 10_000])
@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        (f"{line(1)}\n{line(2)}\n{line(3)}\n", [1, 2, 3]),
        (f"{line(1)}\n{line(2)}\n{line(3)}", [1, 2, 3]),
        (f"{line(1)}\r\n{line(2)}\r\n{line(3)}\r\n", [1, 2, 3]),
        (f"{line(1)}\r{line(2)}\n{line(3)}", [1, 2, 3]),
        (f"{line(1)}\r{line(2)}\r{line(3)}\r", [1, 2, 3]),
        (f"{line(1)}\n\n{line(3)}\n\r\n{line(5)}\n", [1, 2, 3, 4, 5]),
        (f"{line(1)}\n{line(2)}\n\n", [1, 2]),
        (f"{line(1)}\n{line(2)}\n\n\n", [1, 2, 3]),
        (f"{line(1)}\n{line(2)}\n \t", [1, 2]),
        (f"{line(1, 'äöü€😀')}\n{line(2, '漢字')}\n", [1, 2]),
    ],
)
def test_lines_are_numbered_as_in_the_whole_file(
    tmp_path: Path, text: str, numbers: list[int], unit_bytes: int
) -> None:
    (tmp_path / "a.jsonl").write_bytes(text.encode())
    found = divided(tmp_path, "a.jsonl", unit_bytes=unit_bytes)
    rows = rows_of(found)
    assert [row.line for row in rows] == numbers
    assert all(row.values is None or row.values["n"] == row.line for row in rows)
    assert {row.reason for row in rows if row.values is None} <= {"empty_row"}
    assert rows == list(read_rows(inputs(tmp_path, "a.jsonl")[0], "utf-8"))


def test_stretches_end_with_whole_lines_and_leave_nothing_out(tmp_path: Path) -> None:
    data = "".join(f"{line(n, 'ü' * n)}\n" for n in range(1, 40)).encode()
    (tmp_path / "a.jsonl").write_bytes(data)
    found = divided(tmp_path, "a.jsonl", unit_bytes=150)
    parts = [unit.rows for unit in found]
    assert len(parts) > 5
    stretches = [part for part in parts if isinstance(part, Stretch)]
    assert len(stretches) == len(parts)
    assert [part.start for part in stretches] == [0, *(part.end for part in stretches[:-1])]
    assert stretches[-1].end == len(data)
    assert all(data[part.end - 1 : part.end] == b"\n" for part in stretches)
    assert all(part.end - part.start >= 150 for part in stretches[:-1])
    assert [part.is_last for part in stretches] == [*[False] * (len(parts) - 1), True]
    assert [unit.number for unit in found] == list(range(len(found)))
    assert sum(unit.bytes for unit in found) == len(data)


PIECES = st.lists(
    st.tuples(
        st.one_of(
            st.sampled_from([b"", b" ", b'{"text": "q"}', b'{"text": "\xc3\xbc\xf0\x9f\x98\x80"}']),
            st.binary(max_size=8),
            st.text(max_size=8).map(lambda text: text.encode("utf-8", "replace")),
        ),
        st.sampled_from([b"\n", b"\r\n", b"\r", b"\n\n"]),
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None, database=None)
@given(PIECES, st.booleans(), st.integers(1, 60))
def test_units_hold_what_the_whole_file_holds(
    tmp_path_factory: pytest.TempPathFactory,
    pieces: list[tuple[bytes, bytes]],
    ends: bool,
    unit_bytes: int,
) -> None:
    folder = tmp_path_factory.mktemp("units")
    data = b"".join(text + end for text, end in pieces)
    (folder / "a.jsonl").write_bytes(data if ends else data.rstrip(b"\r\n"))
    (found,) = inputs(folder, "a.jsonl")
    try:
        expected = list(read_rows(found, input_encoding(found, ignore_note)))
    except DataError as error:
        with pytest.raises(DataError) as caught:
            divided(folder, "a.jsonl", unit_bytes=unit_bytes)
        assert caught.value.message == error.message == "a.jsonl has no rows"
        return
    assert rows_of(divided(folder, "a.jsonl", unit_bytes=unit_bytes)) == expected


@pytest.mark.parametrize("data", [b"", b"\n", b" \t", b"\r\n"])
def test_a_file_without_rows_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.jsonl has no rows"):
        divided(tmp_path, "a.jsonl")


def test_other_inputs_come_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "UNIT_ROWS", 4)
    (tmp_path / "a.csv").write_text("text\n" + "".join(f"q{n}\n" for n in range(10)))
    found = divided(tmp_path, "a.csv")
    assert [len(list(unit.read())) for unit in found] == [4, 4, 2]
    assert [row.line for row in rows_of(found)] == list(range(2, 12))
    monkeypatch.setattr(units, "UNIT_CHARACTERS", 8)
    assert [len(list(unit.read())) for unit in divided(tmp_path, "a.csv")] == [3, 3, 3, 1]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_json_lines_of_another_encoding_come_in_batches(tmp_path: Path, encoding: str) -> None:
    text = "".join(f"{line(n, 'ü')}\n" for n in range(1, 6))
    (tmp_path / "a.jsonl").write_bytes(text.encode(encoding))
    found = divided(tmp_path, "a.jsonl", unit_bytes=1)
    assert len(found) == 1
    assert [row.values for row in rows_of(found)] == [{"n": n, "text": "ü"} for n in range(1, 6)]


def test_an_input_that_is_read_twice_has_a_suffix(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\nq\n")
    (tmp_path / "b.jsonl").write_text(f"{line(1)}\n{line(2)}\n")
    found = divided(tmp_path, "a.csv", "b.jsonl", "b.jsonl", "*.csv", unit_bytes=1)
    assert [(unit.number, unit.origin, unit.shown, unit.suffix) for unit in found] == [
        (0, 0, "a.csv", ""),
        (1, 1, "b.jsonl", ""),
        (2, 1, "b.jsonl", ""),
        (3, 2, "b.jsonl", "#2"),
        (4, 2, "b.jsonl", "#2"),
        (5, 3, "a.csv", "#2"),
    ]


def trial(folder: Path, *names: str, rows: int) -> tuple[list[Unit], list[str]]:
    notes: list[str] = []
    return list(divide(inputs(folder, *names), notes.append, trial=rows)), notes


def write_sorted(folder: Path, rows: int) -> None:
    """Write files that are sorted by label, each in a form of its own."""
    labels = [f"label {number * 10 // rows}" for number in range(rows)]
    texts = [f"a text of about that length, number {number}" for number in range(rows)]
    pairs = list(zip(texts, labels, strict=True))
    objects = [{"text": text, "label": label} for text, label in pairs]
    (folder / "a.csv").write_text("text,label\n" + "".join(f'"{t}",{n}\n' for t, n in pairs))
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in objects))
    (folder / "crlf.jsonl").write_bytes(
        "".join(json.dumps(row) + "\r\n" for row in objects).encode()
    )
    (folder / "a.json").write_text(json.dumps(objects, indent=1))
    parquet.write_table(pyarrow.table({"text": texts, "label": labels}), folder / "a.parquet")


FORMS = ("a.csv", "a.jsonl", "crlf.jsonl", "a.json", "a.parquet")


@pytest.mark.parametrize("name", FORMS)
def test_a_trial_takes_rows_from_all_over_a_file(tmp_path: Path, name: str) -> None:
    write_sorted(tmp_path, 2_000)
    (unit,), notes = trial(tmp_path, name, rows=100)
    rows = list(unit.read())
    assert len(rows) == 100 and unit.is_sample
    assert notes == [f"{name}: 100 of its 2,000 rows are tried"]
    assert {row.values["label"] for row in rows if row.values} == {f"label {n}" for n in range(10)}
    every = {row.line: row for row in read_rows(inputs(tmp_path, name)[0], "utf-8")}
    assert all(every[row.line] == row for row in rows)
    assert [row.line for row in rows] == sorted({row.line for row in rows})
    assert [list(unit.read()) for unit in trial(tmp_path, name, rows=100)[0]] == [rows]


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("rows", [20, 21, 1_000])
def test_a_trial_takes_all_rows_where_there_are_no_more(
    tmp_path: Path, name: str, rows: int
) -> None:
    write_sorted(tmp_path, 20)
    (unit,), notes = trial(tmp_path, name, rows=rows)
    assert list(unit.read()) == list(read_rows(inputs(tmp_path, name)[0], "utf-8"))
    assert not unit.is_sample and notes == []


@pytest.mark.parametrize("name", ["a.jsonl", "crlf.jsonl"])
def test_of_a_large_file_of_lines_only_those_are_read(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "LARGE_BYTES", 1_000)
    monkeypatch.setattr(units, "draw_rows", None)  # which reads them all
    write_sorted(tmp_path, 2_000)
    (unit,), notes = trial(tmp_path, name, rows=100)
    rows = list(unit.read())
    assert 80 < len(rows) <= 100 and unit.is_sample
    assert notes == [f"{name}: {len(rows)} rows from all over it are tried"]
    assert {row.values["label"] for row in rows if row.values} == {f"label {n}" for n in range(10)}
    every = {row.line: row for row in read_rows(inputs(tmp_path, name)[0], "utf-8")}
    assert all(every[row.line] == row for row in rows)


def test_a_large_file_whose_lines_end_as_on_old_systems_is_read_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "LARGE_BYTES", 100)
    (tmp_path / "a.jsonl").write_bytes("".join(f"{line(n)}\r" for n in range(1, 50)).encode())
    (unit,), _ = trial(tmp_path, "a.jsonl", rows=10)
    assert len(list(unit.read())) == 10


def test_a_trial_of_several_inputs(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\nq\n")
    (tmp_path / "b.jsonl").write_text("".join(f"{line(n)}\n" for n in range(1, 9)))
    found, _ = trial(tmp_path, "b.jsonl", "a.csv", "b.jsonl", rows=3)
    assert [(unit.shown, unit.suffix, unit.is_sample, len(unit.rows)) for unit in found] == [
        ("b.jsonl", "", True, 3),
        ("a.csv", "", False, 1),
        ("b.jsonl", "#2", True, 3),
    ]
