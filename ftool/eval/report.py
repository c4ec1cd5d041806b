"""Report -> JSON: metrics with intervals beside the base model and the floor."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any, Self

from ftool.artifacts import (
    SCHEMA,
    Prediction,
    fingerprint,
    read_json,
    read_jsonl,
    write_json,
    write_jsonl,
)
from ftool.errors import DataError, RunError, did_you_mean
from ftool.metrics import (
    Estimate,
    LabelScores,
    loss_estimate,
    perplexity_estimate,
    score_labels,
)

METRICS_FILE = "metrics.json"
PREDICTIONS_FILE = "predictions.jsonl"
BLOCKS = (
    "left_out",
    "paired",
    "calibration",
    "free_answers",
    "slices",
    "overlap",
    "learning",
    "gates",
)
"""The parts of a report that hold plain values."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What else was scored on the split, perhaps on fewer of its examples."""

    name: str
    metrics: Mapping[str, Estimate]
    examples: int

    def as_dict(self) -> dict[str, Any]:
        """Return the block of metrics.json."""
        return {
            "metrics": _write_estimates(self.metrics),
            "examples": self.examples,
            "name": self.name,
        }

    @classmethod
    def from_dict(cls, block: Mapping[str, Any]) -> Self:
        """Return the comparison that a block of metrics.json holds."""
        return cls(block["name"], _read_estimates(block["metrics"]), block["examples"])


@dataclass(frozen=True, slots=True)
class Report:
    """How a run or a model did on a split; open answers have no labels but learned tokens.

    `data` names what was scored where it is not the run's own dataset, `inputs` has fingerprints
    of the dataset, the run, the weights. `group` is the column whose values were resampled for the
    intervals, None where rows were. The blocks at the end are plain values: how many rows the chat
    template does not write, by code, so that they are not scored, the comparison with
    `base` and `floor` row by row, how probabilities agree with correctness, what free generation
    would do, parts of the data by column, rows that were learned from, the curves of the run, and
    the gates that it was held to.
    """

    subject: str
    split: str
    mode: str
    examples: int
    metrics: Mapping[str, Estimate]
    inputs: Mapping[str, Any] = field(default_factory=dict)
    learned_tokens: int | None = None
    label_names: tuple[str, ...] = ()
    per_label: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    confusion: tuple[tuple[int, ...], ...] = ()
    unparsed: int = 0
    without_support: tuple[str, ...] = ()
    never_predicted: tuple[str, ...] = ()
    base: Comparison | None = None
    floor: Comparison | None = None
    group: str | None = None
    data: str | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    paired: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    calibration: Mapping[str, Any] | None = None
    free_answers: Mapping[str, float | None] | None = None
    slices: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    overlap: Mapping[str, Any] | None = None
    learning: Mapping[str, Any] | None = None
    gates: Sequence[Mapping[str, Any]] = field(default_factory=list)

    @property
    def scored(self) -> str:
        """What was scored, in words."""
        return self.split if self.data is None else f"{self.split} of {self.data}"

    @property
    def loses_to_floor(self) -> bool:
        """Whether what needs no language model is better, beyond chance."""
        return bool(self.paired.get("floor", {}).get("verdict") == "worse")

    @property
    def unparsed_ratio(self) -> float:
        """The share of the answers that name no declared label."""
        return self.unparsed / self.examples

    @property
    def fingerprint(self) -> str:
        """The content hash of the report, inputs included."""
        return fingerprint(self._content())

    def beside(self, *, base: Comparison | None, floor: Comparison | None) -> "Report":
        """Return the report with the base model and the floor next to it."""
        return replace(self, base=base, floor=floor)

    def with_blocks(self, **blocks: Any) -> "Report":
        """Return the report with some of BLOCKS, as JSON reads them back."""
        text = json.dumps(_portable(blocks), ensure_ascii=False, allow_nan=False)
        return replace(self, **json.loads(text))

    def as_dict(self) -> dict[str, Any]:
        """Return the content of metrics.json."""
        return {**self._content(), "fingerprint": self.fingerprint}

    def _content(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "subject": self.subject,
            "split": self.split,
            "data": self.data,
            "examples": self.examples,
            "mode": self.mode,
            "metrics": _write_estimates(self.metrics),
            "learned_tokens": self.learned_tokens,
            "label_names": list(self.label_names),
            "per_label": {label: dict(scores) for label, scores in self.per_label.items()},
            "confusion": [list(row) for row in self.confusion],
            "unparsed": {"count": self.unparsed, "ratio": self.unparsed_ratio},
            "without_support": list(self.without_support),
            "never_predicted": list(self.never_predicted),
            "base": self.base.as_dict() if self.base else None,
            "floor": self.floor.as_dict() if self.floor else None,
            "group": self.group,
            **{name: getattr(self, name) for name in BLOCKS},
            "inputs": dict(self.inputs),
        }

    def write(self, folder: Path, predictions: Sequence[Prediction]) -> None:
        """Write predictions.jsonl and then metrics.json: a folder with one is complete."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / METRICS_FILE).unlink(missing_ok=True)
        write_jsonl(folder / PREDICTIONS_FILE, [row.as_dict() for row in predictions])
        write_json(folder / METRICS_FILE, self.as_dict())

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the report that a folder holds.

        Raises:
            RunError: there is none, it is of another schema, or it was changed by hand.
        """
        path, hint = folder / METRICS_FILE, "run: ftool eval"
        if not path.is_file():
            raise RunError(f"{folder} holds no report (it has no {METRICS_FILE})", hint=hint)
        stored = read_json(path)
        if not isinstance(stored, dict) or stored.get("schema") != SCHEMA:
            raise RunError(f"{path} was not written by this version of ftool eval", hint=hint)
        given = stored.pop("fingerprint", None)
        if given != fingerprint(stored):
            raise RunError(f"{path} was changed after ftool eval wrote it", hint=hint)
        return cls(
            subject=stored["subject"],
            split=stored["split"],
            mode=stored["mode"],
            examples=stored["examples"],
            metrics=_read_estimates(stored["metrics"]),
            data=stored.get("data"),
            inputs=stored["inputs"],
            learned_tokens=stored["learned_tokens"],
            label_names=tuple(stored["label_names"]),
            per_label=stored["per_label"],
            confusion=tuple(tuple(row) for row in stored["confusion"]),
            unparsed=stored["unparsed"]["count"],
            without_support=tuple(stored["without_support"]),
            never_predicted=tuple(stored["never_predicted"]),
            base=Comparison.from_dict(stored["base"]) if stored["base"] else None,
            floor=Comparison.from_dict(stored["floor"]) if stored["floor"] else None,
            group=stored.get("group"),
            **{name: stored[name] for name in BLOCKS if name in stored},
        )


