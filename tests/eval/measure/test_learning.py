import math
from typing import Any

import pytest

from ftool.eval.measure.learning import CURVE_POINTS, read_curves


def steps(training: list[float], validation: dict[int, float], **more: Any) -> list[dict[str, Any]]:
    return [
        {
            "step": step,
            "loss": loss,
            "validation": {"metrics": {"loss": validation[step], "f1_macro": 0.5}, "examples": 9}
            if step in validation
            else None,
        }
        for step, loss in enumerate(training, start=1)
    ]


def falling(length: int) -> list[float]:
    return [2.0 - 1.9 * step / length for step in range(length)]


def test_a_validation_loss_that_rises_while_training_falls_is_over_fitting() -> None:
    found = read_curves(steps(falling(90), {30: 1.0, 60: 0.8, 90: 1.1}))
    assert found is not None
    assert found.verdict == "over-fitting"
    assert found.sentence.startswith(
        "over-fitting from step 60: validation loss 0.800 at step 60, 1.100 at step 90, while"
    )
    assert found.validation == ((30, 1.0), (60, 0.8), (90, 1.1))
    last = sum(falling(90)[70:]) / 20
    assert found.gap == pytest.approx(1.1 - last)
    assert (found.metric_name, found.metric[0]) == ("f1_macro", (30, 0.5))


@pytest.mark.parametrize(
    ("validation", "verdict"),
    [
        ({30: 1.0, 60: 0.8, 90: 0.81}, "no over-fitting"),  # within 2 %
        ({30: 1.0, 60: 0.8, 90: 0.7}, "still learning"),
        ({30: 1.0, 60: 0.8, 90: 0.799}, "no over-fitting"),
        ({90: 0.8}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_verdicts(validation: dict[int, float], verdict: str) -> None:
    found = read_curves(steps(falling(90), validation))
    assert found is not None and found.verdict == verdict
    assert (found.gap is None) == (not validation)


def test_a_run_that_gets_worse_all_over_does_not_over_fit() -> None:
    rising = falling(90)[::-1]
    found = read_curves(steps(rising, {30: 0.5, 60: 0.8, 90: 1.1}))
    assert found is not None and found.verdict == "no over-fitting"


def test_long_curves_are_averaged_and_broken_losses_left_out() -> None:
    losses = [1.0, 3.0] * 500
    found = read_curves(steps([*losses, math.nan], {}))
    assert found is not None
    assert len(found.training) == CURVE_POINTS
    assert found.training[0] == (5, pytest.approx(1.8))
    assert found.training[-1][0] == 1000
    assert found.as_dict()["training"][0][0] == 5
    assert read_curves([]) is None
    assert read_curves(steps([math.nan], {})) is None
