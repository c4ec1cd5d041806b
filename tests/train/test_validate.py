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
    losses = scorer.losses(examples)
    mean = sum(loss * n for loss, n in losses) / sum(n for _, n in losses)
    assert scores == pytest.approx({"loss": mean, "f1_macro": expected["f1_macro"]})
    assert made.goodness(scores) == scores["f1_macro"]


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


def test_a_loss_that_is_not_finite_is_refused(project):
    recipe, dataset = project
    model = tiny_model()
    with torch.no_grad():
        model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(RunError, match="the validation loss is nan"):
        validator(recipe, dataset).score(model, step=1)
