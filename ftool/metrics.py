"""Accuracy, precision, recall, F1, confusion, loss, perplexity and intervals: pure functions."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from ftool.resample import CONFIDENCE, DRAWS, blocks, middle, resampled_sums
from ftool.tally import Tally, label_cells, tally_features, tally_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]

LABEL_METRICS = (
    "accuracy",
    *(
        f"{score}_{average}"
        for average in ("macro", "micro", "weighted")
        for score in ("precision", "recall", "f1")
    ),
)
"""Every metric of labels. There is no bare `f1`: which mean is meant changes the number."""

_LARGEST_EXPONENT = 700.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class LabelScores:
    """How well labels were predicted.

    `per_label` holds precision, recall and F1 with their bounds (`f1_low`, `f1_high`) and support.

    `confusion` is [declared labels, declared labels + 1]: a row is an expected label, a column a
    predicted one, the last column counts answers that name no declared label.
    """

    metrics: Mapping[str, Estimate]
    per_label: Mapping[str, Mapping[str, float]]
    confusion: tuple[tuple[int, ...], ...]
    label_names: tuple[str, ...]
    unparsed: int
    without_support: tuple[str, ...]
    never_predicted: tuple[str, ...]


def score_labels(
    expected: Sequence[str],
    predicted: Sequence[str | None],
    label_names: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
    draws: int = DRAWS,
    seed: int = 17,
) -> LabelScores:
    """Score predicted labels, with an interval for every metric.

    Proportions have Wilson's interval, the other metrics a percentile bootstrap over the examples,
    or the accuracy's interval where all answers are right or all wrong. With groups every interval
    is a bootstrap over the groups.

    Args:
        expected: the right label of each example.
        predicted: the label read from each answer; None, or a label that is not declared, counts
            as unparsed: always wrong, never a label.
        label_names: the declared labels.
        groups: what each example belongs to, where those of one group are not independent.
        draws: bootstrap resamples.
        seed: of the resamples.

    Raises:
        ValueError: no examples, unequal lengths, or an expected label that is not declared.
    """
    cells = label_cells(expected, predicted, label_names)
    confusion = _confusion(cells, len(label_names))
    tally = _tally(confusion)
    metrics, drawn_bounds = _bootstrap(cells, tally, groups, draws, seed)
    if groups is None:
        metrics["accuracy"] = wilson(int(tally.hits.sum()), len(cells))
        metrics = _widened(metrics, metrics["accuracy"])
    bounds = _label_bounds(tally) if groups is None else drawn_bounds
    columns = {name: column.tolist() for name, column in tally.per_label().items()}
    columns["support"] = confusion.sum(1).tolist()
    for name, (low, high) in bounds.items():
        columns |= {f"{name}_low": low.tolist(), f"{name}_high": high.tolist()}
    return LabelScores(
        metrics=metrics,
        per_label={
            label: {name: column[index] for name, column in columns.items()}
            for index, label in enumerate(label_names)
        },
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        label_names=tuple(label_names),
        unparsed=int(confusion[:, -1].sum()),
        without_support=_where_zero(tally.support, label_names),
        never_predicted=_where_zero(tally.predicted, label_names),
    )


def label_metrics(
    expected: Sequence[str], predicted: Sequence[str | None], label_names: Sequence[str]
) -> dict[str, float]:
    """Return the point value of every metric of labels, without intervals.

    Raises:
        ValueError: no examples, unequal lengths, or an expected label that is not declared.
    """
    cells = label_cells(expected, predicted, label_names)
    tally = _tally(_confusion(cells, len(label_names)))
    return {name: float(value) for name, value in tally.metrics().items()}


def metric_value(
    name: str,
    expected: Sequence[str],
    predicted: Sequence[str | None],
    label_names: Sequence[str],
) -> float:
    """Return the point value of one metric of labels.

    Raises:
        ValueError: an unknown metric, no examples, unequal lengths, or an expected label that is
            not declared.
    """
    if name not in LABEL_METRICS:
        raise ValueError(f"`{name}` is not a metric of labels; those are {LABEL_METRICS}")
    return label_metrics(expected, predicted, label_names)[name]


def wilson(hits: int, total: int) -> Estimate:
    """Return a proportion with its 95 % score interval, without continuity correction.

    (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)

    Source:
        Wilson (1927), Journal of the American Statistical Association 22, 209-212; recommended by
        Brown, Cai and DasGupta (2001), Interval Estimation for a Binomial Proportion.

    Raises:
        ValueError: `total` is not positive or `hits` not within it.
    """
    if not 0 <= hits <= total or total == 0:
        raise ValueError(f"{hits} of {total} is not a proportion")
    low, high = _wilson_bounds(hits, total)
    return Estimate(hits / total, float(low), float(high))


def _wilson_bounds(hits: "Floats | int", total: "Floats | int") -> tuple["Floats", "Floats"]:
    """Return the bounds of proportions; nothing is known of those without a total."""
    import numpy as np

    hits, total = np.asarray(hits, dtype=float), np.asarray(total, dtype=float)
    count = np.where(total > 0, total, 1.0)
    ratio = hits / count
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    center = ratio + z * z / (2 * count)
    reach = z * np.sqrt(ratio * (1 - ratio) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    # The bounds of 0 and of all hits are exactly 0 and 1 but for rounding.
    low = np.where(hits == 0, 0.0, (center - reach) / scale)
    high = np.where(hits == total, 1.0, (center + reach) / scale)
    return low, high


def _label_bounds(tally: Tally) -> dict[str, tuple["Floats", "Floats"]]:
    """Return low and high of precision, recall and F1 of each label; 0 to 1 where unknown.

    Precision and recall are proportions. F1 = 2J / (1 + J) grows with Jaccard's
    J = TP / (TP + FP + FN), a proportion too, so that bounds of J are bounds of F1.
    """
    either = tally.support + tally.predicted - tally.hits
    low, high = _wilson_bounds(tally.hits, either)
    return {
        "precision": _wilson_bounds(tally.hits, tally.predicted),
        "recall": _wilson_bounds(tally.hits, tally.support),
        "f1": (2 * low / (1 + low), 2 * high / (1 + high)),
    }


def loss_estimate(
    losses: Sequence[float],
    learned_tokens: Sequence[int],
    *,
    draws: int = DRAWS,
    seed: int = 17,
) -> Estimate:
    """Return the mean loss per learned token, with a percentile bootstrap over the examples.

    Tokens of one example are not independent, so whole examples are resampled. Beyond 10,000
    examples there are fewer draws, at least 1,000: the interval is stable there.

    Args:
        losses: mean loss of each example, in nats per learned token.
        learned_tokens: how many learned tokens each has; those without any are left out.
        draws: bootstrap resamples.
        seed: of the resamples.

    Source:
        Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.

    Raises:
        ValueError: unequal lengths, or no learned token at all.
    """
    import numpy as np

    pairs = [(loss, count) for loss, count in zip(losses, learned_tokens, strict=True) if count > 0]
    if not pairs:
        raise ValueError("there is no learned token to compute a loss of")
    tokens = np.array([count for _, count in pairs], dtype=np.float64)
    sums = np.array([loss for loss, _ in pairs], dtype=np.float64) * tokens
    examples = len(pairs)
    generator = np.random.default_rng(seed)
    means = []
    for size in blocks(max(1_000, min(draws, 10**8 // examples)), 24 * examples):
        rows = generator.integers(0, examples, (size, examples))
        means.append(sums[rows].sum(1) / tokens[rows].sum(1))
    return percentiles(float(sums.sum() / tokens.sum()), np.concatenate(means))


def perplexity(loss: float) -> float:
    """Return exp(loss) of a mean loss in nats per token.

    A diverged model's loss is capped at 700 nats, since JSON has no infinity.

    Source:
        Jelinek, Mercer, Bahl and Baker (1977), Perplexity, a measure of the difficulty of speech
        recognition tasks, Journal of the Acoustical Society of America 62, S63.
    """
    return math.exp(min(loss, _LARGEST_EXPONENT))


def perplexity_estimate(loss: Estimate) -> Estimate:
    """Return the perplexity of a loss; exp is monotone, so the bounds are those of the loss."""
    return Estimate(perplexity(loss.value), perplexity(loss.low), perplexity(loss.high))


def percentiles(value: float, drawn: "Floats") -> Estimate:
    """Return a value with the middle 95 % of its draws, widened where that leaves it out."""
    low, high = middle(drawn)
    return Estimate(value, min(value, float(low)), max(value, float(high)))


def _confusion(cells: "Counts", labels: int) -> "Counts":
    import numpy as np

    return np.bincount(cells, minlength=labels * (labels + 1)).reshape(labels, labels + 1)


def _tally(confusion: "Counts") -> Tally:
    counts = confusion.astype(float)
    return Tally(counts.diagonal(), counts.sum(1), counts[:, :-1].sum(0))


def _bootstrap(
    cells: "Counts", tally: Tally, groups: Sequence[str] | None, draws: int, seed: int
) -> tuple[dict[str, Estimate], dict[str, tuple["Floats", "Floats"]]]:
    """Resample examples or groups; return metrics with intervals and, of groups, label bounds."""
    import numpy as np

    distinct, kinds = np.unique(cells, return_inverse=True)
    features = tally_features(distinct, tally.hits.shape[-1])
    metrics: defaultdict[str, list[Floats]] = defaultdict(list)
    scores: defaultdict[str, list[Floats]] = defaultdict(list)
    for sums in resampled_sums(kinds, features, groups=groups, draws=draws, seed=seed):
        drawn = tally_of(sums)
        for name, value in drawn.metrics().items():
            metrics[name].append(value)
        for name, score in drawn.known_per_label().items() if groups is not None else ():
            scores[name].append(score)
    values = {name: float(value) for name, value in tally.metrics().items()}
    estimates = {n: percentiles(value, np.concatenate(metrics[n])) for n, value in values.items()}
    bounds = {}
    for name, point in tally.per_label().items() if groups is not None else ():
        low, high = middle(np.concatenate(scores[name]))
        bounds[name] = (np.minimum(low, point), np.maximum(high, point))
    return estimates, bounds


def _widened(metrics: Mapping[str, Estimate], accuracy: Estimate) -> dict[str, Estimate]:
    """Return metrics that are as uncertain as the accuracy where all is right, or all wrong.

    All resamples are alike then, and a bootstrap would be certain of five rows.
    """
    if 0.0 < accuracy.value < 1.0:
        return dict(metrics)
    return {
        name: Estimate(found.value, min(found.low, accuracy.low), max(found.high, accuracy.high))
        for name, found in metrics.items()
    }


def _where_zero(counts: "Floats", label_names: Sequence[str]) -> tuple[str, ...]:
    return tuple(
        label for label, count in zip(label_names, counts.tolist(), strict=True) if count == 0
    )
