"""`ftool train` as a program that is stepped from outside, and ftool's encoding of a split.

python train_ours.py ours|encode FOLDER    # reads job.json and the prepared data of train.py
"""

import json
import sys
import time
from pathlib import Path

from train_channel import Channel
from train_data import make_recipe

from ftool.artifacts import PreparedDataset, TrainingStep
from ftool.model.tokens.encode import encode_examples, make_encoder
from ftool.model.weights.load import load_tokenizer
from ftool.recipe.blocks.model import Model
from ftool.recipe.schema import Recipe
from ftool.train.run import train

CONTEXT = 8192


def ours(recipe: Recipe, folder: Path, channel: Channel) -> None:
    """Train as the verb does; the first step takes the start-up besides."""
    channel.wait()
    started = time.perf_counter()

    def told(step: TrainingStep, _: int) -> None:
        nonlocal started
        seconds = time.perf_counter() - started
        channel.report(seconds, loss=step.loss, tokens=step.tokens)
        channel.wait()
        started = time.perf_counter()

    train(recipe, folder=folder, on_step=told, on_note=lambda note: print(note, flush=True))


def encode(recipe: Recipe, folder: Path, channel: Channel) -> None:
    """Encode a prepared split, from its files on disk to token ids and labels."""
    dataset = PreparedDataset.open(folder / "data" / recipe.data_name)
    encoder = make_encoder(load_tokenizer(Model()))
    channel.wait()
    started = time.perf_counter()
    made = encode_examples(dataset.examples("train"), encoder, max_length=CONTEXT)
    channel.report(time.perf_counter() - started, examples=len(made.examples))
    channel.wait()


PROGRAMS = {"ours": ours, "encode": encode}


def main() -> None:
    """Run one program on a folder."""
    channel = Channel()
    name, folder = sys.argv[1], Path(sys.argv[2])
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    recipe = make_recipe(folder / "rows.jsonl", method=job["method"], steps=job["steps"])
    PROGRAMS[name](recipe, folder, channel)


if __name__ == "__main__":
    main()
