"""Load, predict, score, write."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ftool.artifacts import (
    MANIFEST,
    OnNote,
    OnProgress,
    Prediction,
    PreparedDataset,
    TrainingRun,
    ftool_version,
    ignore_note,
    ignore_progress,
)
from ftool.errors import DataError, RecipeError, RunError
from ftool.eval.judge.findings import NO_COLUMNS, Columns, Questions, Rival, find, questions_of
from ftool.eval.judge.gate import NAMES_SHOWN, NO_GATES, Bound, Gates, bounds_of, judged
from ftool.eval.judge.rivals import read_rival, score_base, score_floor
from ftool.eval.measure.answers import answer_report, token_metrics
from ftool.eval.measure.calibration import CERTAIN, uncertainty
from ftool.eval.measure.own_metric import PREFIX, Metric, make_metric
from ftool.eval.predict.parse import STEPS
from ftool.eval.predict.predictions import predict_resumably
from ftool.eval.predict.scorer import Scorer, choose_mode
from ftool.eval.report import PREDICTIONS_FILE, Report, label_report, loss_report
from ftool.eval.show.mistakes import ERRORS_FILE, write_mistakes
from ftool.eval.show.page import PAGE_FILE, Seen, write_page
from ftool.example import Example
from ftool.lock import locked
from ftool.metrics import LABEL_METRICS, Estimate
from ftool.model.tokens.encode import Encoder, LeftOut, make_encoder, tell_chosen, today
from ftool.model.weights.adapter import load_run_model
from ftool.model.weights.load import LoadedModel, choose_device, load_base_model
from ftool.recipe.blocks.data import Data, Source
from ftool.recipe.blocks.model import Model
from ftool.recipe.schema import Recipe
from ftool.shortage import shortages_told
from ftool.wording import counted, listed

MEMORY_HINT = "what is predicted stays; close other programs, then run the same command again"


@shortages_told(memory_hint=MEMORY_HINT)
def evaluate(  # noqa: PLR0913 - every one is asked apart
    subject: TrainingRun | str,
    *,
    recipe: Recipe | None = None,
    data: Path | None = None,
    split: str = "validation",
    columns: Columns = NO_COLUMNS,
    gates: Gates = NO_GATES,
    on_note: OnNote = ignore_note,
    on_progress: OnProgress = ignore_progress,
) -> Report:
    """Score a run or a plain model on one split of a prepared dataset.

    Beside a run stand its base model and the better of two floors fitted on the train split. The
    report is written to `runs/<run>/eval/<split>/` (`<data>-<split>/` for other data than the run's
    own), or to `eval/<model>/<split>/` for a plain model.

    Args:
        subject: a finished run, or the name of a plain model folder or Hub id.
        recipe: settings of the evaluation; the run's own by default.
        data: a prepared dataset; the recipe's by default.
        split: which part of it.
        columns: kept columns to score by, and to resample by.
        gates: what the report is held to; the report says which hold.
        on_note: told what was chosen and why.
        on_progress: told how far the predictions are.

    Raises:
        RecipeError: a plain model without a recipe; a mode that the data does not allow; a column
            that it does not keep; a gate of what is not scored.
        RunError: the run's data or base model has changed since, its model is damaged, another
            process works in its folder, or a run to compare with was not scored on these rows.
        DataError: there is no such split, or no row of it that the chat template writes.
        DeviceError: memory or disk is not enough.
    """
    run = subject if isinstance(subject, TrainingRun) else None
    recipe = recipe or (run.recipe() if run else None)
    if recipe is None and data is not None:
        recipe = Recipe(name="scored", data=Data(sources=[Source(path=str(data))]))
    if recipe is None:
        raise RecipeError(f"{subject} is a plain model", hint="say --recipe or --data with it")
    dataset = _open_dataset(run, recipe, data)
    with locked(run.path if run else _plain_folder(str(subject))):
        return _score(subject, recipe, dataset, split, (columns, gates), on_note, on_progress)


def _score(
    subject: TrainingRun | str,
    recipe: Recipe,
    dataset: PreparedDataset,
    split: str,
    asked: tuple[Columns, Gates],
    on_note: OnNote,
    on_progress: OnProgress,
) -> Report:
    run = subject if isinstance(subject, TrainingRun) else None
    examples = dataset.examples(split)
    mode = choose_mode(recipe.eval.mode, dataset.label_names, kind=dataset.kind)
    has_labels = bool(dataset.label_names) and mode != "loss"
    label_names = dataset.label_names if has_labels else ()
    columns, gates = asked
    own_metric = _own_metric(recipe, dataset) if has_labels else {}
    lost = dataset.manifest().get("lost_labels", {}) if has_labels else {}
    if lost:
        on_note(
            "labels of which prepare rejected every row, so no number tells of them:"
            f" {listed(list(lost), NAMES_SHOWN)}"
        )

    def read(examples: Sequence[Example]) -> tuple[Questions, list[Bound]]:
        asked = questions_of(recipe.eval, columns, examples, label_names)
        own = tuple(own_metric)
        return asked, bounds_of(
            gates, examples, mode=mode, label_names=label_names, own=own, lost=lost
        )

    questions, bounds = read(examples)
    production = _production(gates, subject, dataset, split, label_names)
    scorer, weights = _loaded(subject, recipe, dataset, mode, on_note)
    if left_out := scorer.left_out(examples):
        examples = _without(examples, left_out, on_note)
        questions, bounds = read(examples)
    inputs = {"dataset": dataset.fingerprint, "base_model": weights}
    folder = _report_folder(subject, dataset, split)
    answered = partial(
        predict_resumably,
        inputs=_inputs_of_predictions(scorer, inputs, run, split),
        on_note=on_note,
    )
    predictions = answered(
        scorer, examples, file=folder / PREDICTIONS_FILE, on_progress=on_progress
    )
    _tell_how_read(predictions, mode, on_note)
    if mode == "rank":
        inputs["ranked_by"] = scorer.ranking_method(examples)
    learned = _learned_from(run, dataset, split, on_note)

    def find_train() -> list[Example] | None:
        is_apart = split != "train" and dataset.count("train")
        return learned or (dataset.examples("train") if is_apart else None)

    rivals = {
        "base": score_base(run, scorer, examples, recipe, answered, folder, on_progress),
        "floor": score_floor(find_train, examples, label_names, recipe, on_note),
    }
    findings = find(
        predictions,
        examples,
        questions,
        label_names=label_names,
        rivals=rivals | {"run": production},
        train=learned,
        steps=run.steps_log() if run else (),
    )
    report = _report(scorer, predictions, _name(subject), split, inputs, own_metric, questions)
    beside = {name: rival.comparison if rival else None for name, rival in rivals.items()}
    data = None if run and _is_own(run, dataset) else _data_name(dataset, split)
    report = replace(findings.added_to(report.beside(**beside)), data=data)
    report = report.with_blocks(left_out=dict(Counter(one.code for one in left_out)))
    report = judged(report, bounds, gates)
    seen = Seen(examples, predictions, findings, _first_prompt(scorer, examples))
    _write(folder, report, seen, on_note)
    return report


def _without(
    examples: Sequence[Example], left_out: Sequence[LeftOut], on_note: OnNote
) -> list[Example]:
    """Return the examples that are left, and say which ones are not scored.

    Raises:
        DataError: none is left.
    """
    for code, number in Counter(one.code for one in left_out).items():
        first = next(one for one in left_out if one.code == code)
        on_note(f"{counted(number, 'row')} not scored ({code}): {first.id}: {first.why}")
    owners = {one.owner for one in left_out}
    if len(owners) == len(examples):
        first = left_out[0]
        raise DataError(
            f"no row can be scored ({first.code}): {first.id}: {first.why}", hint=first.hint
        )
    return [example for index, example in enumerate(examples) if index not in owners]


def _production(
    gates: Gates,
    subject: TrainingRun | str,
    dataset: PreparedDataset,
    split: str,
    label_names: Sequence[str],
) -> Rival | None:
    """Return how another run answered the same rows; None where it is not asked."""
    other = gates.no_worse_than
    if other is None:
        return None
    if isinstance(subject, TrainingRun) and other.path.resolve() == subject.path.resolve():
        raise RecipeError(f"--no-worse-than: {other.path} is the run that is scored itself")
    folder = _report_folder(other, dataset, split)
    return read_rival(other, folder, dataset, split, label_names)


def _write(folder: Path, report: Report, seen: Seen, on_note: OnNote) -> None:
    """Write the page, the wrong rows and, last, predictions and metrics."""
    if report.label_names:
        write_mistakes(folder / ERRORS_FILE, seen.examples, seen.predictions)
    write_page(folder / PAGE_FILE, report, seen)
    report.write(folder, seen.predictions)
    on_note(f"every number and the rows behind it: {folder / PAGE_FILE}")


def _first_prompt(scorer: Scorer, examples: Sequence[Example]) -> str:
    """Return what the model was given of the first example, special tokens included."""
    if scorer.mode == "loss":
        return ""
    return str(scorer.encoder.tokenizer.decode(scorer.encoder.prompt(examples[0])))


def _learned_from(
    run: TrainingRun | None, dataset: PreparedDataset, split: str, on_note: OnNote
) -> list[Example] | None:
    """Return the train split of a run; None where there is none, or it is what is scored."""
    if run is None:
        return None
    if not _is_own(run, dataset):
        path = Path("data") / run.recipe().data_name
        own = PreparedDataset.open(path) if (path / MANIFEST).is_file() else None
        if own is None or own.fingerprint != run.dataset_fingerprint:
            on_note(f"not looked for rows that {run.path} has learned from: its data are not here")
            return None
        return own.examples("train")
    return None if split == "train" else dataset.examples("train")


def _own_metric(recipe: Recipe, dataset: PreparedDataset) -> dict[str, Metric]:
    """Return the metric of evaluate or of a file that the recipe names, ready and tried."""
    name = recipe.eval.metric
    if name in (*LABEL_METRICS, "loss"):
        return {}
    metric = make_metric(name, dataset.label_names, folder=recipe.folder)
    return {name if name.startswith(PREFIX) else Path(name).name: metric}


def _inputs_of_predictions(
    scorer: Scorer, inputs: Mapping[str, str], run: TrainingRun | None, split: str
) -> dict[str, Any]:
    """Return everything that decides the predictions, but for the base's."""
    return {
        **inputs,
        "model_files": run.manifest().get("model_files") if run else None,
        "split": split,
        "mode": scorer.mode,
        "label_names": list(scorer.label_names),
        "max_new_tokens": scorer.max_new_tokens,
        "confidence": scorer.certain,
        "chat_template": scorer.encoder.tokenizer.chat_template,
        "template_date": scorer.encoder.date,
        "dtype": str(scorer.model.dtype),
        "versions": [ftool_version(), torch.__version__],
    }


