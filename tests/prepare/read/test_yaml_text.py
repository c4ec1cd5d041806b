from itertools import pairwise
from typing import Any

import pytest

from ftool.errors import DataError
from ftool.prepare.read.yaml_text import read_yaml


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("on: [push]\n1: x\n2.5: y\n", {"on": ["push"], "1": "x", "2.5": "y"}),
        ("day: 2024-13-45\n", {"day": "2024-13-45"}),
        ("day: 2024-01-02\nyes: no\n", {"day": "2024-01-02", "yes": "no"}),
        ("n: 3\nf: 1.5\nz: null\n", {"n": "3", "f": "1.5", "z": None}),
        ("", None),
    ],
)
def test_values(text: str, expected: Any) -> None:
    assert read_yaml(text) == expected


@pytest.mark.parametrize(
    "text",
    ["a: [", "a: &x [*x]", "a: &x [1]\nb: *x\n", "a: !!python/object:os.system {}", "? [a]\n: b\n"],
)
def test_what_is_not_read(text: str) -> None:
    with pytest.raises(DataError):
        read_yaml(text)


def test_a_document_that_grows_is_refused_before_it_does() -> None:
    pairs = pairwise("abcdefg")
    bomb = "a: &a [x, x]\n" + "".join(f"{n}: &{n} [*{p}, *{p}]\n" for p, n in pairs)
    with pytest.raises(DataError, match="aliases"):
        read_yaml(bomb)
