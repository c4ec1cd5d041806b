"""Losses of learned tokens without a table of all tokens and the whole vocabulary."""

from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import torch
from torch.utils.checkpoint import checkpoint

CHUNK_BYTES = 24 * 2**20
"""Logits held at a time; the C library gives larger blocks back and fetches them anew."""

LEARNING_CHUNKS = 4
"""Chunks that a head that learns takes at once: each brings a gradient of all its weights."""

_WORKS_ON_LOGITS: "WeakSet[torch.nn.Module]" = WeakSet()


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the loss of every row of logits [tokens, vocabulary] in nats: [tokens]."""
    # At least float32: half precisions lose the small differences between likely tokens.
    exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return torch.nn.functional.cross_entropy(exact, targets, reduction="none")


def losses_of_head(
    model: Any, targets: torch.Tensor, run: Callable[[], torch.Tensor]
) -> torch.Tensor | None:
    """Run a model whose head gives the losses of its tokens in place of their logits.

    The head is exchanged inside the model, so a wrapper around it (DDP, FSDP) sees one ordinary
    call. A model that does anything to its logits does it to the losses; that is noticed.

    Args:
        model: the transformers model itself.
        targets: the tokens that the learned positions must predict.  # [learned]
        run: runs the wrapped model at the learned positions and returns its logits.

    Returns:
        Losses [learned], or None where the model works on its logits (softcapping, scaling).
    """
    head = model.get_output_embeddings()
    if head is None or model in _WORKS_ON_LOGITS:
        return None
    chunk = max(1, CHUNK_BYTES // (4 * model.config.get_text_config().vocab_size))
    losing = _LosingHead(head, targets, chunk)
    model.set_output_embeddings(losing)
    try:
        returned = run()
    finally:
        model.set_output_embeddings(head)
    if len(losing.losses) == 1 and returned is losing.losses[0]:
        return returned
    _WORKS_ON_LOGITS.add(model)
    return None


class _LosingHead(torch.nn.Module):
    """A head that returns losses."""

    def __init__(self, head: torch.nn.Module, targets: torch.Tensor, chunk: int) -> None:
        super().__init__()
        self.head = head
        self.targets = targets
        self.chunk = chunk
        self.losses: list[torch.Tensor] = []

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the losses [tokens] of hidden states [tokens, width]."""
        self.losses.append(chunked_losses(hidden, self.targets, self.head, chunk=self.chunk))
        return self.losses[-1]


def chunked_losses(
    hidden: torch.Tensor, targets: torch.Tensor, head: torch.nn.Module, *, chunk: int
) -> torch.Tensor:
    """Return the losses of `cross_entropy(head(hidden), targets)`, a chunk of tokens at a time.

    A frozen head gives the gradient of the hidden states at once, while a chunk's logits are
    there; a head that learns computes them a second time in the backward pass.

    Args:
        hidden: what the head reads.  # [tokens, width]
        targets: the token behind each.  # [tokens]
        head: gives logits [tokens, vocabulary].
        chunk: tokens at a time.
    """

    def losses(rows: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return cross_entropy(head(rows), wanted)

    learns = any(parameter.requires_grad for parameter in head.parameters())
    if torch.is_grad_enabled() and not learns:
        return _FrozenHead.apply(hidden, targets, losses, chunk)  # type: ignore[no-any-return, no-untyped-call]
    found = []
    chunk *= LEARNING_CHUNKS if learns else 1
    parts = zip(torch.split(hidden, chunk), torch.split(targets, chunk), strict=True)
    for rows, wanted in parts:
        if torch.is_grad_enabled():
            found.append(checkpoint(losses, rows, wanted, use_reentrant=False))
        else:
            found.append(losses(rows, wanted))
    return torch.cat(found)


class _FrozenHead(torch.autograd.Function):
    """Losses together with the gradient of their hidden states.

    A token's loss reads its own hidden state alone, so what arrives for it in the backward pass
    is a factor of its row. Both results are laid out first: pieces of them between the blocks of
    logits would keep these from being used again.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        targets: torch.Tensor,
        losses: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        chunk: int,
    ) -> torch.Tensor:
        exact = torch.promote_types(hidden.dtype, torch.float32)
        found = hidden.new_empty(len(hidden), dtype=exact)
        gradients = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        for start in range(0, len(hidden), chunk):
            part = slice(start, start + chunk)
            with torch.enable_grad():
                rows = hidden[part].detach().requires_grad_(gradients is not None)
                own = losses(rows, targets[part])
                total = own.sum()
            if gradients is not None:
                gradients[part] = torch.autograd.grad(total, rows)[0]
            found[part] = own.detach()
        ctx.save_for_backward(gradients)
        return found

    @staticmethod
    def backward(ctx: Any, *arriving: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradients,) = ctx.saved_tensors
        return (gradients * arriving[0][:, None]).to(gradients.dtype), None, None, None
