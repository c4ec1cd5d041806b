"""Bases whose tokenizer, padding, ends or heads are not the usual ones: right, or a sentence."""

import json

import pytest
from tiny import make_project, recipe_of, tiny_model, tiny_tokenizer

from ftool.artifacts import PreparedDataset, TrainingRun
from ftool.errors import FtoolError, RecipeError
from ftool.eval.run import evaluate
from ftool.start.show import show
from ftool.train.run import train


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    make_project(folder, count=24, extra="  max_steps: 1\n  validate: null\n")
    return folder


def write_base(folder, *, rows=300, tied=False, config=None, generation=None, tokenizer=None):
    """Write a base whose model has `rows` embeddings."""
    model = tiny_model(vocabulary=rows, tie_word_embeddings=tied)
    model.save_pretrained(folder)
    (tokenizer or tiny_tokenizer()).save_pretrained(folder)
    for name, changes in (("config.json", config), ("generation_config.json", generation)):
        path = folder / name
        content = json.loads(path.read_text()) if path.is_file() else {}
        path.write_text(json.dumps({**content, **(changes or {})}))
    return folder


def use(project, base, monkeypatch, *overrides):
    """Train, evaluate and show with a base; return the run."""
    monkeypatch.chdir(project)
    recipe = recipe_of(project, f"model.base={base}", *overrides)
    run = train(recipe, run=base.name, fresh=True)
    for mode in ("rank", "generate", "loss"):
        scored = recipe_of(project, f"model.base={base}", f"eval.mode={mode}", *overrides)
        evaluate(TrainingRun.open(run.path), recipe=scored, split="validation")
    assert show(recipe)
    return run


def with_added_token(tokenizer):
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|extra|>"]})
    return tokenizer


def without_padding():
    tokenizer = tiny_tokenizer()
    tokenizer.pad_token = None
    return tokenizer


RIGHT = {
    "padded embeddings": dict(rows=384),
    "padding beyond the embeddings": dict(config={"pad_token_id": 9999}),
    "negative padding": dict(config={"pad_token_id": -1}),
    "an added token without embedding": dict(tokenizer=with_added_token(tiny_tokenizer())),
    "no padding token": dict(tokenizer=without_padding(), config={"pad_token_id": None}),
    "a start token that the template leaves out": dict(tokenizer=tiny_tokenizer(bos=True)),
    "tied heads": dict(tied=True),
    "several ends": dict(generation={"eos_token_id": [2, 0], "pad_token_id": 9999}),
    "ends in the config": dict(config={"eos_token_id": [2, 0], "bos_token_id": 299}),
    "no ends in the config": dict(config={"eos_token_id": None}, generation={"eos_token_id": None}),
}


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("what", RIGHT)
def test_an_odd_base_is_trained_scored_and_shown(project, tmp_path, monkeypatch, what, method):
    base = write_base(tmp_path / f"base-{method}", **RIGHT[what])
    overrides = [f"train.method={{kind: {method}}}"]
    run = use(project, base, monkeypatch, *overrides)
    assert run.manifest()["steps"] == 1


def beyond():
    """A tokenizer whose end of a turn has no embedding."""
    tokenizer = with_added_token(tiny_tokenizer())
    tokenizer.chat_template = tokenizer.chat_template.replace("<|im_end|>", "<|extra|>")
    return tokenizer


def endless():
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = None
    return tokenizer


REFUSED = {
    "its template writes a token without embedding": (
        dict(tokenizer=beyond()),
        "token_beyond_embeddings",
    ),
    "few embeddings": (dict(rows=40), "token_beyond_embeddings"),
    "no end": (dict(tokenizer=endless()), "no end token"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_is_a_sentence(project, tmp_path, monkeypatch, what):
    settings, said = REFUSED[what]
    base = write_base(tmp_path / "base", **settings)
    with pytest.raises(RecipeError, match=said):
        use(project, base, monkeypatch)
    data = PreparedDataset.open(project / "data/tiny")
    recipe = recipe_of(project)
    with pytest.raises(FtoolError, match=said):
        evaluate(str(base), recipe=recipe, data=data.path, split="validation")
