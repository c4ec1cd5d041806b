"""The evaluate.Metric subclass and metrics by name (the only evaluate import)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import evaluate
from datasets import Features, Value

from ftool.errors import RecipeError
from ftool.metrics import label_metrics
from ftool.recipe.blocks.eval import NamedMetric

METRICS: tuple[str, ...] = get_args(NamedMetric)
"""The names that `eval.metric` of a recipe may have, besides those of other metrics."""

_DESCRIPTION = """\
Accuracy, and precision, recall and F1 as macro, micro and weighted means over declared labels."""
_INPUTS = """
Args:
    predictions: the label read from each answer, or None where none could be read; None and
        labels that are not declared are wrong, and never a label.
    references: the right labels.
    label_names: the declared labels; those given at construction, else those of the references.

Returns:
    accuracy, precision_macro, recall_macro, f1_macro, and the same as _micro and _weighted.
"""


class Classification(evaluate.Metric):  # type: ignore[misc]
    """Label metrics for evaluate, computed in memory, from the installed package alone.

    Args:
        label_names: the declared labels; empty takes those of the references. Given here rather
            than to `compute`, they work within `evaluate.combine` beside metrics without labels.
        keep_in_memory: collect predictions in memory, not in a file of evaluate's cache.
    """

    def __init__(self, label_names: Sequence[str] = (), *, keep_in_memory: bool = True) -> None:
        self.label_names = tuple(label_names)
        super().__init__(keep_in_memory=keep_in_memory)

    def _info(self) -> evaluate.MetricInfo:
        # evaluate refuses a `string` column that starts with None, but not a `large_string` one.
        text = Value("large_string")
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_INPUTS,
            features=Features({"predictions": text, "references": text}),
        )

    def _build_data_dir(self) -> str:
        # evaluate makes a folder in its cache even for what stays in memory.
        return "" if self.keep_in_memory else str(super()._build_data_dir())

    def _compute(
        self,
        predictions: Sequence[str | None],
        references: Sequence[str],
        label_names: Sequence[str] = (),
    ) -> dict[str, float]:
        names = label_names or self.label_names or sorted(set(references))
        return label_metrics(references, predictions, names)


def load_metric(name: str) -> Any:
    """Load a metric of evaluate: a local folder or script, or one on the Hub.

    Raises:
        RecipeError: there is none, or it cannot be reached.
    """
    try:
        return evaluate.load(name)
    except Exception as error:
        where = "" if Path(name).exists() else " (those of the Hub need the network once)"
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RecipeError(f"eval.metric: evaluate has no {name}{where}: {reason}") from error
