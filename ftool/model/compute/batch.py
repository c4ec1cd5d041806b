"""EncodedExamples -> tensors: padded or in one row, and the positions that are learned."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from ftool.example import NOT_LEARNED, EncodedExample
from ftool.model.compute.attention import Row
from ftool.model.compute.prefix import make_tree


@dataclass(frozen=True, slots=True)
class Given:
    """What the first blocks make of a row, which are not run again then."""

    blocks: int
    hidden: torch.Tensor  # [1, length, width]


@dataclass(frozen=True, slots=True)
class Batch:
    """A micro-batch: examples padded on the right, or one row in which they share prefixes.

    A causal model never looks right, so padded examples need no attention mask.
    """

    input_ids: torch.Tensor  # [batch, length]
    position_ids: torch.Tensor  # [batch, length]
    predicts: torch.Tensor  # [batch, length] bool: the next token here is learned
    targets: torch.Tensor  # [learned] the tokens that these positions must predict
    row: Row | None = None  # how the tokens of one row belong together
    given: Given | None = None  # on the device already

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on another device."""
        return replace(
            self,
            input_ids=self.input_ids.to(device),
            position_ids=self.position_ids.to(device),
            predicts=self.predicts.to(device),
            targets=self.targets.to(device),
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


def micro_batch(examples: Sequence[EncodedExample], *, shared: bool) -> Batch:
    """Make one row of examples that share prefixes, or pad them where a model cannot."""
    return make_row(examples) if shared else make_batch(examples)


def make_row(examples: Sequence[EncodedExample]) -> Batch:
    """Put examples into one row, where what they begin with in common is there once.

    Every token sees the earlier tokens of its own example, at the positions they have there, so
    losses and gradients are those of the padded batch; and nothing is padded.

    Args:
        examples: in the order of `micro_batches`; the targets are in this order too.
    """
    pieces, row = make_tree(examples)
    ids, positions, following = list[int](), list[int](), list[int]()
    for example, first, end in pieces:
        ids += example.input_ids[first:end]
        positions += range(first, end)
        following += (*example.labels, NOT_LEARNED)[first + 1 : end + 1]
    targets = torch.tensor(following)
    predicts = targets != NOT_LEARNED
    return Batch(
        input_ids=torch.tensor([ids]),
        position_ids=torch.tensor([positions]),
        predicts=predicts[None],
        targets=targets[predicts],
        row=row,
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
