"""Save a tokenizer."""

import json
from pathlib import Path
from typing import Any

from ftool.artifacts import write_json


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Save a tokenizer that other versions and engines open too.

    transformers 5 may name its own class, which version 4 and other engines do not know, and
    keeps where the files once lay.
    """
    tokenizer.save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    settings = json.loads(file.read_text(encoding="utf-8"))
    if settings.get("tokenizer_class") == "TokenizersBackend":
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    for key in ("backend", "is_local", "local_files_only", "name_or_path"):
        settings.pop(key, None)
    write_json(file, settings)
