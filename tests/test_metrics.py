import math
import warnings
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from ftool.metrics import (
    LABEL_METRICS,
    Estimate,
    label_metrics,
    loss_estimate,
    metric_value,
    perplexity,
    perplexity_estimate,
    score_labels,
    wilson,
)

DECLARED = ("a", "b", "c", "d", "e")
UNPARSED = "\0unparsed"


@st.composite
def labelled(draw: st.DrawFn) -> tuple[list[str], list[str | None]]:
    """Random labels in which some classes are absent, never predicted or unparsed."""
    occurring = draw(st.lists(st.sampled_from(DECLARED), min_size=1, unique=True))
    answers = draw(st.lists(st.sampled_from([*DECLARED, None, "undeclared"]), min_size=1))
    size = draw(st.integers(1, 40))
    expected = draw(st.lists(st.sampled_from(occurring), min_size=size, max_size=size))
    predicted = draw(st.lists(st.sampled_from(answers), min_size=size, max_size=size))
    return expected, predicted


def by_sklearn(expected: list[str], predicted: list[str | None]) -> dict[str, float]:
    answers = [label if label in DECLARED else UNPARSED for label in predicted]
    present = [label for label in DECLARED if label in expected]
    values = {"accuracy": float(accuracy_score(expected, answers))}
    for average in ("macro", "micro", "weighted"):
        labels = present if average == "macro" else DECLARED
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scores = precision_recall_fscore_support(
                expected, answers, labels=list(labels), average=average, zero_division=0
            )
        for name, value in zip(("precision", "recall", "f1"), scores, strict=False):
            values[f"{name}_{average}"] = float(value)
    return values


@given(labelled())
@settings(max_examples=80, deadline=None)
def test_point_values_equal_scikit_learn(rows: tuple[list[str], list[str | None]]) -> None:
    expected, predicted = rows
    reference = by_sklearn(expected, predicted)
    assert label_metrics(expected, predicted, DECLARED) == pytest.approx(reference, abs=1e-12)
    for name in LABEL_METRICS:
        value = metric_value(name, expected, predicted, DECLARED)
        assert value == pytest.approx(reference[name], abs=1e-12)


@given(labelled())
@settings(max_examples=60, deadline=None)
def test_scores_per_label_and_confusion_equal_scikit_learn(
    rows: tuple[list[str], list[str | None]],
) -> None:
    expected, predicted = rows
    answers = [label if label in DECLARED else UNPARSED for label in predicted]
    scores = score_labels(expected, predicted, DECLARED, draws=50)
    reference = precision_recall_fscore_support(
        expected, answers, labels=list(DECLARED), average=None, zero_division=0
    )
    for index, label in enumerate(DECLARED):
        own = scores.per_label[label]
        assert tuple(own)[:4] == ("precision", "recall", "f1", "support")
        assert list(own.values())[:4] == pytest.approx(
            [float(column[index]) for column in reference], abs=1e-12
        )
        for name in ("precision", "recall", "f1"):
            assert 0 <= own[f"{name}_low"] <= own[name] <= own[f"{name}_high"] <= 1
    matrix = confusion_matrix(expected, answers, labels=[*DECLARED, UNPARSED])
    assert np.array_equal(scores.confusion, matrix[:-1])
    assert scores.unparsed == answers.count(UNPARSED)
    assert scores.without_support == tuple(x for x in DECLARED if x not in expected)
    assert scores.never_predicted == tuple(x for x in DECLARED if x not in answers)
    for estimate in scores.metrics.values():
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


def test_a_worked_example() -> None:
    # 4 of 6 right, one answer unparsed; `c` is expected but never predicted, `d` does not occur.
    expected = ["a", "a", "a", "b", "b", "c"]
    predicted = ["a", "a", None, "b", "b", "a"]
    values = {
        name: estimate.value
        for name, estimate in score_labels(
            expected, predicted, ["a", "b", "c", "d"]
        ).metrics.items()
    }
    assert values == pytest.approx(
        {
            "accuracy": 4 / 6,
            "precision_macro": (2 / 3 + 1 + 0) / 3,
            "recall_macro": (2 / 3 + 1 + 0) / 3,
            "f1_macro": (2 / 3 + 1 + 0) / 3,
            "precision_micro": 4 / 5,
            "recall_micro": 4 / 6,
            "f1_micro": 8 / 11,
            "precision_weighted": (3 * 2 / 3 + 2) / 6,
            "recall_weighted": 4 / 6,
            "f1_weighted": (3 * 2 / 3 + 2) / 6,
        }
    )


