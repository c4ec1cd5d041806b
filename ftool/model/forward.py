"""One forward pass: shared prefix, logits only where a token is learned, token losses."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from ftool.example import EncodedExample
from ftool.model.attention import IMPLEMENTATION, use_rows
from ftool.model.batch import Batch, make_batch, make_shared_batch, shared_prefix

TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 1e-2}
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
            logits_to_keep=batch.predicts,
            use_cache=False,
            **_row_of(model, batch),
        ).logits  # [learned, vocabulary]
    else:
        every = model(input_ids=batch.input_ids, use_cache=False).logits
        logits = every[batch.predicts]
    # At least float32: half precisions lose the small differences between likely tokens.
    exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return torch.nn.functional.cross_entropy(exact, batch.targets, reduction="none")


def _row_of(model: Any, batch: Batch) -> dict[str, Any]:
    """Return what a call on a row takes besides.

    A mask of four dimensions is passed on as it is, so the model makes none of its own; attention
    over a row reads none.
    """
    if batch.row is None:
        return {}
    if unwrapped(model).config._attn_implementation != IMPLEMENTATION:
        raise ValueError("a row needs enable_shared_prefix first; other attention mixes examples")
    unread = torch.zeros(1, 1, 1, 1, device=batch.targets.device)
    return {"row": batch.row, "attention_mask": unread}


def additive_mask(sees: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return the mask [.., 1, queries, keys] that every attention implementation adds."""
    mask = torch.zeros(sees.shape, dtype=dtype, device=sees.device)
    mask.masked_fill_(~sees, torch.finfo(dtype).min)
    return mask[None, None] if mask.ndim == 2 else mask[:, None]


@torch.no_grad()
def enable_shared_prefix(model: Any, examples: Sequence[EncodedExample]) -> bool:
    """Prepare a model to run a shared prefix once, if that gives the losses of plain rows.

    Found out on real examples: it does not where attention is windowed, or layers are recurrent.
    A model that cannot is left as it was.
    """
    prefix = shared_prefix(examples)
    if not prefix or not takes_positions(model):
        return False
    training = model.training
    model.eval()
    inner = unwrapped(model)
    before = inner.config._attn_implementation
    padded = [make_batch([example]).to(model.device) for example in examples]
    plain = torch.cat([token_losses(model, batch) for batch in padded])
    try:
        use_rows(inner)
        batch = make_shared_batch(examples, prefix=prefix).to(model.device)
        shared = token_losses(model, batch)
    except (RuntimeError, ValueError, TypeError):
        shared = torch.full_like(plain, torch.nan)
    model.train(training)
    tolerance = TOLERANCE[model.dtype]
    if torch.allclose(shared, plain, rtol=tolerance, atol=tolerance):
        return True
    inner.set_attn_implementation(before)
    return False


def unwrapped(model: Any) -> Any:
    """Return the transformers model inside what accelerate and peft put around it."""
    while hasattr(model, "module"):
        model = model.module
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def takes_positions(model: Any) -> bool:
    """Tell whether an architecture computes logits at chosen positions."""
    parameters = inspect.signature(unwrapped(model).forward).parameters
    return "logits_to_keep" in parameters and "position_ids" in parameters
