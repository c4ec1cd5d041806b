from dataclasses import replace

import pytest
import torch
from tiny import make_project, tiny_model, tiny_tokenizer

from ftool.artifacts import PreparedDataset, ignore_note, ignore_progress
from ftool.errors import RunError
from ftool.eval.predict.scorer import Scorer
from ftool.metrics import label_metrics
from ftool.model.tokens.encode import make_encoder
from ftool.train.validate import make_validator


@pytest.fixture
def project(tmp_path):
    recipe = make_project(tmp_path)
    return recipe, PreparedDataset.open(tmp_path / "data/tiny")


def validator(recipe, dataset, *, notes=ignore_note, max_length=256, **validation):
    settings = recipe.train.validation.model_copy(update=validation)
    changed = recipe.model_copy(
        update={"train": recipe.train.model_copy(update={"validation": settings})}
    )
    encoder = make_encoder(tiny_tokenizer())
    return make_validator(
        changed,
        dataset,
        encoder,
        max_length=max_length,
        on_progress=ignore_progress,
        on_note=notes,
    )


def test_the_scores_are_those_of_the_scorer(project):
    recipe, dataset = project
    model = tiny_model()
    made = validator(recipe, dataset)
    scores = made.score(model, step=1)
    assert model.training
    examples = dataset.examples("validation")
    scorer = Scorer(model, made.encoder, "rank", dataset.label_names)
    predictions = scorer.predict(examples)
    expected = label_metrics(
        [p.expected for p in predictions], [p.predicted for p in predictions], dataset.label_names
    )
    rows = Scorer(model, made.encoder, "loss", ()).predict(examples)
    mean = sum(row.loss * row.learned_tokens for row in rows)
    mean /= sum(row.learned_tokens for row in rows)
    assert scores == pytest.approx({"loss": mean, "f1_macro": expected["f1_macro"]})
    assert made.goodness(scores) == scores["f1_macro"]


@pytest.mark.parametrize("mode", ["loss", "rank"])
def test_an_interrupted_scoring_goes_on_to_the_same_bits(project, tmp_path, monkeypatch, mode):
    monkeypatch.setattr("ftool.train.validate.KEPT_AFTER", 0)
    for module in ("eval.predict.losses", "model.answers.rank"):
        monkeypatch.setattr(f"ftool.{module}.BATCH_TOKENS", 30)  # a few examples
    recipe, dataset = project
    made, model = replace(validator(recipe, dataset), folder=tmp_path / "kept"), tiny_model()
    expected = validator(recipe, dataset).score(model, step=1)
    stage, dones = {"loss": "computing the loss", "rank": "ranking labels"}[mode], []

    def interrupt(*told):
        if told[0] == stage:
            dones.append(told[1])
        if len(dones) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace(made, on_progress=interrupt).score(model, step=1)
    told = []
    going_on = replace(made, on_progress=lambda *words: told.append(words))
    assert going_on.score(model, step=1) == expected
    again = [words[1] for words in told if words[0] == stage]
    assert again[0] >= dones[1] > 0, "whole batches were kept"
    told.clear()
    assert going_on.score(model, step=1, source="saved") == expected
    assert next(words[1] for words in told if words[0] == stage) == dones[0], "for itself"
    with torch.no_grad():
        model.lm_head.weight.mul_(1.5)
    assert going_on.score(model, step=2) == validator(recipe, dataset).score(model, step=2)


def test_a_weight_that_is_a_single_number_counts(project, tmp_path):
    recipe, dataset = project
    model = tiny_model()
    expected = validator(recipe, dataset).score(model, step=1)
    model.gate = torch.nn.Parameter(torch.tensor(1.0))
    made = replace(validator(recipe, dataset), folder=tmp_path / "kept")
    assert made.score(model, step=1) == expected


def test_the_sample_is_fixed_and_holds_every_label(project):
    recipe, dataset = project
    chosen = validator(recipe, dataset, examples=6).examples
    assert len(chosen) == 6
    assert {example.label for example in chosen} == set(dataset.label_names)
    assert chosen == validator(recipe, dataset, examples=6).examples


def test_long_validation_examples_are_left_out_aloud(project):
    recipe, dataset = project
    encoder = make_encoder(tiny_tokenizer())
    lengths = [len(encoder.example(e).input_ids) for e in dataset.examples("validation")]
    notes = []
    made = validator(recipe, dataset, notes=notes.append, max_length=max(lengths) - 1)
    assert len(made.examples) < len(lengths)
    assert f"exceed {max(lengths) - 1} tokens" in notes[0]


def test_without_labels_the_loss_is_validated(project):
    recipe, dataset = project
    no_labels = PreparedDataset(
        dataset.path, "chat", (), dataset.rows, dataset.rejected, dataset.fingerprint
    )
    changed = recipe.model_copy(
        update={"eval": recipe.eval.model_copy(update={"mode": "generate"})}
    )
    assert validator(changed, no_labels).metric == "loss"
    assert validator(recipe, no_labels).metric == "loss"


def test_without_an_example_that_fits_nothing_is_validated(project):
    recipe, dataset = project
    notes = []
    assert validator(recipe, dataset, notes=notes.append, max_length=9) is None
    assert "none of its examples fits" in notes[-1]


def test_a_loss_that_is_not_finite_is_refused(project, tmp_path, monkeypatch):
    recipe, dataset = project
    model = tiny_model()
    with torch.no_grad():
        model.lm_head.weight.fill_(float("nan"))
    made = validator(recipe, dataset)
    kept = replace(made, folder=tmp_path / "kept")
    monkeypatch.setattr("ftool.train.validate.KEPT_AFTER", 0)
    for one in (made, kept, kept):
        with pytest.raises(RunError, match="the validation loss is nan"):
            one.score(model, step=1)
