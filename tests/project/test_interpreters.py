import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

PYTHONS = "FTOOL_PYTHONS"
"""Interpreters that can import what `prepare` needs, and need no more than that."""

PROGRAM = """
import hashlib, json, sys
from pathlib import Path
from prepare_files import recipe_for
from ftool.prepare.read import units
from ftool.prepare.run import prepare

folder, output, workers = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
units.UNIT_BYTES, units.UNIT_ROWS = 3_000, 40
found = {}
for name, data in json.loads(sys.argv[4]).items():
    sources = data.pop("sources")
    made = prepare(recipe_for(folder, *sources, name=name, **data), output=output, workers=workers)
    for file in sorted(made.path.rglob("*")):
        if file.is_file():
            shown = file.relative_to(output).as_posix()
            found[shown] = hashlib.sha256(file.read_bytes()).hexdigest()
heavy = sorted({"torch", "transformers", "peft", "datasets", "pandas"} & set(sys.modules))
print(json.dumps({"files": found, "heavy": heavy}))
"""

DATA: dict[str, dict[str, Any]] = {
    "chats": {
        "sources": [
            {"path": "tickets.csv", "columns": {"prompt": "message", "label": "team"}},
            *("chats.jsonl", "pairs.json", "table.parquet"),
            {"path": "latin.csv", "split": "test"},
        ],
        "decontaminate": ["eval.txt"],
        "keep_columns": ["day"],
        "max_rejected_ratio": 0.9,
    },
    "texts": {
        "sources": ["*.txt", "notes.md"],
        "kind": "text",
        "filter": {"quality": ["gopher", "c4"], "min_characters": 1},
        "max_rejected_ratio": 0.9,
        "split": {"validation": 0.2, "test": 0.2},
    },
}


def write_mixed_data(folder: Path) -> None:
    """Write rows of every shape: good, repeated, nearly repeated, private and broken ones."""
    random = Random(11)
    words = [
        "card",
        "pin",
        "app",
        "Straße",
        "café",
        "東京",
        "naïve",
        "😀",
        "İstanbul",
        "ﬁne",
        "don't",
    ]

    def text(count: int = 14) -> str:
        return " ".join(random.choices(words, k=count))

    repeated = [text(30) for _ in range(5)]
    odd = ["<p>Hello&nbsp;<b>you</b></p>", "cafÃ© mis-decoded", "mail me: jo@example.org, 555-0100"]
    tickets = ["message,team,day"]
    for number in range(120):
        body = random.choice([text(), random.choice(repeated) + f" {number % 3}", *odd])
        tickets.append(f'"{body}",{random.choice(["Billing", "billing", "Cards"])},{number}')
    tickets += ['"open quote,Cards,1', 'a"b,c,"d"e', "x,y", "", "zero\0byte,Cards,2"]
    (folder / "tickets.csv").write_text("\n".join(tickets), encoding="utf-8")
    lines = [_chat(text(), text()) for _ in range(100)]
    lines += ['{"messages": 1}', "[" * 90, '{"a": NaN}', '{"messages": "[{]"}', "{" * 500, "null"]
    lines += ['{"messages": [], "messages": []}', '{"messages": "\\ud800"}', "1" * 5_000]
    (folder / "chats.jsonl").write_text("\r\n".join(lines), encoding="utf-8")
    pairs = [{"question": text(), "answer": text(), "day": n / 3} for n in range(40)]
    (folder / "pairs.json").write_text(json.dumps({"rows": pairs}, indent=1), encoding="utf-8")
    days = [date(2025, 1, 1 + n) for n in range(20)]
    table = pyarrow.table(
        {"prompt": [text() for _ in days], "completion": odd[:1] * 20, "day": days}
    )
    parquet.write_table(table, folder / "table.parquet")
    latin = "text,label\n" + "".join(
        f"Où est passée ma carte numéro {n} ?,Cards\n" for n in range(9)
    )
    (folder / "latin.csv").write_bytes(latin.encode("cp1252"))
    (folder / "eval.txt").write_text(repeated[0], encoding="utf-8")
    for number in range(16):
        body = [f"The {_word(random)} and {_word(random)} of {text(4)} {_word(random)}."] * (
            number // 4
        )
        body += [" ".join(_word(random) for _ in range(11)) + " that be with." for _ in range(9)]
        (folder / f"{number}.txt").write_text("\n".join(body), encoding="utf-8")
    (folder / "notes.md").write_text(f"# {text()}\n\n{text(60)}.\n", encoding="utf-8")


def _word(random: Random) -> str:
    return "".join(random.choices("abcdefghijklmnoprstuvwy", k=random.randint(2, 9)))


def _chat(asked: str, answer: str) -> str:
    messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": messages}, ensure_ascii=False)


def prepared_by(python: str, folder: Path, *, workers: int, seed: str) -> dict[str, Any]:
    """Prepare the data with an interpreter; return the hashes of all that it wrote."""
    tests = Path(__file__).parents[1]
    name = f"{Path(python).parts[-3]}-{workers}-{seed}"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, [folder / "named", tests.parent, tests])),
        "PYTHONHASHSEED": seed,
    }
    done = subprocess.run(
        [
            python,
            "-c",
            PROGRAM,
            str(folder),
            str(folder / "out" / name),
            str(workers),
            json.dumps(DATA),
        ],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(
    not os.environ.get(PYTHONS), reason=f"{PYTHONS} names no interpreters to compare"
)
def test_every_interpreter_prepares_the_same_bytes(tmp_path: Path) -> None:
    write_mixed_data(tmp_path)
    # The version in a manifest is that of the installed package: one for all.
    metadata = tmp_path / "named/ftool-9.dist-info/METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("Metadata-Version: 2.1\nName: ftool\nVersion: 9\n", encoding="utf-8")
    expected = prepared_by(sys.executable, tmp_path, workers=1, seed="0")
    assert {"chats/train/data-00000.parquet", "texts/report.html"} < set(expected["files"])
    for place, python in enumerate(os.environ[PYTHONS].split(os.pathsep)):
        found = prepared_by(python, tmp_path, workers=1 + place % 2, seed=str(place + 1))
        assert found["files"] == expected["files"], python
        assert found["heavy"] == [], python
