"""Attention over one row of examples that share a prefix: each sees the prefix and itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

IMPLEMENTATION = "ftool_row"
"""The name under which transformers finds it; without a row it is transformers' own sdpa."""
GROUP_RATIO = 1.5
"""How much longer than the shortest the longest example of a group may be: a bound on padding."""


@dataclass(frozen=True, slots=True)
class Group:
    """Neighbouring examples of similar length, padded to one only where they attend."""

    takes: torch.Tensor  # [examples * length] places in the row; padding repeats the first
    keeps: torch.Tensor  # [tokens] which of these are no padding
    sees: torch.Tensor  # [length, prefix + length] bool: the prefix and what came before
    examples: int


@dataclass(frozen=True, slots=True)
class Row:
    """The tokens of a row: a common prefix, then the rest of every example."""

    prefix: int
    groups: tuple[Group, ...]

    def to(self, device: torch.device) -> "Row":
        """Return the row on another device."""
        groups = [
            Group(g.takes.to(device), g.keeps.to(device), g.sees.to(device), g.examples)
            for g in self.groups
        ]
        return Row(self.prefix, tuple(groups))


def make_row(prefix: int, lengths: Sequence[int]) -> Row:
    """Lay out a row.

    Args:
        prefix: tokens that all examples share.
        lengths: tokens of each example behind the prefix, in the order of the row.
    """
    groups: list[list[int]] = []
    for length in lengths:
        group = groups[-1] if groups else []
        if not group or max(*group, length) > GROUP_RATIO * min(*group, length):
            groups.append([])
        groups[-1].append(length)
    made, start = [], prefix
    for group in groups:
        made.append(_make_group(prefix, start, group))
        start += sum(group)
    return Row(prefix, tuple(made))


def _make_group(prefix: int, start: int, lengths: Sequence[int]) -> Group:
    longest = max(lengths)
    places = torch.arange(longest)
    real = places < torch.tensor(lengths)[:, None]  # [examples, length]
    starts = torch.tensor([start + sum(lengths[:count]) for count in range(len(lengths))])
    takes = torch.where(real, starts[:, None] + places, start)
    seen = torch.ones(longest, prefix + longest, dtype=torch.bool).tril(prefix)
    return Group(takes.flatten(), real.flatten().nonzero()[:, 0], seen, len(lengths))


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
    if any(settings.get(name) is not None for name in ("sliding_window", "s_aux", "position_bias")):
        raise ValueError("windows, sinks and position biases do not work on a row")
    shared = slice(0, row.prefix)
    parts = []
    if row.prefix:
        prefix = [states[:, :, shared] for states in (query, key, value)]
        parts.append(sdpa(module, *prefix, None, **settings)[0][0])  # [prefix, heads, width]
    for group in row.groups:
        own = [_take(states, group) for states in (query, key, value)]
        seen = [
            torch.cat([states[:, :, shared].expand(group.examples, -1, -1, -1), rest], dim=2)
            for states, rest in zip((key, value), own[1:], strict=True)
        ]
        found = sdpa(module, own[0], *seen, group.sees[None, None], **settings)[0]
        parts.append(found.flatten(0, 1).index_select(0, group.keeps))  # [tokens, heads, width]
    return torch.cat(parts)[None], None


def _take(states: torch.Tensor, group: Group) -> torch.Tensor:
    """Return the states of a group's examples, padded: [examples, heads, length, width]."""
    taken = states[0].index_select(1, group.takes)
    padded = taken.view(len(taken), group.examples, -1, taken.shape[-1])
    return padded.transpose(0, 1)
