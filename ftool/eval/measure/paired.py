"""Two models on the same rows: what is fixed, what is broken, whether it is more than chance."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from ftool.artifacts import Prediction
from ftool.errors import DataError
from ftool.metrics import Estimate, percentiles
from ftool.resample import CONFIDENCE, DRAWS, resampled_sums
from ftool.tally import label_cells, tally_features, tally_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Cells = NDArray[np.int64]

COMPARED = ("accuracy", "f1_macro")
POWER = 0.8
BETTER, WORSE, UNKNOWN = "better", "worse", "no detectable difference"
LEAST_DISCORDANT = 6
"""Rows that only one model has right, all the same one, below which no exact test can tell."""


@dataclass(frozen=True, slots=True)
class LabelDelta:
    """What changed within a label; `p_value` is McNemar's, adjusted for the number of labels."""

    support: int
    fixed: int
    broken: int
    recall: float
    f1: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Paired:
    """How a model differs from another on the rows that both have answered.

    Differences are ours minus theirs. `fixed` are the ids that only ours has right, `broken` those
    that only theirs has. `p_value` is the exact McNemar test's, None for rows in groups.
    `detectable` is the difference of accuracy that would have been found in 4 of 5 such tests.
    """

    name: str
    examples: int
    deltas: Mapping[str, Estimate]
    p_value: float | None
    fixed: tuple[str, ...]
    broken: tuple[str, ...]
    both_right: tuple[str, ...]
    both_wrong: tuple[str, ...]
    per_label: Mapping[str, LabelDelta]
    detectable: float
    verdict: str

    def as_dict(self) -> dict[str, Any]:
        """Return the block of metrics.json: numbers of rows instead of their ids."""
        lists = ("fixed", "broken", "both_right", "both_wrong")
        return {
            "name": self.name,
            "examples": self.examples,
            "deltas": {name: asdict(delta) for name, delta in self.deltas.items()},
            "p_value": self.p_value,
            **{name: len(getattr(self, name)) for name in lists},
            "per_label": {label: asdict(delta) for label, delta in self.per_label.items()},
            "detectable": self.detectable,
            "verdict": self.verdict,
        }


def verdict_in_words(block: Mapping[str, Any]) -> str:
    """Write the verdict of a block of metrics.json as a sentence without an end."""
    name, examples = block["name"], f"n={block['examples']:,}"
    if block["verdict"] == UNKNOWN:
        least = block["detectable"]
        could = f"could detect >= {100 * least:.1f} points at {examples}"
        what = could if least <= 1 else f"{examples} is too few to detect any"
        return f"{UNKNOWN} from {name} ({what})"
    delta, sign = block["deltas"]["accuracy"], 1 if block["verdict"] == BETTER else -1
    low, value, high = sorted(100 * sign * delta[bound] for bound in ("low", "value", "high"))
    points = f"{value:.1f} points of accuracy ({low:.1f} to {high:.1f})"
    chance = "" if block["p_value"] is None else f", p {_chance(block['p_value'])}"
    return f"{block['verdict']} than {name} by {points}{chance} at {examples}"


def _chance(p_value: float) -> str:
    return "< 0.001" if p_value < 0.001 else f"= {p_value:.3f}"


def pair_predictions(
    ours: Sequence[Prediction],
    theirs: Sequence[Prediction],
    label_names: Sequence[str],
    *,
    name: str,
    groups: Mapping[str, str] | None = None,
    draws: int = DRAWS,
    seed: int = 17,
) -> Paired:
    """Compare two models on the rows that both have answered.

    The verdict is that of the exact McNemar test at 5 %; for rows in groups, which are not
    independent, that of the interval of the difference of accuracy.

    Args:
        ours: answers of the model that is judged.
        theirs: answers of the other one; in any order.
        label_names: the declared labels.
        name: of the other model.
        groups: what each row belongs to, by id, where those of one group are not independent.
        draws: bootstrap resamples.
        seed: of the resamples.

    Raises:
        DataError: no row is answered by both, an id occurs twice, or the expected labels differ.
    """
    pairs = _pairs(ours, theirs, name)
    expected = [str(first.expected) for first, _ in pairs]
    cells = [
        label_cells(expected, [pair[side].predicted for pair in pairs], label_names)
        for side in (0, 1)
    ]
    of_row = [groups[first.id] for first, _ in pairs] if groups else None
    points, deltas = _deltas(cells, len(label_names), of_row, draws, seed)
    sides = {
        (right, wrong): tuple(
            first.id for first, second in pairs if (first.correct, second.correct) == (right, wrong)
        )
        for right in (True, False)
        for wrong in (True, False)
    }
    fixed, broken = sides[True, False], sides[False, True]
    p_value = mcnemar(len(fixed), len(broken)) if groups is None else None
    detectable = _detectable(len(fixed) + len(broken), len(pairs), deltas, of_row)
    return Paired(
        name=name,
        examples=len(pairs),
        deltas=deltas,
        p_value=p_value,
        fixed=fixed,
        broken=broken,
        both_right=sides[True, True],
        both_wrong=sides[False, False],
        per_label=_label_deltas(pairs, points, label_names),
        detectable=detectable,
        verdict=_verdict(deltas["accuracy"], p_value) if detectable <= 1 else UNKNOWN,
    )


def mcnemar(fixed: int, broken: int) -> float:
    """Return the two-sided p-value of the exact McNemar test.

    Only rows that one model alone has right count; without a difference either is as likely.

    Source:
        McNemar (1947), Psychometrika 12, 153-157; as a binomial test: Mosteller (1952), Biometrics
        8, 220-226.
    """
    from scipy.stats import binom

    return min(1.0, 2 * float(binom.cdf(min(fixed, broken), fixed + broken, 0.5)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number: below 0.05, none at all is a false alarm in 95 % of cases.

    Source:
        Holm (1979), A simple sequentially rejective multiple test procedure, Scandinavian Journal
        of Statistics 6, 65-70.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def _pairs(
    ours: Sequence[Prediction], theirs: Sequence[Prediction], name: str
) -> list[tuple[Prediction, Prediction]]:
    """Return both answers to each row, by id: the order of the rows must not matter."""
    first, second = ({row.id: row for row in rows} for rows in (ours, theirs))
    if (len(first), len(second)) != (len(ours), len(theirs)):
        raise DataError(f"the rows compared with {name} have ids that occur twice")
    shared = sorted(first.keys() & second.keys())
    if not shared:
        raise DataError(f"no row is answered by {name} too", hint="score both on the same data")
    pairs = [(first[key], second[key]) for key in shared]
    for mine, other in pairs:
        if mine.expected != other.expected:
            raise DataError(
                f"{mine.id} is expected to be `{mine.expected}` here and `{other.expected}` with"
                f" {name}",
                hint="score both on the same data",
            )
    return pairs


def _deltas(
    cells: Sequence["Cells"], labels: int, groups: Sequence[str] | None, draws: int, seed: int
) -> tuple[list[Any], dict[str, Estimate]]:
    """Return both tallies, and differences of metrics with intervals of a paired bootstrap.

    Rows are drawn with both of their answers, so what makes a row hard for both cancels out.

    Source:
        Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 8.
    """
    width = labels * (labels + 1)
    distinct, kinds = np.unique(cells[0] * width + cells[1], return_inverse=True)
    sides = (distinct // width, distinct % width)
    features = np.concatenate([tally_features(side, labels) for side in sides], axis=1)
    half = features.shape[1] // 2
    drawn: dict[str, list[Any]] = {name: [] for name in COMPARED}
    for sums in resampled_sums(kinds, features, groups=groups, draws=draws, seed=seed):
        first, second = tally_of(sums[:, :half]).metrics(), tally_of(sums[:, half:]).metrics()
        for name in COMPARED:
            drawn[name].append(first[name] - second[name])
    sums = np.bincount(kinds) @ features
    points = [tally_of(sums[:half]), tally_of(sums[half:])]
    ours, theirs = (point.metrics() for point in points)
    return points, {
        name: percentiles(float(ours[name] - theirs[name]), np.concatenate(drawn[name]))
        for name in COMPARED
    }


def _label_deltas(
    pairs: Sequence[tuple[Prediction, Prediction]],
    points: Sequence[Any],
    label_names: Sequence[str],
) -> dict[str, LabelDelta]:
    counts = {label: [0, 0] for label in label_names}
    for first, second in pairs:
        counts[str(first.expected)][0] += first.correct and not second.correct
        counts[str(first.expected)][1] += second.correct and not first.correct
    support = points[0].support.astype(int).tolist()
    ours, theirs = (point.per_label() for point in points)
    there = [place for place, number in enumerate(support) if number]
    p_values = holm([mcnemar(*counts[label_names[place]]) for place in there])
    return {
        label_names[place]: LabelDelta(
            support=support[place],
            fixed=counts[label_names[place]][0],
            broken=counts[label_names[place]][1],
            recall=float(ours["recall"][place] - theirs["recall"][place]),
            f1=float(ours["f1"][place] - theirs["f1"][place]),
            p_value=p_value,
        )
        for place, p_value in zip(there, p_values, strict=True)
    }


def _verdict(delta: Estimate, p_value: float | None) -> str:
    found = p_value <= 1 - CONFIDENCE if p_value is not None else delta.low > 0 or delta.high < 0
    if not found or delta.value == 0:
        return UNKNOWN
    return BETTER if delta.value > 0 else WORSE


def _detectable(
    discordant: int, examples: int, deltas: Mapping[str, Estimate], groups: Sequence[str] | None
) -> float:
    """Return the difference of accuracy that a test of this size finds with a power of 80 %.

    (z of the level + z of the power) times the standard error without a difference, which is
    sqrt(share of discordant rows / n); of groups that of the interval.

    Source:
        Connor (1987), Sample size for testing differences in proportions for the paired-sample
        design, Biometrics 43, 207-211; leaving out the difference itself, which errs upwards.
    """
    level, power = (NormalDist().inv_cdf(share) for share in ((1 + CONFIDENCE) / 2, POWER))
    error, units = sqrt(discordant) / examples, examples
    if groups is not None:
        accuracy = deltas["accuracy"]
        error, units = (accuracy.high - accuracy.low) / (2 * level), len(set(groups))
    return max((level + power) * error, LEAST_DISCORDANT / units)
