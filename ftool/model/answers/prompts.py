"""Prompts of similar length in one batch."""

from collections.abc import Iterator, Sequence


def prompt_batches(lengths: Sequence[int], *, size: int, tokens: int) -> Iterator[list[int]]:
    """Divide prompts into batches, the shortest first.

    Args:
        lengths: of the prompts, in tokens.
        size: prompts of a batch at most.
        tokens: of a batch at most, were all as long as its longest; one prompt may have more.

    Yields:
        The places of a batch's prompts.
    """
    batch = list[int]()
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) == size or (len(batch) + 1) * lengths[place] > tokens):
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch
