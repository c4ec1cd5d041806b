"""ftool's scorer as a program that is stepped from outside.

python eval_ours.py labels|loss|intervals FOLDER    # reads job.json; writes ours.jsonl
"""

import json
import random
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from train_channel import Channel

from ftool.eval.scorer import Scorer
from ftool.example import Example, Message
from ftool.metrics import score_labels
from ftool.model.encode import make_encoder
from ftool.model.load import load_base_model
from ftool.recipe.schema import Model

DRAWS = 10_000


def examples_of(job: dict[str, Any]) -> list[Example]:
    """Return the rows as conversations."""
    return [
        Example(
            str(place),
            (Message("system", job["system"]), Message("user", text), Message("assistant", answer)),
            label=answer if job["labels"] else None,
        )
        for place, (text, answer) in enumerate(job["rows"])
    ]


def scored(job: dict[str, Any], mode: str) -> Iterator[list[Any]]:
    """Yield what the scorer found for each part of the rows: labels, or summed losses."""
    loaded = load_base_model(Model(base=job["model"]), dtype=torch.float32)
    encoder = make_encoder(loaded.tokenizer)
    scorer = Scorer(loaded.model, encoder, mode, tuple(job["labels"]))
    rows = examples_of(job)
    yield []
    for start, end in pairwise(job["parts"]):
        found = scorer.predict(rows[start:end])
        if mode == "loss":
            yield [-(row.loss or 0.0) * row.learned_tokens for row in found]
        else:
            yield [row.predicted for row in found]


def intervals(job: dict[str, Any], _: str) -> Iterator[list[Any]]:
    """Yield after computing every metric of labels with its interval."""
    dice, labels = random.Random(1), job["labels"]
    expected = [answer for _, answer in job["rows"]]
    predicted = [label if dice.random() < 0.9 else dice.choice(labels) for label in expected]
    yield []
    for _ in pairwise(job["parts"]):
        score_labels(expected, predicted, labels, draws=DRAWS)
        yield []


PROGRAMS = {"labels": (scored, "rank"), "loss": (scored, "loss"), "intervals": (intervals, "")}


def main() -> None:
    """Run one program on a folder, a part of the rows at a turn."""
    channel = Channel()
    name, folder = sys.argv[1], Path(sys.argv[2])
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    program, mode = PROGRAMS[name]
    parts = program(job, mode)
    next(parts)
    with (folder / "ours.jsonl").open("w", encoding="utf-8") as out:
        for start, end in pairwise(job["parts"]):
            channel.wait()
            started = time.perf_counter()
            found = next(parts)
            seconds = time.perf_counter() - started
            out.write(json.dumps(found) + "\n")
            out.flush()
            channel.report(seconds, examples=end - start)
    channel.wait()


if __name__ == "__main__":
    main()
