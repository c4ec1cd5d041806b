import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftool.model.answers.search import CERTAIN, NO_LABEL, Ranking, Search
from ftool.model.answers.trie import ROOT, make_trie

END, OTHER = 2, 9
LABEL_SETS = st.lists(
    st.lists(st.integers(3, 5), min_size=1, max_size=3).map(lambda tokens: (*tokens, END)),
    min_size=1,
    max_size=10,
    unique=True,
)


def chances(trie, weights):
    """Give every node's children, and a token that is no child, chances that sum to one."""
    steps, likeliest = {}, {}
    for node, children in enumerate(trie.children):
        if not children:
            continue
        own = [weights[(3 * node + token) % len(weights)] for token in children]
        rest = weights[node % len(weights)] / 2
        total = sum(own) + rest
        steps[node] = [math.log(weight / total) for weight in own]
        likeliest[node] = max([*zip(own, children, strict=True), (rest, OTHER)])[1]
    return steps, likeliest


def run(search, steps, likeliest):
    fed = [ROOT]
    search.expand(ROOT, steps[ROOT], likeliest[ROOT])
    while taken := search.take():
        for node in taken:
            search.column[node] = len(search.column)
        for node in taken:
            search.expand(node, steps[node], likeliest[node])
        fed += taken
    return fed


def truth(trie, steps):
    score = {ROOT: 0.0}
    for node, children in enumerate(trie.children):
        for child, step in zip(children.values(), steps.get(node, []), strict=True):
            score[child] = score[node] + step
    return {label: score[node] for node, label in enumerate(trie.label) if label is not None}


def greedy(trie, likeliest):
    node = ROOT
    while trie.label[node] is None:
        node = trie.children[node].get(likeliest[node])
        if node is None:
            return NO_LABEL
    return trie.label[node]


WEIGHTS = st.lists(st.integers(1, 1000), min_size=3, max_size=20)


@given(labels=LABEL_SETS, weights=WEIGHTS, certain=st.booleans())
def test_the_search_is_exact_and_its_bounds_hold(labels, weights, certain):
    trie = make_trie(labels)
    steps, likeliest = chances(trie, weights)
    search = Search(trie, certain)
    fed = run(search, steps, likeliest)
    scores, found = truth(trie, steps), search.ranking()
    assert scores[found.label] == pytest.approx(max(scores.values()))
    assert found.log_probability == pytest.approx(max(scores.values()))
    assert found.greedy == greedy(trie, likeliest)
    mass = sum(map(math.exp, scores.values()))
    low, high = found.probability_bounds
    assert low - 1e-9 <= math.exp(found.log_probability) / mass <= high + 1e-9
    low_off, high_off = found.off_label_bounds
    assert low_off - 1e-9 <= 1 - mass <= high_off + 1e-9
    assert high - low <= CERTAIN or not certain
    assert len(fed) == len(set(fed))


def test_only_what_could_win_is_run():
    trie = make_trie([(3, 4, END), (5, 4, END), (5, 5, END)])
    search = Search(trie)
    search.expand(ROOT, [math.log(0.9), math.log(0.05)], 3)
    assert search.take() == trie.chain(trie.children[ROOT][3])
    (one, two) = trie.chain(trie.children[ROOT][3])
    search.column |= {one: 0, two: 1}
    search.expand(one, [math.log(0.9)], 4)
    search.expand(two, [math.log(0.9)], END)
    assert search.take() == []
    found = search.ranking()
    assert (found.label, found.greedy) == (0, 0)
    assert found.log_probability == pytest.approx(math.log(0.729))
    assert found.log_mass == pytest.approx((math.log(0.729), math.log(0.779)))


def test_likelihoods_that_are_no_numbers_choose_no_label():
    trie = make_trie([(3, END), (4, END)])
    search = Search(trie)
    steps = {node: [math.nan] * len(children) for node, children in enumerate(trie.children)}
    run(search, steps, dict.fromkeys(steps, OTHER))
    assert search.ranking().label == NO_LABEL


def test_probabilities_far_below_the_smallest_float_keep_their_ratio():
    ranking = Ranking(0, -2000.0, (-1999.0, -1999.0))
    assert ranking.probability_bounds == pytest.approx((math.exp(-1), math.exp(-1)))
    assert ranking.off_label_bounds == (1.0, 1.0)
