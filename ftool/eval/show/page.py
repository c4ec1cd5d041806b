"""report.html: one page with every number of a report and the rows behind it."""

from base64 import b64encode
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from ftool.artifacts import Prediction, ftool_version, write_text
from ftool.eval.judge.caveats import caveats
from ftool.eval.judge.findings import Findings
from ftool.eval.measure.paired import verdict_in_words
from ftool.eval.report import Report
from ftool.eval.show.drawings import Line, chart
from ftool.example import Example
from ftool.wording import cut

PAGE_FILE = "report.html"
MARKED = 20
"""Rows in each list of a few rows."""
ROWS_OF_CELL = 5
ROWS_SHOWN = 500
LETTERS_OF_ROWS = 130_000
"""Letters of the rows behind the confusion matrix: a page stays small whatever is wrong."""
LETTERS = 240
MATRIX_LABELS = 120
"""Labels beyond which a matrix is no help; the confusions are then listed alone."""
NO_LABEL = "(no label)"
CARDS = {
    "accuracy": "accuracy",
    "precision_macro": "macro precision",
    "recall_macro": "macro recall",
    "f1_macro": "macro F1",
}

_TEMPLATE = Path(__file__).with_name("report.html.j2")


@dataclass(frozen=True, slots=True)
class Seen:
    """What a page shows besides the report: the rows, who has them right, and the first prompt."""

    examples: Sequence[Example]
    predictions: Sequence[Prediction]
    findings: Findings
    prompt: str


@dataclass(frozen=True, slots=True)
class Shown:
    """A row as the page shows it."""

    id: str
    text: str
    expected: str
    predicted: str
    probability: float | None
    correct: bool


def write_page(path: Path, report: Report, seen: Seen) -> None:
    """Write the page; it needs no network, and nothing in the data can act in it.

    Args:
        path: of report.html.
        report: with its findings.
        seen: the rows.
    """
    write_text(path, _page(report, seen))


def _page(report: Report, seen: Seen) -> str:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["sha256"] = _content_hash
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    return template.render(_content(report, seen))


def _content_hash(script: str) -> str:
    """Return what a content security policy allows a script by."""
    return b64encode(sha256(script.encode()).digest()).decode()


def _content(report: Report, seen: Seen) -> dict[str, Any]:
    rows = {row.id: row for row in _shown(seen)} if report.label_names else {}
    return {
        "report": report,
        "version": ftool_version(),
        "columns": _columns(report),
        "verdicts": [(b["verdict"], verdict_in_words(b)) for b in report.paired.values()],
        "caveats": caveats(report),
        "labels": list(report.per_label.items()),
        **_confusions(report, rows),
        "lists": _lists(rows, seen.findings) if report.label_names else [],
        "reliability": _reliability(report.calibration),
        "coverage": _coverage(report.calibration),
        "curves": _curves(report.learning),
        "prompt": seen.prompt,
    }


def _columns(report: Report) -> list[tuple[str, Mapping[str, Any], int]]:
    """Return what stands beside one another in the table of metrics."""
    found = [("tuned" if report.base else "model", report.metrics, report.examples)]
    for name, other in (("base", report.base), ("floor", report.floor)):
        if other:
            found.append((f"{name}: {other.name}", other.metrics, other.examples))
    return found


def _shown(seen: Seen) -> list[Shown]:
    return [
        Shown(
            id=row.id,
            text=_text(example),
            expected=str(row.expected),
            predicted=row.predicted if row.predicted is not None else NO_LABEL,
            probability=row.probability,
            correct=row.correct,
        )
        for example, row in zip(seen.examples, seen.predictions, strict=True)
    ]


def _text(example: Example) -> str:
    """Return the words that are asked, in one line, cut where they are long."""
    said = "\n".join(message.content for message in example.prompt if message.role != "system")
    return cut(" ".join(said.split()), LETTERS)


