from dataclasses import FrozenInstanceError

import pytest

from ftool.prepare.read.rows import Finding, Row, Unusable


def test_unusable_carries_reason_and_detail() -> None:
    assert (Unusable("empty_row").reason, Unusable("x", "y").detail) == ("empty_row", "y")


def test_a_row_that_was_read_has_values_and_no_reason() -> None:
    row = Row(3, "q,a", {"text": "q"})
    assert (row.line, row.raw, row.values, row.reason, row.detail) == (
        *(3, "q,a", {"text": "q"}),
        *("", ""),
    )
    assert Row(3, "q,a", reason="broken_quote").values is None


def test_a_finding_has_numbers_where_there_are_some() -> None:
    assert Finding("empty_row") == Finding("empty_row", "", None, None)
    with pytest.raises(FrozenInstanceError):
        Finding("too_long").reason = "other"  # type: ignore[misc]
