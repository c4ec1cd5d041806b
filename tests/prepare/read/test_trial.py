from collections import Counter
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftool.prepare.read import trial
from ftool.prepare.read.rows import Row
from ftool.prepare.read.trial import Drawn, draw_lines, draw_rows, line_ends


def drawn(rows: int, count: int) -> Drawn:
    return draw_rows((Row(n, f"{n}") for n in range(1, rows + 1)), count, size=lambda _: 1)


@given(st.integers(0, 300), st.integers(1, 100))
def test_rows_are_drawn_once_and_in_order(rows: int, count: int) -> None:
    found = drawn(rows, count)
    lines = [row.line for row in found.rows]
    assert len(lines) == min(rows, count) and lines == sorted(set(lines))
    assert found == drawn(rows, count)
    assert (found.read, found.is_whole, found.is_sample) == (rows, True, rows > count)


def test_every_stretch_has_its_share() -> None:
    tenths = Counter((row.line - 1) // 1_000 for row in drawn(10_000, 1_000).rows)
    assert len(tenths) == 10 and 60 < min(tenths.values()) <= max(tenths.values()) < 140


def test_rows_that_take_turns_are_all_met() -> None:
    # Every second row would be of one kind alone.
    kinds = Counter(row.line % 2 for row in drawn(2_000, 1_000).rows)
    assert min(kinds.values()) > 400


def test_after_many_characters_no_more_is_read() -> None:
    with patch.object(trial, "MOST_CHARACTERS", 500):
        found = drawn(2_000, 100)
    assert (found.read, found.is_whole) == (500, False) and len(found.rows) == 100
    told = "a.csv: 100 of its first 500 rows are tried, and none of those behind them"
    assert found.told("a.csv") == told


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (Drawn((), 0, is_whole=True), ""),
        (Drawn((Row(1, ""),), 1, is_whole=True), ""),
        (Drawn((Row(1, ""),), 2_000, is_whole=True), "a: 1 of its 2,000 rows are tried"),
        (Drawn((Row(1, ""),), None, is_whole=True), "a: 1 rows from all over it are tried"),
    ],
)
def test_what_is_tried_is_told(found: Drawn, told: str) -> None:
    assert found.told("a") == told
    assert found.is_sample is bool(told)


@given(
    st.lists(st.tuples(st.text("ab\u00fc", max_size=9), st.sampled_from(["\n", "\r\n"]))),
    st.booleans(),
    st.integers(1, 20),
    st.integers(1, 9),
)
def test_lines_are_whole_and_know_their_number(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[tuple[str, str]],
    ends: bool,
    count: int,
    chunk: int,
) -> None:
    file = tmp_path_factory.mktemp("trial") / "a.jsonl"
    whole = "".join(text + end for text, end in lines) + ("" if ends else "last")
    file.write_bytes(whole.encode())
    expected = whole.encode().splitlines(keepends=True)
    with patch.object(trial, "CHUNK_BYTES", chunk):
        found = list(draw_lines(file, count))
    numbers = [number for _, _, number in found]
    assert numbers == sorted(set(numbers)) and len(numbers) <= count
    for start, end, number in found:
        assert file.read_bytes()[start:end] == expected[number - 1]


def test_lines_come_from_all_over(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"".join(b"%06d\n" % n for n in range(10_000)))
    tenths = Counter((number - 1) // 1_000 for _, _, number in draw_lines(file, 1_000))
    assert len(tenths) == 10 and min(tenths.values()) > 80


@pytest.mark.parametrize(
    ("data", "ends"), [(b"", 0), (b"a\nb", 1), (b"\r\n\r\n\n", 3), (b"a\rb\r", 2)]
)
def test_line_ends(data: bytes, ends: int) -> None:
    assert line_ends(data) == ends
