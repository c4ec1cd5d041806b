"""EncodedExamples -> tensors: padding, shared prefixes, the positions that are learned."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ftool.example import NOT_LEARNED, EncodedExample
from ftool.model.attention import Row, make_row

WORTHWHILE_PREFIX = 8
"""Common tokens below which sharing them saves nothing."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A micro-batch: examples padded on the right, or one row in which they share a prefix.

    A causal model never looks right, so padded examples need no attention mask.
    """

    input_ids: torch.Tensor  # [batch, length]
    position_ids: torch.Tensor  # [batch, length]
    predicts: torch.Tensor  # [batch, length] bool: the next token here is learned
    targets: torch.Tensor  # [learned] the tokens that these positions must predict
    row: Row | None = None  # how the tokens of one row belong together

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on another device."""
        return Batch(
            self.input_ids.to(device),
            self.position_ids.to(device),
            self.predicts.to(device),
            self.targets.to(device),
            None if self.row is None else self.row.to(device),
        )


def make_batch(examples: Sequence[EncodedExample]) -> Batch:
    """Pad examples to one length."""
    length = max(len(example.input_ids) for example in examples)
    input_ids = torch.zeros(len(examples), length, dtype=torch.long)
    labels = torch.full((len(examples), length), NOT_LEARNED)
    for row, example in enumerate(examples):
        input_ids[row, : len(example.input_ids)] = torch.tensor(example.input_ids)
        labels[row, : len(example.labels)] = torch.tensor(example.labels)
    following = torch.nn.functional.pad(labels[:, 1:], (0, 1), value=NOT_LEARNED)
    predicts = following != NOT_LEARNED
    return Batch(
        input_ids=input_ids,
        position_ids=torch.arange(length).expand(len(examples), length),
        predicts=predicts,
        targets=following[predicts],
    )


def micro_batch(examples: Sequence[EncodedExample], *, prefix: int) -> Batch:
    """Make one row of examples that share a prefix, or pad them where there is none."""
    if prefix and len(examples) > 1:
        return make_shared_batch(examples, prefix=prefix)
    return make_batch(examples)


def shared_prefix(examples: Sequence[EncodedExample]) -> int:
    """Return how many first tokens the examples have in common and may share.

    The token before the first learned one stays with its example, for it predicts that one.
    """
    own = min(
        next(place for place, label in enumerate(example.labels) if label != NOT_LEARNED) - 1
        for example in examples
    )
    return max(0, min(own, common_length([example.input_ids for example in examples])))


def common_length(sequences: Sequence[Sequence[int]]) -> int:
    """Return how many first tokens all sequences have in common."""
    # What the first and the last in order share, all between them share too.
    first, last = min(map(tuple, sequences)), max(map(tuple, sequences))
    differ = (
        place for place, (one, two) in enumerate(zip(first, last, strict=False)) if one != two
    )
    return next(differ, min(len(first), len(last)))


def make_shared_batch(examples: Sequence[EncodedExample], *, prefix: int) -> Batch:
    """Put the common prefix once into one row and the rest of every example behind it.

    Every token sees the prefix and the earlier tokens of its own example, at the positions it
    has there, so losses and gradients are those of the padded batch.

    Args:
        examples: that begin with the same tokens, neighbours of similar length.
        prefix: how many, at most `shared_prefix`.
    """
    ids = list(examples[0].input_ids[:prefix])
    positions, following = list(range(prefix)), [NOT_LEARNED] * prefix
    for example in examples:
        ids += example.input_ids[prefix:]
        positions += range(prefix, len(example.input_ids))
        following += [*example.labels[prefix + 1 :], NOT_LEARNED]
    targets = torch.tensor(following)
    predicts = targets != NOT_LEARNED
    return Batch(
        input_ids=torch.tensor([ids]),
        position_ids=torch.tensor([positions]),
        predicts=predicts[None],
        targets=targets[predicts],
        row=make_row(prefix, [len(example.input_ids) - prefix for example in examples]),
    )


def pad_left(
    prompts: Sequence[Sequence[int]], *, pad_id: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad prompts on the left, so that all end in the same column.

    Returns:
        Token ids [batch, length] and a bool mask [batch, length] of the real ones.
    """
    length = max(map(len, prompts))
    input_ids = torch.full((len(prompts), length), pad_id)
    real = torch.zeros(len(prompts), length, dtype=torch.bool)
    for row, prompt in enumerate(prompts):
        input_ids[row, length - len(prompt) :] = torch.tensor(prompt)
        real[row, length - len(prompt) :] = True
    return input_ids, real
