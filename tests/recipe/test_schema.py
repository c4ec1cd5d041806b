from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ftool.errors import RecipeError
from ftool.recipe.file import load_recipe
from ftool.recipe.schema import Full, Lora, Recipe, Span


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


def test_adapters_are_trained_unless_said_otherwise() -> None:
    assert recipe().train.method == Lora()
    assert recipe(train={"method": {"r": 8}}).train.method == Lora(r=8)
    assert recipe(train={"method": {"kind": "full"}}).train.method == Full(kind="full")


def test_a_recipe_is_frozen_and_knows_all_its_keys() -> None:
    made = recipe()
    with pytest.raises(ValidationError, match="frozen"):
        made.seed = 3
    with pytest.raises(ValidationError, match="Extra inputs"):
        recipe(train={"unknown": 1})


def test_the_prepared_dataset_has_the_name_of_the_data_or_of_the_recipe() -> None:
    assert recipe().data_name == "a"
    named = {"name": "shared", "sources": [{"path": "x.csv"}]}
    assert recipe(data=named).data_name == "shared"


def test_a_recipe_without_a_file_is_relative_to_the_working_folder() -> None:
    assert recipe().folder == Path()


def test_validation_is_switched_off_by_null() -> None:
    assert recipe(train={"validate": None}).train.validation is None


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


def test_rules_for_web_text_are_refused_for_chats(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("name: r\ndata: {sources: [{path: a.csv}]}\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="`kind: text` alone"):
        load_recipe(file, ["data.filter.quality=[gopher]"])
    assert load_recipe(file, ["data.filter.quality=[gopher]", "data.kind=text"])


def test_quantized_weights_are_never_trained() -> None:
    quantized = {"quantization": "4bit"}
    assert recipe(model=quantized).model.quantization == "4bit"
    with pytest.raises(ValidationError, match=r"quantized weights cannot be trained; use .*=lora"):
        recipe(model=quantized, train={"method": {"kind": "full"}})


@pytest.mark.parametrize("layers", ["15", "15-", "a-b", "1-2-3", "-1-2", "01-2", 15, [15, 29]])
def test_what_are_no_blocks_is_refused(layers: Any) -> None:
    assert recipe(train={"method": {"layers": "15-29"}}).train.method.layers == "15-29"
    with pytest.raises(ValidationError):
        recipe(train={"method": {"layers": layers}})
