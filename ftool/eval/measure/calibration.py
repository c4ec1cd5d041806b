"""Whether a probability means what it says, and how much can be answered at which precision."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ftool.artifacts import Prediction
from ftool.metrics import Estimate, percentiles, wilson
from ftool.resample import CONFIDENCE, DRAWS, blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BINS = 15
PRECISION = 0.95
CERTAIN = 0.01
"""Probabilities known less exactly than this, on average, are not calibrated."""
CURVE_POINTS = 100
FEWER_DRAWS = DRAWS // 10


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers of neighbouring probabilities: their mean, and the share that is right."""

    probability: float
    accuracy: Estimate
    examples: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """The share of the rows whose probability reaches a threshold, and how right those are."""

    threshold: float
    share: float
    precision: Estimate


@dataclass(frozen=True, slots=True)
class Calibration:
    """How probabilities of answers agree with how often they are right.

    `ece` is the expected calibration error; `ece_by_chance` what a perfectly calibrated model with
    these probabilities stays below in 95 % of samples of this size. `uncertainty` is how far a
    probability may be off for not having been searched to its end, on average. `coverage` reaches
    a precision of 95 % on these rows, None where no threshold does.
    """

    examples: int
    ece: float
    ece_by_chance: float
    brier: Estimate
    uncertainty: float
    bins: tuple[Bin, ...]
    curve: tuple[Coverage, ...]
    coverage: Coverage | None
    out_of_scope: Estimate | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the block of metrics.json."""
        return asdict(self)


def calibrate(
    predictions: Sequence[Prediction],
    *,
    out_of_scope: str | None = None,
    draws: int = FEWER_DRAWS,
    seed: int = 17,
) -> Calibration | None:
    """Compare probabilities with correctness; None where they are missing or not certain enough.

    Args:
        predictions: with the probability of each predicted label.
        out_of_scope: the label of rows that no other label fits.
        draws: resamples.
        seed: of the resamples.
    """
    known = [row.probability for row in predictions if row.probability is not None]
    if not known or len(known) != len(predictions) or uncertainty(predictions) > CERTAIN:
        return None
    right = np.array([row.correct for row in predictions], dtype=float)
    probability = np.array(known)
    order = np.lexsort((right, probability))
    probability, right = probability[order], right[order]
    places = _bins(probability)
    generator = np.random.default_rng(seed)
    curve = _coverages(probability, right)
    precise = [point for point in curve if point.precision.value >= PRECISION]
    return Calibration(
        examples=len(known),
        ece=_ece(probability, right, places),
        ece_by_chance=_ece_by_chance(probability, places, draws, generator),
        brier=_mean((probability - right) ** 2, draws, generator),
        uncertainty=uncertainty(predictions),
        bins=tuple(
            Bin(
                probability=float(probability[inside].mean()),
                accuracy=wilson(int(right[inside].sum()), int(inside.sum())),
                examples=int(inside.sum()),
            )
            for inside in (places == place for place in np.unique(places))
        ),
        curve=tuple(_thinned(curve)),
        coverage=precise[-1] if precise else None,
        out_of_scope=_out_of_scope(predictions, out_of_scope),
    )


def uncertainty(predictions: Sequence[Prediction]) -> float:
    """Return half the mean width of the bounds of probabilities."""
    widths = [high - low for low, high in (row.probability_bounds or (0, 0) for row in predictions)]
    return sum(widths) / 2 / max(1, len(widths))


def auroc(scores: Sequence[float], is_positive: Sequence[bool]) -> Estimate:
    """Return the chance that a positive has a higher score than a negative, ties counted half.

    Source:
        DeLong, DeLong and Clarke-Pearson (1988), Comparing the areas under two or more correlated
        receiver operating characteristic curves, Biometrics 44, 837-845: its variance.

    Raises:
        ValueError: there are no positives, or no negatives.
    """
    from statistics import NormalDist

    from scipy.stats import rankdata

    values, positive = np.asarray(scores, dtype=float), np.asarray(is_positive, dtype=bool)
    first, second = values[positive], values[~positive]
    if not len(first) or not len(second):
        raise ValueError("an AUROC needs positives and negatives")
    ranks = rankdata(values)
    above = (ranks[positive] - rankdata(first)) / len(second)
    below = 1 - (ranks[~positive] - rankdata(second)) / len(first)
    area = float(above.mean())
    variance = sum(
        float(parts.var(ddof=1)) / len(parts) if len(parts) > 1 else 0.25
        for parts in (above, below)
    )
    reach = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * variance**0.5
    return Estimate(area, max(0.0, area - reach), min(1.0, area + reach))


def _bins(probability: "Floats") -> "Floats":
    """Return the bin of each of sorted probabilities; equal ones are in one bin, [examples].

    Source:
        Nixon et al. (2019), Measuring Calibration in Deep Learning: bins of equal mass.
    """
    ranks = np.searchsorted(probability, probability, side="left")
    return np.asarray(ranks * BINS // len(probability))


def _ece(probability: "Floats", right: "Floats", places: "Floats") -> float:
    """Return the mean distance between probability and accuracy of a bin, weighted by its rows.

    Source:
        Naeini, Cooper and Hauskrecht (2015), Obtaining Well Calibrated Probabilities Using
        Bayesian Binning, equation for ECE.
    """
    gaps = np.bincount(places, weights=probability - right)
    return float(np.abs(gaps).sum() / len(probability))


def _ece_by_chance(
    probability: "Floats", places: "Floats", draws: int, generator: np.random.Generator
) -> float:
    """Return what the ECE of answers drawn by their probabilities stays below in 95 % of draws.

    Source:
        Bröcker and Smith (2007), Increasing the Reliability of Reliability Diagrams, Weather and
        Forecasting 22, 651-661: consistency resampling.
    """
    found = [
        _ece(probability, (generator.random(len(probability)) < probability).astype(float), places)
        for _ in range(draws)
    ]
    return float(np.quantile(found, CONFIDENCE))


def _mean(values: "Floats", draws: int, generator: np.random.Generator) -> Estimate:
    means = [
        values[generator.integers(0, len(values), (size, len(values)))].mean(1)
        for size in blocks(draws, 16 * len(values))
    ]
    return percentiles(float(values.mean()), np.concatenate(means))


def _coverages(probability: "Floats", right: "Floats") -> list[Coverage]:
    """Return every threshold, falling, with what it lets through."""
    thresholds, begins = np.unique(probability, return_index=True)
    hits = right[::-1].cumsum()[::-1]
    total = len(probability)
    found = [
        Coverage(float(threshold), (total - begin) / total, wilson(int(hits[begin]), total - begin))
        for threshold, begin in zip(thresholds.tolist(), begins.tolist(), strict=True)
    ]
    return found[::-1]


def _thinned(curve: Sequence[Coverage]) -> list[Coverage]:
    """Keep points of a curve at even distances, its ends among them."""
    if len(curve) <= CURVE_POINTS:
        return list(curve)
    chosen = np.linspace(0, len(curve) - 1, CURVE_POINTS).round().astype(int)
    return [curve[place] for place in chosen]


def _out_of_scope(predictions: Sequence[Prediction], label: str | None) -> Estimate | None:
    """Return how well rows out of scope are told by the probability that none other fits.

    Where another label was predicted, that is at most what its probability leaves.
    """
    is_positive = [row.expected == label for row in predictions]
    if label is None or all(is_positive) or not any(is_positive):
        return None
    scores = [
        own if row.predicted == label else 1 - own
        for row, own in ((row, row.probability or 0.0) for row in predictions)
    ]
    return auroc(scores, is_positive)
