from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ftool.errors import RecipeError
from ftool.recipe.blocks.train import Full, Lora
from ftool.recipe.file import load_recipe
from ftool.recipe.schema import Recipe


def recipe(**changes: Any) -> Recipe:
    return Recipe.model_validate({"name": "a", "data": {"sources": [{"path": "x.csv"}]}, **changes})


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
