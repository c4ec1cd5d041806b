import io
import json

import pytest

from ftool.errors import DataError
from ftool.prepare.read.encoding import physical_lines
from ftool.prepare.read.json_text import holds_lines, read_json, read_json_lines
from ftool.prepare.read.rows import Row


def lines(text: str) -> list[Row]:
    return list(read_json_lines(physical_lines(io.StringIO(text, newline=""))))


def document(text: str) -> list[Row]:
    return list(read_json(io.StringIO(text, newline="")))


def outcomes(rows: list[Row]) -> list[tuple[int, object]]:
    return [(row.line, row.reason or row.values) for row in rows]


def test_json_lines() -> None:
    text = '{"a": 1}\r\n\n[1]\n{"a": \n{"a": 1, "a": 2}\n{}\n{"a": NaN} \n{"a": 2} x\n"s"\n'
    assert outcomes(lines(text)) == [
        (1, {"a": 1}),
        (2, "empty_row"),
        (3, "not_an_object"),
        (4, "broken_json"),
        (5, "duplicate_key"),
        (6, "empty_row"),
        (7, {"a": None}),
        (8, "broken_json"),
        (9, "not_an_object"),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "too_deep"),
        ('{"a": ' + "[" * 150 + "]" * 150 + "}", "too_deep"),
        ('{"a": "\\ud800"}', "lone_surrogate"),
        ('{"\\udfff": 1}', "lone_surrogate"),
        ('{"a": "\udcff"}', "undecodable_bytes"),
        ('{"a": "\0"}', "nul_byte"),
        ('{"a": ' + "9" * 5_000 + "}", "broken_json"),
        ('{"a": "' + "x" * 10_000_000 + '"}', "line_too_long"),
    ],
)
def test_hostile_lines_are_rejected(line: str, reason: str) -> None:
    assert [row.reason for row in lines(line + '\n{"a": 1}\n')] == [reason, ""]


def test_character_pairs_are_no_lone_surrogates() -> None:
    assert lines('{"a": "\\ud83d\\ude00"}')[0].values == {"a": "😀"}


def test_list_of_objects() -> None:
    rows = document('[\n  {"a": 1},\n  {"a":\n   2}, 7,\n  {"a": 3}\n]\n')
    assert outcomes(rows) == [
        (2, {"a": 1}),
        (3, {"a": 2}),
        (4, "not_an_object"),
        (5, {"a": 3}),
    ]
    assert rows[1].raw == '{"a":\n   2}'


def test_a_list_longer_than_a_piece() -> None:
    values = [{"n": n, "text": "x" * 500} for n in range(6_000)]
    rows = document(json.dumps(values))
    assert [row.values for row in rows] == values


def test_reading_goes_on_behind_a_broken_element() -> None:
    text = '[\n  {"a": 1},\n  {"a": tru,\n   "b": {"c": 2}},\n  {"a": 3}\n]\n'
    rows = document(text)
    assert outcomes(rows) == [(2, {"a": 1}), (3, "broken_json"), (5, {"a": 3})]
    assert rows[1].raw == '{"a": tru,\n   "b": {"c": 2}}'


@pytest.mark.parametrize(
    "text", ['[{"a": 1}, {"a": tru}, {"a": 3}]', '[{"a": 1}', '[{"a": 1}] x', '[{"a": 1} 5']
)
def test_the_rest_of_a_broken_list_is_one_row(text: str) -> None:
    assert [row.reason for row in document(text)] == ["", "unreadable_rest"]


def test_object_with_one_list_of_objects() -> None:
    text = '{"version": 1, "tags": ["x"],\n "rows": [\n  {"a": 1},\n  {"a": 2}], "n": {"x": []}}'
    assert outcomes(document(text)) == [(3, {"a": 1}), (4, {"a": 2})]
    with pytest.raises(DataError, match="several lists of objects: `a` and `b`"):
        document('{"a": [{"x": 1}], "b": [{"x": 1}]}')


def test_object_that_is_one_row() -> None:
    conversation = {"messages": [{"role": "user", "content": "a"}], "id": 3}
    assert document(json.dumps(conversation, indent=1))[0].values == conversation
    assert document('{"a": 1}')[0].values == {"a": 1}
    assert [row.reason for row in document('{"a": 1, "b": ')] == ["unreadable_rest"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1}\n{"a": 2}\n', True),
        ('\n{"a": 1, broken}\n\n{"a": 2}\n', True),
        ('{"a": 1}\n', False),
        ('[\n{"a": 1},\n{"a": 2}]', False),
        ('{\n"a": [{"b": 1}\n]}', False),
    ],
)
def test_json_lines_inside_json(text: str, expected: bool) -> None:
    file = io.StringIO(text)
    assert holds_lines(file) is expected
    assert file.tell() == 0


def test_elements_on_one_line_count_as_lines() -> None:
    text = json.dumps([{"n": n} for n in range(3)])
    assert [row.line for row in read_json(io.StringIO(text))] == [1, 2, 3]
    spread = json.dumps([{"n": n} for n in range(3)], indent=1)
    assert [row.line for row in read_json(io.StringIO(spread))] == [2, 5, 8]
