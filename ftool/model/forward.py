"""One forward pass: logits only where a token is learned, and the losses of those tokens."""

import inspect
from typing import Any

import torch

from ftool.model.batch import Batch


def token_losses(model: Any, batch: Batch) -> torch.Tensor:
    """Return the loss of every learned token, in nats.

    The vocabulary is by far the widest layer, so it is computed at the learned positions only.

    Args:
        model: what accelerate wrapped, called exactly once.
        batch: on the model's device.

    Returns:
        Losses in the order of `batch.targets`.  # [learned]
    """
    if takes_positions(model):
        logits = model(
            input_ids=batch.input_ids,
            position_ids=batch.position_ids,
            logits_to_keep=batch.predicts,
            use_cache=False,
        ).logits  # [learned, vocabulary]
    else:
        every = model(input_ids=batch.input_ids, use_cache=False).logits
        logits = every[batch.predicts]
    return torch.nn.functional.cross_entropy(logits.float(), batch.targets, reduction="none")


def takes_positions(model: Any) -> bool:
    """Tell whether an architecture computes logits at chosen positions."""
    while hasattr(model, "module"):
        model = model.module
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    parameters = inspect.signature(inner.forward).parameters
    return "logits_to_keep" in parameters and "position_ids" in parameters
