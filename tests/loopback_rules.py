"""What the Hub demands of files and cards, as far as the loopback Hub enforces it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

REGULAR_LIMIT = 10_000_000
LARGE_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".onnx", ".npy", ".npz", ".parquet")
GIT_ATTRIBUTES = "".join(f"*{it} filter=lfs diff=lfs merge=lfs -text\n" for it in LARGE_SUFFIXES)
LICENSES = """
afl-3.0 agpl-3.0 apache-2.0 apple-amlr apple-ascl artistic-2.0 bigcode-openrail-m
bigscience-bloom-rail-1.0 bigscience-openrail-m bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear
bsl-1.0 c-uda cc cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0
cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0
cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 cdla-permissive-1.0 cdla-permissive-2.0 cdla-sharing-1.0
creativeml-openrail-m deepfloyd-if-license ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2
fair-noncommercial-research-license gemma gfdl gpl gpl-2.0 gpl-3.0 grok2-community h-research
intel-research isc lgpl lgpl-2.1 lgpl-3.0 lgpl-lr llama2 llama3 llama3.1 llama3.2 llama3.3 llama4
lppl-1.3c mit mpl-2.0 ms-pl ncsa odbl odc-by ofl-1.1 openmdw-1.0 openmdw-1.1 openrail openrail++
osl-3.0 other pddl postgresql unknown unlicense wtfpl zlib
"""
ID_ADVICE = {
    "base_model": "Use a model id from https://hf.co/models.",
    "datasets": "If possible, use a dataset id from https://hf.co/datasets.",
}
HUB_ID = re.compile(r"(?:[a-z0-9][\w.-]*/)?[a-z0-9][\w.-]*", re.ASCII | re.IGNORECASE)
DATASET_TYPE = re.compile(r"(?:[\w-]+/)?[\w.-]+", re.ASCII)
FRONT_MATTER = re.compile(r"\s*---\r?\n(.*?)\r?\n---\s*(?:\n|$)", re.DOTALL)


def belongs_in_lfs(path: str, size: int, sample: bytes) -> bool:
    """Tell whether the Hub keeps a file out of git: by name, by size, or because it is binary."""
    by_name = path.endswith(LARGE_SUFFIXES)
    return size > 0 and (by_name or size > REGULAR_LIMIT or b"\0" in sample)


def has_metadata(card: str) -> bool:
    """Tell whether a card starts with YAML front matter."""
    return FRONT_MATTER.match(card) is not None


def card_errors(card: str) -> list[str]:
    """Return what the Hub refuses in a card's YAML front matter, worded as the Hub does."""
    match = FRONT_MATTER.match(card)
    try:
        metadata = (yaml.safe_load(match[1]) if match else None) or {}
    except yaml.YAMLError as error:
        return [f"YAML metadata is invalid: {error}"]
    if not isinstance(metadata, dict):
        return ["YAML metadata must be a mapping"]
    return [*_id_errors(metadata), *_license_errors(metadata), *_result_errors(metadata)]


def _id_errors(metadata: dict[str, Any]) -> Iterator[str]:
    for key, advice in ID_ADVICE.items():
        for index, value in enumerate(_listed(metadata.get(key))):
            if not (isinstance(value, str) and HUB_ID.fullmatch(value)):
                name = f"{key}[{index}]" if isinstance(metadata[key], list) else key
                yield f'"{name}" with value "{value}" is not valid. {advice}'


def _license_errors(metadata: dict[str, Any]) -> Iterator[str]:
    known = LICENSES.split()
    if any(value not in known for value in _listed(metadata.get("license"))):
        yield f'"license" must be one of [{", ".join(known)}, array]'


def _result_errors(metadata: dict[str, Any]) -> Iterator[str]:
    for model, entry in enumerate(_listed(metadata.get("model-index"))):
        for number, result in enumerate(_listed(_lookup(entry, "results"))):
            where = f"model-index[{model}].results[{number}]"
            for name in ("task.type", "dataset.type", "dataset.name", "metrics"):
                if _lookup(result, name) is None:
                    yield f'"{where}.{name}" is required'
            kind = _lookup(result, "dataset.type")
            if kind is not None and not DATASET_TYPE.fullmatch(str(kind)):
                rule = f"fails to match the required pattern: /^{DATASET_TYPE.pattern}$/"
                yield f'"{where}.dataset.type" with value "{kind}" {rule}'


def _listed(value: object) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _lookup(data: object, dotted: str) -> object:
    for name in dotted.split("."):
        data = data.get(name) if isinstance(data, dict) else None
    return data
