from collections import Counter
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftool.eval.measure.statistics import majority_floor, stratified_sample, tfidf_floor

TEXTS = [
    "where is my new card",
    "my card has not arrived",
    "card still not here",
    "i want my money back",
    "please refund the payment",
    "refund my money please",
]
LABELS = ["card", "card", "card", "refund", "refund", "refund"]


def test_the_majority_floor() -> None:
    assert majority_floor(["a", "b", "b"], 3) == ["b", "b", "b"]
    assert majority_floor(["b", "a"], 2) == majority_floor(["a", "b"], 2) == ["a", "a"]
    with pytest.raises(ValueError, match="needs train labels"):
        majority_floor([], 1)


def test_the_tfidf_floor_learns_words_and_characters() -> None:
    unseen = ["is the card arriving", "refunding the money", "refnd pleas"]
    assert tfidf_floor(TEXTS, LABELS, unseen) == ["card", "refund", "refund"]
    assert tfidf_floor(TEXTS, LABELS, unseen) == tfidf_floor(TEXTS, LABELS, unseen)


def test_the_tfidf_floor_returns_plain_strings() -> None:
    assert {type(label) for label in tfidf_floor(TEXTS, LABELS, TEXTS)} == {str}


def test_the_tfidf_floor_where_there_is_nothing_to_fit() -> None:
    assert tfidf_floor(["x", "y"], ["a", "a"], ["z"]) == ["a"]
    assert tfidf_floor(["", "  ", " "], ["a", "b", "b"], ["z", ""]) == ["b", "b"]
    assert tfidf_floor(TEXTS, LABELS, []) == []
    with pytest.raises(ValueError, match="6 train texts but 1 labels"):
        tfidf_floor(TEXTS, ["a"], TEXTS)


def test_texts_without_words_still_have_characters() -> None:
    # No word of two letters: the word part has an empty vocabulary, the characters decide.
    assert tfidf_floor(["? ?", "!", "?", "! !"], ["ask", "shout", "ask", "shout"], ["?"]) == ["ask"]


rows_of_labels = st.lists(st.sampled_from(["a", "b", "c", "d", None]), min_size=1, max_size=60)


@given(rows_of_labels, st.integers(0, 70), st.integers(0, 3), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_a_sample_does_not_depend_on_the_order_of_the_rows(
    labels: list[str | None], size: int, seed: int, random: Random
) -> None:
    keys = [f"row-{index}" for index in range(len(labels))]
    chosen = stratified_sample(keys, labels, size, seed=seed)
    assert len(chosen) == min(size, len(labels))
    assert chosen == sorted(set(chosen))
    shuffled = list(range(len(labels)))
    random.shuffle(shuffled)
    again = stratified_sample(
        [keys[index] for index in shuffled], [labels[index] for index in shuffled], size, seed=seed
    )
    assert {keys[index] for index in chosen} == {keys[shuffled[index]] for index in again}


@given(rows_of_labels, st.integers(0, 70))
@settings(max_examples=200, deadline=None)
def test_a_sample_has_every_label_and_fair_shares(labels: list[str | None], size: int) -> None:
    counts = Counter(labels)
    keys = [str(index) for index in range(len(labels))]
    kept = Counter(labels[index] for index in stratified_sample(keys, labels, size, seed=17))
    if size >= len(counts):
        assert kept.keys() == counts.keys()
    for label, count in counts.items():
        share = min(size, len(labels)) * count / len(labels)
        assert kept[label] <= count
        # Labels kept alive with one seat take seats from the others, never the other way round.
        assert kept[label] < max(share, 1) + 1
        if size < len(counts) or all(size * other >= len(labels) for other in counts.values()):
            assert share - 1 < kept[label] < share + 1


def test_shares_by_hand() -> None:
    labels = ["a"] * 70 + ["b"] * 25 + ["c"] * 4 + ["d"]
    keys = [str(index) for index in range(100)]

    def kept(size: int) -> dict[str, int]:
        return dict(Counter(labels[i] for i in stratified_sample(keys, labels, size, seed=1)))

    assert kept(20) == {"a": 13, "b": 5, "c": 1, "d": 1}
    assert kept(4) == {"a": 1, "b": 1, "c": 1, "d": 1}
    assert kept(2) == {"a": 1, "b": 1}
    assert kept(100) == {"a": 70, "b": 25, "c": 4, "d": 1}


@pytest.mark.parametrize(("b", "c", "seats_b", "seats_c"), [(29, 21, 3, 2), (21, 29, 2, 3)])
def test_the_largest_remainder_gets_the_last_seat(
    b: int, c: int, seats_b: int, seats_c: int
) -> None:
    labels = ["a"] * 50 + ["b"] * b + ["c"] * c
    keys = [str(index) for index in range(100)]
    kept = Counter(labels[index] for index in stratified_sample(keys, labels, 10, seed=1))
    assert kept == {"a": 5, "b": seats_b, "c": seats_c}


def test_the_seed_chooses_and_the_choice_is_fixed() -> None:
    keys, labels = [f"id-{index}" for index in range(12)], ["a", "b"] * 6
    assert stratified_sample(keys, labels, 4, seed=17) == [4, 5, 6, 11]
    samples = {tuple(stratified_sample(keys, labels, 4, seed=seed)) for seed in range(20)}
    assert len(samples) > 10


def test_a_sample_is_uniform_within_a_label() -> None:
    keys = [f"id-{index}" for index in range(10)]
    drawn: Counter[int] = Counter()
    for seed in range(2_000):
        drawn.update(stratified_sample(keys, ["a"] * 10, 3, seed=seed))
    assert np.array([drawn[index] for index in range(10)]) == pytest.approx(600, abs=100)


def test_a_sample_needs_a_label_for_every_key() -> None:
    with pytest.raises(ValueError, match="2 keys but 1 labels"):
        stratified_sample(["x", "y"], ["a"], 1, seed=1)
    with pytest.raises(ValueError, match="-1"):
        stratified_sample(["x"], ["a"], -1, seed=1)