def _tell_how_read(predictions: Sequence[Prediction], mode: str, on_note: OnNote) -> None:
    """Say by which step generated labels were read, and what is not known of the answers."""
    counts = Counter(row.parsed_by for row in predictions if row.parsed_by)
    if mode == "generate" and counts:
        steps = ", ".join(f"{counts[step]} {step}" for step in STEPS if counts[step])
        on_note(f"labels read from the answers: {steps}; {len(predictions) - counts.total()} not")
    if (reach := uncertainty(predictions)) > CERTAIN:
        on_note(
            f"probabilities are known to ±{reach:.2f} only, so they are not calibrated;"
            " eval.confidence=true makes them certain"
        )


def _report_folder(subject: TrainingRun | str, dataset: PreparedDataset, split: str) -> Path:
    """Return where a report is written; one on other data never replaces the run's own."""
    if not isinstance(subject, TrainingRun):
        return _plain_folder(subject) / f"{_data_name(dataset, split)}-{split}"
    name = split if _is_own(subject, dataset) else f"{_data_name(dataset, split)}-{split}"
    return subject.path / "eval" / name


def _plain_folder(model: str) -> Path:
    """Return where reports on a model are that is no run; models of one name lie apart."""
    return Path("eval") / "--".join(part for part in Path(model).parts[-2:] if part.strip("./"))


