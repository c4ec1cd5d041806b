"""A report in the terminal, and runs beside one another."""

from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from rich.text import Text

from ftool.console import terminal
from ftool.console.terminal import one_line, table_of, title

if TYPE_CHECKING:
    from ftool.eval.compare import Compared
    from ftool.eval.report import Report
    from ftool.metrics import Estimate

WORST_SHOWN = 5
CAVEATS_SHOWN = 3
SLICES_SHOWN = 5
WIDTH = 80
NAMES = {
    "accuracy": "accuracy",
    "precision_macro": "macro precision",
    "recall_macro": "macro recall",
    "f1_macro": "macro F1",
}
"""Metrics of labels that are shown -> their names for readers."""
VERDICTS = {"better": "bold green", "worse": "bold red"}


def show_report(report: "Report") -> None:
    """Show the metrics beside the base model and the floor, where it goes wrong, and verdicts."""
    title(report.subject, f"{report.split}, {report.mode}")
    columns = {"tuned" if report.base else "model": (report.metrics, report.examples)}
    if report.base:
        columns["base"] = (report.base.metrics, report.base.examples)
    if report.floor:
        columns["floor"] = (report.floor.metrics, report.floor.examples)
    _show_metrics(columns, has_labels=bool(report.label_names))
    for line in _about(report):
        terminal.stdout.print(Text(one_line(line)))
    _show_slices(report)
    _show_weakest(report)
    _show_confusions(report)
    _show_judgement(report)


def show_comparison(compared: "Compared") -> None:
    """Show the metrics of runs beside one another, and each against the first."""
    title(", ".join(compared.reports), compared.split)
    columns = {name: (found.metrics, found.examples) for name, found in compared.reports.items()}
    has_labels = any(report.label_names for report in compared.reports.values())
    _show_metrics(columns, has_labels=has_labels)
    if not compared.paired:
        return
    heads = ("fixed", "broken", "both right", "both wrong")
    table = table_of(f"against {one_line(compared.first)}", *(f">{head}" for head in heads))
    for name, paired in compared.paired.items():
        numbers = (len(getattr(paired, head.replace(" ", "_"))) for head in heads)
        table.add_row(one_line(name), *(f"{number:,}" for number in numbers))
    terminal.stdout.print()
    terminal.stdout.print(table)
    terminal.stdout.print()
    for name, paired in compared.paired.items():
        _show_verdict(paired.verdict, f"{name}: {compared.in_words(name)}")
        for label, delta in paired.per_label.items():
            if delta.p_value <= compared.level:
                _show_wrapped(f"  {label}: recall {delta.recall:+.3f} (p {delta.p_value:.3f})")


def _show_metrics(
    columns: Mapping[str, tuple[Mapping[str, "Estimate"], int]], *, has_labels: bool
) -> None:
    first = next(iter(columns.values()))[0]
    names = {name: name for name in first}
    if has_labels:
        own = {name: name for name in first if not name.endswith(("_macro", "_micro", "_weighted"))}
        names = {**NAMES, **{name: words for name, words in own.items() if name not in NAMES}}
    table = table_of("", *(f">{one_line(name)}" for name in columns))
    for name, words in names.items():
        cells = (_interval(metrics.get(name)) for metrics, _ in columns.values())
        table.add_row(one_line(words), *cells)
    table.add_row("examples", *(f"{examples:,}" for _, examples in columns.values()))
    terminal.stdout.print(table)


def _interval(estimate: "Estimate | None") -> str:
    if estimate is None:
        return "-"
    return f"{estimate.value:.3f} ({estimate.low:.3f}-{estimate.high:.3f})"


def _about(report: "Report") -> Iterator[str]:
    """Yield a line each of what the metrics do not show."""
    if report.floor:
        yield f"floor: {report.floor.name}"
    if report.unparsed:
        share = f"{report.unparsed:,} of {report.examples:,} ({report.unparsed_ratio:.1%})"
        yield f"answers that name no label: {share}"
    if free := report.free_answers:
        off = free["off_label"]
        yield (
            f"left to itself: names a label {free['named']:.1%}, right {free['right']:.1%}"
            + (f", {off:.1%} off label" if off is not None else "")
        )
    if found := report.calibration:
        coverage = found["coverage"]
        answered = (
            f"{coverage['share']:.1%} of rows at 95% precision from {coverage['threshold']:.3f}"
            if coverage
            else "no threshold gives 95% precision"
        )
        yield f"probability: {answered}, ECE {found['ece']:.3f}"
        if scope := found["out_of_scope"]:
            bounds = f"{scope['low']:.3f}-{scope['high']:.3f}"
            yield f"out of scope: AUROC {scope['value']:.3f} ({bounds})"


def _show_slices(report: "Report") -> None:
    for column, parts in report.slices.items():
        table = table_of(one_line(column), ">accuracy", ">macro F1", ">examples", "")
        for part in parts[:SLICES_SHOWN]:
            bounds = (_of_block(part[name]) for name in ("accuracy", "f1_macro"))
            weaker = "weaker" if part["is_weaker"] else ""
            table.add_row(one_line(part["value"]), *bounds, f"{part['examples']:,}", weaker)
        terminal.stdout.print()
        terminal.stdout.print(table)


def _of_block(estimate: Mapping[str, Any]) -> str:
    return f"{estimate['value']:.3f} ({estimate['low']:.3f}-{estimate['high']:.3f})"


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


def _show_judgement(report: "Report") -> None:
    """Show what limits the numbers, then how the model stands to base and floor."""
    from ftool.eval.caveats import caveats
    from ftool.eval.paired import verdict_in_words

    sentences = caveats(report)
    if sentences or report.paired:
        terminal.stdout.print()
    _show_caveats(sentences)
    for block in report.paired.values():
        _show_verdict(block["verdict"], verdict_in_words(block))


def _show_caveats(sentences: Sequence[str]) -> None:
    for sentence in sentences[:CAVEATS_SHOWN]:
        _show_wrapped(f"note: {sentence}")
    if len(sentences) > CAVEATS_SHOWN:
        _show_wrapped(f"note: {len(sentences) - CAVEATS_SHOWN} more in report.html")


def _show_verdict(verdict: str, sentence: str) -> None:
    _show_wrapped(sentence, style=VERDICTS.get(verdict, "bold"))


def _show_wrapped(sentence: str, *, style: str = "") -> None:
    for line in wrap(one_line(sentence), WIDTH, subsequent_indent="  "):
        terminal.stdout.print(Text(line, style=style))
