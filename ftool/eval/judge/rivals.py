"""What else answers the rows that a model is scored on: its base, a floor, another run."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from ftool.artifacts import OnNote, OnProgress, Prediction, PreparedDataset, TrainingRun
from ftool.errors import RunError
from ftool.eval.judge.findings import Rival
from ftool.eval.measure.answers import answer_comparison, token_metrics
from ftool.eval.measure.statistics import majority_floor, stratified_sample, tfidf_floor
from ftool.eval.predict.scorer import Scorer
from ftool.eval.report import (
    METRICS_FILE,
    PREDICTIONS_FILE,
    Comparison,
    Report,
    label_comparison,
    loss_comparison,
    read_predictions,
)
from ftool.example import Example
from ftool.model.weights.load import load_base_model
from ftool.recipe.schema import Recipe


def score_base(
    run: TrainingRun | None,
    tuned: Scorer,
    examples: Sequence[Example],
    recipe: Recipe,
    answered: Callable[..., list[Prediction]],
    folder: Path,
    on_progress: OnProgress,
) -> Rival | None:
    """Score the base model on a fixed stratified subset: adapter switched off, or loaded anew."""
    if run is None or not recipe.eval.base:
        return None
    chosen = stratified_sample(
        [example.id for example in examples],
        [example.label for example in examples],
        recipe.eval.base_examples or len(examples),
        seed=recipe.seed,
    )

    def tell(stage: str, done: int, total: int | None) -> None:
        on_progress(f"base model: {stage}", done, total)

    model, adapter_off = tuned.model, nullcontext()
    if hasattr(model, "disable_adapter"):
        adapter_off = model.disable_adapter()
    else:
        own = run.recipe()
        base = load_base_model(own.model, folder=own.folder, dtype=model.dtype)
        model = base.model.to(model.device)
    with adapter_off:
        predictions = answered(
            replace(tuned, model=model),
            [examples[index] for index in chosen],
            file=folder / f"base_{PREDICTIONS_FILE}",
            on_progress=tell,
        )
    if tuned.mode == "loss":
        found = loss_comparison(run.base_model.name, predictions)
        found = replace(found, metrics={**found.metrics, **token_metrics(predictions)})
        return Rival(found, predictions)
    if not tuned.label_names:
        return Rival(answer_comparison(run.base_model.name, predictions), predictions)
    return _rival(run.base_model.name, predictions, tuned.label_names)


def _rival(name: str, predictions: Sequence[Prediction], label_names: Sequence[str]) -> Rival:
    expected = [row.expected for row in predictions]
    predicted = [row.predicted for row in predictions]
    return Rival(label_comparison(name, expected, predicted, label_names), predictions)


def score_floor(
    find_train: Callable[[], Sequence[Example] | None],
    examples: Sequence[Example],
    label_names: Sequence[str],
    recipe: Recipe,
    on_note: OnNote,
) -> Rival | None:
    """Score the better of a majority and a TF-IDF classifier, fitted on what the run learned from.

    Args:
        find_train: reads what a run learned from, or a plain model would have; None where it is not
            here or is what is scored. Called only where there is to be a floor.
        examples: that are scored.
        label_names: that are declared.
        recipe: says whether there is to be a floor.
        on_note: told why there is none.
    """
    if not recipe.eval.floor or not label_names:
        return None
    train = find_train()
    if not train:
        on_note("no floor: it is fitted on a train split, and there is none but what is scored")
        return None
    labels = [str(example.label) for example in train]
    guesses = {
        "TF-IDF + linear": tfidf_floor(
            [_prompt_text(example) for example in train],
            labels,
            [_prompt_text(example) for example in examples],
        ),
        "majority": majority_floor(labels, len(examples)),
    }
    floors = [
        _rival(
            name,
            [
                Prediction(example.id, example.label, guess, guess)
                for example, guess in zip(examples, guessed, strict=True)
            ],
            label_names,
        )
        for name, guessed in guesses.items()
    ]
    return max(floors, key=lambda floor: floor.comparison.metrics["f1_macro"].value)


def _prompt_text(example: Example) -> str:
    return "\n".join(message.content for message in example.prompt if message.role != "system")


def read_rival(
    other: TrainingRun,
    folder: Path,
    dataset: PreparedDataset,
    split: str,
    label_names: Sequence[str],
) -> Rival:
    """Return how another run answered the same rows when it was scored.

    Args:
        other: the run.
        folder: of its report.
        dataset: that is scored now.
        split: which part of it.
        label_names: that are declared now.

    Raises:
        RunError: it was not scored, or on other data or labels.
    """
    name, where = other.path.name, ""
    if dataset.fingerprint != other.dataset_fingerprint:
        where = f" --data {dataset.path}"
    if not (folder / METRICS_FILE).is_file():
        hint = f"run: ftool eval {other.path}{where} --split {split}"
        raise RunError(f"{other.path} was not scored on these rows", hint=hint)
    report = Report.read(folder)
    theirs = str(report.inputs.get("dataset", ""))
    if theirs != dataset.fingerprint:
        raise RunError(
            f"{name} was scored on other data: the fingerprint is {theirs[:12]}, that of"
            f" {dataset.path} {dataset.fingerprint[:12]}",
            hint="score both on the same data",
        )
    if not label_names or set(report.label_names) != set(label_names):
        raise RunError(f"{name} was not scored on the same labels, so its answers do not compare")
    return Rival(
        Comparison(name, report.metrics, report.examples), read_predictions(folder, report)
    )
