"""Attention over a row that holds a tree of examples: each sees what it begins with and itself."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

IMPLEMENTATION = "ftool_row"
"""The name under which transformers finds it; without a row it is transformers' own sdpa."""
IN_SLICES = frozenset({"cpu"})
"""Devices with a kernel that gives the logsumexp of its part; others gather keys and values."""


class Node(NamedTuple):
    """Tokens of a row that the same examples share; what continues them follows directly."""

    start: int
    end: int
    last: int  # where the tokens that continue this node end; `end` where none does


@dataclass(frozen=True, slots=True)
class Row:
    """How the tokens of a row belong together: its nodes in their order, parents first."""

    nodes: tuple[Node, ...]

    def above(self, node: Node) -> list[Node]:
        """Return the ancestors of a node, from the root down."""
        return [other for other in self.nodes if other.end <= node.start < other.last]


def use_rows(model: Any) -> None:
    """Switch a transformers model to this attention; calls without a row stay as they were."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(IMPLEMENTATION, attend)
    AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)
    model.set_attn_implementation(IMPLEMENTATION)


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    row: Row | None = None,
    **settings: Any,
) -> tuple[torch.Tensor, None]:
    """Attend as transformers' attention functions do.

    Linear layers run over the row as it is. Only here are examples told apart, so the work grows
    with the length of an example, not with that of the row.

    Args:
        module: the attention layer.
        query: [1, heads, row, width].
        key: [1, key heads, row, width].
        value: [1, key heads, row, width].
        attention_mask: of a call without a row.
        row: how the tokens belong together.
        settings: what the architecture asks for (scaling, dropout, window).

    Returns:
        [1, row, heads, width].

    Raises:
        ValueError: the architecture asks for attention that a row does not have.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward as sdpa

    if row is None:
        return sdpa(module, query, key, value, attention_mask, **settings)  # type: ignore[no-any-return]
    refused = ("sliding_window", "s_aux", "position_bias", "softcap")
    if any(settings.get(name) is not None for name in refused):
        raise ValueError("windows, sinks, caps and position biases do not work on a row")
    return _attend_on_row(module, query, key, value, row, settings), None


@torch.compiler.disable  # type: ignore[untyped-decorator]  # each row would be compiled anew
def _attend_on_row(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    row: Row,
    settings: dict[str, Any],
) -> torch.Tensor:
    """Return [1, row, heads, width]."""
    if query.device.type in IN_SLICES and not settings.get("dropout"):
        # Mixed precision may leave normalized queries and keys wider than the values.
        query, key = query.to(value.dtype), key.to(value.dtype)
        scale = settings.get("scaling") or query.shape[-1] ** -0.5
        found: torch.Tensor = _TreeAttention.apply(query, key, value, row, scale)  # type: ignore[no-untyped-call]
        return found.transpose(1, 2)
    from transformers.integrations.sdpa_attention import sdpa_attention_forward as sdpa

    parts = []
    for node in row.nodes:
        own, seen, sees = _gathered(key, value, row, node)
        parts.append(sdpa(module, query[:, :, own], *seen, sees, **settings)[0])
    return torch.cat(parts, dim=1)


def _gathered(
    key: torch.Tensor, value: torch.Tensor, row: Row, node: Node
) -> tuple[slice, list[torch.Tensor], torch.Tensor | None]:
    """Return where a node is, the keys and values of all that it sees, and the mask it needs."""
    spans = [slice(one.start, one.end) for one in (*row.above(node), node)]
    length = node.end - node.start
    if len(spans) == 1:  # causal without a mask, which is quicker
        return spans[0], [states[:, :, spans[0]] for states in (key, value)], None
    seen = [torch.cat([states[:, :, span] for span in spans], dim=2) for states in (key, value)]
    count = seen[0].shape[2]
    sees = torch.ones(length, count, dtype=torch.bool, device=key.device).tril(count - length)
    return spans[-1], seen, sees[None, None]


class _TreeAttention(torch.autograd.Function):
    """Attention on a CPU in slices of the row: nothing is copied, padded or masked.

    What a token sees is attended to node by node, all that continue a node at once. Parts are
    weighed by their logsumexp; given output and logsumexp of the whole, the backward pass of a
    part is its share of the gradient.

    Source: Liu, Zaharia, Abbeel 2023, Ring Attention with Blockwise Transformers, section 3.
    """

    @staticmethod
    def forward(ctx: Any, query: Any, key: Any, value: Any, row: Row, scale: float) -> torch.Tensor:
        """Return [1, heads, row, width]."""
        flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        out = torch.empty_like(query)
        wide = torch.promote_types(query.dtype, torch.float32)
        sums = query.new_empty(query.shape[0], query.shape[2], query.shape[1], dtype=wide)
        sums = sums.transpose(1, 2)  # [1, heads, row]
        for start, end, _ in row.nodes:
            own = slice(start, end)
            states = (query[:, :, own], key[:, :, own], value[:, :, own])
            out[:, :, own], sums[:, :, own] = flash(*states, is_causal=True, scale=scale)
        for start, end, last in row.nodes:
            if end == last:
                continue
            own, below = slice(start, end), slice(end, last)
            states = (query[:, :, below], key[:, :, own], value[:, :, own])
            part, logsumexp = flash(*states, scale=scale)
            share = torch.sigmoid(logsumexp - sums[:, :, below])[..., None]
            out[:, :, below].lerp_(part, share.to(part.dtype))
            sums[:, :, below] = torch.logaddexp(logsumexp, sums[:, :, below])
        ctx.save_for_backward(query, key, value, out, sums)
        ctx.row, ctx.scale = row, scale
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Any, ...]:
        """Return the gradients of query, key and value."""
        query, key, value, out, sums = ctx.saved_tensors
        arrived, scale = gradients[0], ctx.scale
        back = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
        of_query, of_key, of_value = map(torch.zeros_like, (query, key, value))
        for start, end, last in ctx.row.nodes:
            own = slice(start, end)
            for asks, is_causal in ((own, True), (slice(end, last), False)):
                if asks.start == asks.stop:
                    continue
                states = (query[:, :, asks], key[:, :, own], value[:, :, own])
                whole = (out[:, :, asks], sums[:, :, asks])
                parts = back(arrived[:, :, asks], *states, *whole, 0.0, is_causal, scale=scale)
                of_query[:, :, asks] += parts[0]
                of_key[:, :, own] += parts[1]
                of_value[:, :, own] += parts[2]
        return of_query, of_key, of_value, None, None
