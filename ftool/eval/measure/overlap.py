"""Scored rows that were learned from: how many, and the metrics without them."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ftool.artifacts import Prediction
from ftool.example import Example
from ftool.keys import keys_of
from ftool.metrics import Estimate, score_labels


@dataclass(frozen=True, slots=True)
class Overlap:
    """Rows whose content is in the train split too; `ids` name them, `without` scores the rest.

    `without` is empty where nothing is shared, nothing is left or the rows have no labels.
    """

    ids: tuple[str, ...]
    examples: int
    without: dict[str, Estimate]

    def as_dict(self) -> dict[str, Any]:
        """Return the block of metrics.json: the number of rows instead of their ids."""
        without = {name: asdict(estimate) for name, estimate in self.without.items()}
        return {"shared": len(self.ids), "examples": self.examples, "without": without}


def find_overlap(
    examples: Sequence[Example],
    predictions: Sequence[Prediction],
    train: Iterable[Example],
    label_names: Sequence[str],
) -> Overlap:
    """Find scored rows that say the same as a row of the train split, but for case and space.

    Args:
        examples: that were scored.
        predictions: of them, in their order.
        train: what the run has learned from.
        label_names: the declared labels; none where answers are open.
    """
    learned = {keys_of(example).content for example in train}
    shared = [keys_of(example).content in learned for example in examples]
    rest = [row for row, known in zip(predictions, shared, strict=True) if not known]
    without: dict[str, Estimate] = {}
    if label_names and any(shared) and rest:
        expected = [str(row.expected) for row in rest]
        scores = score_labels(expected, [row.predicted for row in rest], label_names)
        without = dict(scores.metrics)
    ids = tuple(row.id for row, known in zip(predictions, shared, strict=True) if known)
    return Overlap(ids, len(predictions), without)
