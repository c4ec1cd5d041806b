"""One forward pass: shared prefix, logits only where a token is learned, token losses."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from ftool.example import EncodedExample
from ftool.model.batch import Batch, make_batch, make_shared_batch, shared_prefix

TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 1e-2}
"""What rounding may change by dtype; a mask that is not understood changes far more."""


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
            attention_mask=None if batch.sees is None else additive_mask(batch.sees, model.dtype),
            logits_to_keep=batch.predicts,
            use_cache=False,
        ).logits  # [learned, vocabulary]
    else:
        every = model(input_ids=batch.input_ids, use_cache=False).logits
        logits = every[batch.predicts]
    return torch.nn.functional.cross_entropy(logits.float(), batch.targets, reduction="none")


def additive_mask(sees: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return the mask [.., 1, queries, keys] that every attention implementation adds."""
    mask = torch.zeros(sees.shape, dtype=dtype, device=sees.device)
    mask.masked_fill_(~sees, torch.finfo(dtype).min)
    return mask[None, None] if mask.ndim == 2 else mask[:, None]


@torch.no_grad()
def can_share_prefix(model: Any, examples: Sequence[EncodedExample]) -> bool:
    """Find out on real examples whether a shared prefix gives the losses of a padded batch.

    It does not where attention is windowed or recurrent, or the mask is not understood.
    """
    prefix = shared_prefix(examples)
    if not prefix or not takes_positions(model):
        return False
    training = model.training
    model.eval()
    try:
        padded = [make_batch([example]).to(model.device) for example in examples]
        plain = torch.cat([token_losses(model, batch) for batch in padded])
        batch = make_shared_batch(examples, prefix=prefix).to(model.device)
        shared = token_losses(model, batch)
    except (RuntimeError, ValueError):
        return False
    finally:
        model.train(training)
    tolerance = TOLERANCE[model.dtype]
    return bool(torch.allclose(shared, plain, rtol=tolerance, atol=tolerance))


def takes_positions(model: Any) -> bool:
    """Tell whether an architecture computes logits at chosen positions."""
    while hasattr(model, "module"):
        model = model.module
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    parameters = inspect.signature(inner.forward).parameters
    return "logits_to_keep" in parameters and "position_ids" in parameters
