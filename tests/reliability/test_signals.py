"""SIGTERM and SIGINT at every stage: saved, exit codes 143 and 130, then the same bytes."""

import functools
import os
import shutil
import subprocess
import sys
import time
from signal import SIG_IGN, SIGINT, SIGTERM, signal

import pytest
from reliability.harness import (
    LONG,
    METHODS,
    TESTS,
    command_task,
    copied,
    in_small_batches,
    learned_bytes,
    obey_signals,
    run_task,
    send_at,
)

from ftool.train.checkpoint import load_progress, newest_checkpoint

CODES = {SIGTERM: 143, SIGINT: 130}


def in_turn(places):
    """Pair places with one signal after the other, or with both where there is time."""
    return [
        pytest.param(*place, number, id=f"{name}, {number.name}")
        for turn, (name, place) in enumerate(places.items())
        for number in (CODES if LONG else [list(CODES)[turn % 2]])
    ]


MICRO_BATCHES = 3
"""Of every step; a signal at their middle one is a signal in the middle of the accumulation."""


def fault(place, call, *numbers):
    return functools.partial(send_at, place, call, *numbers)


def command(project, *words, at=None):
    return run_task(command_task, project=project, words=words, fault=at)


def training(project, method, at=None):
    return command(project, "train", "--run", method, *METHODS[method], at=at)


def saved_step(run):
    """The step that the same command goes on from; 0 where there is none. None is damaged."""
    notes = []
    newest = newest_checkpoint(run / "checkpoints", on_note=notes.append)
    assert notes == []
    return 0 if newest is None else load_progress(newest).step


def check_resumed(project, method, expected):
    last = training(project, method)
    assert last.code == 0, last
    assert learned_bytes(project / "runs" / method) == expected[method]


IN_THE_LOOP = {
    "first step": ("ftool.train.loop.normalized_loss", 1, 1),
    "middle of an accumulation": ("ftool.train.loop.normalized_loss", 4 * MICRO_BATCHES + 2, 5),
    "gradient norm": ("ftool.train.loop._refuse_nonsense", 4, 4),
    "before a validation": ("ftool.train.run._validated", 3, 3),
    "loss of a validation": ("ftool.eval.predict.losses.token_scores", 1, 3),
    "ranking of a validation": ("ftool.eval.predict.scorer.ranked_batches", 1, 3),
    "last validation": ("ftool.eval.predict.scorer.ranked_batches", 2, 6),
    "weights of a checkpoint": ("ftool.train.checkpoint.save_file", 1, 2),
    "moments of a checkpoint": ("torch.save", 2, 3),
    "seal of a checkpoint": ("ftool.train.checkpoint.sealed_files", 3, 4),
    "pruning": ("ftool.train.run.prune_checkpoints", 4, 6),
}


@pytest.mark.parametrize(("place", "call", "step", "number"), in_turn(IN_THE_LOOP))
def test_a_signal_in_the_loop_saves_the_step(clean, expected, tmp_path, place, call, step, number):
    method = list(METHODS)[step % 2]
    project = copied(clean, tmp_path / "project")
    run = project / "runs" / method
    stopped = training(project, method, at=fault(place, call, number))
    assert stopped.code == CODES[number], stopped
    sentence = f"stopped by {number.name}: step {step} is saved, the same command goes on"
    assert sentence in stopped.notes[0] and "Traceback" not in stopped.notes[0]
    assert saved_step(run) == step
    assert not (run / "manifest.json").exists() and not (run / "model").exists()
    check_resumed(project, method, expected)


OUTSIDE_THE_LOOP = {
    "loading the model": ("ftool.train.assemble.load_base_model", 1, 0),
    "encoding": ("ftool.train.assemble.encode_examples", 1, 0),
    "plan": ("ftool.train.run.settled_plan", 1, 0),
    "best weights": ("ftool.train.run._restore_best", 1, 6),
    "writing the model": ("ftool.model.weights.adapter.save_tokenizer", 1, 6),
    "manifest": ("ftool.train.run.write_json", 1, 6),
}


