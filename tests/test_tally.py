import numpy as np
import pytest

from ftool.metrics import LABEL_METRICS
from ftool.tally import Tally, label_cells, tally_features, tally_of

NAMES = ("a", "b", "c")


def test_cells_are_counted_row_by_row_and_unparsed_is_the_last_column() -> None:
    cells = label_cells(["a", "a", "b", "c"], ["a", None, "c", "nonsense"], NAMES)
    assert cells.tolist() == [0, 3, 6, 11]


def test_features_add_up_to_the_tally() -> None:
    cells = label_cells(["a", "a", "b", "c"], ["a", None, "c", "nonsense"], NAMES)
    tally = tally_of(tally_features(cells, 3).sum(0))
    assert tally.hits.tolist() == [1, 0, 0]
    assert tally.support.tolist() == [2, 1, 1]
    assert tally.predicted.tolist() == [1, 0, 1]


def test_metrics_over_draws_are_those_of_each_draw() -> None:
    draws = np.random.default_rng(1).integers(0, 5, (4, 9)).astype(float)
    together = tally_of(draws).metrics()
    assert tuple(together) == LABEL_METRICS
    for place in range(4):
        alone = tally_of(draws[place]).metrics()
        for name, values in together.items():
            assert values[place] == pytest.approx(float(alone[name]))


def test_what_has_no_denominator_is_0_and_not_known() -> None:
    tally = Tally(np.array([1.0, 0.0]), np.array([2.0, 0.0]), np.array([1.0, 0.0]))
    assert tally.per_label()["f1"].tolist() == [pytest.approx(2 / 3), 0.0]
    known = tally.known_per_label()
    assert all(np.isnan(known[name][1]) for name in ("precision", "recall", "f1"))
    assert known["recall"][0] == 0.5
