"""TrainingSteps to steps.jsonl and accelerate's trackers."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ftool.artifacts import TrainingStep
from ftool.errors import RecipeError
from ftool.recipe.schema import Recipe


def check_trackers(names: Sequence[str]) -> None:
    """Refuse trackers that are not installed, before any work is done.

    Raises:
        RecipeError: with the line that installs them.
    """
    from importlib.util import find_spec

    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise RecipeError(
            f"train.tracking: {', '.join(missing)} is not installed",
            hint=f"pip install 'ftool[{','.join(missing)}]'",
        )


class StepLog:
    """Append-only steps.jsonl that can be cut back to a checkpoint, plus the trackers."""

    def __init__(self, path: Path, *, keep_bytes: int, accelerator: Any) -> None:
        self._accelerator = accelerator
        path.touch()
        with path.open("r+b") as file:
            # Of a log that was lost or cut, what is whole stays.
            whole = file.read(keep_bytes).rfind(b"\n") + 1
            file.truncate(whole)
        self._file = path.open("a", encoding="utf-8")

    def __enter__(self) -> "StepLog":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def start_trackers(self, recipe: Recipe, name: str) -> None:
        """Open the trackers that the recipe names."""
        if recipe.train.tracking:
            settings = {
                key: value
                for key, value in recipe.train.model_dump(mode="json").items()
                if isinstance(value, int | float | str)
            }
            self._accelerator.init_trackers(name, config=settings)

    def add(self, step: TrainingStep) -> int:
        """Write one step; return where the file ends, in bytes."""
        self._file.write(json.dumps(step.as_dict()) + "\n")
        self._file.flush()
        values = {
            "loss": step.loss,
            "learning_rate": step.learning_rate,
            "grad_norm": step.grad_norm,
            "tokens_per_second": step.tokens_per_second,
        }
        if step.validation:
            values |= {f"validation/{key}": value for key, value in step.validation.metrics.items()}
        self._accelerator.log(values, step=step.step)
        return self._file.tell()

    def sync(self) -> None:
        """Bring every step to the disk, so that a checkpoint never knows more than the log."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Flush everything to disk."""
        self._file.close()
        # Not end_training: it also parts the processes, which have to wait for the saved model.
        for tracker in self._accelerator.trackers:
            tracker.finish()