@pytest.mark.parametrize(("place", "call", "step", "number"), in_turn(OUTSIDE_THE_LOOP))
def test_a_signal_outside_the_loop_leaves_nothing_that_looks_finished(
    clean, expected, tmp_path, place, call, step, number
):
    project = copied(clean, tmp_path / "project")
    run = project / "runs/lora"
    stopped = training(project, "lora", at=fault(place, call, number))
    assert stopped.code == CODES[number], stopped
    assert "interrupted; the same command does the rest" in stopped.notes[0]
    assert saved_step(run) == step
    assert not (run / "manifest.json").exists()
    check_resumed(project, "lora", expected)


def test_a_second_signal_ends_at_once(clean, expected, tmp_path):
    """The step that it falls into is lost, the checkpoints before it are not."""
    project = copied(clean, tmp_path / "project")
    at = fault("ftool.train.loop.normalized_loss", 4 * MICRO_BATCHES + 2, SIGTERM, SIGINT)
    stopped = training(project, "lora", at=at)
    assert stopped.code == CODES[SIGINT] and "is saved" not in stopped.notes[0], stopped
    assert saved_step(project / "runs/lora") == 4
    check_resumed(project, "lora", expected)


def test_a_validation_may_be_stopped_again_and_again(clean, expected, tmp_path):
    project = copied(clean, tmp_path / "project")
    for place in (
        "ftool.eval.predict.losses.token_scores",
        "ftool.eval.predict.scorer.ranked_batches",
    ):
        stopped = training(project, "full", at=fault(place, 1, SIGTERM))
        assert stopped.code == 143 and saved_step(project / "runs/full") == 3, stopped
    check_resumed(project, "full", expected)


