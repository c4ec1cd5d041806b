import numpy as np
import pytest
from word_texts import flat, planted, shingles

from ftool.prepare.refine import minhash
from ftool.prepare.refine.minhash import HASHES, SHAPES, bands, min_hashes, shape
from ftool.prepare.refine.words import SHINGLE_WORDS, n_grams


def test_work_in_pieces_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [[], [1], *planted(9, 60, 2), []]
    least = min_hashes(*flat(texts))
    monkeypatch.setattr(minhash, "_BLOCK_SHINGLES", 50)
    assert (min_hashes(*flat(texts)) == least).all()


def test_bands_of_a_text_do_not_depend_on_its_neighbours() -> None:
    texts = [[1, 2, 3], [], *planted(4, 10, 2), [5]]
    together = bands(*flat(texts), 0.8)
    alone = np.concatenate([bands(*flat([text]), 0.8) for text in texts], axis=1)
    assert (together == alone).all()


def test_equal_min_hashes_estimate_the_similarity() -> None:
    texts = planted(11, 160, 6)
    least = min_hashes(*flat(texts))
    sets = [shingles(text) for text in texts]
    errors = []
    for row in range(0, len(texts), 2):
        one, other = sets[row], sets[row + 1]
        exact = len(one & other) / len(one | other)
        errors.append(float((least[row] == least[row + 1]).mean()) - exact)
    # 96 hashes have a standard error of at most 0.051 each, so 80 pairs one of 0.006.
    assert abs(np.mean(errors)) < 0.02
    assert np.abs(errors).max() < 0.2


def test_min_hashes_are_the_least_of_all_shingles() -> None:
    texts = planted(2, 6, 2)
    least = min_hashes(*flat(texts))
    multipliers = minhash._multipliers().tolist()
    assert len(multipliers) == HASHES
    assert all(multiplier % 2 for multiplier in multipliers)
    for text, row in zip(texts, least.tolist(), strict=True):
        hashes = [int(h) >> 32 for h in n_grams(*flat([text]), SHINGLE_WORDS)[0]]
        assert row == [min(h * factor % 2**32 for h in hashes) for factor in multipliers]


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [(0.5, (32, 3)), (0.69, (32, 3)), (0.7, (16, 6)), (0.8, (16, 6)), (1.0, (16, 6))],
)
def test_shape(threshold: float, expected: tuple[int, int]) -> None:
    assert shape(threshold) == expected
    assert all(count * rows <= HASHES for count, rows in SHAPES.values())
