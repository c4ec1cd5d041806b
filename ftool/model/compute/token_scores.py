"""Losses of learned tokens, and whether the model put each of them first."""

from typing import Any

import torch

from ftool.model.compute.batch import Batch
from ftool.model.compute.forward import token_losses, unwrapped


@torch.inference_mode()
def token_scores(model: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss of every learned token in nats, and whether it is the likeliest one.

    The logits are looked at where the head makes them, a few at a time.

    Args:
        model: in eval mode.
        batch: on the model's device.

    Returns:
        Losses [learned] and bools [learned], in the order of `batch.targets`.
    """
    likeliest: list[torch.Tensor] = []
    head = unwrapped(model).get_output_embeddings()
    hook = head.register_forward_hook(lambda _, __, logits: likeliest.append(logits.argmax(-1)))
    try:
        losses = token_losses(model, batch)
    finally:
        hook.remove()
    if likeliest[-1].shape == batch.predicts.shape:
        found = likeliest[-1][batch.predicts]
    else:
        # Of a head that was asked again, since the model works on its logits, the last ones.
        found = torch.cat(likeliest)[-len(batch.targets) :]
    return losses, found == batch.targets
