"""From device, recipe and data to dtype, batches and steps: with reasons, stored in plan.json."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ftool.model.compute.memory import Memory
from ftool.model.weights.load import Device, context_tokens
from ftool.recipe.blocks.train import Train

MICRO_BATCH_TOKENS = {"cpu": 2048}
"""Tokens of a micro-batch: on a CPU more gain nothing and only take memory."""
GPU_MICRO_BATCH_TOKENS = 8192
MEMORY_HINT = (
    "use train.batch_size_per_device=1, train.activation_checkpointing=on or a smaller model.base"
)
HALVED = "micro_batch_tokens"
"""The reason that a plan has where micro-batches became smaller for lack of memory."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What `auto` became on this machine; reused when a run is resumed."""

    device: str
    dtype: str
    max_length: int
    batch_size_per_device: int
    micro_batch_tokens: int
    shared_prefix: bool
    steps_per_epoch: int
    total_steps: int
    validate_every: int | None
    checkpoint_every: int
    reasons: Mapping[str, str]
    activation_checkpointing: bool = False
    keeps_lower: bool = False
    memory: Mapping[str, float | None] | None = None
    template_date: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the content of plan.json."""
        return asdict(self)


def longest_allowed(train: Train, model_config: Any) -> tuple[int, str]:
    """Return the longest example in tokens, and why."""
    context = context_tokens(model_config)
    if train.max_length == "auto":
        return (context, "the model's context") if context else (2048, "the model names none")
    if context and train.max_length > context:
        return context, f"the model's context; the recipe's {train.max_length} is beyond it"
    return train.max_length, "the recipe says so"


def make_plan(
    train: Train,
    device: Device,
    *,
    max_length: tuple[int, str],
    lengths: Sequence[int],
    shared_prefix: bool,
) -> Plan:
    """Decide everything that the recipe leaves to the machine and the data.

    Args:
        train: the recipe's block.
        device: where it runs.
        max_length: tokens, and why.
        lengths: tokens of every train example.
        shared_prefix: micro-batches are rows that run once what examples begin with in common.
    """
    steps_per_epoch = math.ceil(len(lengths) / train.global_batch_size)
    epochs_steps = max(1, round(train.epochs * steps_per_epoch))
    size, tokens, why = _micro_batch(train, device)
    return Plan(
        device=str(device.device),
        dtype=device.dtype_name,
        max_length=max_length[0],
        batch_size_per_device=size,
        micro_batch_tokens=tokens,
        shared_prefix=shared_prefix,
        steps_per_epoch=steps_per_epoch,
        total_steps=train.max_steps or epochs_steps,
        validate_every=train.validation.every.steps(steps_per_epoch) if train.validation else None,
        checkpoint_every=train.checkpoint.every.steps(steps_per_epoch),
        reasons={
            "device": device.reason,
            "max_length": max_length[1],
            "batch_size_per_device": why,
        },
    )


def _micro_batch(train: Train, device: Device) -> tuple[int, int, str]:
    """Return examples and padded tokens of a micro-batch at most, and why."""
    if train.batch_size_per_device != "auto":
        size = min(train.batch_size_per_device, train.global_batch_size)
        return size, size * 2**20, "the recipe says so"
    tokens = MICRO_BATCH_TOKENS.get(device.device.type, GPU_MICRO_BATCH_TOKENS)
    return train.global_batch_size, tokens, f"about {tokens} tokens fill this device"


def fit_into_memory(plan: Plan, train: Train, memory: Memory | None) -> Plan:
    """Decide whether activations are computed twice, which takes a third more time.

    Args:
        plan: everything else.
        train: the recipe's block.
        memory: of the largest micro-batch; None where it cannot be foreseen.
    """
    wanted = train.activation_checkpointing
    is_on = wanted == "on" or (
        wanted == "auto" and memory is not None and not memory.fits(checkpointing=False)
    )
    reasons = {**plan.reasons, "activation_checkpointing": _why_checkpointed(wanted, memory)}
    if memory is not None and not memory.fits(checkpointing=is_on):
        is_auto = train.batch_size_per_device == "auto"
        lower = "train.max_length" if is_auto else "train.batch_size_per_device"
        reasons["memory"] = f"it may not fit; lower {lower} or use a smaller model.base"
    return replace(
        plan,
        activation_checkpointing=is_on,
        memory=None if memory is None else memory.as_dict(),
        reasons=reasons,
    )


def _why_checkpointed(wanted: str, memory: Memory | None) -> str:
    if wanted != "auto":
        return "the recipe says so"
    if memory is None:
        return "the memory of this architecture cannot be foreseen"
    if memory.available is None:
        return "this device does not say how much memory it has"
    does = "fit" if memory.fits(checkpointing=False) else "may not fit"
    need = memory.peak(checkpointing=False) / 2**30
    return f"{need:.1f} GiB {does} into the {memory.available / 2**30:.1f} GiB that are free"