def test_an_unparsed_answer_is_never_dropped_and_never_a_label() -> None:
    expected = ["a", "b"] * 50
    predicted: list[str | None] = [*expected[:-5], *[None] * 5]
    scores = score_labels(expected, predicted, ["a", "b"], draws=100)
    assert scores.metrics["accuracy"].value == 0.95
    assert scores.metrics["precision_macro"].value == 1.0
    assert scores.metrics["f1_macro"].value == pytest.approx((94 / 97 + 96 / 98) / 2, abs=1e-3)
    assert [row[-1] for row in scores.confusion] == [2, 3]


@pytest.mark.parametrize(
    ("expected", "predicted", "names", "problem"),
    [
        ([], [], ["a"], "no examples"),
        (["a"], ["a", "a"], ["a"], "zip"),
        (["a", "x"], ["a", "a"], ["a"], r"not declared: \['x'\]"),
        (["a"], ["a"], ["a", "a"], "twice"),
    ],
)
def test_what_cannot_be_scored_is_refused(
    expected: list[str], predicted: list[str], names: list[str], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        score_labels(expected, predicted, names)


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(ValueError, match="`f1` is not a metric of labels"):
        metric_value("f1", ["a"], ["a"], ["a"])


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    # Newcombe (1998), Two-sided confidence intervals for the single proportion, table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_equals_published_intervals(hits: int, total: int, low: float, high: float) -> None:
    estimate = wilson(hits, total)
    assert estimate.value == hits / total
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=5e-5)
    mirrored = wilson(total - hits, total)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("hits", "total"), [(1, 0), (0, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_what_is_no_proportion(hits: int, total: int) -> None:
    with pytest.raises(ValueError, match="not a proportion"):
        wilson(hits, total)


def imperfect(size: int) -> tuple[list[str], list[str | None]]:
    generator = np.random.default_rng(3)
    expected = [DECLARED[i] for i in generator.choice(4, size, p=[0.5, 0.3, 0.15, 0.05])]
    wrong = [(*DECLARED, None)[i] for i in generator.integers(0, 6, size)]
    keep = generator.random(size) < 0.7
    predicted = [e if k else w for e, k, w in zip(expected, keep, wrong, strict=True)]
    return expected, predicted


def test_the_cell_bootstrap_has_the_spread_of_a_row_bootstrap() -> None:
    expected, predicted = imperfect(200)
    scores = score_labels(expected, predicted, DECLARED)
    generator = np.random.default_rng(5)
    drawn: dict[str, list[float]] = {name: [] for name in LABEL_METRICS}
    for _ in range(1_500):
        rows = generator.integers(0, 200, 200)
        values = label_metrics([expected[i] for i in rows], [predicted[i] for i in rows], DECLARED)
        for name, value in values.items():
            drawn[name].append(value)
    for name, estimate in scores.metrics.items():
        low, high = np.quantile(drawn[name], [0.025, 0.975])
        spread = float(np.std(drawn[name]))
        assert spread > 0.01
        assert estimate.low == pytest.approx(low, abs=0.35 * spread), name
        assert estimate.high == pytest.approx(high, abs=0.35 * spread), name


@pytest.mark.parametrize("size", [1, 5, 60])
def test_all_right_or_all_wrong_is_no_more_certain_than_the_accuracy(size: int) -> None:
    expected = (["a", "b"] * size)[:size]
    right = score_labels(expected, expected, ["a", "b"], draws=50).metrics
    wrong = score_labels(expected, [None] * size, ["a", "b"], draws=50).metrics
    for name in LABEL_METRICS:
        assert right[name].low <= wilson(size, size).low
        assert wrong[name] == Estimate(0.0, 0.0, wilson(0, size).high)
    assert right["f1_micro"] == right["accuracy"] == wilson(size, size)


def test_bounds_of_a_label_are_wilsons_and_those_of_f1_follow_from_jaccards_index() -> None:
    expected, predicted = ["a"] * 8 + ["b"] * 2, ["a"] * 6 + ["b", None] + ["b", "a"]
    own = score_labels(expected, predicted, ["a", "b", "c"], draws=10).per_label
    recall, precision = wilson(6, 8), wilson(6, 7)
    assert (own["a"]["recall_low"], own["a"]["recall_high"]) == (recall.low, recall.high)
    assert (own["a"]["precision_low"], own["a"]["precision_high"]) == (
        precision.low,
        precision.high,
    )
    jaccard = wilson(6, 9)
    assert own["a"]["f1"] == pytest.approx(2 * jaccard.value / (1 + jaccard.value))
    assert own["a"]["f1_low"] == pytest.approx(2 * jaccard.low / (1 + jaccard.low))
    assert own["a"]["f1_high"] == pytest.approx(2 * jaccard.high / (1 + jaccard.high))
    assert (own["c"]["f1"], own["c"]["f1_low"], own["c"]["f1_high"]) == (0.0, 0.0, 1.0)


def test_groups_widen_every_interval_by_their_size() -> None:
    expected, predicted = imperfect(200)
    alone = score_labels(expected, predicted, DECLARED, draws=4_000)
    groups = [str(row) for row in range(200)] * 4
    four = score_labels(expected * 4, predicted * 4, DECLARED, groups=groups, draws=4_000)
    for name in LABEL_METRICS:
        width = alone.metrics[name].high - alone.metrics[name].low
        assert four.metrics[name].high - four.metrics[name].low == pytest.approx(width, rel=0.1)
    own, first = four.per_label["a"], alone.per_label["a"]
    assert own["recall"] == first["recall"]
    assert own["recall_high"] - own["recall_low"] == pytest.approx(
        first["recall_high"] - first["recall_low"], rel=0.1
    )
    assert (four.per_label["e"]["recall_low"], four.per_label["e"]["recall_high"]) == (0.0, 1.0)


@given(labelled(), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_the_order_of_the_rows_does_not_matter(
    rows: tuple[list[str], list[str | None]], random: Random
) -> None:
    groups = [f"g{place // 3}" for place in range(len(rows[0]))]
    order = list(range(len(groups)))
    random.shuffle(order)
    mixed = [[column[place] for place in order] for column in (*rows, groups)]
    assert score_labels(*rows, DECLARED, draws=60) == score_labels(*mixed[:2], DECLARED, draws=60)
    first = score_labels(*rows, DECLARED, groups=groups, draws=60)
    assert first == score_labels(*mixed[:2], DECLARED, groups=mixed[2], draws=60)


def test_intervals_depend_on_the_seed_only_and_narrow_with_the_data() -> None:
    expected, predicted = imperfect(200)
    first = score_labels(expected, predicted, DECLARED, draws=2_000)
    assert score_labels(expected, predicted, DECLARED, draws=2_000) == first
    other = score_labels(expected, predicted, DECLARED, draws=2_000, seed=18)
    assert other.metrics["f1_macro"] != first.metrics["f1_macro"]
    many = score_labels(expected * 16, predicted * 16, DECLARED, draws=2_000)
    for name in LABEL_METRICS:
        width = first.metrics[name].high - first.metrics[name].low
        narrow = many.metrics[name].high - many.metrics[name].low
        assert many.metrics[name].value == pytest.approx(first.metrics[name].value)
        assert narrow == pytest.approx(width / 4, rel=0.2)


def test_blocks_of_draws_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    expected, predicted = imperfect(100)
    losses, tokens = [0.5, 1.0, 2.0], [3, 1, 2]
    whole = score_labels(expected, predicted, DECLARED, draws=501)
    loss = loss_estimate(losses, tokens, draws=501)
    monkeypatch.setattr("ftool.resample._BLOCK_BYTES", 5_000)
    assert score_labels(expected, predicted, DECLARED, draws=501) == whole
    assert loss_estimate(losses, tokens, draws=501) == loss


def test_the_loss_weighs_tokens_not_examples() -> None:
    estimate = loss_estimate([1.0, 3.0], [30, 10])
    assert estimate == Estimate(1.5, 1.0, 3.0)
    assert loss_estimate([1.0, 3.0, math.nan], [30, 10, 0]) == estimate


def test_the_loss_interval_equals_the_normal_one_on_many_examples() -> None:
    generator = np.random.default_rng(11)
    losses, tokens = generator.gamma(4, 0.5, 2_000), generator.integers(1, 50, 2_000)
    estimate = loss_estimate(losses.tolist(), tokens.tolist())
    mean = float(np.average(losses, weights=tokens))
    residual = tokens * (losses - mean)
    spread = float(np.sqrt((residual**2).sum())) / int(tokens.sum())
    assert estimate.value == pytest.approx(mean)
    assert estimate.low == pytest.approx(mean - 1.96 * spread, abs=0.1 * spread)
    assert estimate.high == pytest.approx(mean + 1.96 * spread, abs=0.1 * spread)


def test_a_loss_needs_learned_tokens_for_every_example() -> None:
    with pytest.raises(ValueError, match="no learned token"):
        loss_estimate([1.0], [0])
    with pytest.raises(ValueError, match="zip"):
        loss_estimate([1.0], [1, 2])


def test_perplexity() -> None:
    assert perplexity(0.0) == 1.0
    assert perplexity(math.log(50_000)) == pytest.approx(50_000)
    assert math.isfinite(perplexity(1e6))
    loss = Estimate(math.log(4), math.log(2), math.log(8))
    bounds = perplexity_estimate(loss)
    assert (bounds.value, bounds.low, bounds.high) == pytest.approx((4, 2, 8))
