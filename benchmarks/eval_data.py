"""What the evaluating programs are asked, and the tuned models that they ask."""

import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from corpus import SUBJECTS, VERBS, sentences
from ours import UNTOUCHED
from rivals import home
from train_data import INSTRUCTIONS_BEFORE_LABELS, LABELS, SEED, chat, messages, write_rows

from ftool.artifacts import MANIFEST, TrainingRun
from ftool.model.weights.adapter import save_merged
from ftool.prepare.run import prepare
from ftool.recipe.schema import Recipe
from ftool.train.run import train

SYSTEM = "Name the intent of the bank customer's question. Answer with the intent only."
TRAINED, QUEUED = 1500, 480
"""Rows that the two models learn; all others may be asked."""
EPOCHS = {"intents": 3, "queues": 2}
QUEUES = {
    "card_arrival": "card",
    "lost_or_stolen_card": "card lost",
    "pending_transfer": "transfer",
    "failed_transfer": "transfer failed",
    "exchange_rate": "rate",
    "card_payment_wrong_exchange_rate": "rate wrong",
    "cash_withdrawal_charge": "cash",
    "wrong_amount_of_cash_received": "cash wrong",
}
"""Intents of banking77 under names of which one begins another."""
LETTERS = 1000

Asked = dict[str, Any]
"""A case: `model`, `system`, `labels`, `rows` of text and answer, `ended`: labels end the turn."""


class Missing(Exception):
    """A case needs data that were not given; the text says which."""


def intents(folder: Path | None, model: Path | None, system: str, count: int) -> Asked:
    """Return messages of banking77, or invented ones, with 77 labels to choose from."""
    found = messages(folder) if folder else invented()
    labels = sorted({label for _, label in found})
    learned, asked = found[:TRAINED], found[TRAINED : TRAINED + count]
    if folder is not None and (folder / "test.csv").is_file():
        asked = messages_of(folder / "test.csv")[:count]
    if model is None:
        model = tuned("intents", [chat(SYSTEM, text, label) for text, label in learned])
    return asked_case(weights_of(model), system, labels, asked, ended=True)


def invented() -> list[tuple[str, str]]:
    """Return sentences named by their subject and verb, those of the 77 most frequent names."""
    found = []
    for text in sentences(None):
        subject = next(one for one in SUBJECTS if f" {one} " in text)
        verb = next(one for one in VERBS if f" {subject} {one} " in text)
        found.append((text, f"{subject} {verb}".replace(" ", "_")))
    names = dict(Counter(name for _, name in found).most_common(LABELS))
    return [(text, name) for text, name in found if name in names]


def with_short_system(folder: Path | None, model: Path | None, count: int) -> Asked:
    """Return the messages as the model learned them."""
    return intents(folder, model, SYSTEM, count)


def with_all_labels(folder: Path | None, model: Path | None, count: int) -> Asked:
    """Return the messages with all labels in the system message, about 450 tokens."""
    labels = sorted({label for _, label in (messages(folder) if folder else invented())})
    return intents(folder, model, INSTRUCTIONS_BEFORE_LABELS + " ".join(labels), count)


def queues(folder: Path | None, model: Path | None, count: int) -> Asked:
    """Return messages for eight queues of which four begin the others' names.

    Raises:
        Missing: no data were given; invented messages have no queue that could be learned.
    """
    del model
    if folder is None:
        raise Missing("needs --data")
    found = [(text, QUEUES[label]) for text, label in messages(folder) if label in QUEUES]
    learned, asked = found[:QUEUED], found[QUEUED : QUEUED + count]
    path = tuned("queues", [chat(SYSTEM, text, label) for text, label in learned])
    return asked_case(path, SYSTEM, sorted(QUEUES.values()), asked, ended=False)


def few_queues(folder: Path | None, model: Path | None, count: int) -> Asked:
    """Return messages for four queues whose names are single tokens."""
    made = queues(folder, model, 4 * count)
    names = [name for name in made["labels"] if " " not in name]
    rows = [row for row in made["rows"] if row[1] in names]
    return made | {"labels": names, "rows": rows[:count]}


def letters(folder: Path | None, model: Path | None, count: int) -> Asked:
    """Return letters with open answers of about 5 to 60 tokens, to compute the loss of."""
    dice, pool = random.Random(SEED), sentences(None)
    rows = [
        (
            " ".join(dice.choices(pool, k=dice.randrange(1, 9))),
            " ".join(" ".join(dice.choices(pool, k=4)).split()[: dice.randrange(4, 46)]),
        )
        for _ in range(count)
    ]
    path = intents(folder, model, SYSTEM, 1)["model"]
    return asked_case(path, SYSTEM, (), rows, ended=True)


def asked_case(
    model: Path | str,
    system: str,
    labels: Sequence[str],
    rows: Sequence[tuple[str, str]],
    *,
    ended: bool,
) -> Asked:
    """Return a case."""
    return {
        "model": str(model),
        "system": system,
        "labels": list(labels),
        "rows": [list(row) for row in rows],
        "ended": ended,
    }


def messages_of(file: Path) -> list[tuple[str, str]]:
    """Return the rows of test.csv of banking77, in a fixed random order."""
    import csv

    with file.open(encoding="utf-8", newline="") as lines:
        found = [(row["text"].strip(), row["category"]) for row in csv.DictReader(lines)]
    return random.Random(SEED).sample(found, len(found))


def weights_of(model: Path) -> Path:
    """Return a model's folder; a run is merged once and kept."""
    if not (model / MANIFEST).is_file():
        return model
    run = TrainingRun.open(model)
    merged = home() / f"eval-run-{run.manifest()['fingerprint'][:12]}"
    return _merged(run, merged) if not merged.is_dir() else merged


def _merged(run: TrainingRun, folder: Path) -> Path:
    partial = folder.with_name(f"{folder.name}-merging")
    save_merged(run, partial)
    return partial.rename(folder)


def tuned(name: str, rows: list[list[dict[str, str]]]) -> Path:
    """Return a model that ftool tuned on conversations, merged; it is trained once and kept."""
    stated = hashlib.sha256(json.dumps([name, EPOCHS[name], rows]).encode()).hexdigest()[:12]
    folder = home() / f"eval-{name}-{stated}"
    merged = folder / "merged"
    if merged.is_dir():
        return merged
    print(f"training {name} into {folder}", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / "rows.jsonl", rows)
    recipe = Recipe.model_validate(
        {
            "name": name,
            "seed": SEED,
            "data": {
                "sources": [{"path": str(folder / "rows.jsonl"), "split": "train"}],
                "label_names": "none",
                "dedup": {"exact": False, "near": None},
                "max_rejected_ratio": 0,
            }
            | UNTOUCHED,
            "train": {"epochs": EPOCHS[name], "learning_rate": 1e-3, "validate": None},
        }
    )
    prepare(recipe, output=folder / "data")
    return _merged(train(recipe, folder=folder), merged)


CASES: dict[str, Callable[[Path | None, Path | None, int], Asked]] = {
    "labels_77": with_short_system,
    "list_450": with_all_labels,
    "prefix_labels": queues,
    "few_labels": few_queues,
    "loss": letters,
    "full": with_short_system,
}
"""What the programs are asked in every case."""
