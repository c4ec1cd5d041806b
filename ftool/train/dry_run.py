"""What a training will take, found out by a few of its steps; nothing is written."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ftool import launcher
from ftool.artifacts import OnNote, OnProgress, ignore_note, ignore_progress
from ftool.errors import RecipeError
from ftool.example import EncodedExample
from ftool.model.compute.lower import count_contexts
from ftool.model.tokens.encode import OVERLONG
from ftool.recipe.schema import Recipe
from ftool.shortage import free_gib, shortages_told
from ftool.train.assemble import (
    Assembled,
    assemble,
    make_accelerator,
    open_dataset,
    prepare_to_train,
)
from ftool.train.attempt import Start
from ftool.train.layout import run_tokens
from ftool.train.loop import peak_memory_gib, training_steps
from ftool.train.lower import kept_lower
from ftool.train.order import divided, global_batch
from ftool.train.plan import HALVED, MEMORY_HINT
from ftool.train.space import room_of

TIMED_STEPS = 3


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a training will take. Tokens are those of the steps looked at, in the first epoch."""

    base_model: str
    method: str
    device: str
    examples: int
    overlong: int
    steps_looked_at: int
    tokens: int
    learned_tokens: int
    run_tokens: int  # padding included
    saved_ratio: float  # share of the prompt tokens that are not run again
    padding_ratio: float  # share of the tokens run
    global_batch_size: int  # examples of a step
    steps: int
    steps_per_epoch: int
    seconds_per_step: float
    seconds: float  # of all steps; validations and checkpoints come on top
    tokens_per_second: float  # of the examples
    largest_examples: int  # in the micro-batch that runs the most tokens
    largest_tokens: int
    expected_memory_gib: float | None
    measured_memory_gib: float
    available_memory_gib: float | None
    activation_checkpointing: bool
    disk_gib: float  # checkpoints and model, at most at once
    free_disk_gib: float
    plan: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON takes it."""
        return asdict(self)


@shortages_told(memory_hint=MEMORY_HINT)
def dry_run(
    recipe: Recipe,
    *,
    folder: Path = Path(),
    on_note: OnNote = ignore_note,
    on_progress: OnProgress = ignore_progress,
) -> DryRun:
    """Try a training: its largest micro-batch, then a few of its first steps, timed.

    The model learns in memory only. No run folder is looked at or made.

    Args:
        recipe: every setting.
        folder: where `data/` is read; the working folder by default.
        on_note: told what was chosen and why.
        on_progress: told how many of the steps are tried.

    Raises:
        DataError: the prepared dataset is missing, stale or empty, or nothing in it can be learned.
        RecipeError: a setting does not fit the model, or several processes were started.
        DeviceError: the memory is not enough.
        RunError: training diverges at once.
    """
    if launcher.place()[1] > 1:
        raise RecipeError("--dry-run tries a training in one process", hint="start it alone")
    launcher.forget()
    parts = assemble(recipe, open_dataset(recipe, folder / "data"), on_note=on_note)
    return _tried(parts, folder, on_note, on_progress)


def _tried(parts: Assembled, folder: Path, on_note: OnNote, on_progress: OnProgress) -> DryRun:
    accelerator = make_accelerator(parts)
    model, optimizer = prepare_to_train(parts, accelerator)
    tries = min(TIMED_STEPS, parts.plan.total_steps)
    largest = list(parts.layout.largest)
    once = replace(parts.plan, steps_per_epoch=1, total_steps=1)
    first = replace(parts.plan, total_steps=tries)
    started = time.perf_counter()
    of_steps = (parts.examples[index] for batch in _first(parts, tries) for index in batch)
    tried = [*largest, *of_steps]
    lower = kept_lower(parts.plan, parts.recipe, parts.model, tried)
    keeping = _whole(time.perf_counter() - started, parts, tried) if lower else 0.0
    seconds = []
    on_progress("try steps", 0, 1 + tries)
    for examples, plan in ((largest, once), (parts.examples, first)):
        steps = training_steps(
            model,
            optimizer,
            examples,
            accelerator=accelerator,
            plan=plan,
            recipe=parts.recipe,
            start=Start(on_plan=lambda plan: on_note(plan.reasons[HALVED]), lower=lower),
        )
        started = time.perf_counter()
        for _ in steps:
            seconds.append(time.perf_counter() - started)
            on_progress("try steps", len(seconds), 1 + tries)
            started = time.perf_counter()
    # The largest micro-batch comes first, so that it is not the timed ones that warm up.
    peak_gib = peak_memory_gib(accelerator.device)
    found = _result(parts, sum(seconds[1:]), tries, peak_gib, free_gib(folder / "runs"))
    return replace(found, seconds=found.seconds + keeping)


def _first(parts: Assembled, steps: int) -> Iterator[list[int]]:
    """Yield the global batches of the first steps."""
    count, size = len(parts.examples), parts.recipe.train.global_batch_size
    return (global_batch(count, size, seed=parts.recipe.seed, step=s) for s in range(steps))


def _whole(seconds: float, parts: Assembled, tried: Sequence[EncodedExample]) -> float:
    """Return what takes some examples so long for all of them."""
    return seconds * count_contexts(parts.examples) / count_contexts(tried)


def _result(
    parts: Assembled, seconds: float, tries: int, peak_gib: float, free_disk_gib: float
) -> DryRun:
    plan, layout, memory = parts.plan, parts.layout, parts.memory
    per_step = seconds / _tokens(parts, tries) * layout.run / layout.steps
    room = room_of(parts.model, parts.loaded.tokenizer, plan, parts.recipe.train)
    is_on = plan.activation_checkpointing
    expected = None if memory is None else memory.peak(checkpointing=is_on) / 2**30
    available = None if memory is None or memory.available is None else memory.available / 2**30
    return DryRun(
        base_model=parts.loaded.base.name,
        method=parts.recipe.train.method.kind,
        device=f"{plan.device}, {plan.dtype}",
        examples=len(parts.examples),
        overlong=sum(one.code == OVERLONG for one in parts.left_out),
        steps_looked_at=layout.steps,
        tokens=layout.given,
        learned_tokens=layout.given - layout.prompt,
        run_tokens=layout.run,
        saved_ratio=layout.saved_ratio,
        padding_ratio=layout.padding_ratio,
        global_batch_size=parts.recipe.train.global_batch_size,
        steps=plan.total_steps,
        steps_per_epoch=plan.steps_per_epoch,
        seconds_per_step=per_step,
        seconds=per_step * plan.total_steps,
        tokens_per_second=layout.given / layout.steps / per_step,
        largest_examples=len(layout.largest),
        largest_tokens=run_tokens(layout.largest, shared=plan.shared_prefix)[0],
        expected_memory_gib=expected,
        measured_memory_gib=peak_gib,
        available_memory_gib=available,
        activation_checkpointing=is_on,
        disk_gib=room.bytes / 2**30,
        free_disk_gib=free_disk_gib,
        plan=plan.as_dict(),
    )


def _tokens(parts: Assembled, steps: int) -> int:
    """Return the tokens that the first steps run; some hold more than others."""
    return sum(
        run_tokens(part, shared=parts.plan.shared_prefix)[0]
        for batch in _first(parts, steps)
        for part in divided(batch, parts.examples, parts.plan)
    )
