"""The run folder: new, resumed, finished or somebody else's; the same run or refused."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ftool.artifacts import (
    MANIFEST,
    OnNote,
    TrainingRun,
    ignore_note,
    is_ours,
    read_json,
    write_json,
)
from ftool.errors import DivergedError, RunError
from ftool.lock import LOCK, OWNER, locked
from ftool.recipe.schema import Recipe
from ftool.train.assemble import Assembled
from ftool.train.attempt import ATTEMPT, Death, halved, last_death
from ftool.train.checkpoint import best_of, load_origin, newest_checkpoint
from ftool.train.fingerprint import FREE, changes, refuse_other
from ftool.train.order import divided, global_batch, shares
from ftool.train.plan import HALVED, Plan
from ftool.train.team import Team

RECIPE, PLAN, DIVERGED = "recipe.yaml", "plan.json", "diverged.json"
CHECKPOINTS, MODEL, SCORING = "checkpoints", "model", "scoring"
LEARNED = ("max_length", "steps_per_epoch", "total_steps", "validate_every")
"""What a resumed run keeps of its plan; the rest is speed and memory."""


def claim_run(folder: Path, *, fresh: bool, on_note: OnNote) -> None:
    """Make sure that a folder may hold the run; with `fresh` move an older one aside.

    Raises:
        RunError: the folder is not ftool's, or another process works in it.
    """
    if not is_ours(folder):
        raise RunError(
            f"{folder} exists and is not a run of ftool; nothing was written",
            hint="choose another name with --run",
        )
    if fresh and folder.is_dir() and {path.name for path in folder.iterdir()} - {LOCK, OWNER}:
        with locked(folder):
            number = 1
            while (aside := folder.with_name(f"{folder.name}.old-{number}")).exists():
                number += 1
            folder.rename(aside)
        on_note(f"moved the old run to {aside}")


def finished_run(
    folder: Path, identity: Mapping[str, Any], *, on_note: OnNote
) -> TrainingRun | None:
    """Return the run if it is finished; None if it is new, interrupted or damaged.

    Where the model was damaged, the run counts as interrupted: its last checkpoint writes it anew.

    Args:
        folder: of the run.
        identity: what is known of this one before its model is loaded.
        on_note: told what is damaged.

    Raises:
        RunError: the folder holds another run.
    """
    try:
        manifest = read_json(folder / MANIFEST)
    except RunError:
        return None
    run = TrainingRun.open(folder)
    if "identity" not in manifest:
        raise RunError(
            f"{folder} was not written by this version of ftool train", hint="train with --fresh"
        )
    refuse_other(folder, manifest["identity"], identity)
    try:
        run.refuse_damage()
    except RunError as error:
        on_note(f"{error.message}; it is written anew")
        (folder / MANIFEST).unlink()
        return None
    return run


def finished_sentence(run: TrainingRun, recipe: Recipe) -> str:
    """Say that a run is finished, and which changed settings nothing reads any more."""
    before = run.recipe().train
    changed = [f"train.{n}" for n in sorted(FREE) if getattr(before, n) != getattr(recipe.train, n)]
    unread = f", so nothing reads {', '.join(changed)}" if changed else ""
    return f"{run.path} is finished already{unread}; --fresh trains again"


def resumed_checkpoint(
    folder: Path, identity: Mapping[str, Any], *, on_note: OnNote
) -> Path | None:
    """Return the verified checkpoint to go on from; None where the run is new.

    Args:
        folder: of the run.
        identity: what is known of this one before its model is loaded.
        on_note: told which checkpoints were set aside, and why.

    Raises:
        RunError: a checkpoint is of another run.
    """
    newest = newest_checkpoint(folder / CHECKPOINTS, on_note=on_note)
    if newest is not None:
        for path in (newest, best_of(newest)):
            if path is not None:
                refuse_other(path, load_origin(path)["identity"], identity)
    return newest


def settle_plan(
    folder: Path,
    plan: Plan,
    checkpoint: Path | None,
    *,
    is_auto: bool,
    on_note: OnNote = ignore_note,
) -> Plan:
    """Return the plan as an interrupted run has to keep it.

    Micro-batches that `auto` chose never become larger again, so that a resumed run learns the same
    to the last bit; smaller ones change that, and speed and memory.

    Args:
        folder: of the run.
        plan: what was found here and now.
        checkpoint: to go on from.
        is_auto: micro-batches are not the recipe's.
        on_note: told where what frozen blocks make of tokens is not kept, although it could or
            should be.
    """
    before = _last_plan(folder) if is_auto else None
    if before is not None and before.device == plan.device:
        tokens = min(before.micro_batch_tokens, plan.micro_batch_tokens)
        why = {name: before.reasons[name] for name in before.reasons if name == HALVED}
        plan = replace(plan, micro_batch_tokens=tokens, reasons={**plan.reasons, **why})
    if checkpoint is None:
        return plan
    stored = load_origin(checkpoint)["plan"]
    kept = {name: stored[name] for name in LEARNED}
    # Where rows cannot be run here, plain batches learn the same.
    shared = plan.shared_prefix and stored["shared_prefix"]
    began = bool(stored.get("keeps_lower"))
    keeps_lower = plan.keeps_lower and shared and began
    if keeps_lower != began:
        on_note(
            "what frozen blocks make of tokens was kept before and is not now: the last bits may"
            " be others than those of an uninterrupted run"
        )
    elif keeps_lower != plan.keeps_lower:
        on_note("what frozen blocks make of tokens is not kept after all: this run began without")
    return replace(plan, **kept, shared_prefix=shared, keeps_lower=keeps_lower)


def settled_plan(
    parts: Assembled, folder: Path, checkpoint: Path | None, team: Team, on_note: OnNote
) -> Plan:
    """Write the plan down, or take that of an interrupted run, and return it.

    Args:
        parts: of the training, with the plan found here and now.
        folder: of the run.
        checkpoint: to go on from.
        team: the processes that share a step.
        on_note: told where the last try died, and which micro-batches became smaller.
    """
    is_auto = parts.recipe.train.batch_size_per_device == "auto"
    plan = settle_plan(folder, parts.plan, checkpoint, is_auto=is_auto, on_note=on_note)
    if death := last_death(folder):
        on_note(death.sentence(is_auto=is_auto))
        plan = _after_death(parts, plan, death, team) if is_auto else plan
    if HALVED in plan.reasons:
        on_note(plan.reasons[HALVED])
    write_json(folder / PLAN, plan.as_dict())
    (folder / ATTEMPT).unlink(missing_ok=True)
    return plan


def _after_death(parts: Assembled, plan: Plan, death: Death, team: Team) -> Plan:
    """Return smaller micro-batches where those of a step took too much memory."""
    if not death.for_memory:
        return plan
    size, seed = parts.recipe.train.global_batch_size, parts.recipe.seed
    batch = global_batch(len(parts.examples), size, seed=seed, step=death.step - 1)
    every = shares(batch, parts.examples, team.size)
    micro = [part for share in every for part in divided(share, parts.examples, plan)]
    return halved(plan, micro, step=death.step) or plan


def date_of(folder: Path, checkpoint: Path | None = None) -> str | None:
    """Return the day that the chat template of a run was told; None where it is not known."""
    if checkpoint is not None:
        date = load_origin(checkpoint)["plan"].get("template_date")
        return None if date is None else str(date)
    plan = _last_plan(folder)
    return plan.template_date if plan else None


def _last_plan(folder: Path) -> Plan | None:
    try:
        return Plan(**read_json(folder / PLAN))
    except (RunError, TypeError):
        return None


@contextmanager
def naming_examples(file: Path, parts: Assembled, team: Team) -> Iterator[None]:
    """Write down which examples a step learned that met something not finite.

    Raises:
        DivergedError: of the body, with the name of the file.
    """
    if team.is_main:
        file.unlink(missing_ok=True)
    try:
        yield
    except DivergedError as error:
        if not team.is_main:
            raise
        size, seed = parts.recipe.train.global_batch_size, parts.recipe.seed
        batch = global_batch(len(parts.examples), size, seed=seed, step=error.step - 1)
        ids = [parts.examples[index].id for index in batch]
        write_json(file, {"step": error.step, "cause": error.cause, "examples": ids})
        raise DivergedError(error.step, f"{error.cause}; its examples are in {file}") from error


def tell_changes(checkpoint: Path, environment: Mapping[str, Any], on_note: OnNote) -> None:
    """Tell where a run goes on with other versions, devices or threads than it began with."""
    if found := changes(load_origin(checkpoint)["environment"], environment):
        on_note(f"since the checkpoint, {', '.join(found)}: the last bits may differ")
