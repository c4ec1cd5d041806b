"""Invented documents with planted duplicates, and broken rows, the same every time."""

import csv
import itertools
import json
import random
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

SEED = 7
POOL = 12_000
"""Distinct sentences that documents are made of."""
FEWEST, MOST = 4, 13
"""Sentences of a document; it has about a hundred words."""
EXACT, NEAR = 0.10, 0.20
"""Below the first a document repeats an earlier one, below the second with an edit."""
WORDS_AN_EDIT = 60
EARLIER = 50_000
"""New documents among which a repeated one is chosen, so that any number of rows fits in memory."""

OPENERS = (
    *("Yesterday evening", "Since the update", "After the payment", "In the app", "On my phone"),
    *(
        "For two weeks",
        "Every single time",
        "Before my holiday",
        "At the counter",
        "Without asking",
    ),
    *("This morning again", "As a new customer", "With the blue one", "From the website", "Today"),
    *("During the trial", "Since last March", "When travelling abroad", "By pure chance", "Still"),
)
SUBJECTS = (
    *("the courier", "my order", "your colleague", "the second parcel", "a strange charge"),
    *("the voucher", "our account", "the replacement card", "that invoice", "the delivery window"),
    *("my subscription", "the return label", "a refund", "the booking", "the tracking page"),
    *("the password mail", "an old address", "the exchange rate", "the warranty", "the shop"),
    *("my sister", "the bank transfer", "the support chat", "one of the cups", "the manual"),
)
VERBS = (
    *("has not reached", "did not match", "never mentioned", "was sent to", "keeps repeating"),
    *("suddenly cancelled", "does not show", "should replace", "was meant for", "still blocks"),
    *("has twice delayed", "could not confirm", "simply ignored", "finally repaired", "lost"),
    *("wrongly changed", "is waiting for", "cost more than", "arrived before", "depends on"),
)
OBJECTS = (
    *("the promised date", "what I ordered", "my new flat", "the price shown", "a human being"),
    *("the monthly limit", "our shared login", "the first message", "any other size", "the gift"),
    *(
        "a working charger",
        "the city branch",
        "the final amount",
        "two spare parts",
        "the contract",
    ),
    *("everything else", "the original box", "the green model", "a clear answer", "the deadline"),
)
ENDINGS = (
    *(".", "?", " and nobody answers.", ", which is odd.", ", can you check?", " so far."),
    *(", as I wrote before.", " for no reason.", ", please help me.", " once more!", " I think."),
    *(", is that normal?", " according to you.", " despite three calls.", ", thanks anyway."),
)


def sentences(folder: Path | None) -> list[str]:
    """Return distinct sentences: those of banking77 in a folder, or invented ones.

    Raises:
        SystemExit: the folder holds no train.csv.
    """
    if folder is None:
        parts = list(itertools.product(OPENERS, SUBJECTS, VERBS, OBJECTS, ENDINGS))
        return [" ".join(part[:4]) + part[4] for part in random.Random(SEED).sample(parts, POOL)]
    files = [file for file in (folder / "train.csv", folder / "test.csv") if file.is_file()]
    if not files:
        raise SystemExit(f"--sentences: {folder} has no train.csv")
    found: dict[str, None] = {}
    for file in files:
        with file.open(encoding="utf-8", newline="") as lines:
            found.update(dict.fromkeys(row["text"].strip() for row in csv.DictReader(lines)))
    return [text for text in found if len(text.split()) >= 4]


def documents(rows: int, pool: Sequence[str], seed: int = SEED) -> Iterator[tuple[str, int]]:
    """Yield texts of about a hundred words, each with the place of the one it repeats, or -1."""
    dice = random.Random(seed)
    earlier: deque[tuple[str, int]] = deque(maxlen=EARLIER)
    for row in range(rows):
        luck = dice.random()
        if not earlier or luck >= NEAR:
            text = " ".join(dice.choices(pool, k=dice.randrange(FEWEST, MOST)))
            earlier.append((text, row))
            yield text, -1
            continue
        text, place = earlier[dice.randrange(len(earlier))]
        yield (text if luck < EXACT else _edited(text, pool, dice)), place


def _edited(text: str, pool: Sequence[str], dice: random.Random) -> str:
    words = text.split()
    for _ in range(max(1, len(words) // WORDS_AN_EDIT)):
        words[dice.randrange(len(words))] = dice.choice(pool).split()[0]
    return " ".join(words)


def write_documents(path: Path, rows: int, pool: Sequence[str]) -> None:
    """Write documents as JSON Lines of `id` and `text`, one after the other."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row, (text, _) in enumerate(documents(rows, pool)):
            file.write(json.dumps({"id": str(row), "text": text}, ensure_ascii=False) + "\n")


def _broken(row: int, text: str, dice: random.Random) -> bytes:
    """Return one line of JSON, most often a broken one."""
    good = json.dumps({"id": str(row), "text": text}).encode()
    deep = b"[" * 2000 + b"]" * 2000
    kinds = (
        good,
        good[: dice.randrange(1, len(good))],
        good.replace(b'"text"', b'"txet"'),
        good.replace(b" ", b"\x00", 3),
        good.replace(b" ", b"\xe9", 2),
        good.replace(b" ", b" \\ud800 ", 1),
        good.replace(b" ", b" \xed\xa0\x80 ", 1),
        b"\xef\xbb\xbf" + good,
        text.encode("utf-16"),
        b'{"text": null}',
        b'{"text": ""}',
        b'{"text": "  \\n "}',
        b'{"text": [1, {"a": null}]}',
        b'{"text": NaN}',
        b'{"text": "twice", "text": "twice"}',
        b'{"text": ' + deep + b"}",
        b'{"text": 1e999}',
        b'{"text": ' + b"9" * 5000 + b"}",
        b"[]",
        b"null",
        b'"only a string"',
        b"}{",
        good + good,
        good + b",",
        good + b"\r",
        bytes(dice.randrange(256) for _ in range(40)),
        b'{"text": "' + b"long " * 4000 + b'"}',
        b'{"messages": [{"role": "user"}]}',
        b'{"": ""}',
        b"{}",
    )
    return kinds[dice.randrange(len(kinds))]


def write_broken(path: Path, rows: int, pool: Sequence[str]) -> None:
    """Write rows of which most are damaged: cut, of other bytes, nested, empty, without a text."""
    dice = random.Random(SEED)
    with path.open("wb") as file:
        for row, (text, _) in enumerate(documents(rows, pool)):
            file.write(_broken(row, text, dice).replace(b"\n", b" ") + b"\n")
        file.write(
            b'{"text": "' + b"a line of more than ten million characters " * 250_000 + b'"}\n'
        )


def filled_lines(path: Path) -> set[int]:
    """Return the numbers of the lines that hold anything but white space; a CR alone ends one."""
    data = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    blank = b" \t\x0b\x0c\xef\xbb\xbf"
    return {place for place, line in enumerate(data.split(b"\n"), 1) if line.strip(blank)}
