"""Assemble model, data, optimizer, loop; own the run folder."""

import platform
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from ftool.artifacts import (
    MANIFEST,
    SCHEMA,
    OnNote,
    OnProgress,
    PreparedDataset,
    TrainingRun,
    TrainingStep,
    Validation,
    fingerprint,
    ftool_version,
    ignore_note,
    ignore_progress,
    locked,
    write_json,
)
from ftool.errors import DataError, RecipeError
from ftool.example import EncodedExample
from ftool.model.adapter import attach_adapter, save_model
from ftool.model.batch import WORTHWHILE_PREFIX, shared_prefix
from ftool.model.encode import Encoder, encode_examples, make_encoder
from ftool.model.forward import enable_shared_prefix
from ftool.model.load import Device, LoadedModel, choose_device, load_base_model
from ftool.recipe.schema import NAME_PATTERN, Lora, Recipe
from ftool.train.checkpoint import (
    Progress,
    checkpoint_of,
    load_optimizer,
    load_progress,
    load_weights,
    newest_checkpoint,
    prune_checkpoints,
    save_checkpoint,
)
from ftool.train.folder import claim_run, finished_run, settle_plan
from ftool.train.loop import training_steps
from ftool.train.optimizer import make_optimizer
from ftool.train.plan import Plan, longest_allowed, make_plan
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
    """What a checkpoint is made of, and how many stay."""

    folder: Path
    model: Any
    optimizer: Any
    keep: int

    def save(self, progress: Progress) -> None:
        """Seal a new checkpoint, then remove what is no longer needed."""
        save_checkpoint(self.folder, self.model, self.optimizer, progress)
        prune_checkpoints(self.folder, keep=self.keep, best_step=progress.best_step)


@dataclass(frozen=True, slots=True)
class Assembled:
    """Everything one training needs, made once."""

    recipe: Recipe
    dataset: PreparedDataset
    device: Device
    loaded: LoadedModel
    encoder: Encoder
    examples: list[EncodedExample]
    overlong: list[str]
    plan: Plan
    validator: Validator | None


