"""The run folder: new, resumed, finished or somebody else's; the same run or refused."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ftool.artifacts import (
    MANIFEST,
    BaseModel,
    OnNote,
    PreparedDataset,
    TrainingRun,
    fingerprint,
    is_ours,
    locked,
    read_json,
    write_json,
    write_text,
)
from ftool.errors import RunError
from ftool.recipe.file import dump_recipe, load_recipe
from ftool.recipe.schema import Recipe
from ftool.train.plan import Plan

RECIPE, PLAN = "recipe.yaml", "plan.json"


def claim_run(folder: Path, *, fresh: bool, on_note: OnNote) -> None:
    """Make sure that a folder may hold the run; with `fresh` move an older one aside.

    Raises:
        RunError: the folder is not ftool's, or another process works in it.
    """
    if not is_ours(folder):
        raise RunError(
            f"{folder} exists and is not a run of ftool; nothing was written",
            hint="choose another name with --run",
        )
    if fresh and (folder / RECIPE).exists():
        with locked(folder):
            number = 1
            while (aside := folder.with_name(f"{folder.name}.old-{number}")).exists():
                number += 1
            folder.rename(aside)
        on_note(f"moved the old run to {aside}")


def finished_run(folder: Path, recipe: Recipe, dataset: PreparedDataset) -> TrainingRun | None:
    """Return the run if it is finished; None if it is new or interrupted.

    Raises:
        RunError: the folder holds a run of another recipe or of other data.
    """
    if not _has_begun(folder):
        (folder / PLAN).unlink(missing_ok=True)
        write_text(folder / RECIPE, dump_recipe(recipe, relative_to=folder))
        return None
    differences = list(_differences(load_recipe(folder / RECIPE), recipe))
    file = folder / (MANIFEST if (folder / MANIFEST).is_file() else PLAN)
    if file.is_file():
        there = read_json(file)["dataset_fingerprint"]
        if there != dataset.fingerprint:
            differences.append(f"dataset: {there[:12]} there, {dataset.fingerprint[:12]} here")
    if differences:
        raise RunError(
            "\n".join([f"{folder} is a run of another recipe:", *(f"  {d}" for d in differences)]),
            hint="choose another name with --run, or start anew with --fresh",
        )
    return TrainingRun.open(folder) if file.name == MANIFEST else None


def _has_begun(folder: Path) -> bool:
    """Tell whether a folder holds weights; before that, nothing ties it to its recipe."""
    sealed = (folder / "checkpoints").glob("step-*/seal.json")
    return (folder / RECIPE).is_file() and ((folder / MANIFEST).is_file() or any(sealed))


def settle_plan(
    folder: Path, plan: Plan, dataset: PreparedDataset, base: BaseModel, chat_template: str
) -> Plan:
    """Return the plan of an interrupted run, or write down a new one.

    Micro-batches may differ from those of the interrupted run: they change speed and memory.

    Raises:
        RunError: the base model or its chat template has changed since.
    """
    file = folder / PLAN
    inputs = {
        "dataset_fingerprint": dataset.fingerprint,
        "base_weights_sha256": base.weights_sha256,
        "chat_template_sha256": fingerprint(chat_template),
    }
    if not file.is_file():
        write_json(file, inputs | plan.as_dict())
        return plan
    stored = read_json(file)
    there = {key: stored.pop(key) for key in inputs}
    for key, what in {"base_weights": "set of weights", "chat_template": "chat template"}.items():
        old, new = there[f"{key}_sha256"], inputs[f"{key}_sha256"]
        if old != new:
            raise RunError(
                f"{folder} began with another {what} of {base.name}: {old[:12]} there,"
                f" {new[:12]} here",
                hint="bring the old one back, or start anew with --fresh",
            )
    return replace(
        Plan(**stored),
        batch_size_per_device=plan.batch_size_per_device,
        micro_batch_tokens=plan.micro_batch_tokens,
    )


def _differences(there: Recipe, here: Recipe) -> Iterator[str]:
    """Name the settings that change what is learned, with both values."""
    old, new = _settings(there), _settings(here)
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            yield f"{key}: {old.get(key)} there, {new.get(key)} here"


def _settings(recipe: Recipe) -> dict[str, Any]:
    values = recipe.model_dump(mode="json", by_alias=True)
    chosen = {
        "seed": values["seed"],
        "model": {**values["model"], "base": Path(recipe.model.base).name, "chat_template": None},
        "train": {**values["train"], "tracking": None, "batch_size_per_device": None},
        "eval": {"mode": values["eval"]["mode"], "metric": values["eval"]["metric"]},
    }
    return dict(_flat(chosen, ""))


def _flat(value: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix, value
