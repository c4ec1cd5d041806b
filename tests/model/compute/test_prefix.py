import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftool.example import EncodedExample
from ftool.model.compute.prefix import (
    PASS_TOKENS,
    common_length,
    make_tree,
    micro_batches,
    shareable,
)

SYSTEM, OTHER = tuple(range(10, 30)), tuple(range(40, 60))
TURN, LATER = tuple(range(70, 80)), tuple(range(80, 90))


def example(*ids, learned=2):
    labels = (-100,) * (len(ids) - learned) + ids[len(ids) - learned :]
    return EncodedExample(str(len(ids)), ids, labels)


def test_the_token_that_predicts_the_first_learned_one_is_not_shared():
    assert shareable(example(5, 6, 7, 8, 9)) == 2
    assert shareable(example(5, 6, learned=1)) == 0
    assert shareable(example(5, 6, learned=2)) == 0
    assert shareable(example(5, 6, 7, learned=0)) == 3


def test_common_length_is_that_of_the_beginning():
    assert common_length([(1, 2, 3), (1, 2, 4), (1, 2)]) == 2
    assert common_length([(1, 2), (1, 2)]) == 2
    assert common_length([(1,), (2,)]) == 0


def places(nodes):
    return [tuple(node) for node in nodes]


def test_a_tree_has_what_is_common_once_and_parents_first():
    examples = [
        example(*SYSTEM, *TURN, *LATER, 3, 4),
        example(*SYSTEM, *TURN, 1, 2, 3),
        example(*SYSTEM, 5, 6, 7),
        example(*OTHER, 5, 6, 7),
    ]
    pieces, row = make_tree(examples)
    assert [(examples.index(one), first, end) for one, first, end in pieces] == [
        (0, 0, 20),
        (0, 20, 30),
        (0, 30, 42),
        (1, 30, 33),
        (2, 20, 23),
        (3, 0, 23),
    ]
    assert places(row.nodes) == [
        (0, 20, 48),
        (20, 30, 45),
        (30, 42, 42),
        (42, 45, 45),
        (45, 48, 48),
        (48, 71, 71),
    ]


def test_a_short_beginning_is_not_split_off():
    pieces, row = make_tree([example(*range(7), 20, 21, 22), example(*range(7), 30, 31, 32)])
    assert [(first, end) for _, first, end in pieces] == [(0, 10), (0, 10)]
    assert places(row.nodes) == [(0, 10, 10), (10, 20, 20)]


def test_a_prompt_that_is_another_ones_beginning_ends_in_it():
    whole = example(*SYSTEM, learned=0)
    pieces, row = make_tree([whole, example(*SYSTEM, 1, 2, 3), whole])
    assert [(first, end) for _, first, end in pieces] == [(0, 20), (20, 23)]
    assert places(row.nodes) == [(0, 20, 23), (20, 23, 23)]


TENANTS = [example(*SYSTEM, 1, 2, 3), example(*OTHER, 1, 2, 3)] * 3


def test_micro_batches_cut_between_prefixes():
    assert micro_batches(TENANTS, size=9, tokens=999, shared=True) == [[0, 2, 4, 1, 3, 5]]
    assert micro_batches(TENANTS, size=9, tokens=30, shared=True) == [[0, 2, 4], [1, 3, 5]]
    assert micro_batches(TENANTS, size=4, tokens=999, shared=True) == [[0, 2, 4], [1, 3, 5]]
    assert micro_batches(TENANTS, size=1, tokens=999, shared=True) == [[0], [2], [4], [1], [3], [5]]


def test_padded_micro_batches_are_of_similar_length():
    examples = [example(*range(length), learned=1) for length in (100, 10, 50, 70, 30)]
    divided = [
        micro_batches(examples, size=n, tokens=t, shared=False) for n, t in ((2, 999), (9, 99))
    ]
    assert divided == [[[1, 4], [2, 3], [0]], [[1, 4], [2], [3], [0]]]
    assert micro_batches(examples, size=9, tokens=1, shared=False) == [[1], [4], [2], [3], [0]]


def cost(examples, part, shared):
    if shared:
        chosen = [examples[place] for place in part]
        return sum(end - first for _, first, end in make_tree(chosen)[0])
    return len(part) * max(len(examples[place].input_ids) for place in part)


@pytest.mark.parametrize("shared", [True, False])
@settings(max_examples=60, deadline=None)
@given(
    chosen=st.lists(
        st.tuples(st.sampled_from([(), SYSTEM, OTHER, SYSTEM + TURN]), st.integers(3, 40)),
        min_size=1,
        max_size=7,
    ),
    size=st.integers(1, 5),
    tokens=st.integers(1, 150),
)
def test_no_other_cuts_run_less(shared, chosen, size, tokens):
    examples = [
        example(*before, *range(100 * number, 100 * number + rest))
        for number, (before, rest) in enumerate(chosen, 1)
    ]
    parts = micro_batches(examples, size=size, tokens=tokens, shared=shared)
    order = [place for part in parts for place in part]
    assert sorted(order) == list(range(len(examples)))

    def total(parts):
        costs = [cost(examples, part, shared) for part in parts]
        fits = all(
            len(part) <= size and (one <= tokens or len(part) == 1)
            for part, one in zip(parts, costs, strict=True)
        )
        return sum(costs) + len(parts) * PASS_TOKENS if fits else float("inf")

    inner = range(1, len(order))
    every = [
        [order[a:b] for a, b in itertools.pairwise([0, *cuts, len(order)])]
        for count in range(len(order))
        for cuts in itertools.combinations(inner, count)
    ]
    assert total(parts) == min(map(total, every))
