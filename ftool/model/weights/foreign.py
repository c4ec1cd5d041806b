"""What a model from outside may not bring: pickles, code, links that lead out of its folder."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ftool.errors import RecipeError

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack", ".npz")
"""Weights in formats that may run code while they load, or that nobody checks."""
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_model.safetensors"
_CODE_KEYS = ("trust_remote_code", "custom_pipelines", "megatron_config", "auto_mapping")
"""Settings by which a library would import what they name."""
_IMPLEMENTATIONS = ("attn_implementation", "experts_implementation", "use_kernels")


def check_folder(folder: Path, shown: str) -> None:
    """Refuse a local model folder that holds pickles alone, or links out of itself.

    Args:
        folder: with a model.
        shown: how messages name it, with the key of the recipe.

    Raises:
        RecipeError: with the file.
    """
    for file in sorted(folder.iterdir()):
        if file.is_symlink() and file.suffix != ".safetensors" and _leads_out(file):
            raise RecipeError(
                f"{shown}: {file.name} is a link that leads out of the folder",
                hint="put the file itself there; ftool reads and publishes what is in the folder",
            )
    weights = ADAPTER if (folder / "adapter_config.json").is_file() else "*.safetensors"
    pickles = sorted(file.name for file in folder.iterdir() if file.suffix in PICKLES)
    if pickles and not any(folder.glob(weights)):
        raise RecipeError(
            f"{shown}: its weights are pickles ({', '.join(pickles[:3])}), which can run code"
            " while they load; ftool reads safetensors alone",
            hint="convert them where you trust them, with save_pretrained of transformers",
        )
    for name in _shards(folder):
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise RecipeError(f"{shown}: {INDEX} names {name}, no safetensors file beside it")
    for file in (folder / "config.json", folder / "adapter_config.json"):
        check_settings(_settings(file), f"{shown}: {file.name}")


def check_settings(settings: Any, shown: str) -> None:
    """Refuse the settings of a model that would bring or import code.

    Raises:
        RecipeError: with the setting.
    """
    for key, value in _flat(settings):
        names_code = key in _CODE_KEYS and value
        names_kernel = key.removeprefix("_").removesuffix("_internal") in _IMPLEMENTATIONS
        if names_code or (names_kernel and (value is True or "/" in str(value))):
            raise RecipeError(
                f"{shown} asks for code of others (`{key}`), and ftool runs none",
                hint="remove that setting, or use a model whose architecture transformers knows",
            )


def _leads_out(file: Path) -> bool:
    """Tell whether a link leaves its folder; the Hub's cache keeps its files beside snapshots."""
    folder = file.parent.resolve()
    inside = folder.parents[1] / "blobs" if folder.parent.name == "snapshots" else folder
    return not file.resolve().is_relative_to(inside)


def _shards(folder: Path) -> list[str]:
    index = _settings(folder / INDEX)
    names = index.get("weight_map") if isinstance(index, dict) else None
    return sorted({str(name) for name in names.values()}) if isinstance(names, dict) else []


def _settings(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}  # what is missing or broken is told when it is loaded


def _flat(settings: Any) -> Iterator[tuple[str, Any]]:
    """Yield the settings of all blocks."""
    blocks = [settings]
    while blocks:
        block = blocks.pop()
        if isinstance(block, Mapping):
            yield from block.items()
            blocks += block.values()
        elif isinstance(block, list):
            blocks += block
