import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from folders import write_run
from tiny import make_project

from ftool.artifacts import Prediction, PreparedDataset, TrainingRun
from ftool.errors import DataError, RecipeError, RunError
from ftool.eval.judge.compare import compare
from ftool.eval.measure.paired import pair_predictions
from ftool.eval.report import label_report, loss_report
from ftool.prepare.run import prepare
from ftool.recipe.file import load_recipe

NAMES = ("a", "b")


def scored(
    folder: Path, right: int, *, rows: int = 60, names: Any = NAMES, dataset: str = "d", **more: Any
) -> TrainingRun:
    """Write a run that has `right` rows right on its test split."""
    run = write_run(folder)
    answers = [
        Prediction(f"{n}", names[n % 2], names[(n + (n >= right)) % 2], "") for n in range(rows)
    ]
    report = label_report(
        answers,
        names,
        subject=folder.name,
        split="test",
        mode="rank",
        inputs={"dataset": dataset},
        **more,
    )
    report.write(folder / "eval/test", answers)
    return run


def test_each_run_is_judged_against_the_first(tmp_path: Path) -> None:
    runs = [scored(tmp_path / name, right) for name, right in (("p", 30), ("x", 50), ("y", 31))]
    found = compare(runs, split="test")
    assert list(found.reports) == ["p", "x", "y"] and found.first == "p"
    assert found.reports["x"].metrics["accuracy"].value == 50 / 60
    assert {name: paired.verdict for name, paired in found.paired.items()} == {
        "x": "better",
        "y": "no detectable difference",
    }
    assert (len(found.paired["x"].fixed), found.paired["x"].broken) == (20, ())
    assert found.in_words("x").startswith("better than p by 33.3 points of accuracy")
    content = json.loads(json.dumps(found.as_dict()))
    assert content["paired"]["x"]["rows"]["fixed"] == list(found.paired["x"].fixed)
    assert content["paired"]["x"]["fixed"] == 20
    assert content["reports"]["p"]["metrics"]["accuracy"]["value"] == 0.5
    turned = compare([runs[1], runs[0]], split="test")
    assert turned.paired["p"].verdict == "worse"


def test_runs_that_are_called_alike_go_by_their_paths(tmp_path: Path) -> None:
    runs = [scored(tmp_path / side / "run", 30) for side in ("one", "two")]
    found = compare(runs, split="test")
    assert list(found.reports) == [str(tmp_path / "one/run"), str(tmp_path / "two/run")]


def test_what_cannot_stand_side_by_side_is_refused(tmp_path: Path) -> None:
    first = scored(tmp_path / "first", 30)
    with pytest.raises(RecipeError, match="needs two runs or more"):
        compare([first], split="test")
    with pytest.raises(RecipeError, match="compared with itself"):
        compare([first, TrainingRun.open(tmp_path / "first")], split="test")
    with pytest.raises(RunError, match="first was not scored on validation") as caught:
        compare([first, scored(tmp_path / "second", 20)])
    assert caught.value.hint.endswith("first --split validation")
    with pytest.raises(RunError, match="other data than first: the fingerprints are e and d"):
        compare([first, scored(tmp_path / "third", 20, dataset="e")], split="test")
    with pytest.raises(RunError, match="do not have the same labels"):
        compare([first, scored(tmp_path / "fourth", 20, names=("a", "c"))], split="test")


def test_open_answers_stand_side_by_side_without_a_verdict(tmp_path: Path) -> None:
    runs = []
    for name in ("one", "two"):
        runs.append(write_run(tmp_path / name))
        rows = [Prediction("x", None, None, "", loss=1.0, learned_tokens=3)]
        report = loss_report(rows, subject=name, split="test", inputs={"dataset": "d"})
        report.write(tmp_path / name / "eval/test", rows)
    found = compare(runs, split="test")
    assert found.paired == {} and found.reports["two"].metrics["loss"].value == 1.0
    with pytest.raises(RunError, match="scored by rank, one by loss"):
        compare([runs[0], scored(tmp_path / "three", 3)], split="test")


def test_groups_come_from_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_project(tmp_path)
    prepare(load_recipe(tmp_path / "recipe.yaml", ["data.keep_columns=[customer]"]))
    dataset = PreparedDataset.open(tmp_path / "data/tiny")
    examples = dataset.examples("test")
    named = {"split": "test", "mode": "rank", "inputs": {"dataset": dataset.fingerprint}}
    runs, answers = [], {}
    for name, right in (("one", 2), ("two", len(examples))):
        run = write_run(tmp_path / "runs" / name, recipe=(tmp_path / "recipe.yaml").read_text())
        answers[name] = [
            Prediction(row.id, row.label, row.label if n < right else None, "")
            for n, row in enumerate(examples)
        ]
        report = label_report(answers[name], dataset.label_names, subject=name, **named)
        replace(report, group="customer").write(run.path / "eval/test", answers[name])
        runs.append(run)
    groups = {row.id: f"group {row.extra['customer']}" for row in examples}
    assert compare(runs, split="test").paired["two"] == pair_predictions(
        answers["two"], answers["one"], dataset.label_names, name="one", groups=groups
    )
    again = ["data.keep_columns=[customer]", "data.split.test=0.1"]
    prepare(load_recipe(tmp_path / "recipe.yaml", again))
    with pytest.raises(RunError, match=r"is not what .*runs/one was scored on"):
        compare(runs, split="test")
    monkeypatch.chdir(tmp_path / "runs")
    with pytest.raises(DataError, match="is not a prepared dataset"):
        compare(runs, split="test")
