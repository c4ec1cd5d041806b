import errno
import functools
import json
import os
import signal
import socket
import subprocess
from signal import SIGTERM
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from reliability.harness import (
    KILLED,
    METHODS,
    Running,
    command_task,
    copied,
    learned_bytes,
    run_task,
    send_at,
    stop_after,
    train_task,
    write_project,
)
from tiny import tiny_model

from ftool.errors import DataError, DeviceError, DivergedError, ElsewhereError, RecipeError
from ftool.example import EncodedExample
from ftool.model.compute.forward import enable_rows
from ftool.model.weights.load import Device
from ftool.recipe.schema import Recipe
from ftool.train.assemble import make_accelerator
from ftool.train.loop import training_steps
from ftool.train.optimizer import make_optimizer
from ftool.train.plan import Plan
from ftool.train.team import ALONE, joined

ODD = ("train.global_batch_size=7",)  # 36 examples: the sixth step has one, and a share is empty


def together(function, **arguments):
    """Run a task in two processes as a launcher does, and return how each of them ended."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = [
        Running(functools.partial(as_launched, function, rank, port, arguments))
        for rank in range(2)
    ]
    return [process.wait() for process in started]


def as_launched(function, rank, port, arguments, notes):
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_PORT": port}
    os.environ.update({key: str(value) for key, value in place.items()}, MASTER_ADDR="127.0.0.1")
    function(notes, **arguments)


def in_process(rank, fault, *arguments):
    """Put a fault into one of the processes."""
    return fault(*arguments) if os.environ["RANK"] == str(rank) else None


# The arithmetic.


def examples(count):
    generator = torch.Generator().manual_seed(3)
    made = []
    for number in range(count):
        length = int(torch.randint(6, 30, (), generator=generator))
        ids = (5, 6, 7, *torch.randint(3, 300, (length,), generator=generator).tolist())
        learned = int(torch.randint(1, 5, (), generator=generator))
        labels = (-100,) * (len(ids) - learned) + ids[len(ids) - learned :]
        made.append(EncodedExample(f"e{number}", ids, labels))
    return made


def learn(notes, *, method, shared, file):
    """Write down what six steps of 8, 8, 1, 8, 8 and 1 examples learn."""
    train = {"global_batch_size": 8, "learning_rate": 1e-2, "weight_decay": 0.1}
    data = {"sources": [{"path": "x.csv"}]}
    recipe = Recipe.model_validate({"name": "t", "data": data, "train": train})
    # In float64: AdamW makes a whole step of a gradient that is only rounding.
    model, data = tiny_model().double(), examples(17)
    if method == "lora":
        config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
        model = get_peft_model(model, config)
    assert not shared or enable_rows(model, data)
    device = Device(torch.device("cpu"), torch.float64, "")
    accelerator = make_accelerator(SimpleNamespace(device=device))
    wrapped, optimizer = accelerator.prepare(model, make_optimizer(model, recipe.train))
    plan = Plan("cpu", "float64", 64, 3, 9999, shared, 3, 6, None, 100, {})
    steps = training_steps(
        wrapped, optimizer, data, accelerator=accelerator, plan=plan, recipe=recipe
    )
    found = [(step.loss, step.grad_norm, step.tokens, step.learned_tokens) for step in steps]
    weights = {name: value.detach() for name, value in model.named_parameters()}
    rank = os.environ.get("RANK", "alone")
    torch.save((accelerator.num_processes, found, weights), f"{file}-{rank}")


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_two_processes_learn_what_one_learns(method, shared, tmp_path):
    arguments = {"method": method, "shared": shared, "file": tmp_path / "learned"}
    outcomes = [run_task(learn, **arguments), *together(learn, **arguments)]
    assert [outcome.code for outcome in outcomes] == [0, 0, 0], outcomes
    alone, *both = (torch.load(tmp_path / f"learned-{who}") for who in ("alone", "0", "1"))
    assert [alone[0], both[0][0], both[1][0]] == [1, 2, 2]
    assert both[0][1] == both[1][1]
    for mine, theirs in zip(alone[1], both[0][1], strict=True):
        assert theirs == pytest.approx(mine, abs=1e-5)
    for name, value in alone[2].items():
        torch.testing.assert_close(both[0][2][name], value, rtol=0, atol=1e-5)
        assert torch.equal(both[0][2][name], both[1][2][name])


# The run.


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return write_project(tmp_path_factory.mktemp("team") / "clean")


@pytest.fixture
def project(clean, tmp_path):
    return copied(clean, tmp_path / "project")


def trained(project, method, run, *words, fault=None):
    return together(
        train_task, project=project, words=(*METHODS[method], *ODD, *words), run=run, fault=fault
    )


@pytest.mark.parametrize("method", METHODS)
def test_one_set_of_files_with_what_one_process_learns(project, method):
    words = ("train.method.dropout=0",) if method == "lora" else ()
    first, second = trained(project, method, "two", *words)
    assert (first.code, second.code) == (0, 0), (first, second)
    assert first.notes and not second.notes  # one of them speaks
    task = {"project": project, "words": (*METHODS[method], *ODD, *words), "run": "one"}
    assert run_task(train_task, **task).code == 0
    files = [
        sorted(path.relative_to(run).as_posix() for path in run.rglob("*"))
        for run in (project / "runs" / "one", project / "runs" / "two")
    ]
    assert files[0] == files[1]
    one, two = (learned_bytes(project / "runs" / name)[1] for name in ("one", "two"))
    for mine, theirs in zip(one, two, strict=True):
        assert theirs["loss"] == pytest.approx(mine["loss"], abs=1e-5)
        assert theirs["learned_tokens"] == mine["learned_tokens"]
    manifest = json.loads((project / "runs" / "two" / "manifest.json").read_text())
    assert manifest["identity"]["processes"] == manifest["environment"]["processes"] == 2
    first, second = trained(project, method, "one", *words)
    assert (first.code, second.code) == (3, 3), (first, second)
    assert "processes: 1 there, 2 here" in first.message
    outcomes = trained(project, method, "two", *words)
    assert [outcome.code for outcome in outcomes] == [0, 0]
    assert outcomes[0].notes[-1].endswith("is finished already; --fresh trains again")


@pytest.mark.parametrize("method", METHODS)
def test_killed_and_resumed_is_bit_equal_to_uninterrupted(project, method):
    assert [outcome.code for outcome in trained(project, method, "whole")] == [0, 0]
    killed = functools.partial(in_process, 0, stop_after, 5)
    first, second = trained(project, method, "killed", fault=killed)
    assert first.code == KILLED
    assert (second.code, second.message.split(" | ")[0]) == (
        3,
        "another process of this training has ended",
    )
    outcomes = trained(project, method, "killed")
    assert [outcome.code for outcome in outcomes] == [0, 0], outcomes
    assert "going on from step 4" in outcomes[0].notes
    runs = project / "runs"
    assert learned_bytes(runs / "killed") == learned_bytes(runs / "whole")


def command(notes, *, project, words, fault=None):
    command_task(notes, project=project, words=("train", *words), fault=fault)


def commanded(project, *words, fault=None):
    words = ("--run", "it", *words, *METHODS["full"], *ODD)
    return together(command, project=project, words=words, fault=fault)


def test_a_signal_to_one_saves_the_step_of_all_and_is_told_once(project):
    fault = functools.partial(
        in_process, 1, send_at, "ftool.train.loop._refuse_nonsense", 3, SIGTERM
    )
    first, second = commanded(project, fault=fault)
    assert (first.code, second.code) == (143, 143), (first, second)
    assert "stopped by SIGTERM: step 3 is saved" in first.notes[0]
    assert "interrupted; the same command does the rest" in first.notes[0]
    assert second.notes == [""]
    assert (project / "runs" / "it" / "checkpoints" / "step-000003" / "seal.json").is_file()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [(("train.epochs=-1",), 2, "train.epochs"), (("train.epochs=9",), 3, "is of another run")],
)
def test_a_refusal_is_told_once_and_ends_all(project, words, code, says):
    folder = project / "runs" / "it" / "checkpoints"
    fault = functools.partial(in_process, 0, stop_after, 3)
    assert trained(project, "full", "it", fault=fault)[0].code == KILLED
    assert [path.name for path in folder.iterdir()] == ["step-000002"]
    first, second = commanded(project, *words)
    assert (first.code, second.code) == (code, code), (first, second)
    assert first.notes[0].count("error: ") == 1 and says in first.notes[0]
    assert second.notes == [""]


def poison(step):
    """Make one micro-batch of a step worth nothing."""
    from ftool.train import loop

    accumulate, steps = loop._accumulate, []

    def poisoned(model, micro, learned_tokens, *rest):
        steps.append(learned_tokens)
        learned = float("nan") if len(steps) == step else learned_tokens
        return accumulate(model, micro, learned, *rest)

    loop._accumulate = poisoned


def test_what_is_not_finite_in_one_stops_all_with_one_sentence(project):
    fault = functools.partial(in_process, 1, poison, 3)
    first, second = trained(project, "full", "it", fault=fault)
    assert (first.code, second.code) == (3, 3)
    assert first.message.startswith("step 3: the loss is nan; the step learned ")
    assert second.message.split(" | ")[0] in first.message
    found = json.loads((project / "runs" / "it" / "diverged.json").read_text())
    assert found["step"] == 3 and len(found["examples"]) == 7


def refuse(place, error):
    """Refuse where a function is called."""
    owner, name = place.rsplit(".", 1)
    import importlib

    def refusing(*arguments, **named):
        raise error

    setattr(importlib.import_module(owner), name, refusing)


def test_a_full_disk_ends_all_with_its_exit_code(project):
    full = DeviceError("the disk is full")
    fault = functools.partial(in_process, 0, refuse, "ftool.train.run.save_checkpoint", full)
    first, second = commanded(project, fault=fault)
    assert (first.code, second.code) == (5, 5), (first, second)
    assert first.notes[0].count("error: the disk is full") == 1 and second.notes == [""]


def test_a_disk_that_takes_no_plan_ends_all_with_its_exit_code(project):
    full = OSError(errno.ENOSPC, "No space left on device")
    fault = functools.partial(in_process, 0, refuse, "ftool.train.run.settled_plan", full)
    first, second = commanded(project, fault=fault)
    assert (first.code, second.code) == (5, 5), (first, second)
    assert "the disk takes no more" in first.notes[0] and second.notes == [""]


def differ(name, value):
    """Let a process have something else before it."""
    from ftool.train import run

    identity = run.recipe_identity
    run.recipe_identity = lambda *given: {**identity(*given), name: value}


def test_processes_that_would_learn_different_things_are_refused(project):
    fault = functools.partial(in_process, 1, differ, "dataset", "stale")
    first, second = commanded(project, fault=fault)
    assert (first.code, second.code) == (3, 3), (first, second)
    assert "the processes do not have the same before them:\n  dataset: " in first.notes[0]
    assert "stale in another" in first.notes[0] and second.notes == [""]


def test_what_one_lacks_ends_all_before_anybody_waits(project):
    lacks = DataError("data/it: no prepared dataset")
    fault = functools.partial(in_process, 1, refuse, "ftool.train.run.open_dataset", lacks)
    first, second = commanded(project, fault=fault)
    assert (first.code, second.code) == (3, 3), (first, second)
    assert "no prepared dataset" in first.notes[0] and second.notes == [""]


def test_a_dry_run_is_made_alone(project):
    first, second = commanded(project, "--dry-run")
    assert (first.code, second.code) == (2, 2), (first, second)
    assert "--dry-run tries a training in one process" in first.notes[0]


def test_memory_that_runs_out_in_one_ends_all(project):
    fault = functools.partial(in_process, 1, refuse, "ftool.train.loop.token_losses", MemoryError())
    first, second = trained(project, "full", "it", fault=fault)
    assert second.code == 5 and "too little memory for micro-batches" in second.message
    assert first.code == 3
    assert first.message.startswith("another process of this training has ended | it says why")


# What the main process does for all.


def exchange(notes, *, refuses):
    def work():
        if os.environ["RANK"] in refuses:
            raise DivergedError(4, f"process {os.environ['RANK']}")
        return {"from": os.environ["RANK"]}

    with joined() as team:
        notes += [team.index, team.size, team.by_main(lambda: ["of", team.index])]
        try:
            notes.append(team.together(work))
        except DivergedError as error:
            notes.append((error.message, error.step))
        except ElsewhereError as error:
            notes.append((error.message, error.exit_code))
        notes.append(team.by_main(lambda: team.size))


@pytest.mark.parametrize(
    ("refuses", "said"),
    [
        ("", [{"from": "0"}, {"from": "1"}]),
        ("0", [("step 4: process 0", 4), ("step 4: process 0", 3)]),
        ("1", [("step 4: process 1", 3), ("step 4: process 1", 3)]),
        ("01", [("step 4: process 0", 4), ("step 4: process 0", 3)]),
    ],
)
def test_all_go_on_or_none(refuses, said):
    outcomes = together(exchange, refuses=refuses)
    wanted = [[rank, 2, ["of", 0], said[rank], 2] for rank in range(2)]
    assert [outcome.notes for outcome in outcomes] == wanted, outcomes


def test_one_process_needs_no_other(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")  # as some schedulers say it of all they start
    with joined() as team:
        assert team == ALONE and team.is_main
        assert team.by_main(lambda: 3) == team.together(lambda: 3) == 3
        with pytest.raises(RecipeError, match="no"):
            team.together(lambda: refuse_now())
        assert "WORLD_SIZE" not in os.environ  # nor will accelerate look for another


def test_a_team_needs_to_know_where_the_others_are(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(RecipeError, match="no MASTER_ADDR"), joined():
        pass


def wait_for_nobody(notes, *, port):
    signal.signal(SIGTERM, lambda number, frame: None)  # in Python, which a call of C holds up
    subprocess.Popen(["sh", "-c", f"sleep 2; kill -TERM {os.getpid()}"])
    as_launched(lambda notes: joined().__enter__(), 1, port, {}, notes)


def test_a_signal_ends_the_wait_for_a_main_process_that_never_comes():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert run_task(wait_for_nobody, port=taken.getsockname()[1]).code == -SIGTERM


def refuse_now():
    raise RecipeError("no")
