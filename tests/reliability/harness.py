"""Trainings in forked processes that can be killed, broken and lied to; torch is imported once."""

import builtins
import contextlib
import dataclasses
import functools
import hashlib
import importlib
import io
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tiny import make_project

from ftool.errors import FtoolError
from ftool.recipe.file import load_recipe

LONG = bool(os.environ.get("FTOOL_LONG"))
"""Ten times as many cases (`make reliability`)."""
TESTS = Path(__file__).parents[1]
KILLED, BUG = 137, 70
SECONDS = 120
STEPS = 6
CHECKPOINTED = 4
"""The step after which a run of the tests is interrupted; two checkpoints stand there."""
COMMON = (
    f"train.max_steps={STEPS}",  # ends within the second epoch of five steps
    "train.batch_size_per_device=3",  # three micro-batches accumulate
    "train.checkpoint={every: 2 steps}",
    "train.validate={every: 3 steps, examples: 4, patience: null}",
)
METHODS = {
    "lora": (*COMMON, "train.method={kind: lora, r: 4, alpha: 8, dropout: 0.3}"),
    "full": (*COMMON, "train.method={kind: full}", "train.learning_rate=1e-3"),
}


def cases(quick: int) -> int:
    """Return how many cases a test tries."""
    return quick * 10 if LONG else quick


def write_project(folder: Path) -> Path:
    """Write a base model, data and a recipe, so that `ftool train` can begin."""
    torch.set_num_threads(1)
    make_project(folder)
    recipe = folder / "recipe.yaml"
    # Relative, so that a copy of the project is a project.
    recipe.write_text(recipe.read_text().replace(str(folder / "base"), "base"))
    return folder


# What happens in the forked process.


@dataclass(frozen=True)
class Outcome:
    """How a process ended: its exit code, and what it said."""

    code: int
    message: str = ""
    notes: list[str] = field(default_factory=list)


def obey_signals() -> None:
    """Handle SIGINT and SIGTERM as a process of a terminal does, however the tests were started.

    A background job of a shell without job control has SIGINT ignored, and so would all it starts.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _child(connection: Any, task: Any) -> None:
    obey_signals()
    torch.set_num_threads(1)
    notes: list[str] = []
    try:
        task(notes)
        answer = Outcome(0, "", notes)
    except FtoolError as error:
        answer = Outcome(error.exit_code, f"{error.message} | {error.hint}", notes)
    except SystemExit as end:
        answer = Outcome(int(end.code or 0), "", notes)
    except BaseException:
        answer = Outcome(BUG, traceback.format_exc(), notes)
    connection.send(answer)
    connection.close()
    os._exit(answer.code)


def train_task(
    notes: list[str],
    *,
    project: Path,
    words: tuple[str, ...],
    run: str | None = None,
    fault: Any = None,
    fresh: bool = False,
) -> None:
    """Train as the command line does, after a fault was put into the process."""
    from ftool.train.run import train

    os.chdir(project)
    watch = fault() if fault else None
    recipe = load_recipe(Path("recipe.yaml"), list(words))
    train(recipe, run=run, fresh=fresh, on_note=notes.append, on_step=watch or (lambda *_: None))


def eval_task(notes: list[str], *, project: Path, run: str) -> None:
    """Score a run as the command line does."""
    from ftool.artifacts import TrainingRun
    from ftool.eval.run import evaluate

    os.chdir(project)
    evaluate(TrainingRun.open(Path("runs") / run), on_note=notes.append)


def prepare_task(notes: list[str], *, project: Path) -> None:
    """Prepare the data as the command line does."""
    from ftool.prepare.run import prepare

    os.chdir(project)
    prepare(load_recipe(Path("recipe.yaml")), on_note=notes.append)


def command_task(
    notes: list[str], *, project: Path, words: tuple[str, ...], fault: Any = None
) -> None:
    """Run the command line in this process, after a fault was put into it; stderr is noted."""
    from ftool.__main__ import main

    os.chdir(project)
    sys.argv = ["ftool", *words]
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            if fault:
                fault()
            main()
    finally:
        notes.append(said.getvalue())


def hold_task(notes: list[str], *, folder: Path, gate: Path) -> None:
    """Try to hold a folder as soon as the gate opens, and keep it until the gate is gone."""
    from ftool.lock import locked

    _wait(gate.exists)
    with locked(folder):
        notes.append("held")
        _wait(lambda: not gate.exists())


def _wait(condition: Any) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.001)


class Running:
    """A process forked from the server."""

    def __init__(self, task: Any) -> None:
        self._here, there = _server().Pipe(duplex=False)
        self.process = _server().Process(target=_child, args=(there, task))
        self.process.start()
        there.close()

    def kill(self) -> None:
        """End it as a power cut would."""
        with contextlib.suppress(ProcessLookupError):  # it was quicker
            os.kill(self.process.pid, signal.SIGKILL)

    def wait(self) -> Outcome:
        """Return how it ended; a killed one says nothing."""
        try:
            answer = self._here.recv() if self._here.poll(SECONDS) else None
        except EOFError:
            answer = None
        self._here.close()
        self.process.join(SECONDS)
        if self.process.is_alive():
            self.kill()
            raise AssertionError("a scenario did not end")
        return answer or Outcome(self.process.exitcode or BUG)


@functools.cache
def _server() -> Any:
    """Return a process without threads that has imported everything and forks."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["reliability.preload"])
    try:
        context.Process(target=int).start()
    finally:
        del os.environ["PYTHONPATH"]
    return context


