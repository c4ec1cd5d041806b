"""What examples begin with in common: their order, their micro-batches, the tree of a row."""

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise

from ftool.example import NOT_LEARNED, EncodedExample
from ftool.model.compute.attention import Node, Row

WORTHWHILE_PREFIX = 8
"""Common tokens below which sharing them saves nothing."""
PASS_TOKENS = 64
"""What a pass costs besides its tokens, in tokens: measured, 135M parameters on two cores."""

Piece = tuple[EncodedExample, int, int]
"""Tokens of a row: an example, the first of its places and the end of them."""


def shareable(example: EncodedExample) -> int:
    """Return how many first tokens an example may share.

    The token before the first learned one stays with its example, for it predicts that one; so
    every learned token is predicted once for every example that holds it.
    """
    learned = (place for place, label in enumerate(example.labels) if label != NOT_LEARNED)
    return max(0, next(learned, len(example.labels) + 1) - 1)


def common_length(sequences: Sequence[Sequence[int]]) -> int:
    """Return how many first tokens all sequences have in common."""
    # What the first and the last in order share, all between them share too.
    first, last = min(map(tuple, sequences)), max(map(tuple, sequences))
    differ = (
        place for place, (one, two) in enumerate(zip(first, last, strict=False)) if one != two
    )
    return next(differ, min(len(first), len(last)))


def micro_batches(
    examples: Sequence[EncodedExample], *, size: int, tokens: int, shared: bool
) -> list[list[int]]:
    """Divide examples into micro-batches so that as few tokens as possible are run.

    In rows, examples that begin alike are neighbours and what they have in common counts once.
    Else neighbours are of similar length and the longest counts for all.

    Args:
        examples: of one global batch, or all where their order is free.
        size: examples per micro-batch at most.
        tokens: run per micro-batch at most, unless one example alone has more.
        shared: micro-batches are rows, else padded.

    Returns:
        The places of the examples, as a row has them in order.
    """
    lengths = [len(example.input_ids) for example in examples]
    if not shared:
        order = sorted(range(len(examples)), key=lengths.__getitem__)
        parts = _parts(len(order), lambda a, b: (b - a) * lengths[order[b - 1]], size, tokens)
        return [order[first:end] for first, end in parts]
    keys = _shareable_tokens(examples)
    order = sorted(range(len(examples)), key=keys.__getitem__)
    common = _common([keys[place] for place in order])
    # A few tokens more are run where branches are too short to be split off.
    run = [0, *accumulate(lengths[place] - c for place, c in zip(order, common, strict=True))]
    parts = _parts(len(order), lambda a, b: common[a] + run[b] - run[a], size, tokens)
    return [order[first:end] for first, end in parts]


def _parts(
    count: int, cost: Callable[[int, int], int], size: int, tokens: int
) -> list[tuple[int, int]]:
    """Cut a sequence where its parts, from first to end, together cost least."""
    best = [(0, 0)]  # of the first few: the least cost, and where their last part begins
    for end in range(1, count + 1):
        ways = list[tuple[int, int]]()
        for first in range(end - 1, max(0, end - size) - 1, -1):
            run = cost(first, end)
            if run > tokens and ways:
                break  # beginning earlier never costs less
            ways.append((best[first][0] + run + PASS_TOKENS, first))
        best.append(min(ways))
    cuts = [count]
    while cuts[-1]:
        cuts.append(best[cuts[-1]][1])
    return list(pairwise(reversed(cuts)))


def make_tree(examples: Sequence[EncodedExample]) -> tuple[list[Piece], Row]:
    """Lay examples into a row, so that what neighbours begin with in common is there once.

    Args:
        examples: any; in the order of `micro_batches` they share the most.
    """
    common = _common(_shareable_tokens(examples))
    pieces = list(_pieces(examples, common, 0, len(examples), 0))
    starts = [0, *accumulate(end - first for _, first, end in pieces)]
    nodes = []
    for number, (_, first, end) in enumerate(pieces):
        # Pieces that continue this one begin at its end or later, the next that does not before.
        beyond = (k for k in range(number + 1, len(pieces)) if pieces[k][1] < end)
        last = starts[next(beyond, len(pieces))]
        nodes.append(Node(starts[number], starts[number] + end - first, last))
    return pieces, Row(tuple(nodes))


def _pieces(
    examples: Sequence[EncodedExample], common: Sequence[int], first: int, end: int, depth: int
) -> Iterator[Piece]:
    """Yield the pieces of the examples from first to end behind the tokens that all share."""
    cuts = [k for k in range(first + 1, end) if common[k] < depth + WORTHWHILE_PREFIX]
    for one, two in pairwise([first, *cuts, end]):
        until = min(common[one + 1 : two], default=len(examples[one].input_ids))
        if until > depth:
            yield examples[one], depth, until
        if two - one > 1:
            yield from _pieces(examples, common, one, two, until)


def _shareable_tokens(examples: Sequence[EncodedExample]) -> list[tuple[int, ...]]:
    return [example.input_ids[: shareable(example)] for example in examples]


def _common(beginnings: Sequence[tuple[int, ...]]) -> list[int]:
    """Return how many tokens each shares with the one before it, where that is worthwhile."""
    lengths = [0, *(common_length(pair) for pair in pairwise(beginnings))]
    return [length if length >= WORTHWHILE_PREFIX else 0 for length in lengths]
