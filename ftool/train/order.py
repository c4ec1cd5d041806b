"""Which examples in which step: seeded, resumable, composed into micro-batches in one batch."""

from collections.abc import Sequence

import numpy as np

from ftool.example import EncodedExample
from ftool.model.compute.prefix import micro_batches
from ftool.train.plan import Plan


def global_batch(count: int, size: int, *, seed: int, step: int) -> list[int]:
    """Return the indices of the examples that a step learns.

    They follow from the seed and the step alone; nothing has to be remembered to resume. Every
    epoch is a new permutation; its last batch may be smaller.

    Args:
        count: examples in the train split.
        size: examples per step.
        seed: the recipe's.
        step: counted from 0.
    """
    steps_per_epoch = -(-count // size)
    epoch, position = divmod(step, steps_per_epoch)
    order = np.random.default_rng((seed, epoch)).permutation(count)
    return [int(index) for index in order[position * size : (position + 1) * size]]


def shares(batch: Sequence[int], examples: Sequence[EncodedExample], count: int) -> list[list[int]]:
    """Divide a global batch over processes so that each runs about as many tokens.

    The longest example left goes to whoever has the fewest tokens; ties go by order.

    Args:
        batch: indices of examples.
        examples: of the train split.
        count: processes; the shares of some are empty where the batch has fewer examples.
    """
    if count == 1:
        return [list(batch)]
    found: list[list[int]] = [[] for _ in range(count)]
    tokens = [0] * count
    for index in sorted(batch, key=lambda index: -len(examples[index].input_ids)):
        least = min(range(count), key=tokens.__getitem__)
        found[least].append(index)
        tokens[least] += len(examples[index].input_ids)
    return found


def divided(
    batch: Sequence[int], examples: Sequence[EncodedExample], plan: Plan
) -> list[list[EncodedExample]]:
    """Divide a global batch, or a share of it, into micro-batches so that few tokens are run.

    Args:
        batch: indices of examples.
        examples: of the train split.
        plan: bounds of a micro-batch, and whether it is a row.
    """
    chosen = [examples[index] for index in batch]
    parts = micro_batches(
        chosen,
        size=plan.batch_size_per_device,
        tokens=plan.micro_batch_tokens,
        shared=plan.shared_prefix,
    )
    return [[chosen[place] for place in part] for part in parts]
