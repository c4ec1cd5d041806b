"""Checkpoints: save, seal, verify, resume, keep the best, early stopping."""

import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ftool.artifacts import (
    OnNote,
    TrainingStep,
    fingerprint,
    ignore_note,
    read_json,
    write_json,
    write_text,
)
from ftool.errors import DeviceError, DivergedError, RunError
from ftool.seal import damages, sealed_files, sync
from ftool.shortage import first_line, free_gib, is_out_of_memory, is_out_of_room

WEIGHTS, MOMENTS = "weights.safetensors", "optimizer.pt"
PROGRESS, ORIGIN, SEAL = "progress.json", "origin.json", "seal.json"
QUARANTINE = "quarantine"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, and how good it was at its best.

    `since_best` counts validations without a better one; `log_bytes` is where steps.jsonl ended.
    `unscored` is the step itself where a signal came before its validation was over: it is scored
    and logged as soon as the run goes on.
    """

    step: int = 0
    best_step: int | None = None
    best_metric: float | None = None
    best_loss: float | None = None
    since_best: int = 0
    log_bytes: int = 0
    unscored: TrainingStep | None = None

    def is_better(self, metric: float, loss: float) -> bool:
        """Tell whether a validation beats the best so far; the lower loss decides a tie."""
        if self.best_metric is None or self.best_loss is None:
            return True
        return (metric, -loss) > (self.best_metric, -self.best_loss)

    def after(self, step: int, metric: float, loss: float) -> "Progress":
        """Take note of a validation; `metric` counts upwards."""
        if self.is_better(metric, loss):
            return Progress(step, step, metric, loss, 0, self.log_bytes)
        return replace(self, step=step, since_best=self.since_best + 1, unscored=None)


def save_checkpoint(
    folder: Path, model: Any, optimizer: Any, progress: Progress, origin: Mapping[str, Any]
) -> Path:
    """Write a resumable state under `folder` and seal it.

    Everything is on the disk before the seal is written, which names, measures and digests every
    file; without it nothing counts. What is there of a save that failed is removed.

    Args:
        folder: the run's checkpoints.
        model: whose trained weights are saved.
        optimizer: whose moments are saved.
        progress: how far the run is.
        origin: what the run is: its identity, plan and environment.

    Raises:
        DivergedError: a weight or moment is not finite, so the state is worth nothing.
        DeviceError: the disk is full or not writable; older checkpoints stay.
    """
    weights, moments = dict(_trainable(model)), optimizer.state_dict()
    named = ((f"the weight {name}", tensor) for name, tensor in weights.items())
    if broken := first_not_finite([*named, *_moments(moments)]):
        raise DivergedError(progress.step, f"{broken} is not finite")
    path = _path(folder, progress.step)
    try:
        path.mkdir(parents=True)
        sync(folder.parent)
        save_file(weights, path / WEIGHTS)
        torch.save(moments, path / MOMENTS)
        write_json(path / PROGRESS, asdict(progress))
        write_json(path / ORIGIN, dict(origin))
        write_text(path / SEAL, _seal_text(sealed_files(path)))
    except (OSError, SafetensorError, RuntimeError) as error:
        shutil.rmtree(path, ignore_errors=True)
        why = "the disk takes no more" if is_out_of_room(error) else first_line(error)
        raise DeviceError(
            f"{path} cannot be written ({why}); {free_gib(folder):.1f} GiB are free",
            hint="make room and run the same command again",
        ) from error
    return path


def newest_checkpoint(folder: Path, *, on_note: OnNote = ignore_note) -> Path | None:
    """Return the newest checkpoint that can be gone on from, or None.

    Every byte of it, and of the best one that it counts on, matches its seal. Newer ones that do
    not are moved to `quarantine/` beside the folder.

    Args:
        folder: the run's checkpoints.
        on_note: told what was set aside, and why.
    """
    for path in reversed(_checkpoints(folder)):
        damage = damage_of(path)
        best = None if damage else best_of(path)
        if best is not None and (inner := damage_of(best)):
            damage = f"it counts on {best.name}: {inner}"
        if not damage:
            return path
        aside = _set_aside(path)
        on_note(f"{path} was moved to {aside}: {damage}")
    return None


def damage_of(path: Path) -> str:
    """Say why a checkpoint does not count; nothing where every byte matches its seal."""
    try:
        text = (path / SEAL).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return "it is not sealed"
    try:
        files = json.loads(text)["files"]
        is_written_so = text == _seal_text(files)
    except (ValueError, TypeError, KeyError, RecursionError):
        is_written_so = False
    if not is_written_so:
        return f"{SEAL} has other bytes"
    if found := damages(path, files, besides=frozenset({SEAL})):
        return ", ".join(found)
    step = load_progress(path).step
    return "" if step == _step(path) else f"it holds step {step}"


def best_of(path: Path) -> Path | None:
    """Return the checkpoint of the best step that a checkpoint counts on, unless it is itself."""
    progress = load_progress(path)
    if progress.best_step in (None, progress.step):
        return None
    return _path(path.parent, progress.best_step)


def load_progress(path: Path) -> Progress:
    """Read how far the run was at a checkpoint."""
    stored = read_json(path / PROGRESS)
    step = stored.pop("unscored", None)
    return Progress(**stored, unscored=step and TrainingStep(**step))


def load_origin(path: Path) -> dict[str, Any]:
    """Read which run a checkpoint is of: its identity, plan and environment."""
    return dict(read_json(path / ORIGIN))


def load_weights(path: Path, model: Any) -> None:
    """Put a checkpoint's weights into the model.

    Raises:
        RunError: the checkpoint holds other parameters than the model trains.
    """
    weights = load_file(path / WEIGHTS)
    parameters = dict(_trainable(model))
    shapes = {name: value.shape for name, value in weights.items()}
    if shapes != {name: value.shape for name, value in parameters.items()}:
        raise RunError(f"{path} holds other parameters than this recipe trains", hint="use --fresh")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])


def load_optimizer(path: Path, optimizer: Any) -> None:
    """Put a checkpoint's moments into the optimizer.

    Raises:
        RunError: the file holds something else, such as code.
    """
    try:
        moments = torch.load(path / MOMENTS, weights_only=True, map_location="cpu")
    except (UnpicklingError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        raise RunError(
            f"{path / MOMENTS} holds no state of an optimizer", hint="train again with --fresh"
        ) from error
    optimizer.load_state_dict(moments)


def prune_checkpoints(folder: Path, *, keep: int, best_step: int | None) -> None:
    """Remove all but the newest `keep` and the best; called after the new one is sealed.

    The seal goes first, so that one half removed never counts.
    """
    best = None if best_step is None else _path(folder, best_step)
    for path in _checkpoints(folder)[:-keep]:
        if path != best:
            (path / SEAL).unlink(missing_ok=True)
            shutil.rmtree(path)


def checkpoint_of(folder: Path, step: int) -> Path:
    """Return the sealed checkpoint of a step.

    Raises:
        RunError: it is missing or damaged.
    """
    path = _path(folder, step)
    if damage := damage_of(path):
        raise RunError(
            f"{path} is missing or damaged: {damage}",
            hint="run the same command again; it goes back to a checkpoint before that",
        )
    return path


def first_not_finite(tensors: Iterable[tuple[str, torch.Tensor]]) -> str | None:
    """Return the name of the first tensor that holds NaN or infinity, if any."""
    for name, tensor in tensors:
        # NaN and infinity stay in a sum, which is quick; a sum of large values may overflow.
        is_real = tensor.is_floating_point()
        if is_real and not tensor.detach().sum().isfinite() and not tensor.isfinite().all():
            return name
    return None


def _path(folder: Path, step: int) -> Path:
    return folder / f"step-{step:06d}"


def _step(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def _checkpoints(folder: Path) -> list[Path]:
    """Return everything named like a checkpoint, the newest last."""
    found = (path for path in folder.glob("step-*") if re.fullmatch(r"step-[0-9]{6,}", path.name))
    return sorted(found, key=_step)


def _set_aside(path: Path) -> Path:
    quarantine = path.parent.with_name(QUARANTINE)
    quarantine.mkdir(exist_ok=True)
    aside, number = quarantine / path.name, 2
    while aside.exists():
        aside, number = quarantine / f"{path.name}-{number}", number + 1
    path.rename(aside)
    sync(path.parent)
    sync(quarantine)
    return aside


def _seal_text(files: Mapping[str, Any]) -> str:
    """Return the content of a seal; a changed byte of it is found by writing it again."""
    return json.dumps({"files": files, "digest": fingerprint(files)}, indent=2) + "\n"


def _trainable(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            yield name, parameter.data


def _moments(state: Mapping[str, Any]) -> Iterator[tuple[str, torch.Tensor]]:
    for number, moments in state["state"].items():
        for name, value in moments.items():
            if isinstance(value, torch.Tensor):
                yield f"the optimizer's {name} of parameter {number}", value
