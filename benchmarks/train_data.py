"""Conversations that the training programs learn, and the recipe that ftool learns them with."""

import csv
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from corpus import sentences
from ours import UNTOUCHED

from ftool.recipe.schema import Recipe

SEED = 17
BATCH = 16
LABELS, ROWS = 77, 10_003
"""As many as banking77 has."""
LEARNING_RATE = {"lora": 2e-4, "full": 2e-5}

INSTRUCTIONS = """\
You sort the messages that customers of an online bank write in its app. Read the message and \
decide what it is about: a card that has not come or does not work, a payment that was declined, \
doubled or is still pending, a transfer to another account, cash from a machine, a top-up, an \
exchange rate, a fee, the proof of who the customer is, or a change of personal details. Customers \
write in a hurry: they leave out words, misspell them or tell two stories at once. Go by what they \
need done now. Where two intents fit, choose the narrower one. Answer with the name of one intent \
in small letters, its words joined by underscores, and nothing else."""

INSTRUCTIONS_BEFORE_LABELS = """\
You sort the messages that customers of an online bank write in its app. Answer with the name of \
one of these intents and nothing else: """

Rows = list[list[dict[str, str]]]


def chat(system: str, question: str, answer: str) -> list[dict[str, str]]:
    """Return a conversation of three messages."""
    contents = {"system": system, "user": question, "assistant": answer}
    return [{"role": role, "content": content} for role, content in contents.items()]


def messages(folder: Path | None) -> list[tuple[str, str]]:
    """Return customers' messages with their labels: banking77's, or as many invented ones.

    Raises:
        SystemExit: the folder holds no train.csv with `text` and `category`.
    """
    dice = random.Random(SEED)
    if folder is None:
        texts = sentences(None)[:ROWS]
        names = sorted({"_".join(text.lower().split()[1:5]).strip(".,?!") for text in texts})
        labels = dice.sample(names, LABELS)
        return [(text, dice.choice(labels)) for text in texts]
    try:
        with (folder / "train.csv").open(encoding="utf-8", newline="") as lines:
            found = [(row["text"].strip(), row["category"]) for row in csv.DictReader(lines)]
    except (OSError, KeyError) as error:
        raise SystemExit(f"--data: {folder} needs train.csv with text and category") from error
    return dice.sample(found, len(found))


def _sorted_into_intents(found: Sequence[tuple[str, str]]) -> Rows:
    return [chat(INSTRUCTIONS, text, label) for text, label in found]


def _with_all_labels(found: Sequence[tuple[str, str]]) -> Rows:
    names = " ".join(sorted({label for _, label in found}))
    return [chat(INSTRUCTIONS_BEFORE_LABELS + names, text, label) for text, label in found]


def _answered(found: Sequence[tuple[str, str]]) -> Rows:
    """Return letters with answers of about 5 to 60 tokens; no two begin with the same words."""
    dice, pool = random.Random(SEED), sentences(None)
    rows: Rows = []
    for number in range(len(found)):
        letter = " ".join(dice.choices(pool, k=dice.randrange(1, 9)))
        answer = " ".join(" ".join(dice.choices(pool, k=4)).split()[: dice.randrange(4, 46)])
        rows.append(chat(f"{number:05d}"[::-1], letter, answer))
    return rows


DATA: dict[str, Callable[[Sequence[tuple[str, str]]], Rows]] = {
    "shared_150": _sorted_into_intents,
    "shared_450": _with_all_labels,
    "no_prefix": _answered,
    "full_150": _sorted_into_intents,
    "others": _sorted_into_intents,
    "rows": _sorted_into_intents,
    "encode": _sorted_into_intents,
}
"""Conversations of every case."""


def write_rows(path: Path, rows: Rows) -> None:
    """Write conversations as JSON Lines of `messages`."""
    lines = (json.dumps({"messages": row}, ensure_ascii=False) + "\n" for row in rows)
    path.write_text("".join(lines), encoding="utf-8")


def make_recipe(rows: Path, *, method: str, steps: int) -> Recipe:
    """Return the recipe that learns every row as it is, for some steps at one learning rate."""
    data: dict[str, Any] = {
        "sources": [{"path": str(rows), "split": "train"}],
        "label_names": "none",
        "dedup": {"exact": False, "near": None},
        "max_rejected_ratio": 0,
    }
    train: dict[str, Any] = {
        "method": {"kind": method},
        "max_steps": steps or None,
        "learning_rate": LEARNING_RATE[method],
        "schedule": "constant",
        "warmup_ratio": 0,
        "global_batch_size": BATCH,
        "max_grad_norm": 1.0,
        "weight_decay": 0.0,
        "checkpoint": {"every": "10000 steps"},
        "validate": None,
    }
    return Recipe.model_validate(
        {"name": "bench", "seed": SEED, "data": data | UNTOUCHED, "train": train}
    )
