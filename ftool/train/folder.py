"""The run folder: new, resumed, finished or somebody else's; the same run or refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ftool.artifacts import (
    MANIFEST,
    BaseModel,
    OnNote,
    PreparedDataset,
    TrainingRun,
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
    if not (folder / RECIPE).is_file():
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


def settle_plan(folder: Path, plan: Plan, dataset: PreparedDataset, base: BaseModel) -> Plan:
    """Return the plan of an interrupted run, or write down a new one.

    Raises:
        RunError: the base model has changed since.
    """
    file = folder / PLAN
    if not file.is_file():
        inputs = {
            "dataset_fingerprint": dataset.fingerprint,
            "base_weights_sha256": base.weights_sha256,
        }
        write_json(file, inputs | plan.as_dict())
        return plan
    stored = read_json(file)
    there = stored.pop("base_weights_sha256")
    del stored["dataset_fingerprint"]
    if there != base.weights_sha256:
        raise RunError(
            f"{folder} began on other weights of {base.name}: {there[:12]} there,"
            f" {base.weights_sha256[:12]} here",
            hint="bring the base model back, or start anew with --fresh",
        )
    return Plan(**stored)


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
        "train": {**values["train"], "tracking": None},
        "eval": {"mode": values["eval"]["mode"], "metric": values["eval"]["metric"]},
    }
    return dict(_flat(chosen, ""))


def _flat(value: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix, value
