import json
import os

import pytest
from accelerate import Accelerator

from ftool.artifacts import TrainingStep, Validation
from ftool.errors import RecipeError
from ftool.recipe.schema import Recipe
from ftool.train.tracking import StepLog, check_trackers


def step(number, validation=None):
    return TrainingStep(number, 0.5, 10, 4, 1.25, 1e-3, 0.5, 100.0, 1.0, validation)


def test_steps_are_lines_that_can_be_cut_back(tmp_path):
    path = tmp_path / "steps.jsonl"
    log = StepLog(path, keep_bytes=0, accelerator=Accelerator(cpu=True))
    kept = log.add(step(1))
    log.add(step(2, Validation({"loss": 2.0}, 9, True)))
    log.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert lines[1]["validation"] == {"metrics": {"loss": 2.0}, "examples": 9, "best": True}
    log = StepLog(path, keep_bytes=kept, accelerator=Accelerator(cpu=True))
    log.add(step(3))
    log.close()
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 3]


@pytest.mark.parametrize(("left", "kept"), [(None, []), (b'{"step": 1}\n{"st', [1]), (b"{", [])])
def test_of_a_log_that_was_lost_or_cut_what_is_whole_stays(tmp_path, left, kept):
    path = tmp_path / "steps.jsonl"
    if left is not None:
        path.write_bytes(left)
    log = StepLog(path, keep_bytes=9_999, accelerator=Accelerator(cpu=True))
    log.add(step(2))
    log.close()
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [*kept, 2]


def test_a_synced_log_is_on_the_disk(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    log = StepLog(tmp_path / "steps.jsonl", keep_bytes=0, accelerator=Accelerator(cpu=True))
    size = log.add(step(1))
    log.sync()
    log.close()
    assert synced == [size]


def test_a_tracker_that_is_not_installed_is_refused_with_its_install_line():
    with pytest.raises(RecipeError, match=r"train.tracking: trackio is not installed") as caught:
        check_trackers(["trackio"])
    assert caught.value.hint == "pip install 'ftool[trackio]'"


def test_tensorboard_gets_every_step(tmp_path):
    pytest.importorskip("tensorboard")
    recipe = Recipe.model_validate(
        {
            "name": "t",
            "data": {"sources": [{"path": "x.csv"}]},
            "train": {"tracking": ["tensorboard"]},
        }
    )
    accelerator = Accelerator(cpu=True, log_with=["tensorboard"], project_dir=tmp_path)
    log = StepLog(tmp_path / "steps.jsonl", keep_bytes=0, accelerator=accelerator)
    log.start_trackers(recipe, "my-run")
    log.add(step(1))
    log.close()
    events = [file for file in (tmp_path / "my-run").rglob("events*") if file.stat().st_size]
    assert events
