import json
import shutil

import pytest
from tiny import make_project

from ftool.artifacts import PreparedDataset, TrainingRun
from ftool.errors import RunError
from ftool.eval.judge.rivals import read_rival
from ftool.eval.report import Report, read_predictions
from ftool.eval.run import evaluate
from ftool.train.run import train


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """Return a run that was scored on its test split, and its data."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder := tmp_path_factory.mktemp("scored"))
        run = train(make_project(folder))
        evaluate(run, split="test")
        return TrainingRun.open(folder / run.path), PreparedDataset.open(folder / "data/tiny")


def rival_of(run, dataset, *, labels=None):
    names = dataset.label_names if labels is None else labels
    return read_rival(run, run.path / "eval/test", dataset, "test", names)


def test_another_runs_answers_are_read(scored):
    run, dataset = scored
    rival = rival_of(*scored)
    assert rival.comparison.name == "tiny"
    assert [row.id for row in rival.predictions] == [row.id for row in dataset.examples("test")]
    folder = run.path / "eval/test"
    report = Report.read(folder)
    assert rival.predictions == read_predictions(folder, report)
    file = run.path / "eval/test/predictions.jsonl"
    whole = file.read_text()
    file.write_text("".join(whole.splitlines(keepends=True)[:2]))
    with pytest.raises(RunError, match=rf"has 2 rows of {len(rival.predictions)}"):
        read_predictions(folder, report)
    file.write_text(whole[:50])
    with pytest.raises(RunError, match="is damaged"):
        read_predictions(folder, report)
    file.write_text(whole)
    right = sum(row.correct for row in rival.predictions)
    assert rival.comparison.metrics["accuracy"].value == right / rival.comparison.examples


def test_what_does_not_compare_is_refused(scored, tmp_path):
    run, dataset = scored
    with pytest.raises(RunError, match="not scored on the same labels"):
        rival_of(run, dataset, labels=("other",))
    with pytest.raises(RunError, match="not scored on the same labels"):
        rival_of(run, dataset, labels=())
    moved = TrainingRun.open(shutil.copytree(run.path, tmp_path / "moved"))
    file = moved.path / "eval/test/metrics.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"subject": "forged"}))
    with pytest.raises(RunError, match="changed after ftool eval wrote it"):
        rival_of(moved, dataset)
    file.unlink()
    with pytest.raises(RunError, match="was not scored on these rows") as caught:
        rival_of(moved, dataset)
    assert caught.value.hint.endswith("moved --split test")
