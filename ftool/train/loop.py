"""The loop on accelerate: a generator that yields one TrainingStep per optimizer step."""

import math
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import torch

from ftool.artifacts import TrainingStep
from ftool.errors import DeviceError, DivergedError
from ftool.example import EncodedExample
from ftool.model.compute.batch import micro_batch
from ftool.model.compute.forward import token_losses
from ftool.model.compute.lower import LowerStates
from ftool.recipe.schema import Recipe
from ftool.shortage import is_out_of_memory
from ftool.train.attempt import ANEW, Start, halved
from ftool.train.loss import normalized_loss
from ftool.train.optimizer import learning_rate, set_learning_rate
from ftool.train.order import divided, global_batch, shares
from ftool.train.plan import Plan
from ftool.wording import listed

IDS_SHOWN = 8


def training_steps(
    model: Any,
    optimizer: Any,
    examples: Sequence[EncodedExample],
    *,
    accelerator: Any,
    plan: Plan,
    recipe: Recipe,
    start: Start = ANEW,
) -> Iterator[TrainingStep]:
    """Update the model once per step and yield what the step did.

    Order, learning rate and dropout follow from the seed and the step alone, so a run that starts
    behind some steps with the weights and optimizer of the last goes on exactly as it would have.

    Several processes share every global batch; all take part in each step and yield the same.
    Where memory ran out, `auto` makes the step again, and all after it, of smaller micro-batches.

    Raises:
        DivergedError: a loss or gradient is not finite; the step and its examples are named.
        DeviceError: the memory is not enough.
    """
    train, seed = recipe.train, recipe.seed
    for step in range(start.steps_done, plan.total_steps):
        started = time.perf_counter()
        batch = global_batch(len(examples), train.global_batch_size, seed=seed, step=step)
        share, learned = _own_share(batch, examples, accelerator)
        model.train()
        rate = learning_rate(step, total_steps=plan.total_steps, train=train)
        set_learning_rate(optimizer, rate)
        while True:
            micro = divided(share, examples, plan)
            start.before_step(step + 1, max(map(len, micro)))
            torch.manual_seed(_dropout_seed(seed, step, accelerator))
            try:
                loss = _accumulate(model, micro, learned, plan, accelerator, start.lower)
                break
            except (MemoryError, RuntimeError) as error:
                plan = _smaller(plan, micro, error, step, recipe=recipe, accelerator=accelerator)
            # Here the error is gone, and with it the activations that it held.
            optimizer.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
            start.on_plan(plan)
        most = train.max_grad_norm or math.inf
        grad_norm = float(accelerator.clip_grad_norm_(model.parameters(), most))
        _refuse_nonsense(step, loss, grad_norm, batch=[examples[index].id for index in batch])
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        tokens = sum(len(examples[index].input_ids) for index in batch)
        yield TrainingStep(
            step=step + 1,
            epoch=(step + 1) / plan.steps_per_epoch,
            tokens=tokens,
            learned_tokens=sum(examples[index].learned_tokens for index in batch),
            loss=loss,
            learning_rate=rate,
            grad_norm=grad_norm,
            tokens_per_second=tokens / (time.perf_counter() - started),
            peak_memory_gib=peak_memory_gib(accelerator.device),
        )


def _own_share(
    batch: list[int], examples: Sequence[EncodedExample], accelerator: Any
) -> tuple[list[int], float]:
    """Return what this process runs of a global batch, and the learned tokens of all of it.

    With nothing to learn a process runs an example that counts nothing, so that nobody waits.
    """
    share = shares(batch, examples, accelerator.num_processes)[accelerator.process_index]
    learned = sum(examples[index].learned_tokens for index in batch)
    return (share, learned) if share else (batch[:1], math.inf)


def _dropout_seed(seed: int, step: int, accelerator: Any) -> int:
    return (seed * 1_000_003 + step) * accelerator.num_processes + accelerator.process_index  # type: ignore[no-any-return]


def _smaller(
    plan: Plan,
    micro: Sequence[Sequence[EncodedExample]],
    error: Exception,
    step: int,
    *,
    recipe: Recipe,
    accelerator: Any,
) -> Plan:
    """Return a plan of smaller micro-batches, or refuse where it is not ours to choose them."""
    if not is_out_of_memory(error):
        raise error
    is_auto = recipe.train.batch_size_per_device == "auto"
    # Other processes would wait for this one in the middle of a step.
    if is_auto and accelerator.num_processes == 1 and (less := halved(plan, micro, step=step + 1)):
        return less
    size = max(map(len, micro))
    options = [] if size == 1 else [f"use train.batch_size_per_device={size // 2}"]
    options += [] if plan.activation_checkpointing else ["use train.activation_checkpointing=on"]
    raise DeviceError(
        f"step {step + 1}: {accelerator.device} has too little memory for micro-batches of"
        f" {size} example{'s' * (size > 1)}",
        hint=" or ".join([*options, "lower train.max_length"]),
    ) from error


def _accumulate(
    model: Any,
    micro: Sequence[Sequence[EncodedExample]],
    learned_tokens: float,
    plan: Plan,
    accelerator: Any,
    lower: LowerStates | None,
) -> float:
    """Add up the gradients of all processes; return the loss per learned token of them all.

    However many micro-batches a process has, gradients are exchanged once, in its last.
    """
    total = 0.0
    for number, part in enumerate(micro, start=1):
        is_last = number == len(micro)
        with nullcontext() if is_last else accelerator.no_sync(model):
            batch = micro_batch(part, shared=plan.shared_prefix).to(accelerator.device)
            if lower is not None:
                batch = lower.given_to(batch, part)
            loss = normalized_loss(
                token_losses(model, batch),
                learned_tokens=learned_tokens,
                processes=accelerator.num_processes,
            )
            accelerator.backward(loss)
        total += loss.item() / accelerator.num_processes
    if accelerator.num_processes == 1:
        return total
    own = torch.tensor(total, device=accelerator.device)
    return float(accelerator.reduce(own, reduction="sum"))


def _refuse_nonsense(step: int, loss: float, grad_norm: float, *, batch: list[str]) -> None:
    if math.isfinite(loss) and math.isfinite(grad_norm):
        return
    what = f"the loss is {loss}" if not math.isfinite(loss) else f"the gradient norm is {grad_norm}"
    raise DivergedError(step + 1, f"{what}; the step learned {listed(batch, IDS_SHOWN)}")


def peak_memory_gib(device: torch.device) -> float:
    """Return the most memory that was in use so far: the GPU's, or the process's on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    # Linux counts in KiB, macOS in bytes.
    unit = 2**10 if sys.platform != "darwin" else 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
