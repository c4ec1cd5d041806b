from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from ftool.artifacts import Prediction
from ftool.errors import DataError
from ftool.eval.measure.paired import (
    BETTER,
    UNKNOWN,
    WORSE,
    holm,
    mcnemar,
    pair_predictions,
    verdict_in_words,
)
from ftool.metrics import label_metrics

NAMES = ("a", "b", "c")


def answers(expected: list[str], predicted: list[str | None]) -> list[Prediction]:
    pairs = zip(expected, predicted, strict=True)
    return [Prediction(f"row-{place}", *pair, output="") for place, pair in enumerate(pairs)]


def two_models(size: int, ours: float, theirs: float) -> tuple[list[Prediction], list[Prediction]]:
    """Return answers that are right with these chances, independently."""
    generator = np.random.default_rng(7)
    expected = [NAMES[place] for place in generator.integers(0, 3, size)]

    def model(chance: float) -> list[Prediction]:
        wrong = [NAMES[(NAMES.index(label) + 1) % 3] for label in expected]
        is_right = generator.random(size) < chance
        given = [e if r else w for e, w, r in zip(expected, wrong, is_right, strict=True)]
        return answers(expected, given)  # type: ignore[arg-type]

    return model(ours), model(theirs)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[list[Prediction], list[Prediction]]:
    size = draw(st.integers(1, 30))
    given_names = st.sampled_from([*NAMES, None, "undeclared"])
    expected = draw(st.lists(st.sampled_from(NAMES), min_size=size, max_size=size))
    ours, theirs = (draw(st.lists(given_names, min_size=size, max_size=size)) for _ in range(2))
    return answers(expected, ours), answers(expected, theirs)


