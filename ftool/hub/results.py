"""The part of a model card that says how good the model is: metrics, confusions, the curve."""

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any

from ftool.hub.markdown import escape, sparkline, table
from ftool.wording import counted

METRICS = {
    "accuracy": "Accuracy",
    "precision_macro": "Precision (macro)",
    "recall_macro": "Recall (macro)",
    "f1_macro": "F1 (macro)",
    "f1_weighted": "F1 (weighted)",
    "loss": "Loss (nats per learned token)",
    "perplexity": "Perplexity",
}
"""Metrics shown -> their names for readers."""
CONFUSIONS = 10
VALIDATIONS = 12
NO_LABEL = "no label could be read"


def results(
    reports: Mapping[str, Mapping[str, Any]], *, dataset_fingerprint: str, best_step: int | None
) -> str:
    """Write how good the tuned model is beside its base and a floor, by split.

    Args:
        reports: the content of metrics.json by split.
        dataset_fingerprint: of the data that the model was trained on.
        best_step: the checkpoint that the validation split chose, if it did.
    """
    if not reports:
        text = "No evaluation was run: nothing is known of this model on data it has not seen."
        return f"## Results\n\n{text}"
    parts = ["## Results"]
    for split, report in reversed(list(reports.items())):
        parts += [
            f"### {split.capitalize()} split ({counted(report['examples'], 'example')})",
            _metrics_table(report),
        ]
        if not is_of(report, dataset_fingerprint):
            scored = report["inputs"]["dataset"]
            parts.append(f"Scored on other data than the run's own (fingerprint `{scored}`).")
        if split == "validation" and best_step is not None:
            parts.append("This split also chose the best checkpoint, which flatters the model.")
        if split == "train":
            parts.append("The model has learned from these examples: this is no test of it.")
        parts += _caveats(report)
        if report["per_label"]:
            parts += [_per_label(report), _confusions(report)]
    return "\n\n".join(parts)


def is_of(report: Mapping[str, Any], dataset_fingerprint: str) -> bool:
    """Tell whether a report was made on this dataset."""
    return report["inputs"].get("dataset") in (None, dataset_fingerprint)


def _metrics_table(report: Mapping[str, Any]) -> str:
    columns = {"tuned": report}
    for key, title in (("base", "base model"), ("floor", "floor")):
        if block := report.get(key):
            name = f": {escape(block['name'])}" if key == "floor" and block.get("name") else ""
            columns[title + name] = block
    rows = [
        [title, *(_estimate(block["metrics"].get(name)) for block in columns.values())]
        for name, title in METRICS.items()
        if name in report["metrics"]
    ]
    rows.append(["Examples", *(str(block["examples"]) for block in columns.values())])
    return table(["", *columns], rows) + "\n\nIn brackets: 95 % intervals."


def _estimate(estimate: Mapping[str, float] | None) -> str:
    if estimate is None:
        return "-"
    return f"{estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"


def _caveats(report: Mapping[str, Any]) -> Iterable[str]:
    """Say what a reader of the numbers must know."""
    if codes := report.get("left_out"):
        named = ", ".join(f"{code} {count}" for code, count in codes.items())
        yield (
            f"Not scored, for the chat template does not write them:"
            f" {counted(sum(codes.values()), 'example')} ({named})."
        )
    if report["mode"] == "rank":
        yield (
            "Answers are the declared label that the model finds most likely; freely generated"
            " answers can differ."
        )
    if unparsed := report["unparsed"]["count"]:
        yield f"{counted(unparsed, 'answer')} named no declared label and counted as wrong."
    for key, name in (("base", "base model"), ("floor", "floor")):
        other = (report.get(key) or {}).get("metrics", {}).get("f1_macro")
        tuned = report["metrics"].get("f1_macro")
        if other and tuned and other["value"] >= tuned["value"]:
            yield f"**The {name} is not beaten on F1 (macro).**"


def _per_label(report: Mapping[str, Any]) -> str:
    rows = [
        [
            escape(label),
            *(f"{scores[name]:.3f}" for name in ("precision", "recall", "f1")),
            str(int(scores["support"])),
        ]
        for label, scores in report["per_label"].items()
    ]
    scores_table = table(["Label", "Precision", "Recall", "F1", "Support"], rows)
    return f"<details><summary>Per label ({len(rows)})</summary>\n\n{scores_table}\n\n</details>"


def _confusions(report: Mapping[str, Any]) -> str:
    labels = report["label_names"]
    answers = [*labels, NO_LABEL]
    errors = [
        (number, labels[row], answers[column])
        for row, numbers in enumerate(report["confusion"])
        for column, number in enumerate(numbers)
        if number and row != column
    ]
    if not errors:
        return "No example was confused."
    errors.sort(key=lambda error: (-error[0], error[1], error[2]))
    rows = [[escape(right), escape(wrong), str(n)] for n, right, wrong in errors[:CONFUSIONS]]
    return "Most frequent confusions:\n\n" + table(["Expected", "Answered", "Count"], rows)


def learning_curve(steps: Sequence[Mapping[str, Any]], *, best_step: int | None, best: str) -> str:
    """Draw the training loss and list the validations.

    Args:
        steps: the lines of steps.jsonl.
        best_step: the best validation, if there was any.
        best: a sentence about it.
    """
    losses = [step["loss"] for step in steps if isfinite(step["loss"])]
    if not losses:
        return "## Learning curve\n\nNo steps were logged."
    parts = [
        "## Learning curve",
        f"Training loss (nats per learned token) over {counted(len(steps), 'step')}:"
        f" {losses[0]:.3f} `{sparkline(losses)}` {losses[-1]:.3f}",
    ]
    validated = [step for step in steps if step.get("validation")]
    if validated:
        parts.append(_validations(validated, best_step))
    return "\n\n".join([*parts, best] if best else parts)


def _validations(steps: Sequence[Mapping[str, Any]], best_step: int | None) -> str:
    """Show an even choice of the validations, the best and the last among them."""
    every = -(-len(steps) // VALIDATIONS)
    last = steps[-1]["step"]
    names = list(steps[0]["validation"]["metrics"])
    shown = [
        step
        for index, step in enumerate(steps)
        if index % every == 0 or step["step"] in {best_step, last}
    ]
    rows = [
        [
            f"{step['step']}{' (best)' if step['step'] == best_step else ''}",
            f"{step['loss']:.3f}",
            *(f"{step['validation']['metrics'][name]:.3f}" for name in names),
        ]
        for step in shown
    ]
    return table(["Step", "Training loss", *(f"Validation {name}" for name in names)], rows)
