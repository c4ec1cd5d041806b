"""Run and dataset folders as the stages leave them, without a stage having run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftool.artifacts import PreparedDataset, TrainingRun
from ftool.example import Example, Message

RECIPE = """\
name: support
data:
  sources: [{path: tickets.csv}]
"""


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def run_manifest(**changes: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "ftool": "0.1.0",
        "fingerprint": "f" * 64,
        "kind": "run",
        "status": "finished",
        "name": "support",
        "steps": 300,
        "best_step": 250,
        "best_metric": {"name": "f1_macro", "value": 0.81234},
        "base_model": {"name": "smollm2-135m-instruct", "revision": None, "weights_sha256": "a"},
        "method": "lora",
        "trainable_parameters": 4_884_480,
        "parameters": 139_399_872,
        "dataset": {"name": "support", "fingerprint": "d", "rows": 12, "label_names": ["a", "b"]},
        "dataset_fingerprint": "d",
        "seconds": 730.4,
        "environment": {"versions": {}, "device": "cpu", "dtype": "float32"},
        "overlong_rejected": [],
        **changes,
    }


def write_run(folder: Path, recipe: str = RECIPE, **changes: Any) -> TrainingRun:
    write_manifest(folder, run_manifest(**changes))
    (folder / "recipe.yaml").write_text(recipe, encoding="utf-8")
    return TrainingRun.open(folder)


def data_manifest(**changes: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "ftool": "0.1.0",
        "kind": "chat",
        "name": "support",
        "fingerprint": "d",
        "inputs_fingerprint": "i",
        "recipe": {},
        "inputs": [],
        "rows": {
            "read": 1500,
            "kept": {"train": 1200, "validation": 150, "test": 113},
            "rejected": {"repeated": 30, "empty prompt": 7},
        },
        "label_names": ["billing", "delivery"],
        "label_counts": {
            "train": {"billing": 700, "delivery": 500},
            "validation": {"billing": 100, "delivery": 50},
            "test": {"billing": 113},
        },
        "merged_spellings": {},
        "outputs": {},
        **changes,
    }


def write_dataset(folder: Path, **changes: Any) -> PreparedDataset:
    write_manifest(folder, data_manifest(**changes))
    return PreparedDataset.open(folder)


def example_to_record(example: Example) -> dict[str, Any]:
    """Return an example as the columns that a prepared dataset stores."""
    record: dict[str, Any] = {
        "id": example.id,
        "label": example.label,
        "group": example.group,
        "source": example.source,
        "line": example.line,
        "extra": json.dumps(example.extra, ensure_ascii=False, sort_keys=True),
    }
    if example.text is not None:
        return record | {"text": example.text}
    tools = [json.dumps(tool, ensure_ascii=False, sort_keys=True) for tool in example.tools]
    return record | {
        "messages": [_message_to_record(message) for message in example.messages],
        "tools": tools,
    }


def _message_to_record(message: Message) -> dict[str, Any]:
    calls = json.dumps([dict(call) for call in message.tool_calls], ensure_ascii=False)
    return {
        "role": message.role,
        "content": message.content,
        "name": message.name,
        "tool_calls": calls if message.tool_calls else None,
        "tool_call_id": message.tool_call_id,
        "reasoning_content": message.reasoning_content,
        "learned": message.learned,
    }
