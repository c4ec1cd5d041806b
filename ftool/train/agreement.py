"""The saved model scored again: it has to be as good as the one in memory was."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftool.artifacts import OnNote
from ftool.errors import RunError
from ftool.model.compute.forward import TOLERANCE
from ftool.model.weights.adapter import read_back
from ftool.train.checkpoint import Progress
from ftool.train.validate import Validator

FLIPPED = 2
"""Validation examples whose label may turn by rounding alone: other threads, another machine."""


def score_saved(
    validator: Validator | None,
    model: Any,
    folder: Path,
    progress: Progress,
    *,
    is_best: bool,
    on_note: OnNote,
) -> dict[str, float] | None:
    """Score what a folder holds, and refuse it where it is not what was validated in training.

    Args:
        validator: of the run; None where nothing is validated.
        model: that was saved.
        folder: where.
        progress: of the run, with the scores of its best step.
        is_best: the model is that of the best step, so its scores are known.
        on_note: told that they agree.

    Returns:
        The scores; None where there are none to compare with.

    Raises:
        RunError: they differ.
    """
    if validator is None or not is_best or progress.best_loss is None:
        return None
    scores = validator.score(read_back(model, folder), step=progress.step, source="saved")
    tolerance = TOLERANCE[model.dtype]
    turned = max(tolerance, FLIPPED / len(validator.examples))
    near = _is_near(scores["loss"], progress.best_loss, tolerance) and (
        validator.metric == "loss"
        or _is_near(validator.goodness(scores), progress.best_metric or 0.0, turned)
    )
    if not near:
        raise RunError(
            f"{folder} scores {_written(scores)}, but in training it was"
            f" {_written(_known(validator, progress))}: what was saved is not what was trained",
            hint="run the same command again; it writes the model anew from its checkpoint",
        )
    on_note(f"the saved model was scored again: {_written(scores)}, as in training")
    return scores


def _known(validator: Validator, progress: Progress) -> dict[str, float]:
    known = {"loss": progress.best_loss or 0.0}
    if validator.metric != "loss":
        known[validator.metric] = progress.best_metric or 0.0
    return known


def _is_near(found: float, known: float, tolerance: float) -> bool:
    return math.isclose(found, known, rel_tol=tolerance, abs_tol=tolerance)


def _written(scores: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in sorted(scores.items()))