def run_task(function: Any, **arguments: Any) -> Outcome:
    """Run a task in a process of its own and return how it ended."""
    return Running(functools.partial(function, **arguments)).wait()


def training(project: Path, method: str, **arguments: Any) -> Outcome:
    """Train in a process of its own and return how it ended."""
    words = (*METHODS[method], *arguments.pop("words", ()))
    return run_task(train_task, project=project, words=words, run=method, **arguments)


# What a run left.


def copied(project: Path, folder: Path) -> Path:
    """Copy a project, so that it can be broken."""
    shutil.copytree(project, folder)
    return folder


def model_bytes(run: Path) -> dict[str, str]:
    """Return the digest of every file of a finished model."""
    files = sorted(path for path in (run / "model").rglob("*") if path.is_file())
    assert files, f"{run} has no model"
    return {path.name: hashlib.sha256(_content(path)).hexdigest() for path in files}


def _content(path: Path) -> bytes:
    if path.name != "adapter_config.json":
        return path.read_bytes()
    # peft writes down where the base lies.
    config = json.loads(path.read_bytes())
    config["base_model_name_or_path"] = Path(config["base_model_name_or_path"]).name
    return json.dumps(config).encode()


def learned_bytes(run: Path) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Return what a run learned: every byte of its model, and its log without the clock."""
    from ftool.artifacts import read_jsonl

    clock = {"tokens_per_second", "peak_memory_gib"}
    steps = [
        {key: value for key, value in step.items() if key not in clock}
        for step in read_jsonl(run / "steps.jsonl")
    ]
    return model_bytes(run), steps


def not_finite(run: Path) -> list[str]:
    """Name the tensors in sealed checkpoints and in the model that hold NaN or infinity."""
    found = []
    sealed = [seal.parent for seal in run.glob("checkpoints/*/seal.json")]
    for file in (f for folder in [*sealed, run / "model"] for f in folder.rglob("*")):
        if file.suffix not in {".pt", ".safetensors"}:
            continue
        if file.suffix == ".pt":
            state = torch.load(file, weights_only=True)["state"]
            tensors = {f"{k}.{n}": v for k, inner in state.items() for n, v in inner.items()}
        else:
            tensors = load_file(file)
        found += [f"{file}: {n}" for n, tensor in tensors.items() if not tensor.isfinite().all()]
    return found


# Faults that are put into a process. Each returns what watches the steps, or nothing.


def stop_after(step: int) -> Any:
    """Die as by kill -9 as soon as a step was learned, before its checkpoint."""

    def watch(done: Any, total: int) -> None:
        if done.step == step:
            os._exit(KILLED)

    return watch


def hold_at(step: int, gate: Path) -> Any:
    """Keep the run's folder at a step until the gate is gone."""

    def watch(done: Any, total: int) -> None:
        if done.step == step:
            _wait(lambda: not gate.exists())

    return watch


WHOLE, HALF = ".", "w"


