"""What a step is about to run: written down before it, made smaller where it was too much."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from ftool.example import EncodedExample
from ftool.model.compute.lower import LowerStates
from ftool.train.layout import run_tokens
from ftool.train.plan import HALVED, Plan
from ftool.train.team import is_lost

ATTEMPT = "attempt.json"
LINE_BYTES = 200
"""Every line is as long, so that one written over another leaves nothing of it."""
BOOT, EVENTS = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/vmstat")


class BeforeStep(Protocol):
    """Told what is about to be run."""

    def __call__(self, step: int, examples: int) -> None:
        """Take note of a step, counted from 1, and of the examples in its largest micro-batch."""


class OnPlan(Protocol):
    """Told a plan that takes less memory than the one before."""

    def __call__(self, plan: Plan) -> None:
        """Take note of the plan; its reasons say what happened."""


def ignore_attempt(step: int, examples: int) -> None:
    """Take no note."""


def ignore_plan(plan: Plan) -> None:
    """Take no note."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where a training begins, and who is told before each step."""

    steps_done: int = 0
    before_step: BeforeStep = ignore_attempt
    on_plan: OnPlan = ignore_plan
    lower: LowerStates | None = None  # what frozen blocks make of the examples


ANEW = Start()


@dataclass(frozen=True, slots=True)
class Death:
    """Where a process ended that could say nothing, and what is known of the cause."""

    step: int
    examples: int
    for_memory: bool  # the kernel has since ended a process for lack of memory
    cause: str

    def sentence(self, *, is_auto: bool) -> str:
        """Say it, and what to do where the size of micro-batches is not ours to choose."""
        what_to_do = "; lower train.batch_size_per_device"
        return (
            f"the last try ended without a word in step {self.step}, with micro-batches of up to"
            f" {self.examples} examples: {self.cause}"
            f"{what_to_do if self.for_memory and not is_auto else ''}"
        )


@contextmanager
def written_down(folder: Path) -> Iterator[BeforeStep]:
    """Yield what writes every step down before it is made.

    Only a kill leaves the file behind, of this process or of one that trains with it.

    The file is written in place and not brought to the disk: the system keeps it when a process
    dies, and nothing is asked of it after a power cut.
    """
    path, machine = folder / ATTEMPT, _machine()
    with path.open("wb", buffering=0) as file:

        def note(step: int, examples: int) -> None:
            file.seek(0)
            line = json.dumps({"step": step, "examples": examples, **machine})
            file.write(line.ljust(LINE_BYTES).encode("ascii"))

        is_death = False
        try:
            yield note
        except RuntimeError as error:
            is_death = is_lost(error)
            raise
        finally:
            if not is_death:
                path.unlink(missing_ok=True)


def last_death(folder: Path) -> Death | None:
    """Return where the last try died; None where it ended in some other way."""
    try:
        found = json.loads((folder / ATTEMPT).read_text(encoding="ascii"))
        step, examples = int(found["step"]), int(found["examples"])
        for_memory, cause = _cause(found, _machine())
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Death(step, examples, for_memory, cause)


def _machine() -> dict[str, Any]:
    """Return which start of the machine this is, and how often memory ran out since then.

    Source: Linux kernel documentation, /proc/sys/kernel/random/boot_id; `oom_kill` of /proc/vmstat
    counts the processes that the kernel ended for lack of memory.
    """
    kills = re.search(r"^oom_kill (\d+)$", _text(EVENTS), re.MULTILINE)
    return {"boot": _text(BOOT).strip(), "kills": int(kills[1]) if kills else None}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""


def _cause(then: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[bool, str]:
    if then["boot"] != now["boot"]:
        return False, "the machine was started anew since then"
    if then["kills"] is None or now["kills"] is None:
        return False, "killed, or for lack of memory; this system does not say"
    if now["kills"] > then["kills"]:
        return True, "since then the kernel ended a process for lack of memory"
    return False, "killed, but not by the kernel for lack of memory"


def halved(plan: Plan, micro: Sequence[Sequence[EncodedExample]], *, step: int) -> Plan | None:
    """Return a plan of smaller micro-batches for a step that took too much memory.

    Args:
        plan: that took too much.
        micro: the micro-batches of the step.
        step: counted from 1.

    Returns:
        None where the largest micro-batch is a single example.
    """
    less = smaller(plan, micro)
    if less is None:
        return None
    why = (
        f"memory was not enough for micro-batches of up to {max(map(len, micro))} examples in step"
        f" {step}: at most {less.micro_batch_tokens:,} tokens at a time from here on; the global"
        " batch stays"
    )
    return replace(less, reasons={**plan.reasons, HALVED: why})


def smaller(plan: Plan, micro: Sequence[Sequence[EncodedExample]]) -> Plan | None:
    """Return a plan under which the largest of these micro-batches comes in two.

    The global batch stays, so the same is learned but for rounding. What halves share of a
    prefix is run in each of them.

    Returns:
        None where the largest micro-batch is a single example.
    """

    def tokens(part: Sequence[EncodedExample]) -> int:
        return run_tokens(part, shared=plan.shared_prefix)[0]

    largest = max(micro, key=tokens)
    if len(largest) == 1:
        return None
    middle = len(largest) // 2
    most = max(tokens(largest[:middle]), tokens(largest[middle:]))
    return replace(plan, micro_batch_tokens=min(most, plan.micro_batch_tokens - 1))
