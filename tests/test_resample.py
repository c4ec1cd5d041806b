import numpy as np
import pytest

from ftool import resample
from ftool.resample import blocks, middle, resampled_sums


def drawn(kinds: list[int], features: list[list[float]], **named: object) -> np.ndarray:
    parts = resampled_sums(np.array(kinds), np.array(features), **named)  # type: ignore[arg-type]
    return np.concatenate(list(parts))


def test_the_spread_is_that_of_drawn_rows() -> None:
    kinds = [0] * 30 + [1] * 50 + [2] * 20
    sums = drawn(kinds, [[0.0], [1.0], [5.0]], draws=20_000)
    values = np.array([0.0, 1.0, 5.0])[kinds]
    assert sums.mean() == pytest.approx(values.sum(), rel=0.01)
    assert sums.std() == pytest.approx(10 * values.std(), rel=0.02)  # sqrt(100) rows
    # The features of a draw are of the same rows: their counts add up to all of them.
    assert (drawn(kinds, [[1, 0, 0], [0, 1, 0], [0, 0, 1]], draws=50).sum(1) == 100).all()


def test_the_spread_of_groups_is_that_of_drawn_groups() -> None:
    groups = [f"g{row // 4}" for row in range(200)]
    kinds = [row // 4 % 3 for row in range(200)]  # the rows of a group are all alike
    sums = drawn(kinds, [[0.0], [1.0], [5.0]], groups=groups, draws=20_000)
    of_group = 4 * np.array([0.0, 1.0, 5.0])[kinds[::4]]
    assert sums.std() == pytest.approx(50**0.5 * of_group.std(), rel=0.02)
    alone = drawn(kinds, [[0.0], [1.0], [5.0]], draws=20_000)
    assert sums.std() == pytest.approx(2 * alone.std(), rel=0.03)  # sqrt(4): a design effect


def test_groups_of_one_row_are_rows_and_order_does_not_matter() -> None:
    kinds, features = [0, 1, 1, 2, 2, 2], [[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]]
    rows = drawn(kinds, features, draws=100)
    assert np.array_equal(rows, drawn(kinds, features, groups=list("abcdef"), draws=100))
    assert np.array_equal(rows, drawn(kinds[::-1], features, draws=100))
    groups = ["x", "x", "y", "y", "z", "z"]
    grouped = drawn(kinds, features, groups=groups, draws=100)
    assert np.array_equal(grouped, drawn(kinds[::-1], features, groups=groups[::-1], draws=100))


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = drawn([0, 1, 1], [[1.0], [2.0]], draws=101)
    monkeypatch.setattr(resample, "_BLOCK_BYTES", 1_000)
    assert len(blocks(101, 100)) == 11
    assert np.array_equal(drawn([0, 1, 1], [[1.0], [2.0]], draws=101), whole)


def test_the_middle_leaves_out_what_is_no_number() -> None:
    values = np.arange(101.0)
    assert middle(values) == pytest.approx([2.5, 97.5])
    columns = np.stack([values, np.where(values < 50, np.nan, values), np.full(101, np.nan)], 1)
    low, high = middle(columns)
    assert low == pytest.approx([2.5, 51.25, 0])
    assert high == pytest.approx([97.5, 98.75, 1])