class Bomb:
    """Counts what changes the disk and ends the process at one of these operations.

    What a killed process has written stays written, so bringing it to the disk is no operation.

    Args:
        at: the operation to end at, counted from 1; 0 only counts.
        halves: whether the operation is half done first, where it can be.
        tally: gets a character for every operation: WHOLE, or HALF where it can be half done.
    """

    def __init__(self, at: int, *, halves: bool, tally: Path) -> None:
        self.at, self.halves, self.tally, self.count = at, halves, tally, 0

    def __call__(self) -> None:
        """Arm it in this process."""
        for name in ("mkdir", "rename", "replace", "unlink", "remove", "rmdir"):
            setattr(os, name, self._counted(getattr(os, name)))
        io.open = builtins.open = self._opening(builtins.open)
        import safetensors.torch

        safetensors.torch.serialize_file = self._halving(safetensors.torch.serialize_file)
        torch.save = self._halving(torch.save)

    def _is_hit(self, kind: str) -> bool:
        self.count += 1
        descriptor = os.open(self.tally, os.O_WRONLY | os.O_CREAT | os.O_APPEND)  # not counted
        os.write(descriptor, kind.encode())
        os.close(descriptor)
        return self.count == self.at

    def _counted(self, operation: Any) -> Any:
        def counted(*arguments: Any, **named: Any) -> Any:
            if self._is_hit(WHOLE):
                os._exit(KILLED)
            return operation(*arguments, **named)

        return counted

    def _halving(self, operation: Any) -> Any:
        def halving(content: Any, path: Any, *arguments: Any, **named: Any) -> Any:
            if self._is_hit(HALF):
                if self.halves:
                    operation(content, path, *arguments, **named)
                    os.truncate(path, Path(path).stat().st_size // 2)
                os._exit(KILLED)
            return operation(content, path, *arguments, **named)

        return halving

    def _opening(self, operation: Any) -> Any:
        def opening(path: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
            if not set(mode) & set("wax+"):
                return operation(path, mode, *arguments, **named)
            is_hit = self._is_hit(HALF)
            if is_hit and not self.halves:
                os._exit(KILLED)
            file = operation(path, mode, *arguments, **named)
            if is_hit:
                file.write = functools.partial(self._half, file, file.write)
            return file

        return opening

    def _half(self, file: Any, write: Any, content: Any) -> None:
        write(content[: len(content) // 2])
        file.flush()
        os._exit(KILLED)


def send_at(place: str, call: int, *numbers: int) -> None:
    """Send this process signals as a function is called for the nth time.

    Args:
        place: module and name of the function, with a dot between them.
        call: counted from 1.
        numbers: of the signals, one after the other.
    """
    owner, name = place.rsplit(".", 1)
    module = importlib.import_module(owner)
    called, calls = getattr(module, name), 0

    def calling(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        for number in numbers if calls == call else ():
            os.kill(os.getpid(), number)
        return called(*arguments, **named)

    assert callable(called)
    setattr(module, name, calling)


def in_small_batches(fault: Any) -> None:
    """Rank a few prompts at a time, then put a fault into the process, if any."""
    from ftool.model.answers import rank

    rank.BATCH_TOKENS = 60
    if fault:
        fault()


def poison_weight(step: int, value: float) -> Any:
    """Put a value into a trained weight as soon as a step was learned."""

    def watch(done: Any, total: int) -> None:
        if done.step == step:
            import gc

            for thing in gc.get_objects():
                if isinstance(thing, torch.optim.AdamW):
                    with torch.no_grad():
                        thing.param_groups[0]["params"][-1].view(-1)[0] = value
                    return
            raise AssertionError("there is no optimizer to poison")

    return watch


def poison_moment(step: int, value: float) -> Any:
    """Put a value into a moment of the optimizer as soon as a step was learned."""

    def watch(done: Any, total: int) -> None:
        if done.step == step:
            import gc

            for thing in gc.get_objects():
                if isinstance(thing, torch.optim.AdamW):
                    last = thing.param_groups[0]["params"][-1]
                    thing.state[last]["exp_avg_sq"].view(-1)[0] = value
                    return
            raise AssertionError("there is no optimizer to poison")

    return watch


def poison_loss(call: int, value: float) -> None:
    """Make the loss of one micro-batch not finite."""
    from ftool.train import loop

    made, calls = loop.normalized_loss, 0

    def poisoned(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        return made(*arguments, **named) * (value if calls == call else 1.0)

    loop.normalized_loss = poisoned


def poison_gradient(call: int, value: float) -> None:
    """Make one gradient not finite while the loss is."""
    from ftool.train import loop

    made, calls = loop.normalized_loss, 0

    def poisoned(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        loss = made(*arguments, **named)
        if calls == call:
            loss.register_hook(lambda gradient: gradient * value)
        return loss

    loop.normalized_loss = poisoned


def poison_validation(value: float) -> None:
    """Make the validation loss not finite."""
    from ftool.eval.predict import scorer

    made = scorer.loss_batches

    def poisoned(*arguments: Any, **named: Any) -> Any:
        for batch in made(*arguments, **named):
            yield {place: dataclasses.replace(row, loss=value) for place, row in batch.items()}

    scorer.loss_batches = poisoned


# Damage to files.


def poison_file(file: Path, value: float) -> None:
    """Put a value into the first weight of a safetensors file."""
    tensors = load_file(file)
    name = sorted(tensors)[0]
    tensors[name].view(-1)[0] = value
    save_file(tensors, file, metadata={"format": "pt"})


def mutate(file: Path, kind: str, luck: random.Random) -> None:
    """Damage a file the way disks, copies and people do."""
    content = bytearray(file.read_bytes())
    place = luck.randrange(len(content))
    if kind == "delete":
        file.unlink()
        return
    if kind == "flip":
        content[place] ^= 1 << luck.randrange(8)
    elif kind == "cut":
        del content[place:]
    elif kind == "zeros":
        zeros = bytes(len(content) - place)
        content[place:] = zeros if content[place:] != zeros else b"\1" * len(zeros)
    elif kind == "longer":
        content += bytes(luck.randrange(1, 99))
    elif kind == "empty":
        content = bytearray()
    elif kind == "swap":  # a block moved
        content = content[place:] + content[:place] if place else content[::-1]
    file.write_bytes(content)


KINDS = ("flip", "flip", "flip", "cut", "zeros", "longer", "swap", "empty", "delete")
