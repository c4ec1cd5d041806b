"""What makes two runs the same: recipe, data, base, tokenizer, chat template, processes."""

import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ftool import launcher
from ftool.artifacts import PreparedDataset, fingerprint, ftool_version
from ftool.errors import RunError
from ftool.model.weights.load import Device, LoadedModel
from ftool.recipe.schema import Recipe

FREE = {"tracking", "batch_size_per_device", "activation_checkpointing", "checkpoint"}
"""Settings of `train` that change speed, memory and what is written down, not what is learned."""
CHOOSING = {"mode", "metric", "max_new_tokens"}
"""Settings of `eval` that decide which checkpoint is the best."""
PACKAGES = ("torch", "transformers", "peft", "accelerate", "datasets", "tokenizers")
SHOWN_CHARACTERS = 12


def recipe_identity(recipe: Recipe, dataset: PreparedDataset) -> dict[str, Any]:
    """Return what is known of a run before its model is loaded, by the names people read."""
    values = recipe.model_dump(mode="json", by_alias=True)
    chosen = {
        "seed": values["seed"],
        # The template counts by its text, wherever it lies.
        "model": {**values["model"], "base": Path(recipe.model.base).name, "chat_template": None},
        "train": {key: value for key, value in values["train"].items() if key not in FREE},
        "eval": {key: value for key, value in values["eval"].items() if key in CHOOSING},
    }
    return {**_flat(chosen), "dataset": dataset.fingerprint, "processes": launcher.place()[1]}


def model_identity(loaded: LoadedModel) -> dict[str, Any]:
    """Return what is known of a run once its base model is loaded."""
    return {
        "base weights": loaded.base.weights_sha256,
        "tokenizer": _tokenizer_sha256(loaded.tokenizer),
        "chat template": fingerprint(loaded.tokenizer.chat_template or ""),
    }


MODEL_NAMES = ("base weights", "tokenizer", "chat template")


def refuse_other(path: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Refuse to go on with what another run left.

    Args:
        path: of the run or the checkpoint that is there.
        there: its identity.
        here: as much as is known of this run's.

    Raises:
        RunError: with the name and both values of every difference.
    """
    unknown = set(MODEL_NAMES) - here.keys()
    names = sorted((there.keys() | here.keys()) - unknown)
    different = [name for name in names if there.get(name) != here.get(name)]
    if different:
        lines = [
            f"  {name}: {_shown(there.get(name))} there, {_shown(here.get(name))} here"
            for name in different
        ]
        raise RunError(
            "\n".join([f"{path} is of another run:", *lines]),
            hint="bring the old values back, choose another name with --run, or start anew with"
            " --fresh",
        )


def refuse_unlike(main: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Refuse to train together on different things.

    Raises:
        RunError: with the name and both values of every difference.
    """
    names = sorted(name for name in main.keys() | own.keys() if main.get(name) != own.get(name))
    lines = [
        f"  {name}: {_shown(main.get(name))} in the main one, {_shown(own.get(name))} in another"
        for name in names
    ]
    if lines:
        raise RunError(
            "\n".join(["the processes do not have the same before them:", *lines]),
            hint="give all of them the same recipe and the same `data/`",
        )


def environment(device: Device) -> dict[str, Any]:
    """Return what decides the last bits of the weights besides the run's identity."""
    packages = {package: version(package) for package in PACKAGES}
    return {
        "versions": {"ftool": ftool_version(), "python": platform.python_version()} | packages,
        "device": str(device.device),
        "dtype": device.dtype_name,
        "processes": launcher.place()[1],
        "threads": torch.get_num_threads(),
    }


def changes(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Say what of the environment is not as it was."""
    old, new = dict(_flat(there)), dict(_flat(here))
    return [
        f"{name.removeprefix('versions.')} {old.get(name)} became {new.get(name)}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def _tokenizer_sha256(tokenizer: Any) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    inner = backend.to_str() if backend is not None else sorted(tokenizer.get_vocab().items())
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    return fingerprint([inner, special])


def _shown(value: Any) -> Any:
    if value is None:
        return "null"
    is_digest = isinstance(value, str) and len(value) == 64
    return value[:SHOWN_CHARACTERS] if is_digest else value


def _flat(value: Any) -> dict[str, Any]:
    return dict(_pairs(value, ""))


def _pairs(value: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _pairs(inner, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix, value
