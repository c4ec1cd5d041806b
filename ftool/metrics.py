"""Accuracy, precision, recall, F1, confusion, loss, perplexity and intervals: pure functions."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]

CONFIDENCE = 0.95
LABEL_METRICS = (
    "accuracy",
    *(
        f"{score}_{average}"
        for average in ("macro", "micro", "weighted")
        for score in ("precision", "recall", "f1")
    ),
)
"""Every metric of labels. There is no bare `f1`: which mean is meant changes the number."""

_BLOCK_BYTES = 32 * 2**20
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


@dataclass(frozen=True, slots=True)
class _Tally:
    """Counts per label; a leading axis, where there is one, runs over bootstrap draws."""

    hits: "Floats"  # [..., labels]
    support: "Floats"  # [..., labels]
    predicted: "Floats"  # [..., labels]

    def per_label(self) -> dict[str, "Floats"]:
        """Return precision, recall and F1 of each label; 0 where the denominator is 0.

        F1 = 2 TP / (2 TP + FP + FN), the harmonic mean of precision and recall.

        Source:
            van Rijsbergen, Information Retrieval (1979), chapter 7.
        """
        return {
            "precision": _ratio(self.hits, self.predicted),
            "recall": _ratio(self.hits, self.support),
            "f1": _ratio(2 * self.hits, self.support + self.predicted),
        }

    def metrics(self) -> dict[str, "Floats"]:
        """Return every metric of LABEL_METRICS, [...].

        Macro is the plain mean over the labels with support, weighted the mean by support, micro
        the score of the summed counts. An unparsed answer is a miss of its expected label.

        Source:
            Sokolova and Lapalme (2009), A systematic analysis of performance measures for
            classification tasks, table 3; equal to scikit-learn's precision_recall_fscore_support
            with zero_division=0 and, for macro, labels= those with support.
        """
        scores = self.per_label()
        total = self.support.sum(-1)
        present = self.support > 0
        summed = _Tally(*(c.sum(-1) for c in (self.hits, self.support, self.predicted))).per_label()
        values = {"accuracy": _ratio(self.hits.sum(-1), total)}
        for name, score in scores.items():
            values[f"{name}_macro"] = _ratio((score * present).sum(-1), present.sum(-1))
            values[f"{name}_micro"] = summed[name]
            values[f"{name}_weighted"] = _ratio((score * self.support).sum(-1), total)
        return {name: values[name] for name in LABEL_METRICS}


def score_labels(
    expected: Sequence[str],
    predicted: Sequence[str | None],
    label_names: Sequence[str],
    *,
    draws: int = 10_000,
    seed: int = 17,
) -> LabelScores:
    """Score predicted labels, with an interval for every metric.

    Accuracy has Wilson's interval, the others a percentile bootstrap over the examples.

    Args:
        expected: the right label of each example.
        predicted: the label read from each answer; None, or a label that is not declared, counts
            as unparsed: always wrong, never a label.
        label_names: the declared labels.
        draws: bootstrap resamples.
        seed: of the resamples.

    Raises:
        ValueError: no examples, unequal lengths, or an expected label that is not declared.
    """
    confusion = _confusion(expected, predicted, label_names)
    tally = _tally(confusion)
    values = {name: float(value) for name, value in tally.metrics().items()}
    metrics = _bootstrap(confusion, values, draws, seed)
    hits, total = int(tally.hits.sum()), int(confusion.sum())
    metrics["accuracy"] = wilson(hits, total)
    scores = {name: column.tolist() for name, column in tally.per_label().items()}
    scores["support"] = confusion.sum(1).tolist()
    return LabelScores(
        metrics=metrics,
        per_label={
            label: {name: column[index] for name, column in scores.items()}
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
    tally = _tally(_confusion(expected, predicted, label_names))
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
    ratio = hits / total
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    center = ratio + z * z / (2 * total)
    reach = z * math.sqrt(ratio * (1 - ratio) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    # The bounds of 0 and of all hits are exactly 0 and 1 but for rounding.
    low = 0.0 if hits == 0 else (center - reach) / scale
    high = 1.0 if hits == total else (center + reach) / scale
    return Estimate(ratio, low, high)


def loss_estimate(
    losses: Sequence[float],
    learned_tokens: Sequence[int],
    *,
    draws: int = 10_000,
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
    for size in _blocks(max(1_000, min(draws, 10**8 // examples)), 24 * examples):
        rows = generator.integers(0, examples, (size, examples))
        means.append(sums[rows].sum(1) / tokens[rows].sum(1))
    return _percentiles(float(sums.sum() / tokens.sum()), np.concatenate(means))


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


def _confusion(
    expected: Sequence[str], predicted: Sequence[str | None], label_names: Sequence[str]
) -> "Counts":
    """Count (expected, predicted) pairs, [labels, labels + 1]."""
    import numpy as np

    unparsed = len(label_names)
    index: dict[str | None, int] = {label: place for place, label in enumerate(label_names)}
    if len(index) != unparsed:
        raise ValueError("a label is declared twice")
    if undeclared := sorted(set(expected) - index.keys()):
        raise ValueError(f"expected labels that are not declared: {undeclared}")
    if not expected:
        raise ValueError("there are no examples to score")
    cells = [
        index[right] * (unparsed + 1) + index.get(given, unparsed)
        for right, given in zip(expected, predicted, strict=True)
    ]
    counts = np.bincount(cells, minlength=unparsed * (unparsed + 1))
    return counts.reshape(unparsed, unparsed + 1)


def _tally(confusion: "Counts") -> _Tally:
    counts = confusion.astype(float)
    return _Tally(counts.diagonal(), counts.sum(1), counts[:, :-1].sum(0))


def _bootstrap(
    confusion: "Counts", values: Mapping[str, float], draws: int, seed: int
) -> dict[str, Estimate]:
    """Resample the examples and return an interval for every value.

    Only counts matter, so instead of drawing rows the non-empty cells of the confusion matrix are
    drawn from their multinomial: the same law, far fewer random numbers.

    Source:
        Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapters 6 and 13.
    """
    import numpy as np

    rows, columns = confusion.nonzero()
    cells = confusion[rows, columns]
    labels = np.arange(len(confusion))
    of_row = (rows[:, None] == labels).astype(float)  # [cells, labels]
    of_column = (columns[:, None] == labels).astype(float)  # [cells, labels]; unparsed is in none
    of_hit = of_row * of_column
    total = int(cells.sum())
    generator = np.random.default_rng(seed)
    resampled: dict[str, list[Floats]] = {name: [] for name in values}
    for size in _blocks(draws, 16 * len(cells) + 96 * len(labels)):
        counts = generator.multinomial(total, cells / total, size=size).astype(float)
        tally = _Tally(counts @ of_hit, counts @ of_row, counts @ of_column)
        for name, drawn in tally.metrics().items():
            resampled[name].append(drawn)
    return {
        name: _percentiles(value, np.concatenate(resampled[name])) for name, value in values.items()
    }


def _percentiles(value: float, drawn: "Floats") -> Estimate:
    """Return the middle 95 % of the draws, widened where it would leave out the value itself."""
    import numpy as np

    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(value, min(value, float(low)), max(value, float(high)))


def _blocks(draws: int, bytes_per_draw: int) -> list[int]:
    """Divide the draws so that the arrays of one block stay small, whatever the data."""
    size = max(1, _BLOCK_BYTES // bytes_per_draw)
    return [min(size, draws - start) for start in range(0, draws, size)]


def _ratio(numerator: "Floats", denominator: "Floats") -> "Floats":
    import numpy as np

    zeros = np.zeros(np.broadcast(numerator, denominator).shape)
    return np.divide(numerator, denominator, out=zeros, where=np.asarray(denominator) > 0)


def _where_zero(counts: "Floats", label_names: Sequence[str]) -> tuple[str, ...]:
    return tuple(
        label for label, count in zip(label_names, counts.tolist(), strict=True) if count == 0
    )