def _data_name(dataset: PreparedDataset, split: str) -> str:
    """Return the name of data; a file that was prepared to be scored has that of its split, too."""
    return dataset.path.name.removesuffix(f"-{split}")


def _is_own(run: TrainingRun, dataset: PreparedDataset) -> bool:
    return dataset.fingerprint == run.dataset_fingerprint


def _name(subject: TrainingRun | str) -> str:
    return subject.path.name if isinstance(subject, TrainingRun) else Path(subject).name


def _open_dataset(run: TrainingRun | None, recipe: Recipe, data: Path | None) -> PreparedDataset:
    if data is not None:
        return PreparedDataset.open(data)
    dataset = PreparedDataset.open(Path("data") / recipe.data_name)
    if run is not None and dataset.fingerprint != run.dataset_fingerprint:
        raise RunError(
            f"{dataset.path} is not what {run.path} was trained on: its fingerprint is"
            f" {dataset.fingerprint[:12]}, the run has {run.dataset_fingerprint[:12]}",
            hint=f"train again, or name the data on purpose: --data {dataset.path}",
        )
    return dataset


def _loaded(
    subject: TrainingRun | str,
    recipe: Recipe,
    dataset: PreparedDataset,
    mode: str,
    on_note: OnNote,
) -> tuple[Scorer, str]:
    """Load the model; return what asks it, and the digest of its base's weights."""
    device = choose_device(recipe.model.dtype)
    on_note(f"device {device.device}, {device.dtype_name}: {device.reason}")
    loaded = _load(subject, recipe, device.dtype, on_note)
    scorer = Scorer(
        model=loaded.model.to(device.device),
        encoder=_encoder(subject, recipe, dataset, loaded, on_note),
        mode=mode,
        label_names=dataset.label_names,
        max_new_tokens=recipe.eval.max_new_tokens,
        certain=recipe.eval.confidence,
    )
    return scorer, loaded.base.weights_sha256


