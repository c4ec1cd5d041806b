"""Runs beside one another on the same rows, each judged against the first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftool.artifacts import PreparedDataset, TrainingRun
from ftool.errors import RecipeError, RunError
from ftool.eval.judge.findings import groups_by
from ftool.eval.measure.paired import Paired, pair_predictions, verdict_in_words
from ftool.eval.report import Report, read_predictions
from ftool.resample import CONFIDENCE


@dataclass(frozen=True, slots=True)
class Compared:
    """Reports of runs by name, and what each but the first changed; empty for open answers."""

    split: str
    reports: Mapping[str, Report]
    paired: Mapping[str, Paired]

    @property
    def first(self) -> str:
        """The name of the run that the others are judged against."""
        return next(iter(self.reports))

    @property
    def level(self) -> float:
        """The p-value from which a change is more than chance."""
        return 1 - CONFIDENCE

    def in_words(self, name: str) -> str:
        """Return the verdict about a run as a sentence."""
        return verdict_in_words(self.paired[name].as_dict())

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values; fixed and broken rows by their ids."""
        ids = ("fixed", "broken")
        return {
            "split": self.split,
            "first": self.first,
            "reports": {name: report.as_dict() for name, report in self.reports.items()},
            "paired": {
                name: {
                    **paired.as_dict(),
                    "rows": {kind: list(getattr(paired, kind)) for kind in ids},
                }
                for name, paired in self.paired.items()
            },
        }


def compare(runs: Sequence[TrainingRun], *, split: str = "validation") -> Compared:
    """Compare runs that `ftool eval` has scored on the same rows.

    Args:
        runs: the first is the one that the others are judged against, such as that in production.
        split: which reports.

    Raises:
        RecipeError: fewer than two runs, or one twice.
        RunError: a run was not scored on this split, or on other data or labels than the first.
        DataError: the rows were in groups, and the data that say in which are not here.
    """
    by_name = dict(zip(_names(runs), runs, strict=True))
    reports = {name: _report(run, split) for name, run in by_name.items()}
    first, *others = by_name
    for name in others:
        _refuse_other_rows(first, reports[first], name, reports[name])
    if not reports[first].label_names:
        return Compared(split, reports, {})
    groups = _groups(by_name[first], reports[first], split)
    answers = {
        name: read_predictions(run.path / "eval" / split, reports[name])
        for name, run in by_name.items()
    }
    paired = {
        name: pair_predictions(
            answers[name],
            answers[first],
            reports[first].label_names,
            name=first,
            groups=groups,
        )
        for name in others
    }
    return Compared(split, reports, paired)


def _names(runs: Sequence[TrainingRun]) -> list[str]:
    """Return a name for each run: the folder's, or its path where two are called the same."""
    folders = [run.path.resolve() for run in runs]
    if len(runs) < 2:
        raise RecipeError("a comparison needs two runs or more", hint="ftool compare RUN RUN")
    if len(set(folders)) < len(folders):
        raise RecipeError("a run cannot be compared with itself: one is named twice")
    short = [run.path.name for run in runs]
    return short if len(set(short)) == len(short) else [str(run.path) for run in runs]


def _report(run: TrainingRun, split: str) -> Report:
    folder = run.path / "eval" / split
    if not folder.is_dir():
        hint = f"run: ftool eval {run.path} --split {split}"
        raise RunError(f"{run.path} was not scored on {split}", hint=hint)
    return Report.read(folder)


def _refuse_other_rows(first: str, reference: Report, name: str, report: Report) -> None:
    """Refuse reports whose numbers cannot stand side by side.

    Raises:
        RunError: with both values.
    """
    ours, theirs = (str(found.inputs.get("dataset", "")) for found in (report, reference))
    if ours != theirs:
        raise RunError(
            f"{name} was scored on other data than {first}: the fingerprints are {ours[:12]} and"
            f" {theirs[:12]}",
            hint="score both on the same data",
        )
    if bool(report.label_names) != bool(reference.label_names):
        raise RunError(f"{name} was scored by {report.mode}, {first} by {reference.mode}")
    if set(report.label_names) != set(reference.label_names):
        raise RunError(f"{name} and {first} do not have the same labels")


def _groups(run: TrainingRun, report: Report, split: str) -> dict[str, str] | None:
    """Return what each row belongs to, where the report's intervals resampled groups."""
    if report.group is None:
        return None
    dataset = PreparedDataset.open(Path("data") / run.recipe().data_name)
    if dataset.fingerprint != report.inputs.get("dataset"):
        raise RunError(
            f"{dataset.path} is not what {run.path} was scored on, so its groups are not known",
            hint=f"run: ftool eval {run.path} --split {split} --group {report.group}",
        )
    examples = dataset.examples(split)
    groups = groups_by(examples, report.group)
    return {example.id: group for example, group in zip(examples, groups, strict=True)}
