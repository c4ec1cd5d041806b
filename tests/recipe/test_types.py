from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ftool.errors import RecipeError
from ftool.recipe.file import load_recipe
from ftool.recipe.schema import Recipe
from ftool.recipe.types import Span


def recipe(**changes: Any) -> Recipe:
    return Recipe.model_validate({"name": "a", "data": {"sources": [{"path": "x.csv"}]}, **changes})


@pytest.mark.parametrize(
    ("text", "steps_per_epoch", "steps"),
    [
        ("0.25 epochs", 100, 25),
        ("1 epoch", 7, 7),
        ("200 steps", 100, 200),
        ("1 step", 100, 1),
        ("0.001 epochs", 10, 1),
    ],
)
def test_a_span_is_a_number_of_steps(text: str, steps_per_epoch: int, steps: int) -> None:
    span = recipe(train={"checkpoint": {"every": text}}).train.checkpoint.every
    assert span.steps(steps_per_epoch) == steps


@pytest.mark.parametrize(
    ("amount", "text"), [(0.25, "0.25 epochs"), (200, "200 epochs"), (1 / 3, f"{1 / 3} epochs")]
)
def test_a_span_is_written_as_it_is_read(amount: float, text: str) -> None:
    assert str(Span(amount=amount, unit="epochs")) == text
    read = recipe(train={"validate": {"every": text}}).train.validation
    assert read is not None
    assert read.every == Span(amount=amount, unit="epochs")


@pytest.mark.parametrize("text", ["", "5", "epochs", "1 hour", "x steps", "0 steps", "inf epochs"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        recipe(train={"checkpoint": {"every": text}})


@pytest.mark.parametrize(
    "setting",
    [
        "data.dedup.near=true",
        "data.filter.max_tokens=true",
        "data.split.test=true",
        "train.epochs=true",
    ],
)
def test_a_switch_is_no_number(tmp_path: Path, setting: str) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("name: r\ndata: {sources: [{path: a.csv}]}\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="a number is needed"):
        load_recipe(file, [setting])
