"""All a person sees in a terminal: tables, progress, live loss, the error panel."""

import json
import re
import shlex
import sys
import time
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ftool.artifacts import PreparedDataset, TrainingRun, TrainingStep, Validation
from ftool.errors import FtoolError
from ftool.example import SPLITS

if TYPE_CHECKING:
    from ftool.eval.report import Report
    from ftool.hub.push import Upload
    from ftool.metrics import Estimate

SECONDS_BETWEEN_LINES = 5.0
SECONDS_BETWEEN_FRAMES = 0.1
LABELS_SHOWN = 12
WORST_SHOWN = 5
STEP_COLUMNS = ("step", "epoch", "loss", "learning rate", "tokens/s", "memory", "time left")
STEP_WIDTHS = (13, 7, 9, 15, 10, 10, 13)
LABEL_METRICS = {
    "accuracy": "accuracy",
    "precision_macro": "macro precision",
    "recall_macro": "macro recall",
    "f1_macro": "macro F1",
}
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_ESCAPE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[@-_]?")

# Without markup and emoji, brackets and colons in data are shown as they are.
_stdout = Console(markup=False, emoji=False, highlight=False)
_stderr = Console(markup=False, emoji=False, highlight=False, stderr=True)


def clean(text: object) -> str:
    """Remove what could steer a terminal from data: escapes, control and direction characters."""
    plain = _ESCAPE.sub("", str(text)).expandtabs(4)
    return "".join(character for character in plain if not _steers(character))


def _steers(character: str) -> bool:
    is_control = unicodedata.category(character) in {"Cc", "Cs"} and character != "\n"
    return is_control or character in _DIRECTIONS


def _one_line(text: object) -> str:
    return " ".join(clean(text).split())


@dataclass(frozen=True, slots=True)
class _Pace:
    """Where and when a stage began in this process: what its rate and time left follow from."""

    stage: str
    done: int
    started: float

    def rate(self, done: int) -> float:
        """Return rows or steps per second since the beginning; 0 where nothing is known yet."""
        elapsed = time.monotonic() - self.started
        return (done - self.done) / elapsed if elapsed > 0 else 0.0

    def time_left(self, done: int, total: int) -> str:
        """Say how long the rest takes, or nothing where nothing is known yet."""
        rate = self.rate(done)
        return duration((total - done) / rate) if rate > 0 and done < total else ""


class Screen:
    """What a person sees while a stage works: notes stay, one line below them lives.

    All of it goes to stderr. In a pipe or a log the living line is written anew every few seconds.
    """

    def __init__(self) -> None:
        self._live = Live(console=_stderr, transient=True, auto_refresh=False)
        self._pace = _Pace("", 0, 0.0)
        self._training: _Pace | None = None
        self._shown = 0.0

    def __enter__(self) -> Self:
        """Take over the last line of a terminal."""
        if _stderr.is_interactive:
            self._live.start()
        self._shown = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        """Give the last line back."""
        self._live.stop()

    def note(self, sentence: str) -> None:
        """Show a sentence for good."""
        self._keep(Text(clean(sentence)))

    def progress(self, stage: str, done: int, total: int | None) -> None:
        """Show how far a stage is."""
        if stage != self._pace.stage or done < self._pace.done:
            self._pace = _Pace(stage, done, time.monotonic())
        words = [f"{clean(stage)}  {done:,}"]
        if total:
            words += [f"of {total:,}", f"{done / total:4.0%}"]
        if rate := self._pace.rate(done):
            words.append(f" {rate:,.0f}/s" if rate >= 10 else f" {rate:.2g}/s")
        if total and (left := self._pace.time_left(done, total)):
            words.append(f" {left} left")
        self._show(Text(" ".join(words), style="dim"))

    def step(self, step: TrainingStep, total_steps: int) -> None:
        """Show an optimizer step; a validation and the last step stay."""
        if self._training is None:
            self._training = _Pace("train", step.step, time.monotonic())
            self._keep(Text(_row(STEP_COLUMNS), style="bold"))
        cells = (
            f"{step.step}/{total_steps}",
            f"{step.epoch:.2f}",
            f"{step.loss:.4f}",
            f"{step.learning_rate:.2e}",
            f"{step.tokens_per_second:,.0f}",
            f"{step.peak_memory_gib:.2f} GiB",
            self._training.time_left(step.step, total_steps),
        )
        line = Text(_row(cells))
        if step.validation or step.step == total_steps:
            self._keep(line)
        else:
            self._show(line)
        if step.validation:
            self._keep(_validation_line(step.validation))

    def _keep(self, line: Text) -> None:
        if self._live.is_started:
            self._live.update("", refresh=True)
        _stderr.print(line, soft_wrap=True)
        self._shown = time.monotonic()

    def _show(self, line: Text) -> None:
        lives = self._live.is_started
        pause = SECONDS_BETWEEN_FRAMES if lives else SECONDS_BETWEEN_LINES
        if time.monotonic() - self._shown < pause:
            return
        if lives:
            line.no_wrap, line.overflow = True, "ellipsis"
            self._live.update(line, refresh=True)
        else:
            _stderr.print(line, soft_wrap=True)
        self._shown = time.monotonic()


