"""LoRA layers that read one input, computed together: fewer passes over memory than peft's own."""

from typing import Any

import torch
from peft.tuners.lora.layer import Linear

SAME_INPUT = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""Sibling layers that attention and MLP call one after the other with the same tensor."""


def join_adapters(model: torch.nn.Module) -> None:
    """Let the plain LoRA layers of a model compute in groups; weights and files stay peft's.

    Exact up to the order of sums. Layers with dropout, variants or a quantized base stay as they
    are, and so does every call in mixed precision.
    """
    for parent in model.modules():
        plain = {name: child for name, child in parent.named_children() if _is_plain(child)}
        groups = [[plain.pop(name) for name in names if name in plain] for names in SAME_INPUT]
        for group in (*groups, *([layer] for layer in plain.values())):
            for layer in group:
                layer.__class__ = JoinedLinear
                layer.__dict__["group"] = group  # past torch, which would register submodules


def _is_plain(layer: Any) -> bool:
    if type(layer) is not Linear or type(layer.get_base_layer()) is not torch.nn.Linear:
        return False
    is_dry = all(isinstance(part, torch.nn.Identity) for part in layer.lora_dropout.values())
    return is_dry and not layer.lora_variant


class JoinedLinear(Linear):  # type: ignore[misc]
    """A LoRA layer whose first call computes its whole group; the others fetch their part."""

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return outputs [.., out] for inputs [.., in]."""
        group = self.__dict__["group"]
        if args or kwargs or not all(layer.can_join(x) for layer in group):
            return super().forward(x, *args, **kwargs)  # type: ignore[no-any-return]
        read, output = self.__dict__.pop("held", (None, None))
        if read is not x:
            weights = [weight for layer in group for weight in layer.weights()]
            rows = x.reshape(-1, x.shape[-1])
            made = _Joined.apply(rows, self.scaling["default"], *weights)  # type: ignore[no-untyped-call]
            for layer, output in zip(group, made, strict=True):
                # Shaped here, for what a function made as a view may not be changed in place.
                layer.__dict__["held"] = (x, output.view(*x.shape[:-1], -1))
            _, output = self.__dict__.pop("held")
        return output  # type: ignore[no-any-return]

    def can_join(self, x: torch.Tensor) -> bool:
        """Tell whether a call is one of a single adapter in the precision of its weights."""
        if self.disable_adapters or self.merged or self.active_adapters != ["default"]:
            return False
        if torch.is_autocast_enabled(x.device.type) or torch.compiler.is_compiling():
            return False
        return {weight.dtype for weight in self.weights() if weight is not None} == {x.dtype}

    def weights(self) -> tuple[torch.Tensor | None, ...]:
        """Return W [out, in], its bias, A [rank, in] and B [out, rank]."""
        base = self.get_base_layer()
        return base.weight, base.bias, self.lora_A["default"].weight, self.lora_B["default"].weight


class _Joined(torch.autograd.Function):
    """x W' + s x A' B' for every layer of a group, x [tokens, in]; W and its bias are frozen.

    Source: Hu et al. 2021, LoRA (arXiv 2106.09685), equation 3, and its derivatives.
    """

    @staticmethod
    def forward(
        ctx: Any, rows: torch.Tensor, scale: float, *weights: Any
    ) -> tuple[torch.Tensor, ...]:
        downs, ups = weights[2::4], weights[3::4]
        down = torch.cat(downs)  # [ranks, in]
        low = rows @ down.T  # [tokens, ranks]
        outputs = []
        own = torch.split(low, [len(each) for each in downs], dim=1)
        for base, bias, part, up in zip(weights[::4], weights[1::4], own, ups, strict=True):
            output = torch.nn.functional.linear(rows, base, bias)
            outputs.append(output.addmm_(part, up.T, alpha=scale))
        ctx.save_for_backward(rows, low, down, *weights[::4], *ups)
        ctx.scale = scale
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *arriving: torch.Tensor) -> tuple[Any, ...]:
        rows, low, down, *weights = ctx.saved_tensors
        bases, ups = weights[: len(arriving)], weights[len(arriving) :]
        ranks = [up.shape[1] for up in ups]
        back = torch.cat([g @ up for g, up in zip(arriving, ups, strict=True)], dim=1)
        back.mul_(ctx.scale)
        for_weights: list[torch.Tensor | None] = []
        own = (low * ctx.scale).split(ranks, dim=1)
        downs = (back.T @ rows).split(ranks)
        for gradient, part, for_down in zip(arriving, own, downs, strict=True):
            for_weights += [None, None, for_down, gradient.T @ part]
        if not ctx.needs_input_grad[0]:
            return None, None, *for_weights
        for_x = back @ down  # [tokens, in]
        for gradient, base in zip(arriving, bases, strict=True):
            for_x.addmm_(gradient, base)
        return for_x, None, *for_weights
