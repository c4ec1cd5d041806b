"""Training programs that cannot be stepped from outside: their own commands, times and losses."""

import csv
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, DatasetDict
from processes import measured
from rivals import OTHER_REQUIREMENTS, Unfit, installed
from train_turns import CORES, last_line, surroundings

from ftool.model.weights.load import load_base_model
from ftool.recipe.blocks.model import Model

SECONDS = 240
"""Until a program is ended."""

Job = dict[str, Any]
Took = list[tuple[float, float]]
"""Seconds and loss of every step."""


@dataclass(frozen=True, slots=True)
class Other:
    """What a program needs, its commands, and where it tells what its steps took.

    `commands` gets the folder, the Python of its environment and the job; it writes what it needs.
    """

    requirements: tuple[str, ...]
    commands: Callable[[Path, Path, Job], list[list[str]]]
    took: Callable[[Path], Took]


def _litgpt(folder: Path, python: Path, job: Job) -> list[list[str]]:
    # Its name tells litgpt the architecture; that of the chat model would add a second start token.
    base, program = folder / "SmolLM2-135M", str(python.with_name("litgpt"))
    shutil.copytree(job["base"], base)
    data = folder / "litgpt"
    data.mkdir()
    parts = ("sys_prompt", "instruction", "output")
    chats = [dict(zip(parts, texts, strict=True)) for texts in job["texts"]]
    (data / "train.json").write_text(json.dumps(chats), encoding="utf-8")
    (data / "val.json").write_text(json.dumps(chats[:1]), encoding="utf-8")
    rates = {"lr": job["learning_rate"], "weight_decay": 0.0}
    settings = {
        "precision": "32-true",
        "out_dir": folder / "litgpt-out",
        "data": "JSON",
        "data.json_path": data,
        "data.mask_prompt": "true",
        "data.prompt_style": "smollm2",
        "train.micro_batch_size": job["batch"],
        "train.global_batch_size": job["batch"],
        "train.max_steps": job["steps"],
        "train.lr_warmup_steps": 1,
        "eval.final_validation": "false",
        "optimizer": json.dumps({"class_path": "torch.optim.AdamW", "init_args": rates}),
        "lora_r": 16,
        "lora_alpha": 32,
        "lora_dropout": 0.0,
    } | dict.fromkeys(("lora_key", "lora_projection", "lora_mlp"), "true")
    given = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    return [
        [program, "convert_to_litgpt", str(base), "--dtype", "float32"],
        [program, "finetune_lora", str(base), *given],
    ]


def _took_litgpt(folder: Path) -> Took:
    file = next((folder / "litgpt-out").rglob("metrics.csv"))
    with file.open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["iter_time"]]
    return [(float(row["iter_time"]), float(row["loss"])) for row in rows]


LLAMAFACTORY = """
# Its packages for images and sound are builds for a GPU and do not load; texts need neither.
import importlib.machinery, sys, types
sys.modules["torchvision"] = None
sound = types.ModuleType("torchaudio")
sound.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)
sys.modules["torchaudio"] = sound
from llamafactory.cli import main
main()
"""


def _llamafactory(folder: Path, python: Path, job: Job) -> list[list[str]]:
    # It takes the precision of the files on a CPU, which is bfloat16.
    base = folder / "float32"
    shutil.copytree(job["base"], base)
    load_base_model(Model(), dtype=torch.float32).model.save_pretrained(base)
    rows = [row | {"attention_mask": [1] * len(row["input_ids"])} for row in job["rows"]]
    tokens = folder / "llamafactory-tokens"
    DatasetDict({"train": Dataset.from_list(rows)}).save_to_disk(tokens)
    settings = {
        "model_name_or_path": str(base),
        "adapter_name_or_path": job["adapter"],
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "dataset": "tokens",
        "tokenized_path": str(tokens),
        "template": "empty",
        "output_dir": str(folder / "llamafactory-out"),
        "per_device_train_batch_size": job["batch"],
        "num_train_epochs": 1,
        "learning_rate": job["learning_rate"],
        "lr_scheduler_type": "constant",
        "disable_shuffling": True,
        "disable_gradient_checkpointing": True,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "fp16": False,
        "flash_attn": "sdpa",
    }
    recipe, program = folder / "llamafactory.yaml", folder / "launch.py"
    recipe.write_text(json.dumps(settings), encoding="utf-8")
    program.write_text(LLAMAFACTORY, encoding="utf-8")
    return [[str(python), str(program), "train", str(recipe)]]


def _took_llamafactory(folder: Path) -> Took:
    text = (folder / "llamafactory-out" / "trainer_log.jsonl").read_text(encoding="utf-8")
    rows = [row for row in map(json.loads, text.splitlines()) if "loss" in row]
    ends = [_seconds(row["elapsed_time"]) for row in rows]
    starts = [0.0, *ends]
    return [(end - start, row["loss"]) for start, end, row in zip(starts, ends, rows, strict=False)]


def _seconds(clock: str) -> float:
    hours, minutes, seconds = map(int, clock.split(":"))
    return 3600.0 * hours + 60 * minutes + seconds


OTHERS = {
    "litgpt": Other(("torch==2.13.0", "litgpt==0.5.13", "requests"), _litgpt, _took_litgpt),
    "llamafactory": Other(
        ("torch==2.13.0", "llamafactory==0.9.5"), _llamafactory, _took_llamafactory
    ),
}


def run_other(name: str, folder: Path, job: Job) -> Took:
    """Let a program train on a job; return the seconds and the loss of every step.

    Args:
        name: of `OTHERS`.
        folder: for its files.
        job: base, adapter, batch, steps, learning_rate; `rows` are token ids and labels in order,
            `texts` what the three messages of each say.

    Raises:
        Unfit: it cannot be installed, fails, or takes too long.
    """
    other = OTHERS[name]
    python = installed(name)
    for command in other.commands(folder, python, job):
        _finish(command, folder)
    try:
        return other.took(folder)
    except (OSError, StopIteration, KeyError, ValueError) as error:
        raise Unfit(f"it did not tell what its steps took ({error})") from error


def _finish(command: Sequence[str], folder: Path) -> None:
    environment = os.environ | surroundings()
    try:
        run = measured(command, folder, pinned=CORES, environment=environment, timeout=SECONDS)
    except TimeoutError as error:
        raise Unfit(str(error)) from None
    if run.code:
        raise Unfit(f"exit code {run.code}: {last_line(run.output)}")


OTHER_REQUIREMENTS.update({name: other.requirements for name, other in OTHERS.items()})
