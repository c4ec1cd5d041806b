"""One process works in a folder; the others are refused with its name; a dead one never blocks."""

import functools
import time

import pytest
from reliability.harness import (
    METHODS,
    Running,
    cases,
    copied,
    eval_task,
    hold_at,
    hold_task,
    learned_bytes,
    prepare_task,
    run_task,
    train_task,
    training,
)

PROCESSES = 3
WORDS = METHODS["lora"]


def test_of_processes_that_start_at_once_one_holds_the_folder(tmp_path):
    for number in range(cases(25)):
        folder, gate = tmp_path / f"run-{number}", tmp_path / "gate"
        task = functools.partial(hold_task, folder=folder, gate=gate)
        starts = [Running(task) for _ in range(PROCESSES)]
        gate.touch()
        waiting = list(starts)
        while len(waiting) > 1:
            waiting = [one for one in waiting if one.process.is_alive()]
            time.sleep(0.005)
        (holder,) = waiting
        gate.unlink()
        outcomes = {one.process.pid: one.wait() for one in starts}
        assert outcomes.pop(holder.process.pid).notes == ["held"]
        for outcome in outcomes.values():
            assert outcome.code == 3
            assert f"works in {folder}: process {holder.process.pid} on " in outcome.message


def test_trainings_of_one_run_that_start_at_once_learn_it_once(clean, expected, tmp_path):
    project, gate = copied(clean, tmp_path / "project"), tmp_path / "gate"
    gate.touch()
    fault = functools.partial(hold_at, 2, gate)
    task = functools.partial(train_task, project=project, words=WORDS, run="one", fault=fault)
    starts = [Running(task) for _ in range(PROCESSES)]
    while sum(one.process.is_alive() for one in starts) > 1:
        time.sleep(0.01)
    gate.unlink()
    codes = sorted(one.wait().code for one in starts)
    assert codes == [0] + [3] * (PROCESSES - 1)
    assert learned_bytes(project / "runs/one") == expected["lora"]


def test_a_killed_owner_never_blocks(clean, expected, tmp_path):
    project, gate = copied(clean, tmp_path / "project"), tmp_path / "gate"
    gate.touch()
    fault = functools.partial(hold_at, 3, gate)
    owner = Running(
        functools.partial(train_task, project=project, words=WORDS, run="lora", fault=fault)
    )
    log = project / "runs/lora/steps.jsonl"
    while not (log.exists() and log.read_text().count("\n") == 3):
        time.sleep(0.005)
    refused = training(project, "lora")
    assert refused.code == 3 and f"process {owner.process.pid} on " in refused.message
    owner.kill()
    assert owner.wait().code == -9
    assert training(project, "lora").code == 0
    assert learned_bytes(project / "runs/lora") == expected["lora"]


@pytest.mark.parametrize(
    ("task", "folder"),
    [
        (functools.partial(eval_task, run="lora"), "runs/lora"),
        (functools.partial(train_task, words=WORDS, run="lora"), "runs/lora"),
        (functools.partial(train_task, words=WORDS, run="lora", fresh=True), "runs/lora"),
        (prepare_task, "data/.tiny.lock"),
    ],
    ids=["eval", "train", "train --fresh", "prepare"],
)
def test_every_verb_that_writes_into_a_folder_asks_for_it(finished, tmp_path, task, folder):
    project, gate = copied(finished, tmp_path / "project"), tmp_path / "gate"
    gate.touch()
    holder = Running(functools.partial(hold_task, folder=project / folder, gate=gate))
    while not (project / folder / ".owner.json").exists() or not holder.process.is_alive():
        time.sleep(0.005)
    time.sleep(0.1)
    outcome = run_task(task, project=project)
    gate.unlink()
    assert holder.wait().notes == ["held"]
    assert outcome.code == 3, outcome
    assert f"another ftool process works in {folder}: process " in outcome.message
    assert (project / "runs/lora/manifest.json").exists()
