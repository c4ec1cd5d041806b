"""Gates: bounds that a report is held to, read before inference and judged after it."""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from ftool.artifacts import TrainingRun, write_text
from ftool.errors import GateError, RecipeError, did_you_mean
from ftool.eval.measure.paired import COMPARED
from ftool.eval.measure.text_scores import score_names
from ftool.eval.report import Report
from ftool.example import Example
from ftool.metrics import LABEL_METRICS, Estimate, wilson
from ftool.wording import listed

OF_LABELS = ("precision", "recall", "f1")
"""What is known of a single label."""
MEAN_OVER_LABELS = "_macro"
NAMES_SHOWN = 5
OF_TOKENS = ("loss", "perplexity", "token_accuracy", "bits_per_byte")
UNPARSED = "unparsed"
LESS_IS_BETTER = ("loss", "perplexity", "bits_per_byte", UNPARSED)
ROUNDING = 1e-9
HOW = "write --fail-under f1_macro=0.9, recall[LABEL]=0.95, f1_macro.low=0.88 or unparsed<=0.01"

_BOUND = re.compile(
    r"(?P<metric>[^\[\]<>=]+?)(?:\[(?P<label>.+)\])?(?:\.(?P<side>low|high))?"
    r"\s*(?P<sign><=|>=|=)\s*(?P<limit>[^<>=\[\]]+)"
)
_COMMA = re.compile(r",(?![^\[\]]*\])")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Gates:
    """What a report is held to.

    `fail_under` are bounds as a person writes them. `no_worse_than` is a run that was scored on the
    same rows; a report fails where it is worse by more than `margin` beyond chance.
    """

    fail_under: Sequence[str] = ()
    no_worse_than: TrainingRun | None = None
    margin: float = 0.0


