import pytest

from ftool.hub.markdown import duration, escape, fenced, sparkline, table


def test_a_table_has_a_line_under_its_header():
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a_b*c", r"a\_b\*c"),
        ("<script>", r"\<script\>"),
        ("two\nlines\x1b[31m", r"two lines \[31m"),
        ("a|b", r"a\|b"),
    ],
)
def test_text_of_others_never_becomes_markup(text, shown):
    assert escape(text) == shown


def test_a_fence_is_longer_than_any_in_the_code():
    assert fenced("x\n```\ny", "yaml") == "````yaml\nx\n```\ny\n````"


def test_numbers_are_written_for_readers():
    assert duration(61) == "1 min 1 s" and duration(7300) == "2 h 1 min"


def test_a_curve_falls_from_full_to_empty():
    assert sparkline([3, 2, 1]) == "█▅▁"
    assert sparkline([1, 1]) == "▁▁"
    assert len(sparkline(range(1000))) == 40
