import io
from time import perf_counter

import pytest

from ftool.errors import DataError
from ftool.prepare.read.delimited import MAX_RECORD_LINES, read_delimited
from ftool.prepare.read.encoding import physical_lines
from ftool.prepare.read.rows import Row


def read(text: str) -> list[Row]:
    return list(read_delimited(physical_lines(io.StringIO(text, newline=""))))


def outcomes(text: str) -> list[tuple[int, object]]:
    return [(row.line, row.reason or row.values) for row in read(text)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiter_is_the_most_frequent_of_the_header(delimiter: str) -> None:
    text = f'text{delimiter}"a, b; c"\nx{delimiter}y\n'
    expected = {"text": "x", "a, b; c": "y"}
    assert outcomes(text if delimiter != "," else "text,b\nx,y\n") == [
        (2, {"text": "x", "b": "y"} if delimiter == "," else expected)
    ]


def test_record_over_several_lines() -> None:
    rows = read('text,label\r\n"one\r\n\r\ntwo ""quoted""",a\r\nthree,b\r\n')
    assert [(row.line, row.values) for row in rows] == [
        (2, {"text": 'one\r\n\r\ntwo "quoted"', "label": "a"}),
        (5, {"text": "three", "label": "b"}),
    ]
    assert rows[0].raw == '"one\r\n\r\ntwo ""quoted""",a'


def test_one_broken_row_costs_one_row() -> None:
    text = 'text,label\na,b\n"open,b\nc,d,e\nonly\n\n,\nq"in,b\n"x"y,z\nlast,f\n\n'
    assert outcomes(text) == [
        (2, {"text": "a", "label": "b"}),
        (3, "broken_quote"),
        (4, "wrong_field_count"),
        (5, "wrong_field_count"),
        (6, "empty_row"),
        (7, "empty_row"),
        (8, {"text": 'q"in', "label": "b"}),
        (9, "broken_quote"),
        (10, {"text": "last", "label": "f"}),
    ]


def test_a_quote_that_swallows_rows_gives_them_back() -> None:
    assert outcomes('text,label\n"a,b\nc,d\ne,"f"\n') == [
        (2, "broken_quote"),
        (3, {"text": "c", "label": "d"}),
        (4, {"text": "e", "label": "f"}),
    ]
    assert outcomes('text,label\n"a,b\nc,d\n"\ne,f\n') == [
        (2, "wrong_field_count"),
        (3, {"text": "c", "label": "d"}),
        (4, "unclosed_quote"),
        (5, {"text": "e", "label": "f"}),
    ]


def test_open_quotes_are_bounded() -> None:
    rows = "".join(f"a{i},b\n" for i in range(3 * MAX_RECORD_LINES))
    start = perf_counter()
    found = read(f'text,label\n"open,b\n{rows}')
    assert found[0].reason == "unclosed_quote"
    assert sum(row.values is not None for row in found) == 3 * MAX_RECORD_LINES
    assert perf_counter() - start < 5


def test_bad_characters_reject_their_row_only() -> None:
    text = "text,label\na\udcff,b\na\0,b\nfine,b\n"
    assert [row.reason for row in read(text)] == ["undecodable_bytes", "nul_byte", ""]


def test_fields_above_the_limit_of_the_csv_module_are_read() -> None:
    assert read(f"text,label\n{'a' * 200_000},b\n")[0].values is not None


def test_header() -> None:
    assert read("\n text ,,\na,b,c\n")[1].values == {"text": "a", "column_2": "b", "column_3": "c"}
    assert read("a,b,a,a_2,a\n1,2,3,4,5\n")[0].values == {
        **{"a": "1", "b": "2", "a_2": "3", "a_2_2": "4", "a_3": "5"},
    }
    with pytest.raises(DataError, match="line 1: the header is broken"):
        read('"a,b\n1,2\n')


def test_a_header_that_stands_again_is_no_row() -> None:
    assert outcomes("text,label\na,b\ntext, label\nc,d\n")[1] == (3, "repeated_header")
