"""Metrics of parts of the data, by the values of a kept column."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ftool.artifacts import Prediction
from ftool.errors import RecipeError, did_you_mean
from ftool.eval.measure.paired import holm
from ftool.example import Example
from ftool.metrics import Estimate, score_labels
from ftool.resample import CONFIDENCE

VALUES_SHOWN = 20
"""Values of a column that are scored, the most frequent ones; the others are one slice."""
OTHERS = "(others)"
MISSING = "(none)"
FEWER_DRAWS = 2_000


@dataclass(frozen=True, slots=True)
class Slice:
    """How the rows of one value did; `p_value` tells it from the rest, adjusted for the number."""

    value: str
    examples: int
    accuracy: Estimate
    f1_macro: Estimate
    p_value: float

    @property
    def is_weaker(self) -> bool:
        """Whether more is wrong than in the rest, beyond chance."""
        return self.p_value <= 1 - CONFIDENCE

    def as_dict(self) -> dict[str, Any]:
        """Return the slice as plain values."""
        return {**asdict(self), "is_weaker": self.is_weaker}


def column_values(examples: Sequence[Example], column: str) -> list[str]:
    """Return the value of a kept column of each example, as text.

    Raises:
        RecipeError: no example has the column.
    """
    kept = sorted({name for example in examples for name in example.extra})
    if column not in kept:
        has = f"it has {', '.join(kept)}" if kept else "it has none"
        raise RecipeError(
            f"`{column}` is not a column that the data keep{did_you_mean(column, kept)}; {has}",
            hint="add it to data.keep_columns, prepare and train again, or score a file with it:"
            f" --data FILE data.keep_columns=[{column}]",
        )
    values = (example.extra.get(column) for example in examples)
    return [MISSING if value in (None, "") else str(value) for value in values]


def slices_of(
    predictions: Sequence[Prediction],
    values: Sequence[str],
    label_names: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
) -> list[Slice]:
    """Score the rows of each value apart, the most frequent first.

    Args:
        predictions: the answers.
        values: of the column, one per answer.
        label_names: the declared labels.
        groups: what each row belongs to, where those of one group are not independent.
    """
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for place, value in enumerate(values):
        rows[value].append(place)
    ordered = sorted(rows, key=lambda value: (-len(rows[value]), value))
    if len(ordered) > VALUES_SHOWN:
        rest = [place for value in ordered[VALUES_SHOWN - 1 :] for place in rows[value]]
        rows = defaultdict(list, {v: rows[v] for v in ordered[: VALUES_SHOWN - 1]})
        rows[OTHERS] = sorted(rest)
        ordered = list(rows)
    weaker = holm([_weaker(predictions, rows[value]) for value in ordered])
    return [
        _slice(value, rows[value], predictions, label_names, groups, p_value)
        for value, p_value in zip(ordered, weaker, strict=True)
    ]


def _slice(
    value: str,
    rows: Sequence[int],
    predictions: Sequence[Prediction],
    label_names: Sequence[str],
    groups: Sequence[str] | None,
    p_value: float,
) -> Slice:
    metrics: Mapping[str, Estimate] = score_labels(
        [str(predictions[row].expected) for row in rows],
        [predictions[row].predicted for row in rows],
        label_names,
        groups=[groups[row] for row in rows] if groups else None,
        draws=FEWER_DRAWS,
    ).metrics
    return Slice(value, len(rows), metrics["accuracy"], metrics["f1_macro"], p_value)


def _weaker(predictions: Sequence[Prediction], rows: Sequence[int]) -> float:
    """Return the p-value of the one-sided exact test that a slice has more wrong than the rest.

    Source:
        Fisher (1934), Statistical Methods for Research Workers, section 21.02.
    """
    from scipy.stats import hypergeom

    total, right = len(predictions), sum(row.correct for row in predictions)
    own = sum(predictions[row].correct for row in rows)
    return float(hypergeom.cdf(own, total, right, len(rows)))