def read_predictions(folder: Path, report: Report) -> list[Prediction]:
    """Return the predictions that stand beside a report.

    Raises:
        RunError: they are damaged, or not as many as it is made of.
    """
    path, examples = folder / PREDICTIONS_FILE, report.examples
    try:
        found = [Prediction.from_dict(line) for line in read_jsonl(path)]
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise RunError(f"{path} is damaged ({error})", hint="run: ftool eval") from error
    if len(found) != examples:
        raise RunError(f"{path} has {len(found)} rows of {examples}", hint="run: ftool eval")
    return found


def label_report(
    predictions: Sequence[Prediction],
    label_names: Sequence[str],
    *,
    subject: str,
    split: str,
    mode: str,
    inputs: Mapping[str, Any],
    groups: Sequence[str] | None = None,
) -> Report:
    """Report how well declared labels were predicted.

    Args:
        predictions: one per example, each with its expected label.
        label_names: the declared labels.
        subject: the run or the model; of an absolute path only the last part is kept.
        split: the split scored.
        mode: `rank` or `generate`.
        inputs: fingerprints of what was scored; absolute paths are shortened likewise.
        groups: what each row belongs to, where those of one group are not independent.

    Raises:
        DataError: there are no examples, or some have no declared label.
    """
    expected = [row.expected for row in predictions]
    scores = _score(expected, [row.predicted for row in predictions], label_names, groups)
    return Report(
        subject=_portable(subject),
        split=split,
        mode=mode,
        examples=len(predictions),
        metrics=scores.metrics,
        inputs=_portable(inputs),
        label_names=scores.label_names,
        per_label=scores.per_label,
        confusion=scores.confusion,
        unparsed=scores.unparsed,
        without_support=scores.without_support,
        never_predicted=scores.never_predicted,
    )


