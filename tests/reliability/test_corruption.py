"""A damaged byte anywhere in a checkpoint or a model is found, named and never used."""

import random
import shutil

import pytest
from reliability.harness import (
    CHECKPOINTED,
    KINDS,
    METHODS,
    cases,
    copied,
    eval_task,
    learned_bytes,
    mutate,
    run_task,
    training,
)

from ftool.artifacts import TrainingRun
from ftool.errors import RunError
from ftool.train.checkpoint import damage_of

FILES = ("weights.safetensors", "optimizer.pt", "progress.json", "origin.json", "seal.json")
MUTATIONS = 55  # of each of five files of two methods: 550
MODEL_FILES = {"lora": "adapter_model.safetensors", "full": "model.safetensors"}


def newest(project, method):
    return project / "runs" / method / f"checkpoints/step-{CHECKPOINTED:06d}"


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("method", METHODS)
def test_every_mutation_of_a_checkpoint_is_found(interrupted, tmp_path, method, file):
    path = tmp_path / newest(interrupted, method).name
    shutil.copytree(newest(interrupted, method), path)
    whole = (path / file).read_bytes()
    luck = random.Random(f"{method} {file}")
    for number in range(cases(MUTATIONS)):
        kind = KINDS[number % len(KINDS)]
        mutate(path / file, kind, luck)
        is_changed = not (path / file).exists() or (path / file).read_bytes() != whole
        assert bool(damage_of(path)) is is_changed, (kind, number)
        assert is_changed or kind == "swap"  # by a whole turn
        (path / file).write_bytes(whole)
    assert damage_of(path) == ""


@pytest.mark.parametrize("kind", ["flip", "cut", "delete", "swap"])
@pytest.mark.parametrize("file", ["weights.safetensors", "optimizer.pt"])
@pytest.mark.parametrize("method", METHODS)
def test_a_damaged_checkpoint_is_set_aside_and_the_run_ends_in_the_same_bytes(
    interrupted, expected, tmp_path, method, file, kind
):
    project = copied(interrupted, tmp_path / "project")
    mutate(newest(project, method) / file, kind, random.Random(kind))
    outcome = training(project, method)
    assert outcome.code == 0, outcome
    run = project / "runs" / method
    aside = f"runs/{method}/quarantine/step-{CHECKPOINTED:06d}"
    told = [note for note in outcome.notes if f"was moved to {aside}: {file}" in note]
    # The validation of step 3 was the best, so what stands before step 4 is step 3.
    assert len(told) == 1 and "going on from step 3" in outcome.notes
    assert (project / aside).is_dir()
    assert learned_bytes(run) == expected[method]


def test_where_every_checkpoint_is_damaged_the_run_begins_again(interrupted, expected, tmp_path):
    project = copied(interrupted, tmp_path / "project")
    for path in (project / "runs/lora/checkpoints").iterdir():
        (path / "seal.json").unlink()
    outcome = training(project, "lora")
    assert outcome.code == 0
    assert sum("it is not sealed" in note for note in outcome.notes) >= 2
    assert not any("going on" in note for note in outcome.notes)
    assert learned_bytes(project / "runs/lora") == expected["lora"]


@pytest.mark.parametrize("left", ["plan.json", "recipe.yaml", "steps.jsonl"])
def test_the_papers_of_a_run_can_be_lost(interrupted, expected, tmp_path, left):
    project = copied(interrupted, tmp_path / "project")
    (project / "runs/lora" / left).write_bytes(b"\0{")
    outcome = training(project, "lora")
    assert outcome.code == 0, outcome
    model, steps = learned_bytes(project / "runs/lora")
    assert model == expected["lora"][0]
    assert steps == (expected["lora"][1][CHECKPOINTED:] if "steps" in left else expected["lora"][1])


@pytest.mark.parametrize("method", METHODS)
def test_every_mutation_of_a_finished_model_is_found_by_name(finished, tmp_path, method):
    shutil.copytree(finished / "runs" / method, tmp_path / method)
    run = TrainingRun.open(tmp_path / method)
    run.refuse_damage()
    luck = random.Random(method)
    for path in sorted(run.model_path.iterdir()):
        whole = path.read_bytes()
        for kind in KINDS:
            mutate(path, kind, luck)
            if path.exists() and path.read_bytes() == whole:
                continue
            with pytest.raises(RunError, match=rf"model is damaged: {path.name} "):
                run.refuse_damage()
            path.write_bytes(whole)
    run.refuse_damage()


@pytest.mark.parametrize("method", METHODS)
def test_eval_refuses_a_damaged_model_and_train_writes_it_again(
    finished, expected, tmp_path, method
):
    project = copied(finished, tmp_path / "project")
    file = project / "runs" / method / "model" / MODEL_FILES[method]
    mutate(file, "flip", random.Random(method))
    refused = run_task(eval_task, project=project, run=method)
    assert refused.code == 3 and f"{file.name} has other bytes" in refused.message
    mended = training(project, method)
    assert mended.code == 0 and any("written anew" in note for note in mended.notes)
    assert learned_bytes(project / "runs" / method) == expected[method]
    assert run_task(eval_task, project=project, run=method).code == 0
