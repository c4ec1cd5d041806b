"""Memory that runs out is a sentence, a death is told at the next start, smaller steps go on."""

import functools
import json
import re
import resource
import shutil
import time
from pathlib import Path

import pytest
from reliability.harness import (
    METHODS,
    Running,
    copied,
    eval_task,
    learned_bytes,
    prepare_task,
    run_task,
    train_task,
    training,
)

EXACT = "train.method.dropout=0"
AUTO = (EXACT, "train.batch_size_per_device=auto", "train.shared_prefix=off")
REFUSED = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes."
LIMITS_MIB = (1, 4, 16)


def allocate_at_most(tokens):
    """Let the memory be enough for so many tokens at a time."""
    from ftool.train import loop

    made = loop.token_losses

    def losses(model, batch):
        if batch.input_ids.numel() > tokens:
            raise RuntimeError(REFUSED)
        return made(model, batch)

    loop.token_losses = losses


def hold_in_step(step, gate, events):
    """Wait for ever in the middle of a step, and take what the kernel says from a file."""
    from ftool.train import attempt, loop

    read_events(events)
    made, calls = loop.normalized_loss, 0

    def held(*arguments, **named):
        nonlocal calls
        calls += 1
        started = json.loads(Path("runs/lora").joinpath(attempt.ATTEMPT).read_text())["step"]
        if started == step:
            gate.touch()
            time.sleep(600)
        return made(*arguments, **named)

    loop.normalized_loss = held


def read_events(events):
    """Take what the kernel says from a file."""
    from ftool.train import attempt

    attempt.EVENTS = events


def killed_in_step(project, step, events, words):
    """Kill a run in the middle of a step, as the kernel does."""
    gate = project / "gate"
    fault = functools.partial(hold_in_step, step, gate, events)
    given = (*METHODS["lora"], *words)
    task = functools.partial(train_task, project=project, words=given, run="lora", fault=fault)
    running, deadline = Running(task), time.monotonic() + 60
    while not gate.exists():
        assert time.monotonic() < deadline and running.process.is_alive()
        time.sleep(0.01)
    running.kill()
    assert running.wait().code == -9


def log_of(run):
    from ftool.artifacts import read_jsonl

    return list(read_jsonl(run / "steps.jsonl"))


def plan_of(run):
    return json.loads((run / "plan.json").read_text())


@pytest.fixture(scope="module")
def whole(clean, tmp_path_factory):
    """A run that had all the memory it wanted."""
    project = copied(clean, tmp_path_factory.mktemp("whole") / "project")
    assert training(project, "lora", words=AUTO).code == 0
    return log_of(project / "runs/lora")


def learned_as(run, whole):
    """Tell whether a run learned the same but for rounding."""
    for step, other in zip(log_of(run), whole, strict=True):
        assert step["loss"] == pytest.approx(other["loss"], abs=1e-3)
        assert step["tokens"] == other["tokens"]


def test_a_kill_by_a_person_is_told_and_changes_nothing(clean, expected, tmp_path):
    project, events = copied(clean, tmp_path / "project"), tmp_path / "vmstat"
    events.write_text("oom_kill 3\n")
    killed_in_step(project, 4, events, ())
    outcome = training(project, "lora", fault=functools.partial(read_events, events))
    assert outcome.code == 0, outcome
    (note,) = [note for note in outcome.notes if "without a word" in note]
    assert note == (
        "the last try ended without a word in step 4, with micro-batches of up to 3 examples:"
        " killed, but not by the kernel for lack of memory"
    )
    assert learned_bytes(project / "runs/lora") == expected["lora"]
    assert not (project / "runs/lora/attempt.json").exists()


@pytest.mark.parametrize("step", [1, 4])
def test_after_a_death_for_memory_auto_takes_half_and_keeps_the_global_batch(
    clean, whole, tmp_path, step
):
    project, events = copied(clean, tmp_path / "project"), tmp_path / "vmstat"
    run, fault = project / "runs/lora", functools.partial(read_events, events)
    events.write_text("oom_kill 3\n")
    killed_in_step(project, step, events, AUTO)
    before = plan_of(run)["micro_batch_tokens"]
    events.write_text("oom_kill 4\n")
    outcome = training(project, "lora", words=AUTO, fault=fault)
    assert outcome.code == 0, outcome
    learned_as(run, whole)
    less = plan_of(run)
    assert less["micro_batch_tokens"] < before
    said = less["reasons"]["micro_batch_tokens"]
    assert f"in step {step}: at most {less['micro_batch_tokens']:,} tokens at a time" in said
    assert said in outcome.notes