def _load(
    subject: TrainingRun | str, recipe: Recipe, dtype: torch.dtype, on_note: OnNote
) -> LoadedModel:
    if isinstance(subject, TrainingRun):
        return load_run_model(subject, dtype=dtype, on_note=on_note)
    model = Model(base=subject, template_settings=recipe.model.template_settings)
    return load_base_model(model, dtype=dtype, on_note=on_note)


def _encoder(
    subject: TrainingRun | str,
    recipe: Recipe,
    dataset: PreparedDataset,
    loaded: LoadedModel,
    on_note: OnNote,
) -> Encoder:
    """Return what encodes the prompts: as the run learned them, or as a training would."""
    if isinstance(subject, TrainingRun):
        # The settings of a run stand in the template that it saved.
        date = subject.manifest().get("template", {}).get("date")
        return make_encoder(loaded.tokenizer, kind=dataset.kind, date=date)
    fixed = recipe.model.template_settings if dataset.label_names else None
    encoder = make_encoder(loaded.tokenizer, kind=dataset.kind, date=today(), fixed=fixed)
    tell_chosen(encoder, on_note)
    return encoder


def _report(
    scorer: Scorer,
    predictions: Sequence[Prediction],
    subject: str,
    split: str,
    inputs: dict[str, str],
    own_metric: Mapping[str, Metric],
    questions: Questions,
) -> Report:
    scored = {"subject": subject, "split": split}
    if scorer.mode == "loss":
        report = loss_report(predictions, inputs=inputs, **scored)
        return replace(report, metrics={**report.metrics, **token_metrics(predictions)})
    if not scorer.label_names:
        return answer_report(predictions, inputs=inputs, **scored)
    report = label_report(
        predictions,
        scorer.label_names,
        mode=scorer.mode,
        inputs=inputs,
        groups=questions.groups,
        **scored,
    )
    metrics = {**report.metrics, **_values(own_metric, predictions)}
    return replace(report, metrics=metrics, group=questions.group)


def _values(
    own_metric: Mapping[str, Metric], predictions: Sequence[Prediction]
) -> dict[str, Estimate]:
    """Compute a metric of the user's; nobody knows its law, so its interval has no width."""
    expected = [str(row.expected) for row in predictions]
    predicted = [row.predicted for row in predictions]
    values = {name: metric(expected, predicted) for name, metric in own_metric.items()}
    return {name: Estimate(value, value, value) for name, value in values.items()}
