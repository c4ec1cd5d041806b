"""ftool's scorer as a program that is stepped from outside.

python eval_ours.py labels|loss|intervals|brute FOLDER    # reads job.json

Writes ours.jsonl; brute.jsonl holds the likeliest labels of plain rows, with their lead in nats.
"""

import json
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from train_channel import Channel

from ftool.eval.predict.scorer import Scorer
from ftool.example import Example, Message
from ftool.metrics import score_labels
from ftool.model.answers.label_scores import scores_in_full
from ftool.model.tokens.encode import make_encoder
from ftool.model.weights.load import load_base_model
from ftool.recipe.blocks.model import Model

DRAWS = 10_000
BRUTE_ROWS = 64


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
    scorer = _scorer(job, mode)
    rows = examples_of(job)
    yield []
    for start, end in job["parts"]["ours"]:
        found = scorer.predict(rows[start:end])
        if mode == "loss":
            yield [-(row.loss or 0.0) * row.learned_tokens for row in found]
        else:
            yield [row.predicted for row in found]


def brute(job: dict[str, Any], mode: str) -> Iterator[list[Any]]:
    """Yield the likeliest label of the first rows, each label run behind each whole prompt."""
    scorer, rows = _scorer(job, mode), examples_of(job)[:BRUTE_ROWS]
    names = scorer.label_names
    labels = [scorer.encoder.completion(rows[0], name) for name in names]
    yield []
    found = []
    for row in rows:
        scores = scores_in_full(scorer.model, scorer.encoder.prompt(row), labels)
        (second, _), (first, best) = sorted((s, k) for k, (s, _) in enumerate(scores))[-2:]
        found.append((names[best], first - second))
    yield found


def _scorer(job: dict[str, Any], mode: str) -> Scorer:
    loaded = load_base_model(Model(base=job["model"]), dtype=torch.float32)
    return Scorer(loaded.model, make_encoder(loaded.tokenizer), mode, tuple(job["labels"]))


def intervals(job: dict[str, Any], _: str) -> Iterator[list[Any]]:
    """Yield after computing every metric of labels with its interval."""
    dice, labels = random.Random(1), job["labels"]
    expected = [answer for _, answer in job["rows"]]
    predicted = [label if dice.random() < 0.9 else dice.choice(labels) for label in expected]
    yield []
    for _ in job["parts"]["ours"]:
        score_labels(expected, predicted, labels, draws=DRAWS)
        yield []


PROGRAMS = {
    "labels": (scored, "rank"),
    "brute": (brute, "rank"),
    "loss": (scored, "loss"),
    "intervals": (intervals, ""),
}


def main() -> None:
    """Run one program on a folder, a part of the rows at a turn."""
    channel = Channel()
    name, folder = sys.argv[1], Path(sys.argv[2])
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    program, mode = PROGRAMS[name]
    turns = [[0, len(job["rows"])]] if name == "brute" else job["parts"]["ours"]
    found_parts = program(job, mode)
    next(found_parts)
    out = folder / ("brute.jsonl" if name == "brute" else "ours.jsonl")
    with out.open("w", encoding="utf-8") as lines:
        for start, end in turns:
            channel.wait()
            started = time.perf_counter()
            found = next(found_parts)
            seconds = time.perf_counter() - started
            lines.write(json.dumps([start, found]) + "\n")
            lines.flush()
            channel.report(seconds, examples=end - start)
    channel.wait()


if __name__ == "__main__":
    main()