NO_GATES = Gates()


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit of a metric, or of the low or high end of its interval."""

    metric: str
    label: str | None
    side: str
    is_most: bool
    limit: float

    @property
    def whole(self) -> str:
        """The metric with its label."""
        return self.metric if self.label is None else f"{self.metric}[{self.label}]"

    @property
    def name(self) -> str:
        """What is held to the limit, as it is written."""
        return self.whole if self.side == "value" else f"{self.whole}.{self.side}"

    @property
    def sign(self) -> str:
        """How its value has to stand to the limit."""
        return "<=" if self.is_most else ">="


def bounds_of(
    gates: Gates,
    examples: Sequence[Example],
    *,
    mode: str,
    label_names: Sequence[str],
    own: Sequence[str] = (),
    lost: Collection[str] = (),
) -> list[Bound]:
    """Read the bounds, so that a mistake in them is told before anything is scored.

    Args:
        gates: with bounds as they are written, several in one word divided by commas.
        examples: to be scored.
        mode: of the scoring.
        label_names: the declared labels; none where answers are open.
        own: names of the recipe's own metrics.
        lost: labels of which prepare rejected every row.

    Raises:
        RecipeError: with every bound that is not one, or is of what will not be known.
    """
    texts = [part for text in gates.fail_under for part in _COMMA.split(text)]
    if label_names:
        metrics = [*LABEL_METRICS, *own, UNPARSED]
    elif mode == "generate":
        metrics = score_names([example.completion or "" for example in examples])
    else:
        metrics = list(OF_TOKENS)
    support = Counter(example.label for example in examples) if label_names else Counter()
    counts = {label: support[label] for label in label_names}
    bounds, problems, empty = list[Bound](), list[str](), list[str]()
    for text in texts:
        found = _read(text.strip())
        if found is None:
            problems.append(f"{text}: not a bound")
        elif problem := _problem(found, metrics, counts, lost):
            problems.append(problem)
        elif problem := _no_evidence(found, metrics, counts, lost):
            empty.append(problem)
        else:
            bounds.append(found)
    if gates.no_worse_than is not None and not label_names:
        problems.append("--no-worse-than compares labels, and the answers here are open")
    elif gates.no_worse_than is not None and (only := _only_label(counts)):
        empty.append(f"--no-worse-than: {only}")
    if problems or empty:
        lines = ["these gates cannot be judged:", *problems, *empty]
        raise RecipeError("\n  ".join(lines), hint=HOW if problems else "")
    return bounds


def _read(text: str) -> Bound | None:
    found = _BOUND.fullmatch(text)
    if found is None:
        return None
    try:
        limit = float(found["limit"])
    except ValueError:
        return None
    metric, side = found["metric"].strip(), found["side"] or "value"
    is_less = found["sign"] == "=" and metric in LESS_IS_BETTER
    bound = Bound(metric, found["label"], side, is_less or found["sign"] == "<=", limit)
    return bound if math.isfinite(limit) else None


def _problem(
    bound: Bound, metrics: Sequence[str], counts: Mapping[str, int], lost: Collection[str]
) -> str:
    """Return why a bound cannot be judged, or nothing."""
    where = f"{bound.name}{bound.sign}{bound.limit:.12g}: "
    of_one = bound.label is not None and bound.whole not in metrics and bool(counts)
    if of_one and bound.label in lost:
        return f"{where}prepare rejected every row of the label `{bound.label}`"
    unknown = _unknown_label(bound, counts) if of_one else _unknown_metric(bound, metrics, counts)
    if unknown:
        return where + unknown
    is_share = of_one or bound.whole in (*LABEL_METRICS, UNPARSED)
    return f"{where}a share is between 0 and 1" if is_share and not 0 <= bound.limit <= 1 else ""


def _no_evidence(
    bound: Bound, metrics: Sequence[str], counts: Mapping[str, int], lost: Collection[str]
) -> str:
    """Return why a bound would hold whatever the model does, or nothing."""
    if not counts or bound.whole == UNPARSED:
        return ""
    where = f"{bound.name}{bound.sign}{bound.limit:.12g}: "
    if only := _only_label(counts):
        return where + only
    missing = [*(label for label, count in counts.items() if not count), *lost]
    if not bound.metric.endswith(MEAN_OVER_LABELS) or bound.whole not in metrics or not missing:
        return ""
    named = listed([f"`{label}`" for label in missing], NAMES_SHOWN)
    return (
        f"{where}a mean over labels, of which these have no example here: {named};"
        " add rows of them, declare data.label_names without them and prepare again, or gate"
        f" accuracy and {bound.metric.removesuffix(MEAN_OVER_LABELS)}"
        "[LABEL] of those there are"
    )


def _only_label(counts: Mapping[str, int]) -> str:
    """Say that one label alone is scored, if so: a model that says nothing else is perfect."""
    scored = [label for label, count in counts.items() if count]
    if len(scored) != 1:
        return ""
    return f"only one label is scored, `{scored[0]}`, which is no evidence; add rows of others"


def _unknown_label(bound: Bound, counts: Mapping[str, int]) -> str:
    label = str(bound.label)
    if bound.metric not in OF_LABELS:
        known = did_you_mean(bound.metric, OF_LABELS) or f"; there are {', '.join(OF_LABELS)}"
        return f"no metric `{bound.metric}` of one label{known}"
    if label not in counts:
        return f"`{label}` is not a declared label{did_you_mean(label, list(counts))}"
    return "" if counts[label] else f"no example here has the label `{label}`"


def _unknown_metric(bound: Bound, metrics: Sequence[str], counts: Mapping[str, int]) -> str:
    if bound.whole in metrics:
        return ""
    if bound.metric in OF_LABELS and counts:
        known = f"; write `{bound.metric}_macro`, or `{bound.metric}[LABEL]` of one label"
    else:
        known = did_you_mean(bound.whole, metrics) or f"; there are {', '.join(metrics)}"
    return f"no metric `{bound.whole}`{known}"


def judged(report: Report, bounds: Sequence[Bound], gates: Gates) -> Report:
    """Return the report with a verdict on every gate.

    Args:
        report: with its findings.
        bounds: as `bounds_of` read them.
        gates: for the run that it has to be no worse than.
    """
    found = [_of_bound(report, bound) for bound in bounds]
    if gates.no_worse_than is not None:
        found.append(_of_run(report.paired["run"], gates.no_worse_than.path.name, gates.margin))
    return report.with_blocks(gates=found)


def _of_bound(report: Report, bound: Bound) -> dict[str, Any]:
    value = float(getattr(_estimate(report, bound), bound.side))
    short = bound.limit - value if not bound.is_most else value - bound.limit
    return {
        "gate": f"{bound.name} {bound.sign} {bound.limit:.12g}",
        "value": value,
        "limit": bound.limit,
        "passed": short <= ROUNDING,
        "found": f"{bound.name} is {_distinct(value, bound.limit)}",
    }


def _distinct(value: float, limit: float) -> str:
    """Write a value so that it stands on its own side of the limit."""
    text = f"{value:.3f}"
    is_rounded_over = (float(text) - limit) * (value - limit) <= 0 and value != limit
    return f"{value:.12g}" if is_rounded_over else text


def _estimate(report: Report, bound: Bound) -> Estimate:
    if bound.whole == UNPARSED:
        return wilson(report.unparsed, report.examples)
    if bound.whole in report.metrics:
        return report.metrics[bound.whole]
    scores, name = report.per_label[str(bound.label)], bound.metric
    return Estimate(scores[name], scores[f"{name}_low"], scores[f"{name}_high"])


def _of_run(paired: Mapping[str, Any], name: str, margin: float) -> dict[str, Any]:
    """Fail where the whole interval of the macro F1's difference is below the margin."""
    delta = paired["deltas"][COMPARED[-1]]
    bounds = f"{delta['low']:+.3f} to {delta['high']:+.3f}"
    return {
        "gate": f"no worse than {name} by {margin:g}",
        "value": delta["value"],
        "limit": -margin,
        "passed": delta["high"] >= -margin - ROUNDING,
        "found": f"{COMPARED[-1]} differs from {name}'s by {delta['value']:+.3f} ({bounds})",
    }


