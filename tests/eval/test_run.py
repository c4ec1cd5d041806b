import json

import pytest
from sklearn.metrics import accuracy_score, precision_recall_fscore_support
from tiny import make_project, write_tickets

from ftool.errors import DataError, RecipeError, RunError
from ftool.eval.report import Report
from ftool.eval.run import evaluate
from ftool.prepare.run import prepare
from ftool.recipe.file import load_recipe
from ftool.train.run import train


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return train(make_project(tmp_path))


def test_the_metrics_are_scikit_learns_on_the_predictions(run):
    report = evaluate(run, split="test")
    folder = run.path / "eval/test"
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    expected = [row["expected"] for row in rows]
    predicted = [row["predicted"] for row in rows]
    precision, recall, f1, _ = precision_recall_fscore_support(
        expected, predicted, labels=sorted(set(expected)), average="macro", zero_division=0
    )
    values = {name: estimate.value for name, estimate in report.metrics.items()}
    assert values["accuracy"] == pytest.approx(accuracy_score(expected, predicted))
    assert values["precision_macro"] == pytest.approx(precision)
    assert values["recall_macro"] == pytest.approx(recall)
    assert values["f1_macro"] == pytest.approx(f1)
    assert Report.read(folder) == report
    assert report.mode == "rank" and report.examples == len(rows)


def test_base_and_floor_stand_beside_the_run(run):
    recipe = load_recipe(run.path / "recipe.yaml", ["eval.base_examples=5"])
    report = evaluate(run, recipe=recipe, split="test")
    assert report.base.examples == 5
    assert report.floor.examples == report.examples
    assert report.floor.metrics["f1_macro"].value > 0.9
    alone = load_recipe(run.path / "recipe.yaml", ["eval.base=false", "eval.floor=false"])
    report = evaluate(run, recipe=alone, split="test")
    assert report.base is None and report.floor is None


def test_the_base_of_a_run_equals_the_plain_model(run, tmp_path):
    recipe = run.recipe()
    tuned = evaluate(run, split="validation")
    plain = evaluate(str(tmp_path / "base"), recipe=recipe, split="validation")
    assert plain.base is None
    assert plain.metrics == tuned.base.metrics
    assert (tmp_path / "eval/base/validation/metrics.json").is_file()


def test_the_score_in_training_is_the_score_in_the_report(run):
    best = run.manifest()["best_metric"]
    report = evaluate(run, split="validation")
    assert report.metrics["f1_macro"].value == pytest.approx(best["value"])


def test_generation_counts_what_it_cannot_read(run):
    recipe = load_recipe(run.path / "recipe.yaml", ["eval.mode=generate", "eval.max_new_tokens=4"])
    report = evaluate(run, recipe=recipe, split="test")
    assert report.mode == "generate"
    assert report.unparsed == sum(row[-1] for row in report.confusion)


def test_open_answers_get_loss_and_perplexity(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_project(tmp_path)
    recipe = load_recipe(tmp_path / "recipe.yaml", ["data.label_names=none", "data.name=open"])
    prepare(recipe)
    run = train(recipe, run="open")
    report = evaluate(run, split="test")
    assert report.mode == "loss" and set(report.metrics) >= {"loss", "perplexity"}
    assert report.metrics["loss"].value < report.base.metrics["loss"].value
    assert run.manifest()["best_metric"]["name"] == "loss"


def test_changed_data_is_refused_unless_named(run, tmp_path):
    write_tickets(tmp_path / "tickets.csv", count=90)
    prepare(load_recipe(tmp_path / "recipe.yaml"))
    with pytest.raises(RunError, match="is not what runs/tiny was trained on"):
        evaluate(run, split="test")
    evaluate(run, data=tmp_path / "data/tiny", split="test")


def test_a_missing_split_and_a_model_without_recipe_are_sentences(run, tmp_path):
    with pytest.raises(DataError, match="is not a prepared dataset"):
        evaluate(run, data=tmp_path / "nothing")
    with pytest.raises(RecipeError, match="is a plain model"):
        evaluate(str(tmp_path / "base"))


def test_a_report_on_other_data_never_replaces_the_runs_own(run, tmp_path):
    own = evaluate(run, split="test")
    recipe = load_recipe(tmp_path / "recipe.yaml", ["data.name=other", "seed=5"])
    prepare(recipe)
    evaluate(run, data=tmp_path / "data/other", split="test")
    assert Report.read(run.path / "eval/test") == own
    assert (run.path / "eval/other-test/metrics.json").is_file()


def test_loss_of_labelled_data_has_no_floor(run):
    recipe = load_recipe(run.path / "recipe.yaml", ["eval.mode=loss"])
    report = evaluate(run, recipe=recipe, split="test")
    assert report.floor is None and report.base is not None