def _confusions(report: Report, rows: Mapping[str, Shown]) -> dict[str, Any]:
    """Return the confusion matrix and the wrong rows behind its cells, the fullest cells first."""
    names = report.label_names
    place = {name: index for index, name in enumerate(names)} | {NO_LABEL: len(names)}
    wrong: defaultdict[tuple[int, int], list[Shown]] = defaultdict(list)
    for row in rows.values():
        if not row.correct:
            wrong[place[row.expected], place.get(row.predicted, len(names))].append(row)
    order = sorted(wrong, key=lambda cell: (-len(wrong[cell]), cell))
    cells, left, letters = [], ROWS_SHOWN, LETTERS_OF_ROWS
    for cell in order:
        shown = wrong[cell][: min(ROWS_OF_CELL, left)]
        letters -= sum(len(row.text) + 60 for row in shown)
        if not shown or letters < 0:
            break
        left -= len(shown)
        cells.append(
            {"cell": cell, "key": "{}-{}".format(*cell), "rows": shown, "count": len(wrong[cell])}
        )
    return {
        "names": [*names, NO_LABEL],
        "matrix": report.confusion if 0 < len(names) <= MATRIX_LABELS else (),
        "cells": cells,
        "linked": {cell["cell"] for cell in cells},
        "wrong": sum(map(len, wrong.values())),
        "metric_names": CARDS if names else {name: name for name in report.metrics},
    }


def _lists(rows: Mapping[str, Shown], findings: Findings) -> list[dict[str, Any]]:
    """Return the lists of a few rows that are worth reading."""
    found = []
    known = [row for row in rows.values() if row.probability is not None]
    wrong = sorted((r for r in known if not r.correct), key=lambda r: (-(r.probability or 0), r.id))
    unsure = sorted(known, key=lambda row: (row.probability or 0, row.id))
    found.append(_list("Wrong and most certain: perhaps the label is wrong", wrong))
    found.append(_list("Least certain", unsure))
    for name, paired in findings.paired.items():
        for title, ids in (
            (f"Fixed: the {name} had it wrong", paired.fixed),
            (f"Broken: the {name} had it right", paired.broken),
        ):
            found.append(_list(title, [rows[key] for key in ids]))
    return [part for part in found if part["rows"]]


def _list(title: str, rows: Sequence[Shown]) -> dict[str, Any]:
    return {"title": title, "rows": rows[:MARKED], "count": len(rows)}


def _svg(picture: str) -> Any:
    from markupsafe import Markup

    return Markup(picture)


def _reliability(found: Mapping[str, Any] | None) -> Any:
    if not found:
        return None
    line = Line(
        "answers",
        [(part["probability"], part["accuracy"]["value"]) for part in found["bins"]],
        [(part["accuracy"]["low"], part["accuracy"]["high"]) for part in found["bins"]],
    )
    whole = (0.0, 1.0)
    return _svg(
        chart([line], x="probability", y="right", x_range=whole, y_range=whole, diagonal=True)
    )


def _coverage(found: Mapping[str, Any] | None) -> Any:
    if not found:
        return None
    points = [(part["share"], part["precision"]["value"]) for part in found["curve"]]
    lowest = min(value for _, value in points)
    ends = (min(lowest, 0.9), 1.0)
    drawn = chart(
        [Line("precision", points)],
        x="share of the rows answered",
        y="precision",
        x_range=(0.0, 1.0),
        y_range=ends,
    )
    return _svg(drawn)


def _curves(found: Mapping[str, Any] | None) -> list[tuple[str, Any]]:
    """Return the curves of a run: its losses, and the metric that chose the best step."""
    if not found:
        return []
    losses = [Line("training", found["training"])]
    if found["validation"]:
        losses.append(Line("validation", found["validation"]))
    drawn = [("Loss", _svg(chart(losses, x="step", y="nats per learned token")))]
    if len(found["metric"]) > 1:
        name = found["metric_name"]
        line = Line(name, found["metric"])
        drawn.append(("Validation", _svg(chart([line], x="step", y=name))))
    return drawn
