import pytest

from ftool.example import Example
from ftool.prepare.rows import Candidate, Unusable


def candidate(assigned=None):
    return Candidate(Example("a:1", text="t", source="a", line=1), "raw", 0, assigned)


def test_a_rejected_candidate_keeps_its_place_and_its_raw_row():
    out = candidate().rejected("too_short", "1 character")
    assert (out.source, out.line, out.reason, out.detail, out.raw) == (
        "a",
        1,
        "too_short",
        "1 character",
        "raw",
    )


@pytest.mark.parametrize(
    ("assigned", "held_out"),
    [(None, False), ("train", False), ("validation", True), ("test", True)],
)
def test_sources_for_validation_and_test_are_held_out(assigned, held_out):
    assert candidate(assigned).held_out is held_out


def test_a_rewritten_candidate_keeps_the_rest():
    changed = candidate("test").with_example(Example("a:1", text="other"))
    assert (changed.example.text, changed.raw, changed.assigned) == ("other", "raw", "test")


def test_unusable_carries_reason_and_detail():
    assert (Unusable("empty_row").reason, Unusable("x", "y").detail) == ("empty_row", "y")
