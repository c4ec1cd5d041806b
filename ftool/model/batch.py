"""EncodedExamples -> tensors: padding, shared prefixes, the positions that are learned."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ftool.example import NOT_LEARNED, EncodedExample


@dataclass(frozen=True, slots=True)
class Batch:
    """A micro-batch: examples padded on the right, or one row in which they share a prefix.

    A causal model never looks right, so padded examples need no attention mask.
    """

    input_ids: torch.Tensor  # [batch, length]
    position_ids: torch.Tensor  # [batch, length]
    predicts: torch.Tensor  # [batch, length] bool: the next token here is learned
    targets: torch.Tensor  # [learned] the tokens that these positions must predict
    sees: torch.Tensor | None = None  # [length, length] bool: which token sees which

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on another device."""
        return Batch(
            self.input_ids.to(device),
            self.position_ids.to(device),
            self.predicts.to(device),
            self.targets.to(device),
            None if self.sees is None else self.sees.to(device),
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


def shared_prefix(examples: Sequence[EncodedExample]) -> int:
    """Return how many first tokens the examples have in common and may share.

    The token before the first learned one stays with its example, for it predicts that one.
    """
    first, *others = examples
    longest = min(
        next(place for place, label in enumerate(example.labels) if label != NOT_LEARNED) - 1
        for example in examples
    )
    for place in range(longest):
        if any(other.input_ids[place] != first.input_ids[place] for other in others):
            return place
    return max(0, longest)


def make_shared_batch(examples: Sequence[EncodedExample], *, prefix: int) -> Batch:
    """Put the common prefix once into one row and the rest of every example behind it.

    Every token sees the prefix and the earlier tokens of its own example, at the positions it
    has there, so losses and gradients are those of the padded batch.

    Args:
        examples: that begin with the same tokens.
        prefix: how many, at most `shared_prefix`.
    """
    ids = list(examples[0].input_ids[:prefix])
    positions, owners, following = list(range(prefix)), [0] * prefix, [NOT_LEARNED] * prefix
    for owner, example in enumerate(examples, start=1):
        rest = range(prefix, len(example.input_ids))
        ids += example.input_ids[prefix:]
        positions += rest
        owners += [owner] * len(rest)
        following += [*example.labels[prefix + 1 :], NOT_LEARNED]
    owner_of = torch.tensor(owners)
    targets = torch.tensor(following)
    predicts = targets != NOT_LEARNED
    return Batch(
        input_ids=torch.tensor([ids]),
        position_ids=torch.tensor([positions]),
        predicts=predicts[None],
        targets=targets[predicts],
        sees=((owner_of[:, None] == owner_of) | (owner_of == 0)).tril(),
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