def _row(cells: Sequence[str]) -> str:
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, STEP_WIDTHS, strict=True))


def _validation_line(validation: Validation) -> Text:
    chosen_first = sorted(validation.metrics, key=lambda name: name == "loss")
    values = "  ".join(f"{name} {validation.metrics[name]:.4f}" for name in chosen_first)
    line = Text(f"   validation  {values}  ({validation.examples:,} examples)")
    return line.append("  * best so far", style="bold green") if validation.best else line


def show_error(error: FtoolError) -> None:
    """Show what was refused and what to do about it, on stderr."""
    message = Text.assemble(("error: ", "bold red"), clean(error.message))
    _stderr.print(message, soft_wrap=True)
    if error.hint:
        _stderr.print(Text.assemble(("hint: ", "bold"), clean(error.hint)), soft_wrap=True)


def show_next(words: Sequence[str]) -> None:
    """Show the command to go on with."""
    command = clean(shlex.join(words))
    _stdout.print(Text.assemble("\nnext: ", (command, "bold")), soft_wrap=True)


def show_json(value: Any) -> None:
    """Print a value as JSON and nothing else."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def show_dataset(dataset: PreparedDataset) -> None:
    """Show where the rows went, split by split and label by label."""
    _title(f"{dataset.path}", f"{dataset.kind}, {_count(len(dataset.label_names), 'label')}")
    funnel = _table("", ">")
    funnel.add_row("read", f"{dataset.rows['read']:,}")
    funnel.add_row("rejected", f"{sum(dataset.rejected.values()):,}")
    for reason, count in sorted(dataset.rejected.items(), key=lambda item: -item[1]):
        funnel.add_row(f"  {_one_line(reason)}", f"{count:,}")
    funnel.add_row("kept", f"{sum(dataset.rows['kept'].values()):,}")
    for split in SPLITS:
        funnel.add_row(f"  {split}", f"{dataset.count(split):,}")
    _stdout.print(funnel)
    if dataset.label_names:
        _show_labels(dataset.manifest()["label_counts"])


def _show_labels(counts: Mapping[str, Mapping[str, int]]) -> None:
    totals: dict[str, int] = {}
    for split in SPLITS:
        for label, count in counts.get(split, {}).items():
            totals[label] = totals.get(label, 0) + count
    frequent = sorted(totals, key=lambda label: (-totals[label], label))
    table = _table("label", *(f">{split}" for split in SPLITS))
    for label in frequent[:LABELS_SHOWN]:
        table.add_row(
            _one_line(label), *(f"{counts.get(split, {}).get(label, 0):,}" for split in SPLITS)
        )
    _stdout.print()
    _stdout.print(table)
    if len(frequent) > LABELS_SHOWN:
        rest, rarest = len(frequent) - LABELS_SHOWN, frequent[-1]
        few = _count(totals[rarest], "example")
        _stdout.print(Text(f"and {rest} more; the rarest is {_one_line(rarest)} with {few}"))


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
        rows["left out"] = f"{_count(len(rejected), 'example')} longer than train.max_length"
    _title(f"{run.path}", run.status)
    table = _table("", "")
    for name, value in rows.items():
        table.add_row(name, _one_line(value))
    _stdout.print(table)


def show_report(report: "Report") -> None:
    """Show the metrics beside the base model and the floor, then where it goes wrong."""
    _title(report.subject, f"{report.split}, {report.mode}")
    columns = {"tuned" if report.base else "model": (report.metrics, report.examples)}
    if report.base:
        columns["base"] = (report.base.metrics, report.base.examples)
    if report.floor:
        columns["floor"] = (report.floor.metrics, report.floor.examples)
    table = _table("", *(f">{name}" for name in columns))
    names = {name: name for name in report.metrics} if report.mode == "loss" else LABEL_METRICS
    for name, words in names.items():
        table.add_row(words, *(_interval(metrics.get(name)) for metrics, _ in columns.values()))
    table.add_row("examples", *(f"{examples:,}" for _, examples in columns.values()))
    _stdout.print(table)
    if report.floor:
        _stdout.print(Text(f"floor: {_one_line(report.floor.name)}"))
    if report.unparsed:
        share = f"{report.unparsed:,} of {report.examples:,} ({report.unparsed_ratio:.1%})"
        _stdout.print(Text(f"answers that name no label: {share}"))
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
    table = _table("weakest labels", ">precision", ">recall", ">F1", ">examples")
    for label in weakest:
        scores = supported[label]
        values = (f"{scores[name]:.3f}" for name in ("precision", "recall", "f1"))
        table.add_row(_one_line(label), *values, f"{scores['support']:,.0f}")
    _stdout.print()
    _stdout.print(table)


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
    table = _table("expected", "predicted", ">times")
    for count, expected, predicted in sorted(wrong, key=lambda item: -item[0])[:WORST_SHOWN]:
        table.add_row(_one_line(expected), _one_line(predicted), f"{count:,}")
    _stdout.print()
    _stdout.print(table)


def show_upload(upload: "Upload") -> None:
    """Show what was published, or the card and the files that would be."""
    if upload.dry_run:
        _stdout.print(Text(clean(upload.card)), soft_wrap=True)
    visible = "private" if upload.private else "public"
    what = "dry run, nothing was uploaded" if upload.dry_run else "published"
    _title(upload.url or upload.repo, f"{visible}; {what}")
    table = _table("", ">")
    for name, size in upload.files:
        table.add_row(_one_line(name), _size(size))
    table.add_row("together", _size(sum(size for _, size in upload.files)))
    _stdout.print(table)


def _title(subject: str, detail: str) -> None:
    _stdout.print(Text.assemble((_one_line(subject), "bold"), f"  ({detail})"), soft_wrap=True)


def _table(*headers: str) -> Table:
    """Make a table without lines; a header with `>` in front is of a column of numbers."""
    table = Table(
        box=None,
        padding=(0, 2, 0, 0),
        pad_edge=False,
        show_header=any(h.strip(">") for h in headers),
    )
    for header in headers:
        is_number = header.startswith(">")
        table.add_column(
            header.lstrip(">"),
            justify="right" if is_number else "left",
            no_wrap=True,
            overflow="ellipsis",
        )
    return table


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _size(size: int) -> str:
    for unit, power in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= power:
            return f"{size / power:.1f} {unit}"
    return f"{size} B"


def duration(seconds: float) -> str:
    """Say a time in at most two units, such as `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"
