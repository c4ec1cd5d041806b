from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, roc_auc_score

from ftool.artifacts import Prediction
from ftool.eval.measure.calibration import CURVE_POINTS, auroc, calibrate, uncertainty


def row(place: int, probability: float | None, correct: bool, **named: object) -> Prediction:
    answer = "a" if correct else "b"
    about = {"probability": probability, "probability_bounds": None, **named}
    return Prediction(f"{place}", "a", answer, answer, **about)  # type: ignore[arg-type]


def sample(size: int, *, power: float = 1.0, seed: int = 3) -> list[Prediction]:
    """Return answers that are right with probability ** power."""
    generator = np.random.default_rng(seed)
    probability = generator.random(size)
    right = generator.random(size) < probability**power
    pairs = zip(probability.tolist(), right.tolist(), strict=True)
    return [row(place, *pair) for place, pair in enumerate(pairs)]


def test_probabilities_that_mean_what_they_say_are_within_chance() -> None:
    honest, boastful = calibrate(sample(2_000)), calibrate(sample(2_000, power=3))
    assert honest is not None and boastful is not None
    assert honest.ece < honest.ece_by_chance < 0.05
    assert boastful.ece > 3 * boastful.ece_by_chance
    assert [part.examples for part in honest.bins] == [134, 133, 133] * 5
    assert honest.bins[-1].accuracy.low < honest.bins[-1].probability


def test_the_error_and_brier_are_those_of_the_definitions() -> None:
    rows = sample(400, power=2)
    found = calibrate(rows)
    assert found is not None
    probability = np.array([r.probability for r in rows], dtype=float)
    right = np.array([r.correct for r in rows], dtype=float)
    assert found.brier.value == pytest.approx(brier_score_loss(right, probability))
    spread = ((probability - right) ** 2).std() / 20
    assert found.brier.high - found.brier.low == pytest.approx(3.92 * spread, rel=0.1)
    gaps = [part.examples * abs(part.probability - part.accuracy.value) for part in found.bins]
    assert found.ece == pytest.approx(sum(gaps) / 400)
    assert sum(part.examples for part in found.bins) == 400


def test_chance_keeps_its_word() -> None:
    samples = [calibrate(sample(300, seed=seed), draws=200) for seed in range(100)]
    outside = sum(found.ece > found.ece_by_chance for found in samples if found)
    assert 0 <= outside <= 12


def test_coverage_is_the_largest_share_that_is_precise_enough() -> None:
    # 40 certain and right, then one wrong in ten: 0.95 holds to 78 rows.
    rows = [row(n, 0.99 - n / 1000, n < 40 or n % 10 != 9) for n in range(100)]
    found = calibrate(rows)
    assert found is not None and found.coverage is not None
    shares = [(n, sum(r.correct for r in rows[:n]) / n) for n in range(1, 101)]
    most = max(n for n, precision in shares if precision >= 0.95)
    assert found.coverage.share == most / 100
    assert found.coverage.threshold == rows[most - 1].probability
    assert found.coverage.precision.value == shares[most - 1][1]
    assert len(found.curve) == 100 == CURVE_POINTS
    assert found.curve[-1].share == 1.0
    never = calibrate([row(n, n / 10, False) for n in range(10)])
    assert never is not None and never.coverage is None


@given(
    st.lists(
        st.tuples(st.sampled_from([0.2, 0.5, 0.9, 1.0]), st.booleans()), min_size=1, max_size=40
    ),
    st.randoms(use_true_random=False),
)
@settings(max_examples=60, deadline=None)
def test_equal_probabilities_stay_together_in_any_order(
    pairs: list[tuple[float, bool]], random: Random
) -> None:
    rows = [row(n, *pair) for n, pair in enumerate(pairs)]
    found = calibrate(rows, draws=20)
    assert found is not None
    assert calibrate(random.sample(rows, len(rows)), draws=20) == found
    distinct = {probability for probability, _ in pairs}
    assert len(found.bins) <= len(distinct) and len(found.curve) == len(distinct)
    for point in found.curve:
        through = [right for probability, right in pairs if probability >= point.threshold]
        assert point.precision.value == sum(through) / len(through)


def test_without_certain_probabilities_there_is_no_calibration() -> None:
    rows = sample(50)
    assert calibrate([]) is None
    assert calibrate([*rows, row(99, None, True)]) is None
    rough = [row(n, 0.5, True, probability_bounds=(0.4, 0.6)) for n in range(5)]
    assert uncertainty(rough) == pytest.approx(0.1)
    assert calibrate(rough) is None
    sharp = calibrate([row(n, 0.5, True, probability_bounds=(0.495, 0.505)) for n in range(5)])
    assert sharp is not None and sharp.uncertainty == pytest.approx(0.005)


scored = st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.5, 0.9]), st.booleans()), min_size=2)


@given(scored.filter(lambda rows: len({positive for _, positive in rows}) == 2))
@settings(max_examples=60, deadline=None)
def test_the_area_is_scikit_learns(rows: list[tuple[float, bool]]) -> None:
    scores, positive = [score for score, _ in rows], [is_positive for _, is_positive in rows]
    area = auroc(scores, positive)
    assert area.value == pytest.approx(roc_auc_score(positive, scores))
    assert 0 <= area.low <= area.value <= area.high <= 1


def test_the_interval_of_the_area_is_that_of_drawn_rows() -> None:
    generator = np.random.default_rng(2)
    scores = np.concatenate([generator.normal(1, 1, 80), generator.normal(0, 1, 160)])
    positive = np.array([True] * 80 + [False] * 160)
    area = auroc(scores.tolist(), positive.tolist())
    drawn = []
    for _ in range(1_000):
        rows = generator.integers(0, 240, 240)
        drawn.append(roc_auc_score(positive[rows], scores[rows]))
    assert area.high - area.low == pytest.approx(3.92 * float(np.std(drawn)), rel=0.1)
    with pytest.raises(ValueError, match="needs positives and negatives"):
        auroc([1.0], [True])


def test_rows_out_of_scope_are_told_by_what_no_other_label_takes() -> None:
    def answer(expected: str, predicted: str, probability: float) -> Prediction:
        return Prediction(expected, expected, predicted, "", probability=probability)

    rows = [
        answer("oos", "oos", 0.9),  # 0.9
        answer("oos", "card", 0.6),  # 0.4
        answer("card", "card", 0.8),  # 0.2
        answer("card", "oos", 0.5),  # 0.5
    ]
    found = calibrate(rows, out_of_scope="oos")
    assert found is not None and found.out_of_scope is not None
    assert found.out_of_scope.value == 0.75
    assert found.as_dict()["out_of_scope"]["value"] == 0.75
    alone = calibrate(rows[2:], out_of_scope="oos")
    assert alone is not None and alone.out_of_scope is None
