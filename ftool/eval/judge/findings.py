"""Everything a report tells beside its metrics, found from predictions, examples and the run."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ftool.artifacts import Prediction
from ftool.errors import RecipeError, did_you_mean
from ftool.eval.measure.calibration import CERTAIN, Calibration, calibrate, uncertainty
from ftool.eval.measure.learning import Learning, read_curves
from ftool.eval.measure.overlap import Overlap, find_overlap
from ftool.eval.measure.paired import Paired, pair_predictions
from ftool.eval.measure.slices import MISSING, Slice, column_values, slices_of
from ftool.eval.report import Comparison, Report
from ftool.example import Example
from ftool.recipe.blocks.eval import Eval

SPLIT_GROUP = "data.split.group"
"""Stands for the column that the data were split by."""


@dataclass(frozen=True, slots=True)
class Rival:
    """What else answered rows of the split: the base model or a floor."""

    comparison: Comparison
    predictions: Sequence[Prediction]


@dataclass(frozen=True, slots=True)
class Columns:
    """Kept columns that a report is asked about.

    The values of `slices` are scored apart. Rows of one value of `group` are not independent;
    without it those that the data keep together (`data.split.group`) are not.
    """

    slices: Sequence[str] = ()
    group: str | None = None


NO_COLUMNS = Columns()


@dataclass(frozen=True, slots=True)
class Questions:
    """What is asked of the rows, looked up before any of them is scored.

    `columns` are the slices by column, [examples] each; `groups` what each example belongs to,
    None where rows are independent.
    """

    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    group: str | None = None
    groups: Sequence[str] | None = None
    out_of_scope: str | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found; None where it was not asked or cannot be told."""

    paired: Mapping[str, Paired] = field(default_factory=dict)
    calibration: Calibration | None = None
    free_answers: Mapping[str, float | None] | None = None
    slices: Mapping[str, Sequence[Slice]] = field(default_factory=dict)
    overlap: Overlap | None = None
    learning: Learning | None = None

    def added_to(self, report: Report) -> Report:
        """Return the report with the findings as plain values."""
        single = {
            name: found.as_dict() if found else None
            for name, found in (
                ("calibration", self.calibration),
                ("overlap", self.overlap),
                ("learning", self.learning),
            )
        }
        return report.with_blocks(
            paired={name: found.as_dict() for name, found in self.paired.items()},
            slices={
                name: [part.as_dict() for part in parts] for name, parts in self.slices.items()
            },
            free_answers=self.free_answers,
            **single,
        )


def questions_of(
    settings: Eval, columns: Columns, examples: Sequence[Example], label_names: Sequence[str]
) -> Questions:
    """Look up the label and the columns that are named.

    Args:
        settings: the recipe's block.
        columns: that are asked about.
        examples: to be scored.
        label_names: the declared labels; none where answers are open.

    Raises:
        RecipeError: a column or label that is not there, or no labels to score.
    """
    label = settings.out_of_scope
    if not label_names:
        if label or columns.slices or columns.group:
            raise RecipeError(
                "without labels there are no slices, no groups and nothing is out of scope",
                hint="leave out --slice, --group and eval.out_of_scope",
            )
        return Questions()
    if label is not None and label not in label_names:
        raise RecipeError(
            f"eval.out_of_scope: `{label}` is not a label{did_you_mean(label, label_names)}",
            hint=f"declared are: {', '.join(label_names)}",
        )
    group = columns.group
    if group is None and any(example.group for example in examples):
        group = SPLIT_GROUP
    return Questions(
        columns={column: column_values(examples, column) for column in columns.slices},
        group=group,
        groups=groups_by(examples, group) if group else None,
        out_of_scope=label,
    )


def groups_by(examples: Sequence[Example], group: str) -> list[str]:
    """Return what each example belongs to; those of no group stand alone.

    Args:
        examples: to be scored.
        group: a kept column, or SPLIT_GROUP.

    Raises:
        RecipeError: no example has the column, or all are of one group.
    """
    if group != SPLIT_GROUP:
        values: Sequence[str | None] = column_values(examples, group)
        values = [None if value == MISSING else value for value in values]
        if None not in values and len(values) > 1 == len(set(values)):
            raise RecipeError(
                f"--group {group}: all examples have the same value, so intervals have no width",
                hint="leave it out, or score rows of several groups",
            )
    else:
        values = [example.group for example in examples]
    pairs = zip(examples, values, strict=True)
    return [f"group {value}" if value else f"row {example.id}" for example, value in pairs]


def find(
    predictions: Sequence[Prediction],
    examples: Sequence[Example],
    questions: Questions,
    *,
    label_names: Sequence[str],
    rivals: Mapping[str, Rival | None],
    train: Iterable[Example] | None,
    steps: Sequence[Mapping[str, Any]],
) -> Findings:
    """Find everything that a report tells beside its metrics.

    Args:
        predictions: one per example, in their order.
        examples: that were scored.
        questions: what the recipe asks of them.
        label_names: the declared labels; none where answers are open or only their loss is known.
        rivals: what else answered them, by name.
        train: what the run has learned from, None where that is not known.
        steps: the lines of steps.jsonl, none of a plain model.
    """
    overlap = find_overlap(examples, predictions, train, label_names) if train is not None else None
    learning = read_curves(steps)
    if not label_names:
        return Findings(overlap=overlap, learning=learning)
    groups = dict(zip((row.id for row in predictions), questions.groups or (), strict=False))
    return Findings(
        paired={
            name: pair_predictions(
                predictions,
                rival.predictions,
                label_names,
                name=f"the {name} ({rival.comparison.name})",
                groups=groups or None,
            )
            for name, rival in rivals.items()
            if rival is not None
        },
        calibration=calibrate(predictions, out_of_scope=questions.out_of_scope),
        free_answers=_free_answers(predictions),
        slices={
            column: slices_of(predictions, values, label_names, groups=questions.groups)
            for column, values in questions.columns.items()
        },
        overlap=overlap,
        learning=learning,
    )


def _free_answers(predictions: Sequence[Prediction]) -> dict[str, float | None] | None:
    """Return what free generation would do where labels were ranked; None where nobody knows.

    `named` is the share of greedy answers that are a label, `right` that of those that are the
    right one, `off_label` the mean probability of no label at all, where it is certain enough.
    """
    off_label = [row.off_label for row in predictions if row.off_label is not None]
    if not predictions or len(off_label) != len(predictions):
        return None
    is_certain = uncertainty(predictions) <= CERTAIN
    return {
        "off_label": sum(off_label) / len(off_label) if is_certain else None,
        "named": sum(row.greedy is not None for row in predictions) / len(predictions),
        "right": sum(row.greedy == row.expected for row in predictions) / len(predictions),
    }
