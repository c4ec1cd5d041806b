"""Assemble model, data, optimizer, loop; own the run folder."""

import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ftool.artifacts import (
    MANIFEST,
    OnNote,
    OnProgress,
    PreparedDataset,
    TrainingRun,
    TrainingStep,
    Validation,
    ignore_note,
    ignore_progress,
    write_json,
    write_text,
)
from ftool.errors import RecipeError, StoppedError
from ftool.lock import locked
from ftool.model.tokens.encode import today
from ftool.model.weights.adapter import save_model
from ftool.recipe.file import dump_recipe
from ftool.recipe.schema import Recipe
from ftool.recipe.types import NAME_PATTERN
from ftool.shortage import shortages_told
from ftool.train.agreement import score_saved
from ftool.train.assemble import (
    Assembled,
    assemble,
    make_accelerator,
    open_dataset,
    prepare_to_train,
)
from ftool.train.attempt import Start, ignore_attempt, written_down
from ftool.train.checkpoint import (
    Progress,
    checkpoint_of,
    load_optimizer,
    load_origin,
    load_progress,
    load_weights,
    prune_checkpoints,
    save_checkpoint,
)
from ftool.train.fingerprint import (
    environment,
    model_identity,
    recipe_identity,
    refuse_other,
    refuse_unlike,
)
from ftool.train.folder import (
    CHECKPOINTS,
    DIVERGED,
    MODEL,
    PLAN,
    RECIPE,
    SCORING,
    claim_run,
    date_of,
    finished_run,
    finished_sentence,
    naming_examples,
    resumed_checkpoint,
    settled_plan,
    tell_changes,
)
from ftool.train.loop import training_steps
from ftool.train.lower import kept_lower
from ftool.train.manifest import run_manifest
from ftool.train.plan import HALVED, MEMORY_HINT, Plan
from ftool.train.space import refuse_little_room, room_of
from ftool.train.stop import Asked, agreed, leaving_off, noted_signals, stopped_sentence
from ftool.train.team import Team, joined
from ftool.train.tracking import StepLog, check_trackers
from ftool.train.validate import Validator, make_validator

OnStep = Callable[[TrainingStep, int], None]
"""Told every step and how many there are."""


@dataclass(frozen=True, slots=True)
class Watchers:
    """Who is told what while a run goes on."""

    on_note: OnNote
    on_progress: OnProgress
    on_step: OnStep


@dataclass(frozen=True, slots=True)
class _Saver:
    """What a checkpoint is made of, and how many stay; the main process writes."""

    accelerator: Any
    team: Team
    log: StepLog | None
    folder: Path
    model: Any
    optimizer: Any
    keep: int
    origin: Mapping[str, Any]

    def write(self, step: TrainingStep) -> int:
        """Log a step; return where the log ends, in bytes."""
        return self.log.add(step) if self.log else 0

    def save(self, progress: Progress) -> None:
        """Seal a new checkpoint, then remove what is no longer needed."""
        self.team.by_main(lambda: self._save(progress))

    def _save(self, progress: Progress) -> None:
        if self.log:
            self.log.sync()
        save_checkpoint(self.folder, self.model, self.optimizer, progress, self.origin)
        prune_checkpoints(self.folder, keep=self.keep, best_step=progress.best_step)


def ignore_step(step: TrainingStep, total_steps: int) -> None:
    """Take no note."""


SILENT = Watchers(ignore_note, ignore_progress, ignore_step)


@shortages_told(memory_hint=MEMORY_HINT)
def train(
    recipe: Recipe,
    *,
    run: str | None = None,
    fresh: bool = False,
    folder: Path = Path(),
    on_note: OnNote = ignore_note,
    on_progress: OnProgress = ignore_progress,
    on_step: OnStep = ignore_step,
) -> TrainingRun:
    """Fine-tune a base model on a prepared dataset.

    The same call goes on with an interrupted run and returns a finished one.

    Args:
        recipe: every setting.
        run: the run's name; the recipe's by default.
        fresh: move an existing run aside and start anew.
        folder: where `data/` is read and `runs/` is written; the working folder by default.
        on_note: told what was chosen and why.
        on_progress: told how far encoding and validations are.
        on_step: told every optimizer step.

    Raises:
        DataError: the prepared dataset is missing, stale or empty, or nothing in it can be learned.
        RunError: the run folder is another run's or not ftool's; training diverged.
        RecipeError: a setting does not fit the model, or a tracker is not installed.
        DeviceError: memory or disk is not enough.
    """
    if run is not None and not re.fullmatch(NAME_PATTERN, run):
        raise RecipeError(
            f"--run: {run!r} cannot name a folder under runs/",
            hint="use letters, digits, dots, dashes and underscores, at most 100",
        )
    data, folder = folder / "data", folder / "runs" / (run or recipe.name)
    with joined() as team, ExitStack() as held:
        tell = Watchers(on_note, on_progress, on_step) if team.is_main else SILENT
        dataset = team.together(lambda: _opened(recipe, data))
        identity = recipe_identity(recipe, dataset)

        def begin() -> tuple[bool, Path | None, str]:
            claim_run(folder, fresh=fresh, on_note=on_note)
            held.enter_context(locked(folder))
            return _begin(recipe, folder, identity, on_note)

        is_finished, checkpoint, date = team.by_main(begin)
        if not is_finished:
            _train(recipe, dataset, folder, identity, (checkpoint, date), team, tell)
    return TrainingRun.open(folder)


