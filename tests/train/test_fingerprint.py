import re
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from tiny import tiny_tokenizer

from ftool.artifacts import BaseModel, PreparedDataset
from ftool.errors import RunError
from ftool.model.weights.load import LoadedModel, choose_device
from ftool.recipe.schema import Recipe
from ftool.train.fingerprint import (
    MODEL_NAMES,
    changes,
    environment,
    model_identity,
    recipe_identity,
    refuse_other,
    refuse_unlike,
)

DATASET = PreparedDataset(Path(), "chat", ("a",), {}, {}, "d" * 64)
CHANGED = {
    "seed": 3,
    "model.base": "other",
    "model.dtype": "float32",
    "train.epochs": 4,
    "train.max_steps": 7,
    "train.learning_rate": 1e-3,
    "train.schedule": "linear",
    "train.warmup_ratio": 0.5,
    "train.weight_decay": 0.1,
    "train.max_grad_norm": 2,
    "train.global_batch_size": 8,
    "train.max_length": 99,
    "train.overlong": "trim_prompt",
    "train.shared_prefix": "off",
    "train.method.r": 8,
    "train.method.alpha": 8,
    "train.method.dropout": 0.1,
    "train.validate.patience": 1,
    "train.validate.examples": 7,
    "eval.metric": "accuracy",
    "eval.max_new_tokens": 7,
}
SAME = {
    "train.batch_size_per_device": 2,
    "train.tracking": ["tensorboard"],
    "train.checkpoint.keep": 5,
    "train.checkpoint.every": "3 steps",
    "eval.base": False,
    "hub.private": False,
    "model.chat_template": "there.jinja",
}


def recipe(**changed):
    content = {"name": "a", "data": {"sources": [{"path": "a.csv"}]}}
    for key, value in changed.items():
        *blocks, last = key.split(".")
        block = content
        for name in blocks:
            block = block.setdefault(name, {})
        block[last] = value
    return Recipe.model_validate(content)


@pytest.mark.parametrize("key", CHANGED)
def test_a_setting_that_changes_what_is_learned_makes_another_run(key):
    there = recipe_identity(recipe(), DATASET)
    here = recipe_identity(recipe(**{key: CHANGED[key]}), DATASET)
    assert {name for name in there if there[name] != here[name]} == {key}
    with pytest.raises(RunError, match=re.escape(f"runs/a is of another run:\n  {key}: ")):
        refuse_other(Path("runs/a"), there, here)


@pytest.mark.parametrize("key", SAME)
def test_a_setting_of_speed_and_paper_does_not(key):
    there = recipe_identity(recipe(), DATASET)
    assert there == recipe_identity(recipe(**{key: SAME[key]}), DATASET)


def test_data_and_processes_make_another_run(monkeypatch):
    there = recipe_identity(recipe(), DATASET)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    here = recipe_identity(recipe(), DATASET)
    assert (there["processes"], here["processes"], here["dataset"]) == (1, 2, "d" * 64)


def loaded(*, weights="a" * 64, **changed):
    tokenizer = tiny_tokenizer()
    for name, value in changed.items():
        setattr(tokenizer, name, value)
    return LoadedModel(None, tokenizer, BaseModel("base", None, weights))


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"weights": "b" * 64}, "base weights"),
        ({"chat_template": "{{ messages }}"}, "chat template"),
        ({"pad_token": "<|im_start|>"}, "tokenizer"),
    ],
)
def test_weights_tokenizer_and_template_make_another_run(changed, name):
    there, here = model_identity(loaded()), model_identity(loaded(**changed))
    assert list(there) == list(MODEL_NAMES)
    assert {key for key in there if there[key] != here[key]} == {name}


def test_a_merge_more_makes_another_tokenizer():
    other = loaded()
    other.tokenizer.add_tokens(["refund"])
    assert model_identity(other)["tokenizer"] != model_identity(loaded())["tokenizer"]


def test_processes_must_have_the_same_before_them():
    main = {"dataset": "a" * 64, "seed": 1, "processes": 2}
    refuse_unlike(main, dict(main))
    with pytest.raises(RunError) as caught:
        refuse_unlike(main, {**main, "dataset": "b" * 64, "seed": 2})
    assert caught.value.message.splitlines() == [
        "the processes do not have the same before them:",
        "  dataset: aaaaaaaaaaaa in the main one, bbbbbbbbbbbb in another",
        "  seed: 1 in the main one, 2 in another",
    ]


def test_before_the_model_is_loaded_its_part_is_not_compared():
    whole = {**recipe_identity(recipe(), DATASET), **model_identity(loaded())}
    refuse_other(Path("a"), whole, recipe_identity(recipe(), DATASET))
    with pytest.raises(RunError, match="base weights: bbbbbbbbbbbb there, aaaaaaaaaaaa here"):
        refuse_other(Path("a"), {**whole, "base weights": "b" * 64}, whole)
    with pytest.raises(RunError, match=r"train\.new: 1 there, null here"):
        refuse_other(Path("a"), {**whole, "train.new": 1}, whole)


def test_the_environment_names_versions_device_and_threads():
    found = environment(choose_device("float32"))
    assert found["versions"]["torch"] == version("torch")
    assert found["threads"] == torch.get_num_threads()
    assert changes(found, found) == []
    assert changes(found, {**found, "dtype": "bfloat16"}) == ["dtype float32 became bfloat16"]