@given(st.integers(0, 80), st.integers(0, 80))
@settings(max_examples=80, deadline=None)
def test_mcnemar_is_scipys_binomial_test(fixed: int, broken: int) -> None:
    total = fixed + broken
    reference = binomtest(fixed, total).pvalue if total else 1.0
    assert mcnemar(fixed, broken) == pytest.approx(reference)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@given(pairs(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_rows_in_any_order_give_the_same_and_differences_are_those_of_the_metrics(
    both: tuple[list[Prediction], list[Prediction]], random: Random
) -> None:
    ours, theirs = both
    found = pair_predictions(ours, theirs, NAMES, name="other", draws=40)
    mixed = random.sample(ours, len(ours)), random.sample(theirs, len(theirs))
    assert pair_predictions(*mixed, NAMES, name="other", draws=40) == found
    expected = [str(row.expected) for row in ours]
    mine, other = (label_metrics(expected, [r.predicted for r in side], NAMES) for side in both)
    for name, delta in found.deltas.items():
        assert delta.value == pytest.approx(mine[name] - other[name])
        assert -1 <= delta.low <= delta.value <= delta.high <= 1
    fixed = {a.id for a, b in zip(ours, theirs, strict=True) if a.correct and not b.correct}
    assert set(found.fixed) == fixed
    parts = (found.fixed, found.broken, found.both_right, found.both_wrong)
    assert sorted(key for part in parts for key in part) == sorted(row.id for row in ours)
    assert found.p_value == mcnemar(len(found.fixed), len(found.broken))
    turned = pair_predictions(theirs, ours, NAMES, name="other", draws=40)
    assert (turned.fixed, turned.broken) == (found.broken, found.fixed)
    assert turned.deltas["accuracy"].value == pytest.approx(-found.deltas["accuracy"].value)


@given(pairs())
@settings(max_examples=30, deadline=None)
def test_a_model_does_not_differ_from_itself(
    both: tuple[list[Prediction], list[Prediction]],
) -> None:
    found = pair_predictions(both[0], both[0], NAMES, name="itself", draws=30)
    assert found.verdict == UNKNOWN and found.p_value == 1.0
    assert {(d.low, d.value, d.high) for d in found.deltas.values()} == {(0.0, 0.0, 0.0)}
    assert found.fixed == found.broken == ()
    assert all(delta.p_value == 1 and delta.recall == 0 for delta in found.per_label.values())


def test_the_paired_spread_is_that_of_drawn_rows() -> None:
    ours, theirs = two_models(300, 0.8, 0.7)
    found = pair_predictions(ours, theirs, NAMES, name="other")
    generator = np.random.default_rng(5)
    drawn: dict[str, list[float]] = {name: [] for name in found.deltas}
    for _ in range(1_000):
        rows = generator.integers(0, 300, 300)
        expected = [str(ours[row].expected) for row in rows]
        mine, other = (
            label_metrics(expected, [side[row].predicted for row in rows], NAMES)
            for side in (ours, theirs)
        )
        for name in drawn:
            drawn[name].append(mine[name] - other[name])
    for name, delta in found.deltas.items():
        spread = float(np.std(drawn[name]))
        assert delta.high - delta.low == pytest.approx(3.92 * spread, rel=0.1), name


def test_verdicts_in_words() -> None:
    better, worse = two_models(600, 0.9, 0.8)
    found = pair_predictions(better, worse, NAMES, name="the base").as_dict()
    assert found["verdict"] == BETTER
    words = verdict_in_words(found)
    assert words.startswith("better than the base by ") and words.endswith("p < 0.001 at n=600")
    turned = pair_predictions(worse, better, NAMES, name="the base").as_dict()
    assert turned["verdict"] == WORSE
    point = words.partition(" (")[0]
    assert verdict_in_words(turned).startswith(point.replace("better", "worse"))
    first, second = two_models(3080, 0.967, 0.967)
    same = pair_predictions(first, second, NAMES, name="prod").as_dict()
    assert same["verdict"] == UNKNOWN
    least = 100 * 2.8016 * (same["fixed"] + same["broken"]) ** 0.5 / 3080
    assert verdict_in_words(same) == (
        f"no detectable difference from prod (could detect >= {least:.1f} points at n=3,080)"
    )
    few = pair_predictions(better[:4], worse[:4], NAMES, name="prod").as_dict()
    assert verdict_in_words(few).endswith("from prod (n=4 is too few to detect any)")


def test_six_rows_of_one_kind_are_the_least_that_can_be_told() -> None:
    expected = ["a"] * 100
    worse = answers(expected, ["b"] * 100)
    for fixed, verdict in ((5, UNKNOWN), (6, BETTER)):
        ours = answers(expected, ["a"] * fixed + ["b"] * (100 - fixed))
        found = pair_predictions(ours, worse, NAMES, name="x", draws=100)
        assert found.verdict == verdict
        assert found.detectable >= 0.06


def test_a_difference_that_is_said_to_be_detectable_is_detected_in_4_of_5_samples() -> None:
    generator = np.random.default_rng(1)
    size, discordant = 1000, 0.1
    error = 2.8016 * (discordant / size) ** 0.5
    fixed_share = (discordant + error) / 2
    fixed = generator.binomial(size, fixed_share, 2_000)
    broken = generator.binomial(size - fixed, (discordant - fixed_share) / (1 - fixed_share))
    found = np.mean([mcnemar(*pair) <= 0.05 for pair in zip(fixed, broken, strict=True)])
    assert 0.76 < found < 0.85


def test_labels_are_told_apart_with_a_correction_for_their_number() -> None:
    expected = ["a"] * 20 + ["b"] * 20
    theirs = answers(expected, ["c"] * 20 + ["b"] * 20)
    ours = answers(expected, ["a"] * 10 + ["c"] * 10 + ["b"] * 19 + ["c"])
    found = pair_predictions(ours, theirs, NAMES, name="x", draws=100).per_label
    assert set(found) == {"a", "b"}  # `c` has no row
    assert (found["a"].support, found["a"].fixed, found["a"].broken) == (20, 10, 0)
    assert found["a"].recall == 0.5
    assert found["a"].p_value == pytest.approx(2 * mcnemar(10, 0))
    assert (found["b"].fixed, found["b"].broken, found["b"].p_value) == (0, 1, 1.0)


def test_rows_in_groups_are_judged_by_their_interval() -> None:
    ours, theirs = two_models(60, 0.95, 0.6)
    copies = 10
    many, others = (
        [
            Prediction(f"{row.id}/{copy}", row.expected, row.predicted, "")
            for row in side
            for copy in range(copies)
        ]
        for side in (ours[:12], theirs[:12])
    )
    groups = {row.id: row.id.partition("/")[0] for row in many}
    alone = pair_predictions(many, others, NAMES, name="x")
    grouped = pair_predictions(many, others, NAMES, name="x", groups=groups)
    assert grouped.p_value is None
    ours_, theirs_ = grouped.deltas["accuracy"], alone.deltas["accuracy"]
    assert ours_.value == theirs_.value
    assert ours_.high - ours_.low > 2.5 * (theirs_.high - theirs_.low)
    assert grouped.detectable > 2 * alone.detectable
    assert ", p " not in verdict_in_words(grouped.as_dict())
    few = pair_predictions(many[:50], others[:50], NAMES, name="x", groups=groups)
    assert (few.verdict, few.detectable) == (UNKNOWN, pytest.approx(6 / 5))  # of 5 groups


def test_only_rows_that_both_answered_count() -> None:
    ours, theirs = two_models(50, 0.9, 0.5)
    found = pair_predictions(ours, theirs[10:30], NAMES, name="x", draws=50)
    assert found.examples == 20
    assert found == pair_predictions(ours[10:30], theirs[10:30], NAMES, name="x", draws=50)
    assert found.as_dict()["fixed"] == len(found.fixed)


def test_rows_that_do_not_belong_together_are_refused() -> None:
    ours, theirs = two_models(5, 0.9, 0.5)
    with pytest.raises(DataError, match="no row is answered by x too"):
        pair_predictions(ours[:2], theirs[2:], NAMES, name="x")
    with pytest.raises(DataError, match="ids that occur twice"):
        pair_predictions([*ours, ours[0]], theirs, NAMES, name="x")
    other = [Prediction("row-0", "b" if ours[0].expected != "b" else "c", "a", "")]
    with pytest.raises(DataError, match="row-0 is expected to be"):
        pair_predictions(ours, other, NAMES, name="x")
