"""Hits, support and predictions per label, and every metric that follows from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Tally:
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
        """Return accuracy, and the macro, micro and weighted means of the scores, [...].

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
        summed = Tally(*(c.sum(-1) for c in (self.hits, self.support, self.predicted))).per_label()
        values = {"accuracy": _ratio(self.hits.sum(-1), total)}
        for name, score in scores.items():
            values[f"{name}_macro"] = _ratio((score * present).sum(-1), present.sum(-1))
        values |= {f"{name}_micro": score for name, score in summed.items()}
        for name, score in scores.items():
            values[f"{name}_weighted"] = _ratio((score * self.support).sum(-1), total)
        return values

    def known_per_label(self) -> dict[str, "Floats"]:
        """Return the scores of `per_label`, not a number where the denominator is 0."""
        import numpy as np

        known = {
            "precision": self.predicted > 0,
            "recall": self.support > 0,
            "f1": self.support + self.predicted > 0,
        }
        scores = self.per_label()
        return {name: np.where(known[name], score, np.nan) for name, score in scores.items()}


def label_cells(
    expected: Sequence[str], predicted: Sequence[str | None], label_names: Sequence[str]
) -> "Counts":
    """Return the cell of the confusion matrix that each example falls into, [examples].

    The matrix is [labels, labels + 1]; cells are counted row by row.

    Raises:
        ValueError: no examples, unequal lengths, or an expected label that is not declared.
    """
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
    return np.array(cells, dtype=np.int64)


def tally_features(cells: "Counts", labels: int) -> "Floats":
    """Return what one example of each cell adds to a tally: hits, support, predicted.

    Args:
        cells: of the confusion matrix, [cells].
        labels: how many are declared.

    Returns:
        [cells, 3 labels].
    """
    import numpy as np

    rows, columns = np.divmod(cells, labels + 1)
    places = np.arange(labels)
    of_row = (rows[:, None] == places).astype(float)
    of_column = (columns[:, None] == places).astype(float)  # unparsed is in none
    return np.concatenate([of_row * of_column, of_row, of_column], axis=1)


def tally_of(sums: "Floats") -> Tally:
    """Return the tallies that sums of `tally_features` are, [..., 3 labels]."""
    labels = sums.shape[-1] // 3
    return Tally(
        sums[..., :labels], sums[..., labels : 2 * labels], sums[..., 2 * labels : 3 * labels]
    )


def _ratio(numerator: "Floats", denominator: "Floats") -> "Floats":
    import numpy as np

    zeros = np.zeros(np.broadcast(numerator, denominator).shape)
    return np.divide(numerator, denominator, out=zeros, where=np.asarray(denominator) > 0)
