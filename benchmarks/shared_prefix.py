"""Examples per second with and without the shared prefix: same model, same examples, one run.

    python benchmarks/shared_prefix.py [--quick] [--json FILE]

Each pair of micro-batches is timed alternately, so that other load on the machine hits both.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from ftool.example import EncodedExample
from ftool.model.adapter import attach_adapter
from ftool.model.batch import make_batch, make_row
from ftool.model.encode import encode_examples, make_encoder
from ftool.model.forward import enable_rows, token_losses
from ftool.model.load import load_base_model
from ftool.prepare.run import prepare
from ftool.recipe.file import load_recipe
from ftool.recipe.schema import Lora

BATCH = 16


def timed(model: Any, batch: Any) -> tuple[float, float]:
    """Return the seconds of one forward and backward pass, and the loss."""
    started = time.perf_counter()
    loss = token_losses(model, batch).mean()
    loss.backward()
    return time.perf_counter() - started, loss.item()


def measure(model: Any, examples: list[EncodedExample], batches: int) -> dict[str, float]:
    """Time padded and shared micro-batches in turn; the first pair only warms up."""
    seconds = {"padded": 0.0, "shared": 0.0}
    difference = 0.0
    for number in range(batches + 1):
        part = sorted(examples[number * BATCH :][:BATCH], key=lambda e: len(e.input_ids))
        padded, padded_loss = timed(model, make_batch(part))
        shared, loss = timed(model, make_row(part))
        difference = max(difference, abs(loss - padded_loss))
        if number:
            seconds["padded"] += padded
            seconds["shared"] += shared
    return {
        "padded": batches * BATCH / seconds["padded"],
        "shared": batches * BATCH / seconds["shared"],
        "ratio": seconds["padded"] / seconds["shared"],
        "loss_difference": difference,
    }


def main() -> None:
    """Measure on the shipped recipe and print one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    recipe = load_recipe("customer_support")
    with tempfile.TemporaryDirectory() as folder:
        dataset = prepare(recipe, output=Path(folder))
        loaded = load_base_model(recipe.model, dtype=torch.float32)
        encoder = make_encoder(loaded.tokenizer)
        examples = encode_examples(dataset.examples("train"), encoder, max_length=8192).examples
    model = attach_adapter(loaded.model, Lora(), seed=recipe.seed).train()
    if not enable_rows(model, examples[:2]):
        raise SystemExit("the shipped base does not share a prefix")
    found = measure(model, examples, 3 if options.quick else 12)
    print(
        f"padded {found['padded']:.2f} examples/s, shared prefix {found['shared']:.2f} examples/s:"
        f" {found['ratio']:.2f}x, losses differ by {found['loss_difference']:.1e}"
    )
    if options.json:
        options.json.write_text(json.dumps({"customer_support": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
