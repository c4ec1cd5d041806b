"""What a reader of a report must know besides its numbers, in sentences."""

from collections.abc import Iterator

from ftool.eval.report import Report
from ftool.wording import listed

NAMES_SHOWN = 3
FEW = 10
"""Examples of a label below which its scores are rough."""
SHARE_OF_LABELS = 0.5


def caveats(report: Report) -> list[str]:
    """Return what limits the numbers of a report, the weightiest first."""
    return [
        *_of_the_data(report),
        *_of_the_run(report),
        *_of_the_labels(report),
        *_of_probabilities(report),
        *_of_slices(report),
    ]


def _of_the_data(report: Report) -> Iterator[str]:
    is_own = report.data is None
    if left_out := sum(report.left_out.values()):
        codes = ", ".join(f"{code} {count:,}" for code, count in report.left_out.items())
        yield f"{left_out:,} of {report.examples + left_out:,} rows are not scored: {codes}"
    if is_own and report.split == "train":
        yield "the model has learned from these rows: this is no test of it"
    elif report.overlap and report.overlap["shared"]:
        shared, examples = report.overlap["shared"], report.overlap["examples"]
        without = report.overlap["without"].get("f1_macro")
        rest = f"; macro F1 {without['value']:.3f} without them" if without else ""
        yield f"{shared:,} of {examples:,} scored rows are in the train split too{rest}"


def _of_the_run(report: Report) -> Iterator[str]:
    learning = report.learning
    if learning and learning["verdict"] in ("over-fitting", "still learning"):
        yield learning["sentence"]
    chose = report.data is None and report.split == "validation"
    if chose and learning and learning["validation"]:
        yield "this split also chose the checkpoint, which flatters the model"


def _of_the_labels(report: Report) -> Iterator[str]:
    if report.without_support:
        yield f"labels without an example here: {listed(report.without_support, NAMES_SHOWN)}"
    missed = [name for name in report.never_predicted if name not in report.without_support]
    if missed:
        yield f"labels never predicted: {listed(missed, NAMES_SHOWN)}"
    scored = [label for label, scores in report.per_label.items() if scores["support"]]
    if len(scored) == 1:
        yield f"only one label is scored, {scored[0]}: whoever always says it is always right"
    counts = [report.per_label[label]["support"] for label in scored]
    rare = sum(count < FEW for count in counts)
    if rare > SHARE_OF_LABELS * len(counts):
        few = f"{rare} of {len(counts)} labels have fewer than {FEW} examples"
        yield f"{few}: their scores are rough"


def _of_probabilities(report: Report) -> Iterator[str]:
    found = report.calibration
    if found and found["ece"] > found["ece_by_chance"]:
        mean = sum(part["probability"] * part["examples"] for part in found["bins"])
        right = sum(part["accuracy"]["value"] * part["examples"] for part in found["bins"])
        what = "high" if mean > right else "low"
        yield (
            f"probabilities are too {what}: off by {found['ece']:.3f},"
            f" by chance up to {found['ece_by_chance']:.3f}"
        )


def _of_slices(report: Report) -> Iterator[str]:
    for column, parts in report.slices.items():
        weaker = [part for part in parts if part["is_weaker"]]
        if weaker:
            values = [
                f"{part['value']} (accuracy {part['accuracy']['value']:.3f})" for part in weaker
            ]
            yield f"weaker than the rest by {column}: {listed(values, NAMES_SHOWN)}"
