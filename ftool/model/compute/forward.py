"""One forward pass: shared prefix, logits only where a token is learned, token losses."""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from ftool.example import EncodedExample
from ftool.model.compute.attention import IMPLEMENTATION, use_rows
from ftool.model.compute.batch import Batch, make_batch, make_row
from ftool.model.compute.loss import cross_entropy, losses_of_head
from ftool.shortage import is_out_of_memory

PLAIN_TOKENS = 512
"""Learned tokens up to which all their logits are held at once."""
TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 1e-2}
"""What rounding may change by dtype; a mask that is not understood changes far more."""


def token_losses(model: Any, batch: Batch) -> torch.Tensor:
    """Return the loss of every learned token, in nats.

    The vocabulary is by far the widest layer, so it is computed at the learned positions only,
    and where these are many, a few at a time.

    Args:
        model: what accelerate wrapped, called exactly once.
        batch: on the model's device.

    Returns:
        Losses in the order of `batch.targets`.  # [learned]
    """
    if not takes_positions(model):
        every = model(input_ids=batch.input_ids, use_cache=False).logits
        return cross_entropy(every[batch.predicts], batch.targets)

    def run() -> torch.Tensor:  # [learned, vocabulary]
        with _passed_over(model, batch) as inputs:
            return model(  # type: ignore[no-any-return]
                **inputs,
                position_ids=batch.position_ids,
                logits_to_keep=batch.predicts,
                use_cache=False,
                **_row_of(model, batch),
            ).logits

    chunked = None
    if len(batch.targets) > PLAIN_TOKENS:
        chunked = losses_of_head(unwrapped(model), batch.targets, run)
    return cross_entropy(run(), batch.targets) if chunked is None else chunked


@contextmanager
def _passed_over(model: Any, batch: Batch) -> Iterator[dict[str, torch.Tensor]]:
    """Yield what the model reads; blocks whose work is given pass it on meanwhile."""
    if batch.given is None:
        yield {"input_ids": batch.input_ids}
        return
    blocks = blocks_of(unwrapped(model))
    frozen = list(blocks[: batch.given.blocks])
    for place in range(len(frozen)):
        blocks[place] = _PassingOn()
    try:
        yield {"inputs_embeds": batch.given.hidden}
    finally:
        for place, block in enumerate(frozen):
            blocks[place] = block


class _PassingOn(torch.nn.Module):
    def forward(self, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return hidden_states


def blocks_of(model: Any) -> torch.nn.ModuleList:
    """Return the transformer blocks of a model, in order.

    Raises:
        ValueError: it has no list of that many blocks.
    """
    count = model.config.get_text_config().num_hidden_layers
    for module in model.get_decoder().modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == count:
            return module
    raise ValueError(f"{type(model).__name__} has no list of its {count} blocks")


def _row_of(model: Any, batch: Batch) -> dict[str, Any]:
    """Return what a call on a row takes besides.

    A mask of four dimensions is passed on as it is, so the model makes none of its own; attention
    over a row reads none.
    """
    if batch.row is None:
        return {}
    if unwrapped(model).config._attn_implementation != IMPLEMENTATION:
        raise ValueError("a row needs enable_rows first; other attention mixes examples")
    unread = torch.zeros(1, 1, 1, 1, device=batch.targets.device)
    return {"row": batch.row, "attention_mask": unread}


def additive_mask(sees: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return the mask [.., 1, queries, keys] that every attention implementation adds."""
    mask = torch.zeros(sees.shape, dtype=dtype, device=sees.device)
    mask.masked_fill_(~sees, torch.finfo(dtype).min)
    return mask[None, None] if mask.ndim == 2 else mask[:, None]


@torch.no_grad()
def enable_rows(model: Any, examples: Sequence[EncodedExample]) -> bool:
    """Prepare a model to run examples in rows, if that gives the losses of plain batches.

    Found out on real examples, the longest: it does not where attention is windowed, or layers
    are recurrent. A model that cannot is left as it was.
    """
    inner = unwrapped(model)
    before: str = inner.config._attn_implementation
    if before == IMPLEMENTATION or not takes_positions(model):
        return before == IMPLEMENTATION
    longest = sorted(examples, key=lambda example: len(example.input_ids))[-2:]
    tried = [longest[-1], *reversed(longest)]  # one twice, so that something is shared
    tolerance = TOLERANCE[model.dtype]
    with in_mode(model, training=False):
        plain = torch.cat([token_losses(model, make_batch([e]).to(model.device)) for e in tried])
        try:
            use_rows(inner)
            found = token_losses(model, make_row(tried).to(model.device))
            is_equal = torch.allclose(found, plain, rtol=tolerance, atol=tolerance)
        except (RuntimeError, ValueError, TypeError) as error:
            if is_out_of_memory(error):
                raise
            is_equal = False
    if not is_equal:
        inner.set_attn_implementation(before)
    return is_equal


@contextmanager
def in_mode(model: Any, *, training: bool) -> Iterator[None]:
    """Put a model into training or evaluation mode for a while."""
    was = model.training
    model.train(training)
    try:
        yield
    finally:
        model.train(was)


def unwrapped(model: Any) -> Any:
    """Return the transformers model inside what accelerate and peft put around it."""
    while hasattr(model, "module"):
        model = model.module
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def takes_positions(model: Any) -> bool:
    """Tell whether an architecture computes logits at chosen positions."""
    parameters = inspect.signature(unwrapped(model).forward).parameters
    return "logits_to_keep" in parameters and "position_ids" in parameters
