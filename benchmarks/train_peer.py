"""One training program that is stepped from outside; runs in an environment of its own.

    python train_peer.py trainer|trl|encode FOLDER

The folder holds job.json, and rows.jsonl for encode. Every line read from standard input allows
one step; every line written says what it took.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from train_channel import Channel
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainerCallback
from transformers import TrainingArguments as Arguments

NOT_LEARNED = -100


class Stepped(TrainerCallback):  # type: ignore[misc]
    """Holds a trainer before every step, and times it from there to the end of the step."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._started = 0.0
        self.loss = 0.0
        self.tokens = 0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Wait for the turn."""
        self._channel.wait()
        self._started = time.perf_counter()
        self.loss, self.tokens = 0.0, 0

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Report."""
        seconds = time.perf_counter() - self._started
        self._channel.report(seconds, loss=self.loss, tokens=self.tokens)


def remembering(kind: type, stepped: Stepped) -> type:
    """Return a trainer that tells the loss and the tokens of each step, and changes nothing."""

    class Told(kind):  # type: ignore[misc]
        def training_step(self, model: Any, inputs: Any, *rest: Any, **more: Any) -> Any:
            loss = super().training_step(model, inputs, *rest, **more)
            stepped.loss += loss.item()  # of a micro-batch, divided by the tokens of the step
            stepped.tokens += int(inputs["attention_mask"].sum())
            return loss

    return Told


def padded(rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    """Pad a batch on the right, as the collators of transformers do."""
    length = max(len(row["input_ids"]) for row in rows)

    def filled(key: str, value: int) -> torch.Tensor:
        return torch.tensor([row[key] + [value] * (length - len(row[key])) for row in rows])

    real = torch.tensor(
        [[place < len(row["input_ids"]) for place in range(length)] for row in rows]
    )
    return {
        "input_ids": filled("input_ids", 0),
        "labels": filled("labels", NOT_LEARNED),
        "attention_mask": real.long(),
    }


def load_model(job: dict[str, Any]) -> Any:
    """Return the float32 base, with the adapter where the job has one."""
    model = AutoModelForCausalLM.from_pretrained(job["base"], dtype=torch.float32)
    if job["adapter"]:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, job["adapter"], is_trainable=True)
    return model


def settings(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return what both trainers are told; the rest are their defaults."""
    return {
        "output_dir": str(folder / "out"),
        "per_device_train_batch_size": job["batch"],
        "gradient_accumulation_steps": 1,
        "num_train_epochs": 1,
        "learning_rate": job["learning_rate"],
        "lr_scheduler_type": "constant",
        "warmup_steps": 0,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "train_sampling_strategy": "sequential",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "bf16": False,
        "use_cpu": True,
    }


def trainer(job: dict[str, Any], folder: Path) -> None:
    """Train with the plain Trainer of transformers, without gradient checkpointing."""
    stepped = Stepped(Channel())
    accumulated = {
        "per_device_train_batch_size": job["trainer_batch"],
        "gradient_accumulation_steps": job["batch"] // job["trainer_batch"],
    }
    remembering(Trainer, stepped)(
        model=load_model(job),
        args=Arguments(**settings(job, folder) | accumulated),
        train_dataset=job["rows"],
        data_collator=padded,
        callbacks=[stepped],
    ).train()


def trl(job: dict[str, Any], folder: Path) -> None:
    """Train with TRL's SFTTrainer and its defaults, gradient checkpointing among them."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    stepped = Stepped(Channel())
    remembering(SFTTrainer, stepped)(
        model=load_model(job),
        args=SFTConfig(**settings(job, folder)),
        train_dataset=Dataset.from_list(job["rows"]),
        processing_class=AutoTokenizer.from_pretrained(job["base"]),
        callbacks=[stepped],
    ).train()


def encode(job: dict[str, Any], folder: Path) -> None:
    """Let SFTTrainer tokenize conversations as it does before every training."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    channel = Channel()

    class Timed(SFTTrainer):  # type: ignore[misc]
        def _prepare_dataset(self, *given: Any, **more: Any) -> Any:
            channel.wait()
            started = time.perf_counter()
            made = super()._prepare_dataset(*given, **more)
            channel.report(time.perf_counter() - started, examples=len(made))
            return made

    with (folder / "rows.jsonl").open(encoding="utf-8") as lines:
        chats = [json.loads(line)["messages"] for line in lines]
    split = [{"prompt": chat[:-1], "completion": chat[-1:]} for chat in chats]
    Timed(
        model=load_model(job),
        args=SFTConfig(**settings(job, folder)),
        train_dataset=Dataset.from_list(split),
        processing_class=AutoTokenizer.from_pretrained(job["base"]),
    )
    channel.wait()


PROGRAMS = {"trainer": trainer, "trl": trl, "encode": encode}


def main() -> None:
    """Run one program on a folder."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    PROGRAMS[name](job, folder)


if __name__ == "__main__":
    main()