def _opened(recipe: Recipe, data: Path) -> PreparedDataset:
    check_trackers(recipe.train.tracking)
    return open_dataset(recipe, data)


def _begin(
    recipe: Recipe, folder: Path, identity: Mapping[str, Any], on_note: OnNote
) -> tuple[bool, Path | None, str]:
    """Tell whether a run is finished already, the checkpoint to go on from, if any, and its day."""
    if run := finished_run(folder, identity, on_note=on_note):
        on_note(finished_sentence(run, recipe))
        return True, None, ""
    checkpoint = resumed_checkpoint(folder, identity, on_note=on_note)
    write_text(folder / RECIPE, dump_recipe(recipe, relative_to=folder))
    return False, checkpoint, date_of(folder, checkpoint) or today()


def _train(
    recipe: Recipe,
    dataset: PreparedDataset,
    folder: Path,
    identity: Mapping[str, Any],
    begun: tuple[Path | None, str],
    team: Team,
    watchers: Watchers,
) -> None:
    """Train from a checkpoint, or the first step, to the manifest, on the day the run began."""
    started = time.monotonic()
    checkpoint, date = begun
    parts = team.together(lambda: assemble(recipe, dataset, on_note=watchers.on_note, date=date))
    identity = {**identity, **model_identity(parts.loaded)}
    of_main = team.by_main(lambda: identity)
    team.together(lambda: refuse_unlike(of_main, identity))

    def settle() -> Plan:
        if checkpoint is not None:
            refuse_other(checkpoint, load_origin(checkpoint)["identity"], identity)
            tell_changes(checkpoint, environment(parts.device), watchers.on_note)
        return settled_plan(parts, folder, checkpoint, team, watchers.on_note)

    # Free memory differs from process to process, and the form of micro-batches must not.
    parts = replace(parts, plan=team.by_main(settle))
    kept = folder / SCORING if team.is_main else None
    parts = replace(parts, validator=team.together(lambda: _validator(parts, kept, watchers)))
    with naming_examples(folder / DIVERGED, parts, team):
        model, progress = _run(parts, folder, identity, checkpoint, team, watchers)

    def finish() -> None:
        _restore_best(folder / CHECKPOINTS, model, progress, recipe)
        scores = _saved(parts, model, folder / MODEL, progress, watchers.on_note)
        manifest = run_manifest(parts, folder, identity, model, progress)
        seconds = round(time.monotonic() - started, 1)
        write_json(folder / MANIFEST, {**manifest, "saved_scores": scores, "seconds": seconds})
        shutil.rmtree(folder / SCORING, ignore_errors=True)

    team.by_main(finish)


def _saved(
    parts: Assembled, model: Any, folder: Path, progress: Progress, on_note: OnNote
) -> dict[str, float] | None:
    """Save the model; return its scores where those in training are known, which it must have."""
    end = parts.encoder.end_of_turn_id
    save_model(model, parts.loaded.tokenizer, folder, end_of_turn_id=end)
    is_best = _ends_at_best(progress, parts.recipe)
    return score_saved(parts.validator, model, folder, progress, is_best=is_best, on_note=on_note)


def _validator(parts: Assembled, kept: Path | None, watchers: Watchers) -> Validator | None:
    """Choose what is validated; the data were read to the end by then."""
    validator = make_validator(
        parts.recipe,
        parts.dataset,
        parts.encoder,
        max_length=parts.plan.max_length,
        folder=kept,
        on_progress=watchers.on_progress,
        on_note=watchers.on_note,
    )
    parts.dataset.refuse_damage()
    return validator


