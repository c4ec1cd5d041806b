"""Attention over prompts that continue one beginning, and over what continues each of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from ftool.model.compute.attention import IN_SLICES
from ftool.model.compute.forward import additive_mask, unwrapped

IMPLEMENTATION = "ftool_branches"
"""The name under which transformers finds it."""
SPARE_COLUMNS = 32

_REFUSED = ("sliding_window", "s_aux", "position_bias", "softcap")


@dataclass(frozen=True, slots=True)
class Call:
    """Where the tokens of one forward pass belong; linear layers run them in one row.

    `slots` says whose branch a token is on, `columns` where it is remembered there, `places` which
    of the branch's tokens in this call it is. `sees` is None where every branch is new: each
    token sees the earlier ones of its branch.
    """

    slots: torch.Tensor  # [tokens]
    columns: torch.Tensor  # [tokens]
    places: torch.Tensor  # [tokens]
    branches: int
    width: int  # tokens of one branch at most
    used: int  # columns that hold anything, this call's included
    sees: torch.Tensor | None  # [branches, width, used] bool

    def to(self, device: torch.device) -> "Call":
        """Return the call on another device."""
        slots, columns, places = (t.to(device) for t in (self.slots, self.columns, self.places))
        sees = None if self.sees is None else self.sees.to(device)
        return replace(self, slots=slots, columns=columns, places=places, sees=sees)


@dataclass(slots=True)
class Branches:
    """Keys and values of every layer: of the beginning once, and of every branch.

    Room for the branches is kept from batch to batch, so that nothing is copied while they grow.
    """

    call: Call | None = None  # None runs the beginning
    _beginning: dict[int, list[torch.Tensor]] = field(default_factory=dict)
    _own: dict[int, list[torch.Tensor]] = field(default_factory=dict)
    _mask: torch.Tensor | None = None

    def start(self, call: Call, dtype: torch.dtype) -> None:
        """Make ready for the next forward pass."""
        self.call, self._mask = call, None
        if call.sees is not None:
            self._mask = additive_mask(call.sees, dtype)

    def begin(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> None:
        """Remember the beginning."""
        self._beginning[layer] = [key, value]

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """Return what the tokens of the call read, [1, tokens, heads, width]."""
        call = self.call
        assert call is not None
        keys, values = self._remembered(layer, call, key, value)
        padded = query.new_zeros(call.branches, call.width, *query.shape[1::2])
        padded[call.slots, call.places] = query[0].transpose(0, 1)
        asked = padded.transpose(1, 2)
        if query.device.type not in IN_SLICES:
            found = self._in_one(layer, call, asked, keys, values, scale)
            return found.transpose(1, 2)[call.slots, call.places][None]
        flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        own, sums = flash(
            *(asked, keys, values), is_causal=call.sees is None, attn_mask=self._mask, scale=scale
        )
        read: torch.Tensor = own.transpose(1, 2)[call.slots, call.places]  # [tokens, heads, width]
        if layer not in self._beginning:
            return read[None]
        # Source: Liu, Zaharia, Abbeel 2023, Ring Attention, section 3: parts by their logsumexp.
        common, of_common = flash(query, *self._beginning[layer], scale=scale)
        sums = sums.transpose(1, 2)[call.slots, call.places]  # [tokens, heads]
        share = torch.sigmoid(of_common[0].transpose(0, 1) - sums)[..., None]
        return read.lerp(common[0].transpose(0, 1), share.to(read.dtype))[None]

    def _remembered(
        self, layer: int, call: Call, key: torch.Tensor, value: torch.Tensor
    ) -> list[torch.Tensor]:
        """Write keys and values into their columns; return all, [branches, heads, used, width]."""
        new = [states[0].transpose(0, 1) for states in (key, value)]  # [tokens, heads, width]
        room = self._own.get(layer)
        if room is None or len(room[0]) < call.branches or room[0].shape[1] < call.used:
            grown = [_zeros(states, call) for states in new]
            for old, wider in zip(room or (), grown, strict=False):
                kept = old[: call.branches]
                wider[: len(kept), : kept.shape[1]] = kept[:, : wider.shape[1]]
            room = self._own[layer] = grown
        for states, one in zip(room, new, strict=True):
            states[call.slots, call.columns] = one
        return [states[: call.branches, : call.used].transpose(1, 2) for states in room]

    def _in_one(
        self,
        layer: int,
        call: Call,
        asked: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        """Attend to beginning and branch at once, for kernels that give no logsumexp."""
        sees = call.sees
        if sees is None:
            causal = torch.ones(call.width, call.used, dtype=torch.bool, device=keys.device).tril()
            sees = causal.expand(call.branches, -1, -1)
        if layer in self._beginning:
            common = [one.expand(call.branches, -1, -1, -1) for one in self._beginning[layer]]
            pairs = zip(common, (keys, values), strict=True)
            keys, values = (torch.cat(pair, dim=2) for pair in pairs)
            sees = torch.nn.functional.pad(sees, (common[0].shape[2], 0), value=True)
        return torch.nn.functional.scaled_dot_product_attention(
            asked, keys, values, attn_mask=sees[:, None], scale=scale, enable_gqa=True
        )


def _zeros(states: torch.Tensor, call: Call) -> torch.Tensor:
    """Return room; zeros, since what is masked is still multiplied by its weight of zero."""
    return states.new_zeros(call.branches, call.used + SPARE_COLUMNS, *states.shape[1:])


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    branches: Branches,
    **settings: Any,
) -> tuple[torch.Tensor, None]:
    """Attend as transformers' attention functions do.

    Raises:
        ValueError: the architecture asks for attention that branches do not have.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward as sdpa

    if any(settings.get(name) is not None for name in _REFUSED):
        raise ValueError("windows, sinks, caps and position biases do not work on branches")
    if branches.call is None:
        branches.begin(module.layer_idx, key, value)
        return sdpa(module, query, key, value, attention_mask, **settings)  # type: ignore[no-any-return]
    query, key = query.to(value.dtype), key.to(value.dtype)
    scale = settings.get("scaling") or query.shape[-1] ** -0.5
    return branches.attend(module.layer_idx, query, key, value, scale), None


@contextmanager
def branching(model: Any) -> Iterator[None]:
    """Switch a model to this attention for a while."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(IMPLEMENTATION, attend)
    AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)
    inner = unwrapped(model)
    before = inner.config._attn_implementation
    inner.set_attn_implementation(IMPLEMENTATION)
    try:
        yield
    finally:
        inner.set_attn_implementation(before)
