"""Will the disk hold what a training writes: checkpoints and the model."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftool.errors import DeviceError
from ftool.model.compute.memory import ADAM_STATES
from ftool.recipe.blocks.train import Train
from ftool.train.plan import Plan

AT_ONCE = 2
"""Checkpoints besides those that are kept: the best, and the new one before an old one goes."""


@dataclass(frozen=True, slots=True)
class Room:
    """What a training writes, in bytes, as far as it grows with the model."""

    checkpoint: int
    checkpoints: int  # that are there at once, at most
    model: int

    @property
    def bytes(self) -> int:
        """All of it."""
        return self.checkpoint * self.checkpoints + self.model


def room_of(model: Any, tokenizer: Any, plan: Plan, train: Train) -> Room:
    """Foresee what a training writes.

    Args:
        model: whose trained weights are saved.
        tokenizer: that is saved with them.
        plan: says how often is saved.
        train: says how many checkpoints are kept.
    """
    parameters = [
        (one.numel() * one.element_size(), one.requires_grad) for one in model.parameters()
    ]
    learned = sum(size for size, learns in parameters if learns)
    is_adapter = hasattr(model, "peft_config")
    weights = learned if is_adapter else sum(size for size, _ in parameters)
    saves = plan.total_steps // plan.checkpoint_every + 1
    saves += plan.total_steps // plan.validate_every + 1 if plan.validate_every else 0
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return Room(
        checkpoint=learned * (1 + ADAM_STATES),
        checkpoints=min(train.checkpoint.keep + AT_ONCE, saves),
        model=weights + (len(backend.to_str().encode()) if backend is not None else 0),
    )


def refuse_little_room(folder: Path, room: Room, train: Train) -> None:
    """Refuse to begin what the disk cannot hold.

    What an interrupted run has written already is part of it.

    Args:
        folder: of the run.
        room: what it writes.
        train: the recipe's block.

    Raises:
        DeviceError: with what is needed and what is free.
    """
    there = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    needed, free = room.bytes - there, shutil.disk_usage(folder).free
    if needed <= free:
        return
    keep = train.checkpoint.keep
    less = f", set train.checkpoint.keep=2 (now {keep})" if keep > 2 else ""
    raise DeviceError(
        f"{folder} needs {_size(needed)} more on the disk, for {room.checkpoints} checkpoints of"
        f" {_size(room.checkpoint)} and a model of {_size(room.model)}; {_size(free)} are free; no"
        " step was taken",
        hint=f"make room{less} or work in a folder on another disk",
    )


def _size(size: int) -> str:
    unit, name = (2**30, "GiB") if size >= 2**30 else (2**20, "MiB")
    return f"{size / unit:.3g} {name}"
