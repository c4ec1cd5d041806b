import re

import pytest

from ftool import errors
from ftool.errors import FtoolError, did_you_mean

CODES = {
    "FtoolError": 1,
    "RecipeError": 2,
    "DataError": 3,
    "RunError": 3,
    "GateError": 4,
    "DeviceError": 5,
    "HubError": 6,
}


@pytest.mark.parametrize(("name", "code"), CODES.items())
def test_every_error_has_its_exit_code(name: str, code: int) -> None:
    kind = getattr(errors, name)
    assert kind.exit_code == code
    assert issubclass(kind, FtoolError)


def test_the_tree_in_the_docstring_is_the_truth() -> None:
    drawn = re.findall(r"^ *(\w+Error) +(\d)", errors.__doc__ or "", re.MULTILINE)
    assert {name: int(code) for name, code in drawn} == CODES


def test_an_error_carries_message_and_hint() -> None:
    error = FtoolError("runs/x is not finished", hint="run: ftool train")
    assert (str(error), error.message) == ("runs/x is not finished", "runs/x is not finished")
    assert error.hint == "run: ftool train"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("learning_rte", "; did you mean `learning_rate`?"),
        ("epoch", "; did you mean `epochs`?"),
        ("zzz", ""),
    ],
)
def test_did_you_mean_names_the_nearest_or_nothing(name: str, expected: str) -> None:
    assert did_you_mean(name, ["learning_rate", "epochs", "schedule"]) == expected