def test_an_explicit_size_is_never_changed(clean, tmp_path):
    project, events = copied(clean, tmp_path / "project"), tmp_path / "vmstat"
    events.write_text("oom_kill 3\n")
    killed_in_step(project, 2, events, (EXACT,))
    before = plan_of(project / "runs/lora")
    events.write_text("oom_kill 4\n")
    fault = functools.partial(read_events, events)
    outcome = training(project, "lora", words=(EXACT,), fault=fault)
    assert outcome.code == 0, outcome
    (note,) = [note for note in outcome.notes if "without a word" in note]
    assert note.endswith("for lack of memory; lower train.batch_size_per_device")
    after = plan_of(project / "runs/lora")
    for plan in (before, after):  # what is foreseen of memory is measured anew
        del plan["memory"]
        plan["reasons"].pop("activation_checkpointing")
    assert before == after


def test_auto_finds_micro_batches_that_fit_within_the_run(clean, whole, tmp_path):
    project = copied(clean, tmp_path / "project")
    most = max(step["tokens"] for step in whole) // 3
    fault = functools.partial(allocate_at_most, most)
    outcome = training(project, "lora", words=AUTO, fault=fault)
    assert outcome.code == 0, outcome
    run = project / "runs/lora"
    learned_as(run, whole)
    told = [note for note in outcome.notes if "memory was not enough" in note]
    plan = plan_of(run)
    assert told and told[-1] == plan["reasons"]["micro_batch_tokens"]
    assert plan["micro_batch_tokens"] < 2048


@pytest.mark.parametrize(
    ("words", "tokens", "hint"),
    [
        (
            (EXACT,),
            20,
            "use train.batch_size_per_device=1 or use train.activation_checkpointing=on",
        ),
        (AUTO, 5, "use train.activation_checkpointing=on or lower train.max_length"),
    ],
)
def test_what_does_not_fit_is_a_sentence_with_what_to_change(
    clean, expected, tmp_path, words, tokens, hint
):
    project = copied(clean, tmp_path / "project")
    fault = functools.partial(allocate_at_most, tokens)
    outcome = training(project, "lora", words=words, fault=fault)
    assert outcome.code == 5, outcome
    assert "step 1: cpu has too little memory for micro-batches of" in outcome.message
    assert f"| {hint}" in outcome.message
    assert not (project / "runs/lora/attempt.json").exists()


def eval_without_memory(notes, *, project):
    """Score a run whose second batch is too large."""
    from ftool.eval.predict import scorer

    made = scorer.ranked_batches

    def batches(*arguments, **named):
        yield next(made(*arguments, **named, batch_size=4))
        raise RuntimeError(REFUSED)

    scorer.ranked_batches = batches
    eval_task(notes, project=project, run="lora")


def test_eval_keeps_what_is_predicted_where_memory_runs_out(finished, tmp_path):
    project = copied(finished, tmp_path / "project")
    outcome = run_task(eval_without_memory, project=project)
    assert outcome.code == 5, outcome
    assert f"the memory is not enough ({REFUSED}) | what is predicted stays" in outcome.message
    outcome = run_task(eval_task, project=project, run="lora")
    assert outcome.code == 0, outcome
    assert any(re.fullmatch(r"4 of \d+ predictions were there already", n) for n in outcome.notes)


def prepare_without_memory(notes, *, project, name):
    """Prepare with a part that asks for too much."""
    from ftool.prepare import run

    def ask(*_, **__):
        raise MemoryError

    setattr(run, name, ask)
    prepare_task(notes, project=project)


@pytest.mark.parametrize("name", ["gather", "read_table", "decide", "measure"])
def test_prepare_is_refused_where_memory_runs_out(clean, tmp_path, name):
    project = copied(clean, tmp_path / "project")
    shutil.rmtree(project / "data")
    outcome = run_task(prepare_without_memory, project=project, name=name)
    assert outcome.code == 5, outcome
    assert outcome.message.startswith("the memory is not enough (MemoryError) | what is done stays")
    assert not (project / "data/tiny").exists()
    assert run_task(prepare_task, project=project).code == 0


def limit_memory(mib):
    """Let this process have so much more address space than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    size = pages * resource.getpagesize() + mib * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))


def limited(notes, *, task, mib, **arguments):
    limit_memory(mib)
    task(notes, **arguments)
