"""Checkpoints: save, seal, verify, resume, keep the best, early stopping."""

import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import xxhash
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ftool.artifacts import read_json, write_json
from ftool.errors import DeviceError, RunError

SEAL = "seal.json"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, and how good it was at its best.

    `since_best` counts validations without a better one; `log_bytes` is where steps.jsonl ended.
    """

    step: int = 0
    best_step: int | None = None
    best_metric: float | None = None
    best_loss: float | None = None
    since_best: int = 0
    log_bytes: int = 0

    def is_better(self, metric: float, loss: float) -> bool:
        """Tell whether a validation beats the best so far; the lower loss decides a tie."""
        if self.best_metric is None or self.best_loss is None:
            return True
        return (metric, -loss) > (self.best_metric, -self.best_loss)

    def after(self, step: int, metric: float, loss: float) -> "Progress":
        """Take note of a validation; `metric` counts upwards."""
        if self.is_better(metric, loss):
            return Progress(step, step, metric, loss, 0, self.log_bytes)
        return replace(self, step=step, since_best=self.since_best + 1)


def save_checkpoint(folder: Path, model: Any, optimizer: Any, progress: Progress) -> Path:
    """Write a resumable state under `folder` and seal it.

    The seal is written last and names the digest of every file; without it nothing counts.

    Raises:
        RunError: a weight is not finite, so the state is worth nothing.
        DeviceError: the disk is full or not writable; older checkpoints stay.
    """
    path = _path(folder, progress.step)
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    weights = dict(_trainable(model))
    broken = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise RunError(f"step {progress.step}: the weights {broken[0]} are not finite")
    try:
        save_file(weights, path / "weights.safetensors")
        torch.save(optimizer.state_dict(), path / "optimizer.pt")
    except (OSError, SafetensorError, RuntimeError) as error:
        free = shutil.disk_usage(folder).free / 2**30
        raise DeviceError(
            f"{path} cannot be written ({error}); {free:.1f} GiB are free",
            hint="make room and run the same command again",
        ) from error
    write_json(path / "progress.json", asdict(progress))
    write_json(path / SEAL, {"xxh3_128": _digests(path)})
    return path


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint whose every byte matches its seal, or None."""
    for path in sorted(folder.glob("step-*"), reverse=True):
        if _is_sound(path):
            return path
    return None


def load_progress(path: Path) -> Progress:
    """Read how far the run was at a checkpoint."""
    return Progress(**read_json(path / "progress.json"))


def load_weights(path: Path, model: Any) -> None:
    """Put a checkpoint's weights into the model.

    Raises:
        RunError: the checkpoint holds other parameters than the model trains.
    """
    weights = load_file(path / "weights.safetensors")
    parameters = dict(_trainable(model))
    if weights.keys() != parameters.keys():
        raise RunError(f"{path} holds other parameters than this recipe trains", hint="use --fresh")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])


def load_optimizer(path: Path, optimizer: Any) -> None:
    """Put a checkpoint's moments into the optimizer."""
    optimizer.load_state_dict(
        torch.load(path / "optimizer.pt", weights_only=True, map_location="cpu")
    )


def prune_checkpoints(folder: Path, *, keep: int, best_step: int | None) -> None:
    """Remove all but the newest `keep` and the best; called after the new one is sealed."""
    paths = sorted(folder.glob("step-*"), reverse=True)
    best = None if best_step is None else _path(folder, best_step)
    for path in paths[keep:]:
        if path != best:
            shutil.rmtree(path)


def checkpoint_of(folder: Path, step: int) -> Path:
    """Return the sealed checkpoint of a step.

    Raises:
        RunError: it is missing or damaged.
    """
    path = _path(folder, step)
    if not _is_sound(path):
        raise RunError(f"{path} is missing or damaged", hint="train again with --fresh")
    return path


def _path(folder: Path, step: int) -> Path:
    return folder / f"step-{step:06d}"


def _trainable(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            yield name, parameter.data


def _digests(path: Path) -> dict[str, str]:
    digests = {}
    for file in sorted(path.iterdir()):
        if file.name != SEAL:
            digest = xxhash.xxh3_128()
            with file.open("rb") as content:
                while chunk := content.read(2**22):
                    digest.update(chunk)
            digests[file.name] = digest.hexdigest()
    return digests


def _is_sound(path: Path) -> bool:
    try:
        return bool(read_json(path / SEAL)["xxh3_128"] == _digests(path))
    except (RunError, KeyError, TypeError, OSError):
        return False
