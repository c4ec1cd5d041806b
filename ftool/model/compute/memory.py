"""Will it fit: the peak memory of a training before it runs, and the memory of this machine."""

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from ftool import launcher
from ftool.errors import RecipeError
from ftool.model.compute.batch import Batch
from ftool.model.compute.forward import (
    PLAIN_TOKENS,
    in_mode,
    takes_positions,
    token_losses,
    unwrapped,
)
from ftool.model.compute.loss import CHUNK_BYTES

ERROR_RATIO = 0.2
"""How far the estimate may be off; a training that needs nearly all memory does not fit."""
ADAM_STATES = 2
"""AdamW keeps the mean of the gradients and that of their squares, as large as the weights."""
LOGITS_HELD = 3
"""Tables [tokens, vocabulary] alive at once, in float32: log-probabilities and two gradients."""
HOLES_RATIO = {"cpu": 1.25}
"""What a heap takes for what lives a short time in it; 1.0 to 1.26 was measured with glibc.

A block freed between two that stay does not hold the same size again, for aligning takes some
bytes more. On a GPU PyTorch counts what it hands out.
"""
CGROUPS = Path("/sys/fs/cgroup")
LIMIT_FILES = {
    "memory.max": ("memory.current", "inactive_file"),
    "memory.limit_in_bytes": ("memory.usage_in_bytes", "total_inactive_file"),
}
"""Limit of a control group (version 2, version 1): its use, and what of it can be given back."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What a training holds at its peak, in bytes, and what it may hold.

    The peak is where the backward pass of the largest micro-batch begins: all that autograd
    keeps is there, the gradients of earlier micro-batches and the states of earlier steps too.
    """

    baseline: int  # the process without weights: Python, libraries, data; 0 on a GPU
    parameters: int
    gradients: int
    optimizer: int
    activations: int  # what autograd keeps of the largest micro-batch
    checkpointed: int  # the same where every layer keeps its input alone
    logits: int
    holes_ratio: float  # what activations and logits take, to what they hold
    available: int | None  # to this process, what it holds already included; None: unknown

    def peak(self, *, checkpointing: bool) -> int:
        """Return the most that is held at once."""
        lasting = self.baseline + self.parameters + self.gradients + self.optimizer
        passing = self.logits + (self.checkpointed if checkpointing else self.activations)
        return lasting + round(passing * self.holes_ratio)

    def fits(self, *, checkpointing: bool) -> bool:
        """Tell whether the training fits even where the estimate is too low."""
        need = self.peak(checkpointing=checkpointing) * (1 + ERROR_RATIO)
        return self.available is None or need <= self.available

    def as_dict(self) -> dict[str, float | None]:
        """Return the parts as they stand in plan.json."""
        return asdict(self)


