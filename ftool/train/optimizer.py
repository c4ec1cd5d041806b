"""Parameter groups, AdamW, learning-rate schedules."""

import math
from collections.abc import Callable
from typing import Any

import torch

from ftool.recipe.blocks.train import Train


def _cosine(progress: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * progress))


def _linear(progress: float) -> float:
    return 1 - progress


def _constant(_progress: float) -> float:
    return 1.0


SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine": _cosine,
    "linear": _linear,
    "constant": _constant,
}
"""Share of the peak learning rate by the share of the steps done after the warm-up."""


def make_optimizer(model: torch.nn.Module, train: Train) -> torch.optim.AdamW:
    """Make AdamW over the trainable parameters; vectors (biases, norms) never decay.

    Source: Loshchilov and Hutter 2019, Decoupled Weight Decay Regularization (arXiv 1711.05101).
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in parameters if parameter.ndim >= 2]
    vectors = [parameter for parameter in parameters if parameter.ndim < 2]
    groups: list[dict[str, Any]] = [{"params": matrices, "weight_decay": train.weight_decay}]
    if vectors:
        groups.append({"params": vectors, "weight_decay": 0.0})
    return torch.optim.AdamW(groups, lr=train.learning_rate)


def learning_rate(step: int, *, total_steps: int, train: Train) -> float:
    """Return the learning rate of a step, counted from 0; a function of the step alone.

    It rises linearly over the warm-up and then follows the schedule. This is the schedule of
    transformers begun at its second value: its first one is 0, and a step of 0 learns nothing.
    """
    warmup = math.ceil(total_steps * train.warmup_ratio)
    if step < warmup:
        return train.learning_rate * (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, total_steps - warmup)
    return train.learning_rate * SCHEDULES[train.schedule](progress)


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Put one learning rate into every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = value
