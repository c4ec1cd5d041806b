"""The stock transformers.Trainer on the tiny model of the tests, which can be killed and broken."""

import contextlib
import hashlib
import io
import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tiny import tiny_model

ROWS, LENGTH, SEED = 40, 16, 7
METHOD = {"r": 4, "alpha": 8, "dropout": 0.3}


class Rows(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Random rows of tokens, the same in every process."""

    def __init__(self) -> None:
        dice = torch.Generator().manual_seed(SEED)
        self.tokens = torch.randint(3, 300, (ROWS, LENGTH), generator=dice)

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, place: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.tokens[place], "labels": self.tokens[place]}


def _make(folder: Path, change: dict[str, Any]) -> Any:
    from peft import LoraConfig, get_peft_model
    from transformers import Trainer, TrainingArguments, set_seed

    lora = {key: change.get(key, value) for key, value in METHOD.items()}
    settings = {
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "max_steps": 6,
        "save_steps": 2,
        "learning_rate": 1e-2,
        **{key: value for key, value in change.items() if key not in METHOD},
    }
    set_seed(SEED)
    config = LoraConfig(
        r=lora["r"],
        lora_alpha=lora["alpha"],
        lora_dropout=lora["dropout"],
        target_modules=["q_proj", "v_proj"],
        task_type="CAUSAL_LM",
    )
    arguments = TrainingArguments(
        output_dir=str(folder / "out"),
        seed=SEED,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        logging_strategy="no",
        save_total_limit=2,
        **settings,
    )
    return Trainer(get_peft_model(tiny_model(), config), args=arguments, train_dataset=Rows())


def stock_task(_: list[str], *, folder: Path, fault: Any, change: dict[str, Any]) -> None:
    """Train from the newest checkpoint, as `resume_from_checkpoint=True` finds it, or anew."""
    from transformers import TrainerCallback

    trainer = _make(folder, change)
    watch = _nonsense(trainer, fault) if isinstance(fault, str) else fault and fault()

    class Watch(TrainerCallback):
        def on_step_end(self, _: Any, state: Any, *__: Any, **___: Any) -> None:
            if watch:
                state.step = state.global_step
                watch(state, state.max_steps)

    trainer.add_callback(Watch())
    has_checkpoint = any((folder / "out").glob("checkpoint-*"))
    with contextlib.redirect_stdout(io.StringIO()):
        trainer.train(resume_from_checkpoint=True if has_checkpoint else None)
    trainer.save_model(str(folder / "final"))


def _nonsense(trainer: Any, kind: str) -> Any:
    """Make a loss, a gradient or a weight NaN in the third step; return what watches the steps."""
    made, calls = trainer.compute_loss, 0

    def loss(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        found = made(*arguments, **named)
        if calls == 6 and kind == "loss NaN":
            return found * math.nan
        if calls == 6 and kind == "gradient NaN":
            found.register_hook(lambda gradient: gradient * math.nan)
        return found

    def watch(state: Any, _: int) -> None:
        if state.step == 3 and kind == "weight NaN":
            with torch.no_grad():
                next(w for w in trainer.model.parameters() if w.requires_grad).view(-1)[0] = (
                    math.nan
                )

    trainer.compute_loss = loss
    return watch


def stock_weights(folder: Path) -> str:
    """Return the digest of the final adapter."""
    weights = load_file(folder / "final/adapter_model.safetensors")
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode() + weights[name].numpy().tobytes())
    return digest.hexdigest()
