"""Training programs that take their steps in turn: one computes, the others wait."""

import json
import os
import select
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from processes import cores
from rivals import Unfit

CORES = 2
STEP_SECONDS = 600
ENDING_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Step:
    """What one optimizer step took and gave; `memory_gib` is the process's peak so far."""

    seconds: float
    memory_gib: float
    loss: float = 0.0
    tokens: int = 0
    examples: int = 0


@dataclass(slots=True)
class Program:
    """A training program, held before every step."""

    name: str
    command: Sequence[str]
    folder: Path
    steps: list[Step] = field(default_factory=list)
    unfit: str = ""
    _process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it; it makes ready for its first turn while others do."""
        if not self.unfit:
            self._process = _started(self.command, self._log)

    def await_ready(self) -> None:
        """Return when it waits for its first turn."""
        self._unless_unfit(self._told)

    def step(self) -> None:
        """Let it take one step; where it cannot, `unfit` says why and it gets no other turn."""
        self._unless_unfit(lambda: self.steps.append(Step(**self._asked())))

    def end(self) -> None:
        """End the process where it still runs."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.kill()
        process.wait(ENDING_SECONDS)

    def _unless_unfit(self, work: Callable[[], object]) -> None:
        if self.unfit:
            return
        try:
            work()
        except Unfit as why:
            self.unfit = str(why)
            self.end()

    def _asked(self) -> dict[str, Any]:
        assert self._process and self._process.stdin
        with suppress(BrokenPipeError):
            self._process.stdin.write("step\n")
            self._process.stdin.flush()
        return self._told()

    def _told(self) -> dict[str, Any]:
        assert self._process and self._process.stdout
        stdout = self._process.stdout
        if not select.select([stdout], [], [], STEP_SECONDS)[0]:
            raise Unfit(f"took over {STEP_SECONDS} seconds for a step")
        line = stdout.readline()
        if not line:
            raise Unfit(f"ended: {last_line(self._log.read_text(encoding='utf-8'))}")
        figures: dict[str, Any] = json.loads(line)
        return figures

    @property
    def _log(self) -> Path:
        return self.folder / f"{self.name}.log"


def _started(command: Sequence[str], log: Path) -> subprocess.Popen[str]:
    with log.open("w", encoding="utf-8") as errors:
        return subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=os.environ | surroundings(),
            preexec_fn=bind,
        )


def bind() -> None:
    """Bind the calling process to as many processors as the comparison allows."""
    if cores():
        os.sched_setaffinity(0, cores()[-CORES:])


def surroundings() -> dict[str, str]:
    """Return variables that are the same for all: threads, no GPU, no network."""
    offline = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
    threads = {"OMP_NUM_THREADS": str(CORES), "MKL_NUM_THREADS": str(CORES)}
    return threads | {"CUDA_VISIBLE_DEVICES": ""} | dict.fromkeys(offline, "1")


def last_line(text: str) -> str:
    """Return the last line of a log that says anything."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it said nothing"


def take_turns(programs: Sequence[Program], rounds: int) -> None:
    """Give every program its steps, one of each in every round, while the first one runs.

    They make ready side by side before the first round.
    """
    try:
        for program in programs:
            program.start()
        for program in programs:
            program.await_ready()
        for _ in range(rounds):
            for program in programs:
                if not programs[0].unfit:
                    program.step()
    finally:
        for program in programs:
            program.end()