def content_of(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def prepared(clean):
    return content_of(clean / "data/tiny")


PREPARE = {
    "reading": ("ftool.prepare.run.gather",),
    "a part": ("ftool.prepare.refine.gather.ShardWriter",),
    "deciding": ("ftool.prepare.run.decide",),
    "writing": ("ftool.prepare.run.card",),
    "manifest": ("ftool.prepare.run.write_json",),
    "putting it in place": ("ftool.prepare.write.folder.put_in_place",),
}


@pytest.mark.parametrize(("place", "number"), in_turn(PREPARE))
def test_a_signal_in_prepare_leaves_no_dataset(clean, prepared, tmp_path, place, number):
    project = copied(clean, tmp_path / "project")
    shutil.rmtree(project / "data")
    stopped = command(project, "prepare", at=fault(place, 1, number))
    assert stopped.code == CODES[number] and "Traceback" not in stopped.notes[0], stopped
    assert not (project / "data/tiny").exists()
    refused = command(project, "train")
    assert refused.code == 3 and "ftool prepare" in refused.notes[0], refused
    assert command(project, "prepare").code == 0
    assert content_of(project / "data/tiny") == prepared


def evaluation(project, split, at=None):
    return run_task(
        command_task,
        project=project,
        words=("eval", "runs/lora", "--split", split),
        fault=functools.partial(in_small_batches, at),
    )


@pytest.fixture(scope="module")
def scored(finished, tmp_path_factory):
    """The report of an evaluation that nothing stopped."""
    project = copied(finished, tmp_path_factory.mktemp("scored") / "project")
    last = evaluation(project, "test")
    assert last.code == 0, last
    return content_of(project / "runs/lora/eval/test")


EVAL = {
    "loading the model": ("ftool.eval.run.load_run_model", 1, range(1)),
    "predictions": ("ftool.eval.predict.predictions._append", 2, range(1, 12)),
    "more predictions": ("ftool.eval.predict.predictions._append", 3, range(1, 12)),
    "predictions of the base": ("ftool.eval.predict.scorer.ranked_batches", 2, [12]),
    "page": ("ftool.eval.run.write_page", 1, [12]),
    "metrics": ("ftool.eval.report.write_json", 1, [12]),
}


@pytest.mark.parametrize(("place", "call", "kept", "number"), in_turn(EVAL))
def test_a_signal_in_eval_leaves_no_report(finished, scored, tmp_path, place, call, kept, number):
    project = copied(finished, tmp_path / "project")
    folder = project / "runs/lora/eval/test"
    stopped = evaluation(project, "test", at=fault(place, call, number))
    assert stopped.code == CODES[number] and "Traceback" not in stopped.notes[0], stopped
    assert not (folder / "metrics.json").exists()
    file = folder / "predictions.jsonl"
    found = file.read_text().count("\n") if file.exists() else 0
    assert found in kept
    last = evaluation(project, "test")
    assert last.code == 0, last
    assert not found or f"{found} of 12 predictions were there already" in last.notes[0]
    assert content_of(folder) == scored


def signalled(project, numbers, when, *words, begin=obey_signals):
    """Start the real command line, send it signals once there is cause, return how it ended."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS.parent)}
    with subprocess.Popen(
        [sys.executable, "-m", "ftool", *words],
        cwd=project,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=begin,
    ) as process:
        deadline = time.monotonic() + 120
        while not when():
            assert process.poll() is None and time.monotonic() < deadline, process.stderr.read()
            time.sleep(0.002)
        for number in numbers:  # a terminal and a service manager tell the whole group
            os.killpg(process.pid, number)
        said = process.stderr.read()
    assert "Traceback" not in said, said
    return process.returncode, said


INTERRUPTED = "interrupted; the same command does the rest"


def is_training(project, run):
    log = project / f"runs/{run}/steps.jsonl"
    return lambda: log.exists() and log.read_text().count("\n") >= 2


def test_the_command_line_ended_while_it_trains(clean, expected, tmp_path):
    project = copied(clean, tmp_path / "project")
    words = ("train", "--run", "full", *METHODS["full"])
    code, said = signalled(project, [SIGTERM], is_training(project, "full"), *words)
    assert code == 143 and INTERRUPTED in said
    step = saved_step(project / "runs/full")
    assert 2 <= step <= 6 and f"stopped by SIGTERM: step {step} is saved" in said
    check_resumed(project, "full", expected)


def test_the_command_line_interrupted_while_it_starts(clean, expected, tmp_path):
    project = copied(clean, tmp_path / "project")
    begun = (project / "runs/lora/recipe.yaml").exists
    code, said = signalled(project, [SIGINT], begun, "train", "--run", "lora", *METHODS["lora"])
    assert code == 130 and INTERRUPTED in said
    assert not (project / "runs/lora/manifest.json").exists()
    check_resumed(project, "lora", expected)


@pytest.mark.parametrize("number", CODES)
def test_the_command_line_ended_while_its_processes_prepare(clean, prepared, tmp_path, number):
    project = copied(clean, tmp_path / "project")
    shutil.rmtree(project / "data")
    begun = (project / "data/.tiny.work").exists
    code, said = signalled(project, [number], begun, "prepare", "--workers", "2")
    assert code == CODES[number] and INTERRUPTED in said
    assert not (project / "data/tiny").exists()
    assert command(project, "prepare").code == 0
    assert content_of(project / "data/tiny") == prepared


def ignore_signals():
    """Begin as under `nohup`, or as a background job of a script, which both signals pass by."""
    for number in CODES:
        signal(number, SIG_IGN)


def test_signals_that_are_ignored_do_not_stop_a_training(clean, expected, tmp_path):
    project = copied(clean, tmp_path / "project")
    words = ("train", "--run", "full", *METHODS["full"])
    when = is_training(project, "full")
    code, said = signalled(project, CODES, when, *words, begin=ignore_signals)
    assert code == 0 and INTERRUPTED not in said, said
    assert learned_bytes(project / "runs/full") == expected["full"]


def test_signals_that_are_ignored_do_not_stop_the_processes_of_prepare(clean, prepared, tmp_path):
    project = copied(clean, tmp_path / "project")
    shutil.rmtree(project / "data")
    begun = (project / "data/.tiny.work").exists
    words = ("prepare", "--workers", "2")
    code, said = signalled(project, CODES, begun, *words, begin=ignore_signals)
    assert code == 0 and INTERRUPTED not in said, said
    assert content_of(project / "data/tiny") == prepared
