"""A report in the terminal, and runs beside one another."""

from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from ftool.console import terminal
from ftool.console.terminal import one_line, table_of, title

if TYPE_CHECKING:
    from ftool.eval.judge.compare import Compared
    from ftool.eval.report import Report
    from ftool.metrics import Estimate

LINES, WIDTH = 40, 80
"""What a report takes at most, with the next command behind it."""
NEXT_LINES, LEAST_LINES = 2, 6
"""Of the next command, and of the weakest labels and the confusions with one row each."""
WORST_SHOWN = 5
CAVEATS_SHOWN, CAVEAT_LINES = 3, 5
SLICES_SHOWN = 5
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
    method = report.inputs.get("ranked_by")
    title(report.subject, f"{report.scored}, {report.mode}{f' by {method}' if method else ''}")
    columns = {"tuned" if report.base else "model": (report.metrics, report.examples)}
    if report.base:
        columns["base"] = (report.base.metrics, report.base.examples)
    if report.floor:
        columns["floor"] = (report.floor.metrics, report.floor.examples)
    metrics = _metrics(columns, has_labels=bool(report.label_names))
    about, judgement = list(_about(report)), _judgement(report)
    left = LINES - NEXT_LINES - 1 - metrics.row_count - 1 - len(about) - len(judgement)
    left -= bool(report.slices)  # a line that names those without room
    slices = _slices(report, left - LEAST_LINES)
    left -= sum(table.row_count + 2 for table in slices)
    if hidden := list(report.slices)[len(slices) :]:
        about.append(f"no room for slices by {', '.join(hidden)}: see report.html")
    rows = max(1, min(WORST_SHOWN, (left - LEAST_LINES) // 2 + 1))
    terminal.stdout.print(metrics)
    for line in about:
        terminal.stdout.print(Text(one_line(line)), no_wrap=True, overflow="ellipsis")
    for table in (*slices, _weakest(report, rows), _confusions(report, rows)):
        if table.row_count:
            terminal.stdout.print()
            terminal.stdout.print(table)
    for text in judgement:
        terminal.stdout.print(text)


def show_comparison(compared: "Compared") -> None:
    """Show the metrics of runs beside one another, and each against the first."""
    title(", ".join(compared.reports), compared.split)
    columns = {name: (found.metrics, found.examples) for name, found in compared.reports.items()}
    has_labels = any(report.label_names for report in compared.reports.values())
    terminal.stdout.print(_metrics(columns, has_labels=has_labels))
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
        style = VERDICTS.get(paired.verdict, "bold")
        _show_wrapped(f"{name}: {compared.in_words(name)}", style=style)
        for label, delta in paired.per_label.items():
            if delta.p_value <= compared.level:
                _show_wrapped(f"  {label}: recall {delta.recall:+.3f} (p {delta.p_value:.3f})")


def _metrics(
    columns: Mapping[str, tuple[Mapping[str, "Estimate"], int]], *, has_labels: bool
) -> Table:
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
    return table


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


def _slices(report: "Report", left: int) -> list[Table]:
    """Return tables that fit into the lines that are left; report.html has all."""
    tables = list[Table]()
    for column, parts in report.slices.items():
        shown = min(SLICES_SHOWN, len(parts), left - 2)
        if shown < 1:
            break
        table = table_of(one_line(column), ">accuracy", ">macro F1", ">examples", "")
        for part in parts[:shown]:
            bounds = (_of_block(part[name]) for name in ("accuracy", "f1_macro"))
            weaker = "weaker" if part["is_weaker"] else ""
            table.add_row(one_line(part["value"]), *bounds, f"{part['examples']:,}", weaker)
        left -= shown + 2
        tables.append(table)
    return tables


def _of_block(estimate: Mapping[str, Any]) -> str:
    return f"{estimate['value']:.3f} ({estimate['low']:.3f}-{estimate['high']:.3f})"


def _weakest(report: "Report", rows: int) -> Table:
    supported = {
        label: scores
        for label, scores in report.per_label.items()
        if scores["support"] and scores["f1"] < 1
    }
    weakest = sorted(supported, key=lambda label: (supported[label]["f1"], label))[:rows]
    table = table_of("weakest labels", ">precision", ">recall", ">F1", ">examples")
    for label in weakest:
        scores = supported[label]
        values = (f"{scores[name]:.3f}" for name in ("precision", "recall", "f1"))
        table.add_row(one_line(label), *values, f"{scores['support']:,.0f}")
    return table


def _confusions(report: "Report", rows: int) -> Table:
    names = (*report.label_names, "(no label)")
    wrong = [
        (count, expected, predicted)
        for expected, row in zip(report.label_names, report.confusion, strict=False)
        for predicted, count in zip(names, row, strict=True)
        if count and predicted != expected
    ]
    table = table_of("expected", "predicted", ">times")
    for count, expected, predicted in sorted(wrong, key=lambda item: -item[0])[:rows]:
        table.add_row(one_line(expected), one_line(predicted), f"{count:,}")
    return table


def _judgement(report: "Report") -> list[Text]:
    """Return what limits the numbers, how the model stands to the others, and its gates."""
    from ftool.eval.judge.caveats import caveats
    from ftool.eval.measure.paired import verdict_in_words

    lines = _caveats(caveats(report))
    for block in report.paired.values():
        lines += _wrapped(verdict_in_words(block), style=VERDICTS.get(block["verdict"], "bold"))
    if report.gates and all(gate["passed"] for gate in report.gates):
        number = len(report.gates)
        lines += _wrapped("the gate holds" if number == 1 else f"all {number} gates hold")
    return [Text(), *lines] if lines else []


def _caveats(sentences: Sequence[str]) -> list[Text]:
    """Return the weightiest that fit, at least one, and say how many more there are."""
    lines, shown = list[Text](), 0
    for sentence in sentences[:CAVEATS_SHOWN]:
        wrapped = _wrapped(f"note: {sentence}")
        if lines and len(lines) + len(wrapped) > CAVEAT_LINES:
            break
        lines += wrapped
        shown += 1
    if shown < len(sentences):
        lines += _wrapped(f"note: {len(sentences) - shown} more in report.html")
    return lines


def _show_wrapped(sentence: str, *, style: str = "") -> None:
    for line in _wrapped(sentence, style=style):
        terminal.stdout.print(line)


def _wrapped(sentence: str, *, style: str = "") -> list[Text]:
    lines = wrap(one_line(sentence), WIDTH, subsequent_indent="  ")
    return [Text(line, style=style) for line in lines]
