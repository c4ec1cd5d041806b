"""Log-likelihood of every label, plainly: a row for each, from copies of the prompt or in full."""

import copy
from collections.abc import Sequence
from typing import Any

import torch

from ftool.model.compute.forward import takes_positions

ROWS = 16
"""Labels in one forward pass."""


@torch.inference_mode()
def scores_in_full(
    model: Any, prompt: Sequence[int], labels: Sequence[Sequence[int]]
) -> list[tuple[float, bool]]:
    """Score labels with the prompt in front of each: right for every causal architecture.

    Returns:
        For each label log P(label | prompt) in nats, and whether greedy generation would give it.
    """
    found = []
    for start in range(0, len(labels), ROWS):
        some = labels[start : start + ROWS]
        found += _scores(model, [prompt] * len(some), some, {"use_cache": False})
    return found


@torch.inference_mode()
def scores_of_copies(
    model: Any, prompt: Sequence[int], labels: Sequence[Sequence[int]]
) -> list[tuple[float, bool]]:
    """Score labels like `scores_in_full`, from copies of the model's own cache of the prompt."""
    from transformers import DynamicCache

    if len(prompt) < 2:
        return scores_in_full(model, prompt, labels)
    device = model.device
    cache = DynamicCache(config=model.config)
    model(torch.tensor([prompt[:-1]], device=device), past_key_values=cache, use_cache=True)
    found = []
    for start in range(0, len(labels), ROWS):
        some = labels[start : start + ROWS]
        copied = copy.deepcopy(cache)
        copied.batch_repeat_interleave(len(some))
        last = [prompt[-1:]] * len(some)
        found += _scores(model, last, some, {"past_key_values": copied, "use_cache": True})
    return found


def _scores(
    model: Any,
    begins: Sequence[Sequence[int]],
    labels: Sequence[Sequence[int]],
    settings: dict[str, Any],
) -> list[tuple[float, bool]]:
    """Score labels behind what each begins with, padded on the right."""
    rows = [[*begin, *label[:-1]] for begin, label in zip(begins, labels, strict=True)]
    length = max(map(len, rows))
    input_ids = torch.tensor([row + [0] * (length - len(row)) for row in rows])
    predicts = torch.zeros(len(rows), length, dtype=torch.bool)
    for row, begin, label in zip(predicts, begins, labels, strict=True):
        row[len(begin) - 1 : len(begin) - 1 + len(label)] = True
    input_ids, predicts = input_ids.to(model.device), predicts.to(model.device)
    if takes_positions(model):
        logits = model(input_ids, logits_to_keep=predicts, **settings).logits
    else:
        logits = model(input_ids, **settings).logits[predicts]
    targets = torch.tensor([token for label in labels for token in label], device=logits.device)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    steps = -torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    agrees = logits.argmax(-1) == targets
    sizes = [len(label) for label in labels]
    parts = zip(torch.split(steps.double(), sizes), torch.split(agrees, sizes), strict=True)
    return [(step.sum().item(), bool(agree.all())) for step, agree in parts]