def _run(
    parts: Assembled,
    folder: Path,
    identity: Mapping[str, Any],
    checkpoint: Path | None,
    team: Team,
    watchers: Watchers,
) -> tuple[Any, Progress]:
    """Run the loop from a checkpoint, or the first step, to the end; return model and progress."""
    recipe = parts.recipe
    accelerator = make_accelerator(parts, trackers=recipe.train.tracking, folder=folder)
    wrapped, optimizer = prepare_to_train(parts, accelerator)
    model = accelerator.unwrap_model(wrapped)
    progress = _resume(checkpoint, model, optimizer, watchers.on_note)
    room = room_of(parts.model, parts.loaded.tokenizer, parts.plan, recipe.train)
    team.by_main(lambda: refuse_little_room(folder, room, recipe.train))

    tell = watchers.on_progress
    lower = kept_lower(parts.plan, recipe, parts.model, parts.examples, on_progress=tell)

    def settle(plan: Plan) -> None:
        watchers.on_note(plan.reasons[HALVED])
        write_json(folder / PLAN, plan.as_dict())

    with ExitStack() as files:
        before_step, log = ignore_attempt, None
        if team.is_main:
            before_step = files.enter_context(written_down(folder))
            path, kept = folder / "steps.jsonl", progress.log_bytes
            log = files.enter_context(StepLog(path, keep_bytes=kept, accelerator=accelerator))
            log.start_trackers(recipe, folder.name)
        steps = training_steps(
            wrapped,
            optimizer,
            parts.examples,
            accelerator=accelerator,
            plan=parts.plan,
            recipe=recipe,
            start=Start(progress.step, before_step, settle, lower),
        )
        origin = {
            "identity": identity,
            "plan": parts.plan.as_dict(),
            "environment": environment(parts.device),
        }
        keep = recipe.train.checkpoint.keep
        saver = _Saver(accelerator, team, log, folder / CHECKPOINTS, model, optimizer, keep, origin)
        progress = _consume(steps, parts, progress, saver, watchers)
    return accelerator.unwrap_model(wrapped, keep_fp32_wrapper=False), progress


def _consume(
    steps: Iterator[TrainingStep],
    parts: Assembled,
    progress: Progress,
    saver: _Saver,
    watchers: Watchers,
) -> Progress:
    """Validate, log and save what the loop yields, until it ends or patience is over."""
    validation = parts.recipe.train.validation
    patience = validation.patience if validation else None
    with noted_signals() as came:
        asked = agreed(came, saver.accelerator)
        while not _is_patience_over(progress, patience):
            step = progress.unscored or next(steps, None)
            if step is None:
                return progress
            is_saved = step.step == progress.step  # as it is saved, it was not scored
            try:
                step, progress = _validated(step, progress, parts, saver, asked)
                progress = replace(progress, step=step.step, log_bytes=saver.write(step))
                watchers.on_step(step, parts.plan.total_steps)
            except StoppedError:
                progress = replace(progress, step=step.step, unscored=step)
            is_over = _is_patience_over(progress, patience)
            if not is_saved and (is_over or _is_due(progress, parts.plan) or asked()):
                saver.save(progress)
                is_saved = True
            if is_saved and (number := asked()):
                watchers.on_note(stopped_sentence(number, progress.step))
                raise StoppedError(number)
    watchers.on_note(f"stopped early: {patience} validations without a better one")
    return progress


def _is_due(progress: Progress, plan: Plan) -> bool:
    """Tell whether a step is saved: at its interval, as the best so far, as the last."""
    step = progress.step
    return step in (plan.total_steps, progress.best_step) or step % plan.checkpoint_every == 0


def _resume(checkpoint: Path | None, model: Any, optimizer: Any, note: OnNote) -> Progress:
    if checkpoint is None:
        return Progress()
    load_weights(checkpoint, model)
    load_optimizer(checkpoint, optimizer)
    progress = load_progress(checkpoint)
    note(f"going on from step {progress.step}")
    return progress


def _validated(
    step: TrainingStep, progress: Progress, parts: Assembled, saver: _Saver, asked: Asked
) -> tuple[TrainingStep, Progress]:
    """Validate where a validation is due: at its interval and after the last step.

    Raises:
        StoppedError: a signal asked to stop before the validation was over.
    """
    every = parts.plan.validate_every
    is_due = every and (step.step % every == 0 or step.step == parts.plan.total_steps)
    if parts.validator is None or not is_due:
        return step, progress
    tell = leaving_off(parts.validator.on_progress, asked)
    own = replace(parts.validator, on_progress=tell).score(saver.model, step=step.step)
    scores = saver.team.by_main(lambda: own)  # the last bit of a score may decide
    after = progress.after(step.step, parts.validator.goodness(scores), scores["loss"])
    found = Validation(scores, len(parts.validator.examples), after.best_step == step.step)
    return replace(step, validation=found), after


def _is_patience_over(progress: Progress, patience: int | None) -> bool:
    return patience is not None and progress.since_best >= patience


def _restore_best(checkpoints: Path, model: Any, progress: Progress, recipe: Recipe) -> None:
    if progress.best_step not in (None, progress.step) and _ends_at_best(progress, recipe):
        load_weights(checkpoint_of(checkpoints, progress.best_step), model)


def _ends_at_best(progress: Progress, recipe: Recipe) -> bool:
    """Tell whether the model that is saved is that of the best step."""
    validation = recipe.train.validation
    is_restored = bool(validation and validation.restore_best)
    return progress.best_step is not None and (is_restored or progress.best_step == progress.step)