def ignore_step(step: TrainingStep, total_steps: int) -> None:
    """Take no note."""


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
    """
    check_trackers(recipe.train.tracking)
    if run is not None and not re.fullmatch(NAME_PATTERN, run):
        raise RecipeError(
            f"--run: {run!r} cannot name a folder under runs/",
            hint="use letters, digits, dots, dashes and underscores, at most 100",
        )
    dataset = _open_dataset(recipe, folder / "data")
    folder = folder / "runs" / (run or recipe.name)
    claim_run(folder, fresh=fresh, on_note=on_note)
    with locked(folder):
        finished = finished_run(folder, recipe, dataset)
        if finished:
            on_note(f"{folder} is finished already; --fresh trains again")
            return finished
        started = time.monotonic()
        watchers = Watchers(on_note, on_progress, on_step)
        parts = _assemble(recipe, dataset, folder, watchers)
        model, progress = _run(parts, folder, watchers)
        end = parts.encoder.end_of_turn_id
        save_model(model, parts.loaded.tokenizer, folder / "model", end_of_turn_id=end)
        seconds = round(time.monotonic() - started, 1)
        write_json(folder / MANIFEST, _manifest(parts, folder.name, model, progress, seconds))
    return TrainingRun.open(folder)


def _open_dataset(recipe: Recipe, data: Path) -> PreparedDataset:
    dataset = PreparedDataset.open(data / recipe.data_name)
    if not dataset.is_of(recipe):
        raise DataError(
            f"{dataset.path} was prepared with other settings than this recipe's `data`",
            hint="run: ftool prepare",
        )
    return dataset


def _assemble(
    recipe: Recipe, dataset: PreparedDataset, folder: Path, watchers: Watchers
) -> Assembled:
    """Load the model and encode the data; what `auto` becomes is told and written down."""
    note = watchers.on_note
    device = choose_device(recipe.model.dtype)
    note(f"device {device.device}, {device.dtype_name}: {device.reason}")
    # Full fine-tuning updates float32 weights even where it computes in bfloat16.
    dtype = device.dtype if isinstance(recipe.train.method, Lora) else torch.float32
    loaded = load_base_model(recipe.model, folder=recipe.folder, dtype=dtype, on_note=note)
    loaded.model.to(device.device)
    encoder = make_encoder(loaded.tokenizer, kind=dataset.kind)
    max_length = longest_allowed(recipe.train, loaded.model.config)
    examples, overlong = _encode_train(recipe, dataset, encoder, max_length[0], note)
    plan = make_plan(
        recipe.train,
        device,
        max_length=max_length,
        lengths=[len(example.input_ids) for example in examples],
        shared_prefix=_share_prefix(recipe, loaded.model, examples, note),
    )
    template = loaded.tokenizer.chat_template or ""
    plan = settle_plan(folder, plan, dataset, loaded.base, template)
    note(
        f"{plan.total_steps} steps of {recipe.train.global_batch_size} examples, micro-batches of"
        f" at most {plan.batch_size_per_device} ({plan.reasons['batch_size_per_device']})"
    )
    validator = make_validator(
        recipe,
        dataset,
        encoder,
        max_length=plan.max_length,
        on_progress=watchers.on_progress,
        on_note=note,
    )
    return Assembled(recipe, dataset, device, loaded, encoder, examples, overlong, plan, validator)


def _share_prefix(recipe: Recipe, model: Any, examples: list[EncodedExample], note: OnNote) -> int:
    """Return how many first tokens micro-batches run once, after trying it on real examples."""
    common = shared_prefix(examples) if recipe.train.shared_prefix == "auto" else 0
    if common < WORTHWHILE_PREFIX:
        return 0
    longest = sorted(examples, key=lambda example: len(example.input_ids))[-2:]
    if not enable_shared_prefix(model, longest):
        note("no shared prefix: this architecture gives other losses with it")
        return 0
    note(f"shared prefix: all examples begin with the same {common} tokens, run once a micro-batch")
    return common


def _encode_train(
    recipe: Recipe, dataset: PreparedDataset, encoder: Encoder, max_length: int, note: OnNote
) -> tuple[list[EncodedExample], list[str]]:
    encoded = encode_examples(
        dataset.examples("train"),
        encoder,
        max_length=max_length,
        overlong=recipe.train.overlong,
    )
    if encoded.overlong:
        first = ", ".join(encoded.overlong[:3])
        note(f"{len(encoded.overlong)} examples exceed {max_length} tokens, left out: {first} ...")
    if not encoded.examples:
        raise DataError(
            f"every train example is longer than {max_length} tokens",
            hint="raise train.max_length, or set train.overlong=trim_prompt",
        )
    return encoded.examples, encoded.overlong


def _run(parts: Assembled, folder: Path, watchers: Watchers) -> tuple[Any, Progress]:
    """Run the loop from the newest checkpoint to the end; return the model and the progress."""
    recipe = parts.recipe
    accelerator = Accelerator(
        mixed_precision="bf16" if parts.device.dtype == torch.bfloat16 else "no",
        cpu=parts.device.device.type == "cpu",
        log_with=list(recipe.train.tracking) or None,
        project_dir=folder,
    )
    method = recipe.train.method
    model = parts.loaded.model
    if isinstance(method, Lora):
        model = attach_adapter(model, method, seed=recipe.seed)
    model, optimizer = accelerator.prepare(model, make_optimizer(model, recipe.train))
    checkpoints = folder / "checkpoints"
    progress = _resume(checkpoints, model, optimizer, watchers.on_note)
    with StepLog(
        folder / "steps.jsonl", keep_bytes=progress.log_bytes, accelerator=accelerator
    ) as log:
        log.start_trackers(recipe, folder.name)
        steps = training_steps(
            model,
            optimizer,
            parts.examples,
            accelerator=accelerator,
            plan=parts.plan,
            recipe=recipe,
            first_step=progress.step,
        )
        saver = _Saver(checkpoints, model, optimizer, recipe.train.checkpoint.keep)
        progress = _consume(steps, parts, progress, log, saver, watchers)
    _restore_best(checkpoints, model, progress, recipe)
    return accelerator.unwrap_model(model, keep_fp32_wrapper=False), progress


def _consume(
    steps: Iterator[TrainingStep],
    parts: Assembled,
    progress: Progress,
    log: StepLog,
    saver: _Saver,
    watchers: Watchers,
) -> Progress:
    """Validate, log and save what the loop yields, until it ends or patience is over."""
    validation = parts.recipe.train.validation
    patience = validation.patience if validation else None
    while not _is_patience_over(progress, patience):
        step = next(steps, None)
        if step is None:
            return progress
        step, progress = _validated(step, progress, parts, saver.model)
        progress = replace(progress, step=step.step, log_bytes=log.add(step))
        watchers.on_step(step, parts.plan.total_steps)
        is_last = step.step == parts.plan.total_steps or _is_patience_over(progress, patience)
        is_best = progress.best_step == step.step
        if is_last or is_best or step.step % parts.plan.checkpoint_every == 0:
            saver.save(progress)
    watchers.on_note(f"stopped early: {patience} validations without a better one")
    return progress


def _resume(checkpoints: Path, model: Any, optimizer: Any, note: OnNote) -> Progress:
    newest = newest_checkpoint(checkpoints)
    if newest is None:
        return Progress()
    load_weights(newest, model)
    load_optimizer(newest, optimizer)
    progress = load_progress(newest)
    note(f"going on from step {progress.step}")
    return progress


def _validated(
    step: TrainingStep, progress: Progress, parts: Assembled, model: Any
) -> tuple[TrainingStep, Progress]:
    """Validate where a validation is due: at its interval and after the last step."""
    every = parts.plan.validate_every
    is_due = every and (step.step % every == 0 or step.step == parts.plan.total_steps)
    if parts.validator is None or not is_due:
        return step, progress
    scores = parts.validator.score(model)
    after = progress.after(step.step, parts.validator.goodness(scores), scores["loss"])
    found = Validation(scores, len(parts.validator.examples), after.best_step == step.step)
    return replace(step, validation=found), after


def _is_patience_over(progress: Progress, patience: int | None) -> bool:
    return patience is not None and progress.since_best >= patience


def _restore_best(checkpoints: Path, model: Any, progress: Progress, recipe: Recipe) -> None:
    validation = recipe.train.validation
    if validation and validation.restore_best and progress.best_step not in (None, progress.step):
        load_weights(checkpoint_of(checkpoints, progress.best_step), model)


def _manifest(
    parts: Assembled, name: str, model: Any, progress: Progress, seconds: float
) -> dict[str, Any]:
    parameters = [(value.numel(), value.requires_grad) for value in model.parameters()]
    best = None
    if parts.validator and progress.best_metric is not None:
        is_loss = parts.validator.metric == "loss"
        best = {
            "name": parts.validator.metric,
            "value": progress.best_loss if is_loss else progress.best_metric,
        }
    content = {
        "schema": SCHEMA,
        "ftool": ftool_version(),
        "kind": "run",
        "status": "finished",
        "name": name,
        "steps": progress.step,
        "best_step": progress.best_step,
        "best_metric": best,
        "base_model": asdict(parts.loaded.base),
        "method": parts.recipe.train.method.kind,
        "trainable_parameters": sum(count for count, learns in parameters if learns),
        "parameters": sum(count for count, _ in parameters),
        "dataset": {
            "name": parts.recipe.data_name,
            "fingerprint": parts.dataset.fingerprint,
            "rows": parts.dataset.rows,
            "label_names": list(parts.dataset.label_names),
        },
        "dataset_fingerprint": parts.dataset.fingerprint,
        "overlong_rejected": parts.overlong,
        "environment": _environment(parts.device),
    }
    return {**content, "fingerprint": fingerprint(content), "seconds": seconds}


def _environment(device: Device) -> dict[str, Any]:
    packages = ("torch", "transformers", "peft", "accelerate", "datasets", "tokenizers")
    return {
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in packages},
        "device": str(device.device),
        "dtype": device.dtype_name,
        "processes": 1,
        "threads": torch.get_num_threads(),
    }