def label_comparison(
    name: str,
    expected: Sequence[str | None],
    predicted: Sequence[str | None],
    label_names: Sequence[str],
    groups: Sequence[str] | None = None,
) -> Comparison:
    """Score the base model or a floor on declared labels.

    Raises:
        DataError: there are no examples, or some have no declared label.
    """
    metrics = _score(expected, predicted, label_names, groups).metrics
    return Comparison(_portable(name), metrics, len(expected))


def loss_report(
    predictions: Sequence[Prediction], *, subject: str, split: str, inputs: Mapping[str, Any]
) -> Report:
    """Report loss and perplexity of open answers.

    Args:
        predictions: one per example, each with its loss (nats per learned token).
        subject: the run or the model; of an absolute path only the last part is kept.
        split: the split scored.
        inputs: fingerprints of what was scored; absolute paths are shortened likewise.

    Raises:
        DataError: there is no learned token.
        RunError: a loss is missing, infinite or not a number.
    """
    return Report(
        subject=_portable(subject),
        split=split,
        mode="loss",
        examples=len(predictions),
        metrics=_losses(predictions),
        inputs=_portable(inputs),
        learned_tokens=sum(prediction.learned_tokens for prediction in predictions),
    )


def loss_comparison(name: str, predictions: Sequence[Prediction]) -> Comparison:
    """Score the base model on open answers.

    Raises:
        DataError: there is no learned token.
        RunError: a loss is missing, infinite or not a number.
    """
    return Comparison(_portable(name), _losses(predictions), len(predictions))


def _score(
    expected: Sequence[str | None],
    predicted: Sequence[str | None],
    label_names: Sequence[str],
    groups: Sequence[str] | None,
) -> LabelScores:
    if not expected:
        raise DataError("there are no examples to score")
    labels = [label for label in expected if label is not None]
    problems = []
    if unlabelled := len(expected) - len(labels):
        problems.append(f"{unlabelled} of {len(expected)} examples have no label")
    for label, count in Counter(labels).items():
        if label not in label_names:
            near = did_you_mean(label, label_names)
            problems.append(f"`{label}` ({count} examples) is not a declared label{near}")
    if problems:
        listed = "".join(f"\n  {problem}" for problem in problems)
        raise DataError(
            f"the examples cannot be scored:{listed}",
            hint=f"declared are: {', '.join(label_names)}",
        )
    return score_labels(labels, predicted, label_names, groups=groups)


def _losses(predictions: Sequence[Prediction]) -> dict[str, Estimate]:
    from math import isfinite

    learned = [row for row in predictions if row.learned_tokens > 0]
    if not learned:
        raise DataError("there is no learned token to compute a loss of")
    broken = [row.id for row in learned if row.loss is None or not isfinite(row.loss)]
    if broken:
        raise RunError(
            f"the loss of {len(broken)} of {len(learned)} examples is not a number"
            f" (first: {broken[0]})",
            hint="its weights are broken or its training diverged; lower train.learning_rate",
        )
    losses = [row.loss for row in learned if row.loss is not None]
    loss = loss_estimate(losses, [row.learned_tokens for row in learned])
    return {"loss": loss, "perplexity": perplexity_estimate(loss)}


def _portable(value: Any) -> Any:
    """Return what JSON reads back equal, without the folders of this machine."""
    if isinstance(value, Mapping):
        return {str(key): _portable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_portable(inner) for inner in value]
    if isinstance(value, str | PurePath):
        for path in (PurePosixPath(value), PureWindowsPath(value)):
            if path.is_absolute():
                return path.name
        return str(value)
    return value


def _write_estimates(metrics: Mapping[str, Estimate]) -> dict[str, dict[str, float]]:
    return {name: asdict(estimate) for name, estimate in metrics.items()}


def _read_estimates(stored: Mapping[str, Mapping[str, float]]) -> dict[str, Estimate]:
    return {name: Estimate(**bounds) for name, bounds in stored.items()}
