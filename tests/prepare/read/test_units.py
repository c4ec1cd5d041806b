import json
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prepare_files import recipe_for

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


def test_a_trial_takes_the_first_rows_of_every_input(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\nq\n")
    (tmp_path / "b.jsonl").write_text("".join(f"{line(n)}\n" for n in range(1, 9)))
    names = ("b.jsonl", "a.csv", "b.jsonl")
    found = list(divide(inputs(tmp_path, *names), ignore_note, first=3))
    assert [(unit.shown, unit.suffix, row.line) for unit in found for row in unit.read()] == [
        *(("b.jsonl", "", number) for number in (1, 2, 3)),
        ("a.csv", "", 2),
        *(("b.jsonl", "#2", number) for number in (1, 2, 3)),
    ]
