"""Whether what frozen blocks make of all tokens is kept, and keeping it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from ftool import launcher
from ftool.artifacts import OnProgress, ignore_progress
from ftool.example import EncodedExample
from ftool.model.compute.lower import LowerStates, can_keep, count_contexts, keep_lower_states
from ftool.model.compute.memory import Memory
from ftool.recipe.blocks.train import Lora
from ftool.recipe.schema import Recipe
from ftool.train.plan import Plan, fit_into_memory


def frozen_blocks(recipe: Recipe) -> int:
    """Return how many blocks are below those that have adapters; 0 where all may have."""
    method = recipe.train.method
    chosen = method.layers if isinstance(method, Lora) else None
    return int(chosen.split("-")[0]) if chosen else 0


def decide_lower(
    plan: Plan,
    recipe: Recipe,
    memory: Memory | None,
    model: Any,
    examples: Sequence[EncodedExample],
    *,
    tried: Sequence[EncodedExample],
) -> tuple[Plan, Memory | None]:
    """Decide whether the work of the frozen blocks is done once and kept.

    Args:
        plan: everything else.
        recipe: every setting.
        memory: of the largest micro-batch; None where it cannot be foreseen.
        model: with its adapters.
        examples: of the train split.
        tried: some of them, on which it has to give the same losses.

    Returns:
        The plan, and the memory with what is kept.
    """
    blocks = frozen_blocks(recipe)
    if not blocks:
        return plan, memory
    kept = _bytes(model, examples)
    gib = f"{kept / 2**30:.1f} GiB"
    with_kept = None if memory is None else replace(memory, baseline=memory.baseline + kept)
    why_not = _why_not(plan, recipe, with_kept)
    if not why_not and not can_keep(model, blocks, tried):
        why_not = "this architecture gives other losses with it"
    why = why_not or f"blocks 0-{blocks - 1} run once over all tokens, {gib}"
    plan = replace(plan, keeps_lower=not why_not, reasons={**plan.reasons, "keeps_lower": why})
    if why_not or with_kept is None:
        return plan, memory
    return fit_into_memory(plan, recipe.train, with_kept), with_kept


def _why_not(plan: Plan, recipe: Recipe, memory: Memory | None) -> str:
    if plan.total_steps <= plan.steps_per_epoch:
        return "in one pass nothing is read twice"
    if not plan.shared_prefix:
        return "it needs micro-batches that are rows"
    if recipe.train.compile or launcher.place()[1] > 1:
        return "it works in one process and without compilation"
    if memory is None:
        return "what this architecture needs besides cannot be foreseen"
    if not memory.fits(checkpointing=plan.activation_checkpointing):
        return "with it, memory may not be enough"
    return ""


def _bytes(model: Any, examples: Sequence[EncodedExample]) -> int:
    width: int = model.config.get_text_config().hidden_size
    return count_contexts(examples) * width * torch.finfo(model.dtype).bits // 8


def kept_lower(
    plan: Plan,
    recipe: Recipe,
    model: Any,
    examples: Sequence[EncodedExample],
    *,
    on_progress: OnProgress = ignore_progress,
) -> LowerStates | None:
    """Return what the frozen blocks make of examples, where the plan keeps it."""
    if not plan.keeps_lower:
        return None
    return keep_lower_states(model, frozen_blocks(recipe), examples, on_progress=on_progress)
