"""The same damage to a run of ftool and to one of the stock transformers.Trainer.

    python benchmarks/reliability.py [--quick] [--only KIND ...] [--json FILE]
    python benchmarks/reliability.py --soak RECIPE [--between LOW HIGH] [KEY=VALUE ...]

Both train a tiny random Llama with LoRA and dropout for six steps on one CPU thread, with a
checkpoint every second step. A case counts as recovered where the final weights have the bytes of a
run that nobody disturbed, as refused where the program ends with an error, as silent where it ends
well with other weights, another run's settings or NaN.

The soak prepares a recipe in the working folder, trains it once in peace, then again while it is
killed or terminated every LOW to HIGH seconds until it finishes, and compares the models' bytes.
"""

import argparse
import functools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import transformers

sys.path.pop(0)  # this folder, where a file has the name of the folder of tests
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from reliability.harness import (
    CHECKPOINTED,
    HALF,
    KILLED,
    KINDS,
    Bomb,
    Outcome,
    copied,
    learned_bytes,
    model_bytes,
    mutate,
    not_finite,
    poison_gradient,
    poison_loss,
    poison_weight,
    run_task,
    stop_after,
    training,
    write_project,
)
from reliability.stock_trainer import stock_task, stock_weights

from ftool.quiet import QUIET

VERSIONS = {"torch": torch.__version__, "transformers": transformers.__version__}
OFTEN = "train.checkpoint={every: 5 steps}"
"""The default is half an epoch, which may take longer than the soak lets a process live."""
Fault = Callable[[], Any] | None
FILES = {"ours": "runs/lora/checkpoints/step-000004", "Trainer": f"out/checkpoint-{CHECKPOINTED}"}
CHANGES = {
    "learning rate": ("train.learning_rate=1e-3", {"learning_rate": 1e-3}),
    "weight decay": ("train.weight_decay=0.1", {"weight_decay": 0.1}),
    "schedule": ("train.schedule=linear", {"lr_scheduler_type": "constant"}),
    "global batch": ("train.global_batch_size=4", {"per_device_train_batch_size": 2}),
    "gradient clipping": ("train.max_grad_norm=0.5", {"max_grad_norm": 0.5}),
    "steps": ("train.max_steps=7", {"max_steps": 7}),
    "LoRA alpha": ("train.method.alpha=9", {"alpha": 9}),
    "LoRA dropout": ("train.method.dropout=0.1", {"dropout": 0.1}),
    "LoRA rank": ("train.method.r=8", {"r": 8}),
}
"""Settings that another run has: a word of a recipe, and what is the same to the Trainer."""


class Tool:
    """One of both: how it trains, what it learned."""

    def __init__(self, name: str, start: Path, folder: Path) -> None:
        self.name, self.folder, self.count = name, folder, 0
        stopped = copied(start, folder / "stopped")
        outcome = self.train(stopped, functools.partial(stop_after, CHECKPOINTED + 1))
        assert outcome.code == KILLED, outcome
        whole = copied(start, folder / "whole")
        assert self.train(whole).code == 0
        self.clean, self.stopped, self.expected = start, stopped, self.learned(whole)

    def train(self, project: Path, fault: Fault = None, change: Any = None) -> Outcome:
        """Run the training, or go on with it."""
        if self.name == "ours":
            return training(project, "lora", fault=fault, words=(change,) if change else ())
        return run_task(stock_task, folder=project, fault=fault, change=change or {})

    def learned(self, project: Path) -> Any:
        """Return the bytes of the final weights."""
        if self.name == "ours":
            return learned_bytes(project / "runs/lora")[0]
        return stock_weights(project)

    def copy(self, of: Path) -> Path:
        """Copy a project, so that it can be broken."""
        self.count += 1
        return copied(of, self.folder / f"case-{self.count}")

    def verdict(self, project: Path, outcome: Outcome) -> str:
        """Say how a case ended, and remove it."""
        found = "refused"
        if outcome.code == 0:
            found = "recovered" if self.learned(project) == self.expected else "silent"
        shutil.rmtree(project)
        return found


def kills(tool: Tool, quick: bool) -> Iterator[str]:
    """End a run at each of its writes, before it and half way through it, then go on."""
    tally = tool.folder / "tally"
    counted = tool.copy(tool.stopped)
    assert tool.train(counted, Bomb(0, halves=False, tally=tally)).code == 0
    done = tally.read_text()
    points = [(at, False) for at in range(1, len(done) + 1)]
    points += [(at, True) for at, kind in enumerate(done, start=1) if kind == HALF]
    for at, halves in points[:: 6 if quick else 1]:
        project = tool.copy(tool.stopped)
        died = tool.train(project, Bomb(at, halves=halves, tally=tool.folder / f"tally-{at}"))
        if died.code == KILLED:
            yield tool.verdict(project, tool.train(project))
        else:  # a file that is opened and never written has no half way
            assert halves and died.code == 0, died


