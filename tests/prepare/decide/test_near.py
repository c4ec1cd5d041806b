from collections.abc import Callable
from random import Random

import numpy as np
import pytest
from word_texts import Texts, flat, planted, shingles

from ftool.prepare.decide import near as near_module
from ftool.prepare.decide.near import Pairs, similar_pairs
from ftool.prepare.refine.minhash import bands


def taker(texts: Texts) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    def take_words(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert (np.diff(rows) > 0).all(), "rows are asked for in ascending order"
        return flat([texts[row] for row in rows.tolist()])

    return take_words


def pairs_of(texts: Texts, threshold: float, ranks: list[int] | None = None) -> Pairs:
    precedence = np.array(ranks if ranks is not None else range(len(texts)), np.int64)
    return similar_pairs(
        bands(*flat(texts), threshold), precedence, flat(texts)[1], taker(texts), threshold
    )


def as_dict(pairs: Pairs) -> dict[tuple[int, int], float]:
    keys = zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)
    found = dict(zip(keys, pairs.similarity.tolist(), strict=True))
    assert len(found) == len(pairs.first)
    return found


def brute(texts: Texts, threshold: float) -> dict[tuple[int, int], float]:
    sets = [shingles(text) for text in texts]
    found = {}
    for first, one in enumerate(sets):
        for second in range(first + 1, len(sets)):
            shared = len(one & sets[second])
            similarity = shared / (len(one) + len(sets[second]) - shared)
            if similarity >= threshold:
                found[first, second] = similarity
    return found


@pytest.mark.parametrize(("threshold", "most_edits"), [(0.5, 4), (0.8, 2), (0.9, 1)])
def test_planted_near_duplicates_are_found_and_nothing_below_the_threshold(
    threshold: float, most_edits: int
) -> None:
    texts = planted(7, 300, most_edits)
    expected, found = brute(texts, threshold), as_dict(pairs_of(texts, threshold))
    assert len(expected) >= 80
    assert found.items() <= expected.items()
    assert len(found) >= 0.97 * len(expected)


def test_a_pair_at_the_threshold_is_in_and_one_below_is_not() -> None:
    text = list(range(1, 25))  # 20 shingles; the last word changed: 19 of 21
    twin = [*text[:-1], 99]
    assert as_dict(pairs_of([text, twin], 19 / 21)) == {(0, 1): 19 / 21}
    assert as_dict(pairs_of([text, twin], 19 / 21 + 1e-6)) == {}
    assert as_dict(pairs_of([text, text], 1.0)) == {(0, 1): 1.0}


def test_texts_of_fewer_than_three_words_never_join() -> None:
    texts = [[1, 2], [1, 2], [1], [1], [], [], [1, 2, 3], [1, 2, 3]]
    assert as_dict(pairs_of(texts, 0.8)) == {(6, 7): 1.0}
    keys = bands(*flat(texts), 0.8)
    assert keys.shape == (16, len(texts))
    assert not keys[:, :6].any()
    assert keys[:, 6:].all()


def test_the_one_of_lower_rank_comes_first() -> None:
    text = list(range(1, 30))
    assert as_dict(pairs_of([text, text], 0.8, [1, 0])) == {(1, 0): 1.0}
    assert as_dict(pairs_of([text, text, text], 0.8, [2, 0, 1])) == {
        (1, 2): 1.0,
        (1, 0): 1.0,
        (2, 0): 1.0,
    }


def test_a_bucket_of_many_is_not_compared_all_with_all() -> None:
    text = list(range(1, 30))
    found = as_dict(pairs_of([text] * 50, 0.8))
    assert set(found) == {(0, n) for n in range(1, 50)} | {(n - 1, n) for n in range(1, 50)}


def test_pairs_do_not_depend_on_the_order_of_rows() -> None:
    texts = planted(3, 120, 2) + [list(range(1, 30))] * 3
    order = Random(5).sample(range(len(texts)), len(texts))
    shuffled = as_dict(pairs_of([texts[row] for row in order], 0.8, order))
    named = {(order[first], order[second]): how for (first, second), how in shuffled.items()}
    assert named == as_dict(pairs_of(texts, 0.8))
    assert named


def test_unused_rows_are_in_no_pair() -> None:
    text = list(range(1, 30))
    keys = bands(*flat([text, text, text]), 0.8)
    keys[:, 0] = 0
    found = as_dict(
        similar_pairs(keys, np.arange(3), np.full(3, len(text)), taker([text] * 3), 0.8)
    )
    assert found == {(1, 2): 1.0}


def test_work_in_pieces_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [[], [1], *planted(9, 60, 2), []]
    found = as_dict(pairs_of(texts, 0.8))
    monkeypatch.setattr(near_module, "_WORDS_AT_ONCE", 70)
    assert as_dict(pairs_of(texts, 0.8)) == found
    assert len(found) > 7


def test_nothing_to_compare() -> None:
    assert as_dict(pairs_of([], 0.8)) == {}
    assert as_dict(pairs_of([[1, 2, 3, 4]], 0.8)) == {}
    assert as_dict(similar_pairs([], np.arange(2), np.ones(2, int), taker([[1], [1]]), 0.8)) == {}