def estimate_memory(model: Any, batch: Batch, *, dtype: torch.dtype) -> Memory | None:
    """Foresee the memory of a training with AdamW; None where a model cannot be counted.

    Args:
        model: on its device, adapters attached, not yet wrapped.
        batch: the largest micro-batch as it will run.
        dtype: of the computation; weights may be wider.
    """
    kept = _kept_bytes(model, batch, dtype)
    if kept is None:
        return None
    weights = {value.untyped_storage().data_ptr(): value for value in model.parameters()}
    parameters = sum(map(_size, weights.values()))
    learned = sum(_size(value) for value in weights.values() if value.requires_grad)
    config = model.config.get_text_config()
    layers = config.num_hidden_layers
    inputs = batch.input_ids.numel() * config.hidden_size * torch.finfo(dtype).bits // 8
    return Memory(
        baseline=max(0, _held(model.device) - parameters),
        parameters=parameters,
        gradients=learned + _gradient_twice(unwrapped(model)),
        optimizer=ADAM_STATES * learned,
        activations=kept,
        checkpointed=min(kept, inputs * layers + kept // layers),
        logits=_logits(model, batch, config.vocab_size),
        holes_ratio=HOLES_RATIO.get(model.device.type, 1.0),
        available=available_bytes(model.device),
    )


def _size(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _gradient_twice(model: Any) -> int:
    """Return what the head's part of the gradient of tied weights takes besides.

    It is there from the beginning of the backward pass, the embedding's only at its end.
    """
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    is_tied = head is not None and head.weight is embedding.weight
    return _size(head.weight) if is_tied and head.weight.requires_grad else 0


def _logits(model: Any, batch: Batch, vocabulary: int) -> int:
    if not takes_positions(model):
        return LOGITS_HELD * 4 * batch.input_ids.numel() * vocabulary
    held = len(batch.targets) * 4 * vocabulary
    return LOGITS_HELD * (held if len(batch.targets) <= PLAIN_TOKENS else CHUNK_BYTES)


class _Enough(Exception):
    """The layers have run; the head is not counted this way."""


def _kept_bytes(model: Any, batch: Batch, dtype: torch.dtype) -> int | None:
    """Return what autograd keeps of a micro-batch in front of the head.

    The forward pass runs on tensors without values, so nothing is computed and no memory taken.
    """
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    real = (*model.parameters(), *model.buffers())
    weights = [*real, *map(mode.from_tensor, real)]
    seen = {value.untyped_storage()._cdata: 0 for value in weights}
    alive = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in seen:
            seen[storage._cdata] = storage.nbytes()
            alive.append(storage)  # or its address would be given to another
        return tensor

    cast = torch.autocast(batch.input_ids.device.type, torch.bfloat16, dtype == torch.bfloat16)
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    try:
        with (
            in_mode(model, training=True),
            _stopping_behind_layers(model),
            _unlogged(),
            mode,
            cast,
            hooks,
        ):
            token_losses(model, batch)
    except _Enough:
        return sum(seen.values())
    except (RuntimeError, ValueError, TypeError, AssertionError):  # operations that need values
        return None
    return None


@contextmanager
def _unlogged() -> Iterator[None]:
    """Keep to itself what torch writes of operations that need values; they are asked for below."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before


@contextmanager
def _stopping_behind_layers(model: Any) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise _Enough

    handle = unwrapped(model).base_model.register_forward_hook(stop)
    try:
        yield
    finally:
        handle.remove()


def _held(device: torch.device) -> int:
    """Return what this process holds already on a device."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return _resident_bytes() if device.type == "cpu" else 0


def _resident_bytes() -> int:
    """Return the memory of this process; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def available_bytes(device: torch.device) -> int | None:
    """Return what a training may hold on a device; None where nobody says.

    Processes that train together on one machine divide what is free among them.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    if device.type not in {"cpu", "mps"}:
        return None
    held = _resident_bytes()
    free = min([_machine_free(), *_cgroup_free(CGROUPS, Path("/proc/self/cgroup"))])
    return held + free // launcher.on_this_machine()


def _machine_free() -> int:
    """Return what the system can give without swapping; macOS says only what there is."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return int(re.findall(r"^MemAvailable:\s+(\d+) kB$", text, re.MULTILINE)[0]) * 2**10


def _cgroup_free(root: Path, groups: Path) -> Iterator[int]:
    """Yield what is left of every limit that a control group or one above it sets.

    Source: Linux kernel documentation, admin-guide/cgroup-v2 and cgroup-v1/memory.
    """
    try:
        lines = groups.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers not in {"", "memory"}:
            continue
        below = root / controllers / path.strip("/")
        for folder in (below, *below.parents):
            if folder.is_relative_to(root):
                yield from _left(folder)


def _left(folder: Path) -> Iterator[int]:
    for limit, (use, cache) in LIMIT_FILES.items():
        try:
            words = [(folder / name).read_text(encoding="ascii").strip() for name in (limit, use)]
            given_back = _numbers(folder / "memory.stat").get(cache, 0)
        except OSError:
            continue
        if all(word.isdigit() for word in words):  # or `max`
            yield int(words[0]) - int(words[1]) + given_back


def _numbers(file: Path) -> Mapping[str, int]:
    lines = (line.split() for line in file.read_text(encoding="ascii").splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) == 2}


def checkpoint_activations(model: Any) -> None:
    """Let every layer keep its input alone and compute the rest again in the backward pass.

    Raises:
        RecipeError: the architecture cannot.
    """
    inner = unwrapped(model)
    if not inner.supports_gradient_checkpointing:
        raise RecipeError(
            f"train.activation_checkpointing: {type(inner).__name__} cannot do it",
            hint="set it to off and lower train.batch_size_per_device",
        )
    old = inner.gradient_checkpointing_enable  # before transformers 5.23
    enable = getattr(inner, "activation_checkpointing_enable", old)
    enable({"use_reentrant": False})
