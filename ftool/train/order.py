"""Which examples in which step: seeded, resumable, composed into micro-batches by length."""

from collections.abc import Sequence

import numpy as np


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


def micro_batches(
    batch: Sequence[int], lengths: Sequence[int], *, size: int, tokens: int, prefix: int = 0
) -> list[list[int]]:
    """Divide a global batch into micro-batches of similar length, so that little is padded.

    Args:
        batch: indices of examples.
        lengths: tokens of every example, by index.
        size: examples per micro-batch at most.
        tokens: per micro-batch at most, unless one example alone has more.
        prefix: first tokens that a micro-batch runs once; without it examples are padded.
    """
    parts: list[list[int]] = []
    for index in sorted(batch, key=lambda index: (lengths[index], index)):
        wider = [*parts[-1], index] if parts else []
        rests = sum(lengths[one] - prefix for one in wider)
        cost = prefix + rests if prefix else len(wider) * lengths[index]
        if wider and len(wider) <= size and cost <= tokens:
            parts[-1] = wider
        else:
            parts.append([index])
    return parts
