"""Normalization of the loss over the global batch and the ranks."""

import torch


def normalized_loss(
    losses: torch.Tensor, *, learned_tokens: float, processes: int = 1
) -> torch.Tensor:
    """Return what one micro-batch adds to the loss of its global batch.

    The sum over the micro-batches is the mean over all learned tokens, however they are divided;
    the mean of means would weigh tokens of short answers more. Distributed training averages
    gradients over the processes, hence the factor.

    Args:
        losses: of the micro-batch's learned tokens, in nats.  # [learned]
        learned_tokens: in the whole global batch, over all processes; infinity counts nothing.
        processes: that share the global batch.
    """
    return losses.sum() * processes / learned_tokens