def failures(report: Report) -> str:
    """Return one line that names every gate that failed, with value and bound; or nothing."""
    failed = [f"{gate['found']}, not {gate['gate']}" for gate in _failed(report)]
    return f"{len(failed)} of {len(report.gates)} gates failed: {'; '.join(failed)}" * bool(failed)


def hold_to_gates(report: Report, junit: Path | None = None) -> None:
    """Refuse a report that fails a gate, after writing JUnit's XML where a file is named.

    Raises:
        GateError: with every gate that failed.
    """
    if junit is not None:
        write_junit(junit, report)
    if line := failures(report):
        raise GateError(line)


def _failed(report: Report) -> Iterator[Mapping[str, Any]]:
    return (gate for gate in report.gates if not gate["passed"])


def write_junit(path: Path, report: Report) -> None:
    """Write the gates as test cases in JUnit's XML, which CI systems show.

    Source:
        https://github.com/testmoapp/junitxml
    """
    suite = ElementTree.Element(
        "testsuite",
        name="ftool eval",
        tests=str(len(report.gates)),
        failures=str(sum(1 for _ in _failed(report))),
        errors="0",
        skipped="0",
    )
    for gate in report.gates:
        subject = f"{report.subject}.{report.split}"
        case = ElementTree.SubElement(
            suite, "testcase", name=_xml(gate["gate"]), classname=_xml(subject)
        )
        if not gate["passed"]:
            ElementTree.SubElement(case, "failure", message=_xml(gate["found"]), type="GateError")
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = ElementTree.tostring(root, encoding="unicode")
    write_text(path, f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n')


def _xml(text: str) -> str:
    """Return a text without what XML cannot hold."""
    return _NOT_XML.sub("\ufffd", text)
