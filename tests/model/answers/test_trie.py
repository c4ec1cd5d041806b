from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftool.model.answers.trie import ROOT, make_trie

END = 2
LABELS = st.lists(
    st.lists(st.integers(3, 6), min_size=1, max_size=4).map(lambda tokens: (*tokens, END)),
    min_size=1,
    max_size=12,
    unique=True,
)


def leaves(trie):
    return {node: label for node, label in enumerate(trie.label) if label is not None}


@given(LABELS)
def test_every_label_is_a_path_and_common_beginnings_are_there_once(labels):
    trie = make_trie(labels)
    paths = {}
    for leaf, label in leaves(trie).items():
        nodes = [leaf, *trie.ancestors(leaf)]
        paths[label] = tuple(trie.token[node] for node in reversed(nodes))
        assert trie.depth[leaf] == len(nodes)
    assert [paths[label] for label in range(len(labels))] == labels
    beginnings = {label[:length] for label in labels for length in range(len(label) + 1)}
    assert len(trie.children) == len(beginnings)


@given(LABELS)
def test_chains_divide_the_inner_nodes(labels):
    trie = make_trie(labels)
    inner = {n for n, children in enumerate(trie.children) if children and n != ROOT}
    begins = {n for n in inner if trie.parent[n] == ROOT or len(trie.children[trie.parent[n]]) > 1}
    chains = [trie.chain(node) for node in begins]
    assert sorted(node for chain in chains for node in chain) == sorted(inner)
    for chain in chains:
        for above, below in pairwise(chain):
            assert list(trie.children[above].values()) == [below]


def test_labels_that_cannot_be_told_apart_are_refused():
    with pytest.raises(ValueError, match="labels 0 and 2 have the same tokens"):
        make_trie([(5, END), (6, END), (5, END)])
    with pytest.raises(ValueError, match="label 1 goes on where label 0 ends"):
        make_trie([(5,), (5, 6)])
    with pytest.raises(ValueError, match="labels None and 1 have the same tokens"):
        make_trie([(5, 6), (5,)])
    with pytest.raises(ValueError, match="no labels"):
        make_trie([])
