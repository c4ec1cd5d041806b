"""Load, predict, score, write."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch

from ftool.artifacts import (
    OnNote,
    OnProgress,
    Prediction,
    PreparedDataset,
    TrainingRun,
    ignore_note,
    ignore_progress,
)
from ftool.errors import RecipeError, RunError
from ftool.eval.report import (
    Comparison,
    Report,
    label_comparison,
    label_report,
    loss_comparison,
    loss_report,
)
from ftool.eval.scorer import Scorer, choose_mode
from ftool.eval.statistics import majority_floor, stratified_sample, tfidf_floor
from ftool.example import Example
from ftool.model.adapter import load_run_model
from ftool.model.encode import make_encoder
from ftool.model.load import LoadedModel, choose_device, load_base_model
from ftool.recipe.schema import Data, Model, Recipe, Source


def evaluate(
    subject: TrainingRun | str,
    *,
    recipe: Recipe | None = None,
    data: Path | None = None,
    split: str = "validation",
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
        on_note: told what was chosen and why.
        on_progress: told how far the predictions are.

    Raises:
        RecipeError: a plain model without a recipe; a mode that the data does not allow.
        RunError: the run's data or base model has changed since.
        DataError: there is no such split.
    """
    run = subject if isinstance(subject, TrainingRun) else None
    recipe = recipe or (run.recipe() if run else None)
    if recipe is None and data is not None:
        recipe = Recipe(name="scored", data=Data(sources=[Source(path=str(data))]))
    if recipe is None:
        raise RecipeError(f"{subject} is a plain model", hint="say --recipe or --data with it")
    dataset = _open_dataset(run, recipe, data)
    examples = dataset.examples(split)
    mode = choose_mode(recipe.eval.mode, dataset.label_names, kind=dataset.kind)
    device = choose_device(recipe.model.dtype)
    on_note(f"device {device.device}, {device.dtype_name}: {device.reason}")
    loaded = _load(subject, device.dtype, on_note)
    scorer = Scorer(
        model=loaded.model.to(device.device),
        encoder=make_encoder(loaded.tokenizer, kind=dataset.kind),
        mode=mode,
        label_names=dataset.label_names,
        max_new_tokens=recipe.eval.max_new_tokens,
    )
    predictions = scorer.predict(examples, on_progress=on_progress)
    inputs = {"dataset": dataset.fingerprint, "base_model": loaded.base.weights_sha256}
    report = _report(scorer, predictions, _name(subject), split, inputs).beside(
        base=_score_base(run, scorer, examples, recipe, on_progress),
        floor=None if mode == "loss" else _score_floor(dataset, split, examples, recipe, on_note),
    )
    report.write(_report_folder(subject, dataset, split), predictions)
    return report


def _report_folder(subject: TrainingRun | str, dataset: PreparedDataset, split: str) -> Path:
    """Return where a report is written; one on other data never replaces the run's own."""
    if not isinstance(subject, TrainingRun):
        return Path("eval") / _name(subject) / split
    is_own = dataset.fingerprint == subject.dataset_fingerprint
    name = split if is_own else f"{dataset.path.name.removesuffix(f'-{split}')}-{split}"
    return subject.path / "eval" / name


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


def _load(subject: TrainingRun | str, dtype: torch.dtype, on_note: OnNote) -> LoadedModel:
    if isinstance(subject, TrainingRun):
        return load_run_model(subject, dtype=dtype, on_note=on_note)
    return load_base_model(Model(base=subject), dtype=dtype, on_note=on_note)


def _report(
    scorer: Scorer,
    predictions: Sequence[Prediction],
    subject: str,
    split: str,
    inputs: dict[str, str],
) -> Report:
    if scorer.mode == "loss":
        return loss_report(predictions, subject=subject, split=split, inputs=inputs)
    return label_report(
        predictions,
        scorer.label_names,
        subject=subject,
        split=split,
        mode=scorer.mode,
        inputs=inputs,
    )


def _score_base(
    run: TrainingRun | None,
    tuned: Scorer,
    examples: Sequence[Example],
    recipe: Recipe,
    on_progress: OnProgress,
) -> Comparison | None:
    """Score the base model on a fixed stratified subset: adapter switched off, or loaded anew."""
    if run is None or not recipe.eval.base:
        return None
    chosen = stratified_sample(
        [example.id for example in examples],
        [example.label for example in examples],
        recipe.eval.base_examples,
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
        predictions = replace(tuned, model=model).predict(
            [examples[index] for index in chosen], on_progress=tell
        )
    if tuned.mode == "loss":
        return loss_comparison(run.base_model.name, predictions)
    return label_comparison(
        run.base_model.name,
        [prediction.expected for prediction in predictions],
        [prediction.predicted for prediction in predictions],
        tuned.label_names,
    )


def _score_floor(
    dataset: PreparedDataset,
    split: str,
    examples: Sequence[Example],
    recipe: Recipe,
    on_note: OnNote,
) -> Comparison | None:
    """Score the better of a majority and a TF-IDF classifier fitted on the train split."""
    if not recipe.eval.floor or not dataset.label_names:
        return None
    if split == "train" or not dataset.count("train"):
        on_note("no floor: it is fitted on a train split, which must not be the one scored")
        return None
    train = dataset.examples("train")
    labels = [str(example.label) for example in train]
    guesses = {
        "TF-IDF + linear": tfidf_floor(
            [_prompt_text(example) for example in train],
            labels,
            [_prompt_text(example) for example in examples],
        ),
        "majority": majority_floor(labels, len(examples)),
    }
    expected = [example.label for example in examples]
    floors = [
        label_comparison(name, expected, guessed, dataset.label_names)
        for name, guessed in guesses.items()
    ]
    return max(floors, key=lambda floor: floor.metrics["f1_macro"].value)


def _prompt_text(example: Example) -> str:
    return "\n".join(message.content for message in example.prompt if message.role != "system")
