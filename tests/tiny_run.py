"""A finished run of a tiny model, as `ftool train` and `ftool eval` leave it, without training."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tiny import LABELS, save_tiny_base
from transformers import AutoModelForCausalLM, AutoTokenizer

from ftool.artifacts import Prediction, TrainingRun, write_json, write_jsonl
from ftool.eval.report import label_comparison, label_report
from ftool.model.weights.adapter import attach_adapter, save_model
from ftool.model.weights.load import weights_sha256
from ftool.recipe.blocks.train import Lora
from ftool.seal import sealed_files

FINGERPRINT = "d" * 64


def seal_again(run: TrainingRun) -> None:
    """Make a changed model folder look untouched, as its maker or an attacker could."""
    manifest = {**run.manifest(), "model_files": sealed_files(run.model_path)}
    write_json(run.path / "manifest.json", manifest)


def write_run(
    folder: Path,
    *,
    base: Path,
    method: str = "lora",
    name: str | None = None,
    revision: str | None = None,
    hub: str = "{}",
) -> TrainingRun:
    """Write a finished run.

    Args:
        folder: made new.
        base: a tiny base model; made where it is missing.
        method: `lora` with a random adapter, or `full`.
        name: of the base model in recipe and manifest; the folder by default.
        revision: of the base model, where it came from the Hub.
        hub: the recipe's block.
    """
    if not base.exists():
        save_tiny_base(base)
    folder.mkdir(parents=True)
    kind = "{kind: lora, r: 4, alpha: 8}" if method == "lora" else "{kind: full}"
    write_recipe(folder, base=name or str(base), method=kind, hub=hub)
    model = AutoModelForCausalLM.from_pretrained(base)
    if method == "lora":
        model = attach_adapter(model, Lora(r=4, alpha=8), seed=1)
    for parameter in (value for value in model.parameters() if value.requires_grad):
        torch.nn.init.normal_(parameter, std=0.1)
    tokenizer = AutoTokenizer.from_pretrained(base)
    save_model(model, tokenizer, folder / "model", end_of_turn_id=2)
    write_manifest(
        folder,
        method=method,
        base_model={
            "name": name or str(base),
            "revision": revision,
            "weights_sha256": weights_sha256(base),
        },
    )
    write_steps(folder)
    return TrainingRun.open(folder)


def write_recipe(folder: Path, *, base: str, method: str, hub: str = "{}") -> None:
    """Write the recipe of a run whose data lie in a folder of this machine."""
    (folder / "recipe.yaml").write_text(
        f"""name: tiny
model: {{base: {base}}}
data:
  sources: [{{path: {folder}/raw/tickets.csv, columns: {{prompt: message, label: intent}}}}]
  system: 'Name the "intent".'
train: {{method: {method}}}
hub: {hub}
""",
        encoding="utf-8",
    )


def write_manifest(
    folder: Path, *, method: str, base_model: dict[str, Any], label_names: Sequence[str] = LABELS
) -> None:
    """Write the manifest of a finished run."""
    rows = {
        "read": 70,
        "kept": {"train": 48, "validation": 6, "test": 6},
        "rejected": {"exact_duplicate": 9, "no_label": 1},
    }
    manifest = {
        "schema": 1,
        "ftool": "0.1.0",
        "fingerprint": "f" * 64,
        "kind": "run",
        "status": "finished",
        "name": folder.name,
        "steps": 6,
        "best_step": 4,
        "best_metric": {"name": "f1_macro", "value": 0.75},
        "base_model": base_model,
        "method": method,
        "trainable_parameters": 1000,
        "parameters": 64000,
        "dataset": {
            "name": "tiny",
            "fingerprint": FINGERPRINT,
            "rows": rows,
            "label_names": list(label_names),
        },
        "dataset_fingerprint": FINGERPRINT,
        "seconds": 75.2,
        "environment": {
            "versions": {"python": "3.11.0", "torch": "2.13.0"},
            "device": "cpu",
            "dtype": "float32",
            "processes": 1,
            "threads": 2,
        },
        "overlong_rejected": ["id-9"],
        "model_files": sealed_files(folder / "model") if (folder / "model").is_dir() else {},
    }
    write_json(folder / "manifest.json", manifest)


def write_model_file(run: TrainingRun, name: str, content: str | bytes) -> None:
    """Write a file into the model folder, as if training had."""
    data = content if isinstance(content, bytes) else content.encode()
    (run.model_path / name).write_bytes(data)
    seal_again(run)


def write_steps(folder: Path) -> None:
    """Write a log of six steps, the second and the fourth with a validation."""
    scores = {2: {"loss": 1.5, "f1_macro": 0.5}, 4: {"loss": 1.2, "f1_macro": 0.75}}
    steps = [
        {
            "step": step,
            "loss": 3.0 - step / 4,
            "validation": {"metrics": scores[step], "examples": 6, "best": True}
            if step in scores
            else None,
        }
        for step in range(1, 7)
    ]
    write_jsonl(folder / "steps.jsonl", steps)


def write_report(
    run: TrainingRun,
    split: str = "test",
    *,
    label_names: Sequence[str] = LABELS,
    dataset: str = FINGERPRINT,
) -> dict[str, Any]:
    """Write a report of six examples, four of them right, and return its metrics.json."""
    first, second, third = label_names
    expected = [first, first, second, second, third, third]
    answers = [first, second, second, second, third, None]

    def predictions(predicted: Sequence[str | None]) -> list[Prediction]:
        pairs = zip(expected, predicted, strict=True)
        return [Prediction(f"id-{n}", *pair, output="secret text") for n, pair in enumerate(pairs)]

    report = label_report(
        predictions(answers),
        label_names,
        subject=run.path.name,
        split=split,
        mode="rank",
        inputs={"dataset": dataset, "base_model": run.base_model.weights_sha256},
    ).beside(
        base=label_comparison(run.base_model.name, expected, [first] * 6, label_names),
        floor=label_comparison("majority", expected, [third] * 6, label_names),
    )
    report.write(run.path / "eval" / split, predictions(answers))
    content: dict[str, Any] = json.loads(
        (run.path / "eval" / split / "metrics.json").read_text(encoding="utf-8")
    )
    return content
