"""What a person sees at the end of a verb: errors, the next command, runs, reports, uploads."""

import json
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text

from ftool.artifacts import TrainingRun
from ftool.console import terminal
from ftool.console.terminal import clean, count_of, duration, one_line, size_of, table_of, title
from ftool.errors import FtoolError

if TYPE_CHECKING:
    from ftool.eval.report import Report
    from ftool.hub.push import Upload
    from ftool.metrics import Estimate

WORST_SHOWN = 5
LABEL_METRICS = {
    "accuracy": "accuracy",
    "precision_macro": "macro precision",
    "recall_macro": "macro recall",
    "f1_macro": "macro F1",
}


def show_error(error: FtoolError) -> None:
    """Show what was refused and what to do about it, on stderr."""
    message = Text.assemble(("error: ", "bold red"), clean(error.message))
    terminal.stderr.print(message, soft_wrap=True)
    if error.hint:
        terminal.stderr.print(Text.assemble(("hint: ", "bold"), clean(error.hint)), soft_wrap=True)


def show_next(words: Sequence[str]) -> None:
    """Show the command to go on with."""
    command = clean(shlex.join(words))
    terminal.stdout.print(Text.assemble("\nnext: ", (command, "bold")), soft_wrap=True)


def show_json(value: Any) -> None:
    """Print a value as JSON and nothing else."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def show_run(run: TrainingRun) -> None:
    """Show what a training came to."""
    manifest = run.manifest()
    trained, parameters = manifest["trainable_parameters"], manifest["parameters"]
    share = f"{trained:,} of {parameters:,} parameters ({trained / parameters:.1%})"
    best, environment = manifest["best_metric"], manifest["environment"]
    rows = {
        "base model": run.base_model.name,
        "method": f"{manifest['method']}, {share}",
        "steps": f"{run.steps:,} in {duration(manifest['seconds'])} on {environment['device']}",
    }
    if best:
        rows["best"] = f"{best['name']} {best['value']:.4f} at step {run.best_step}"
    if rejected := manifest["overlong_rejected"]:
        rows["left out"] = f"{count_of(len(rejected), 'example')} longer than train.max_length"
    title(f"{run.path}", run.status)
    table = table_of("", "")
    for name, value in rows.items():
        table.add_row(name, one_line(value))
    terminal.stdout.print(table)


def show_report(report: "Report") -> None:
    """Show the metrics beside the base model and the floor, then where it goes wrong."""
    title(report.subject, f"{report.split}, {report.mode}")
    columns = {"tuned" if report.base else "model": (report.metrics, report.examples)}
    if report.base:
        columns["base"] = (report.base.metrics, report.base.examples)
    if report.floor:
        columns["floor"] = (report.floor.metrics, report.floor.examples)
    table = table_of("", *(f">{name}" for name in columns))
    names = {name: name for name in report.metrics} if report.mode == "loss" else LABEL_METRICS
    for name, words in names.items():
        table.add_row(words, *(_interval(metrics.get(name)) for metrics, _ in columns.values()))
    table.add_row("examples", *(f"{examples:,}" for _, examples in columns.values()))
    terminal.stdout.print(table)
    if report.floor:
        terminal.stdout.print(Text(f"floor: {one_line(report.floor.name)}"))
    if report.unparsed:
        share = f"{report.unparsed:,} of {report.examples:,} ({report.unparsed_ratio:.1%})"
        terminal.stdout.print(Text(f"answers that name no label: {share}"))
    _show_weakest(report)
    _show_confusions(report)


def _interval(estimate: "Estimate | None") -> str:
    if estimate is None:
        return "-"
    return f"{estimate.value:.3f} ({estimate.low:.3f}-{estimate.high:.3f})"


def _show_weakest(report: "Report") -> None:
    supported = {
        label: scores
        for label, scores in report.per_label.items()
        if scores["support"] and scores["f1"] < 1
    }
    weakest = sorted(supported, key=lambda label: (supported[label]["f1"], label))[:WORST_SHOWN]
    if not weakest:
        return
    table = table_of("weakest labels", ">precision", ">recall", ">F1", ">examples")
    for label in weakest:
        scores = supported[label]
        values = (f"{scores[name]:.3f}" for name in ("precision", "recall", "f1"))
        table.add_row(one_line(label), *values, f"{scores['support']:,.0f}")
    terminal.stdout.print()
    terminal.stdout.print(table)


def _show_confusions(report: "Report") -> None:
    names = (*report.label_names, "(no label)")
    wrong = [
        (count, expected, predicted)
        for expected, row in zip(report.label_names, report.confusion, strict=False)
        for predicted, count in zip(names, row, strict=True)
        if count and predicted != expected
    ]
    if not wrong:
        return
    table = table_of("expected", "predicted", ">times")
    for count, expected, predicted in sorted(wrong, key=lambda item: -item[0])[:WORST_SHOWN]:
        table.add_row(one_line(expected), one_line(predicted), f"{count:,}")
    terminal.stdout.print()
    terminal.stdout.print(table)


def show_upload(upload: "Upload") -> None:
    """Show what was published, or the card and the files that would be."""
    if upload.dry_run:
        terminal.stdout.print(Text(clean(upload.card)), soft_wrap=True)
    visible = "private" if upload.private else "public"
    what = "dry run, nothing was uploaded" if upload.dry_run else "published"
    title(upload.url or upload.repo, f"{visible}; {what}")
    table = table_of("", ">")
    for name, size in upload.files:
        table.add_row(one_line(name), size_of(size))
    table.add_row("together", size_of(sum(size for _, size in upload.files)))
    terminal.stdout.print(table)
