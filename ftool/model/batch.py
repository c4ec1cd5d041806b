"""EncodedExamples -> tensors: padding and the positions that are learned."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ftool.example import NOT_LEARNED, EncodedExample


@dataclass(frozen=True, slots=True)
class Batch:
    """A micro-batch, padded on the right.

    A causal model never looks right, so no attention mask is needed: padding changes nothing.
    """

    input_ids: torch.Tensor  # [batch, length]
    position_ids: torch.Tensor  # [batch, length]
    predicts: torch.Tensor  # [batch, length] bool: the next token here is learned
    targets: torch.Tensor  # [learned] the tokens that these positions must predict
    tokens: int
    """Real tokens, padding left out."""

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on another device."""
        return Batch(
            self.input_ids.to(device),
            self.position_ids.to(device),
            self.predicts.to(device),
            self.targets.to(device),
            self.tokens,
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
        tokens=sum(len(example.input_ids) for example in examples),
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