def corruptions(tool: Tool, quick: bool) -> Iterator[str]:
    """Damage every file of the newest checkpoint in every way, then go on."""
    luck = random.Random(5)
    files = sorted(file.name for file in (tool.stopped / FILES[tool.name]).iterdir())
    for name in files:
        for kind in KINDS[:: 3 if quick else 1]:
            project = tool.copy(tool.stopped)
            mutate(project / FILES[tool.name] / name, kind, luck)
            yield tool.verdict(project, tool.train(project))


def changes(tool: Tool, quick: bool) -> Iterator[str]:
    """Go on with one setting of another run: only a refusal tells."""
    for ours, theirs in list(CHANGES.values())[:: 3 if quick else 1]:
        project = tool.copy(tool.stopped)
        outcome = tool.train(project, change=ours if tool.name == "ours" else theirs)
        yield "refused" if outcome.code else "silent"
        shutil.rmtree(project)


def nonsense(tool: Tool, quick: bool) -> Iterator[str]:
    """Make a loss, a gradient or a weight NaN: only a refusal without NaN on the disk tells."""
    faults = [
        functools.partial(poison_weight, 3, float("nan")),
        *(functools.partial(kind, 8, float("nan")) for kind in (poison_loss, poison_gradient)),
    ]
    names = ["weight", "loss", "gradient"]
    for name, fault in list(zip(names, faults, strict=True))[: 1 if quick else 3]:
        project = tool.copy(tool.clean)
        outcome = tool.train(project, fault if tool.name == "ours" else f"{name} NaN")
        is_clean = tool.name == "Trainer" or not not_finite(project / "runs/lora")
        yield "refused" if outcome.code and is_clean else "silent"
        shutil.rmtree(project)


DAMAGES = {
    "kill during a save": kills,
    "corrupted checkpoint": corruptions,
    "changed setting": changes,
    "NaN": nonsense,
}


def compare(only: list[str], quick: bool) -> dict[str, dict[str, dict[str, int]]]:
    """Return counts by damage and tool."""
    os.environ.update(QUIET, PYTHONWARNINGS="ignore")
    table: dict[str, dict[str, dict[str, int]]] = {}
    with tempfile.TemporaryDirectory() as place:
        start = write_project(Path(place) / "start")
        tools = [Tool(name, start, Path(place) / name) for name in FILES]
        for damage in only or DAMAGES:
            for tool in tools:
                counts = Counter(DAMAGES[damage](tool, quick))
                table.setdefault(damage, {})[tool.name] = {"cases": counts.total(), **counts}
                print(_row(damage, tool.name, table[damage][tool.name]), flush=True)
    return table


def _row(damage: str, tool: str, counts: dict[str, int]) -> str:
    cells = [counts.get(name, 0) for name in ("cases", "recovered", "refused", "silent")]
    return f"{damage:22}{tool:9}" + "".join(f"{cell:>11}" for cell in cells)


def soak(recipe: str, words: list[str], low: float, high: float) -> dict[str, Any]:
    """Train once in peace and once under fire in the working folder; compare the models' bytes."""
    ftool = [sys.executable, "-m", "ftool"]
    words = [OFTEN, *words]
    subprocess.run([*ftool, "prepare", "--recipe", recipe, *words], check=True)
    command = [*ftool, "train", "--recipe", recipe, *words, "--run"]
    subprocess.run([*command, "in-peace"], check=True)
    luck, started = random.Random(7), time.monotonic()
    sent: Counter[str] = Counter()
    while True:
        process = subprocess.Popen([*command, "under-fire"])
        try:
            code = process.wait(luck.uniform(low, high))
        except subprocess.TimeoutExpired:
            number = luck.choice([signal.SIGKILL, signal.SIGTERM])
            process.send_signal(number)
            process.wait()
            sent[number.name] += 1
            continue
        if code:
            raise SystemExit(f"the run ended with {code} after {dict(sent)}")
        break
    same = model_bytes(Path("runs/in-peace")) == model_bytes(Path("runs/under-fire"))
    return {**sent, "seconds": time.monotonic() - started, "same_bytes": same}


def main() -> None:
    """Print the table or the outcome of the soak."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few cases of each kind")
    parser.add_argument("--only", nargs="+", choices=DAMAGES, default=[], help="these kinds alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument("--soak", metavar="RECIPE", help="kill a training of this recipe")
    parser.add_argument("--between", nargs=2, type=float, default=(20, 60), metavar="SECONDS")
    parser.add_argument("words", nargs="*", metavar="KEY=VALUE", help="settings of the soak")
    given = parser.parse_args()
    if given.soak:
        result: Any = soak(given.soak, given.words, *given.between)
        print(result)
    else:
        print(f"{'':31}" + "".join(f"{n:>11}" for n in ("cases", "recovered", "refused", "silent")))
        result = {"versions": VERSIONS, "damage": compare(given.only, given.quick)}
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n")
    if given.soak and not result["same_bytes"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
