"""`ftool prepare` as a program that the benchmarks run, and what it made."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet
from processes import Run, measured
from rivals import CORPUS

UNTOUCHED = {
    "clean": {
        "unicode": False,
        "html": "keep",
        "quoted_replies": "keep",
        "personal_data": "keep",
    },
    "filter": {"min_characters": 0, "repetition": None, "boilerplate": False, "refusals": False},
}
"""Settings under which rows are read, compared and written, and nothing else."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run of `ftool prepare` and what it made."""

    run: Run
    folder: Path

    def splits(self) -> dict[str, list[dict[str, Any]]]:
        """Return the rows of every split."""
        return {
            split: [row for file in self._files(split) for row in _rows(file)]
            for split in ("train", "validation", "test")
        }

    def rejected(self) -> list[dict[str, Any]]:
        """Return the records of the rows that were rejected."""
        file = self.folder / "rejected.jsonl"
        with file.open(encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]

    def _files(self, split: str) -> list[Path]:
        return sorted((self.folder / split).glob("*.parquet"))


def _rows(file: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(file).to_pylist()
    return rows


def ftool(folder: Path, data: dict[str, Any], workers: int, **limits: Any) -> Prepared:
    """Prepare data in a folder from nothing, on as many processors as processes.

    Raises:
        SystemExit: it failed.
    """
    recipe = {"name": "bench", "data": {"max_rejected_ratio": 1.0} | data}
    (folder / "bench.yaml").write_text(json.dumps(recipe), encoding="utf-8")
    command = [sys.executable, "-m", "ftool", "prepare", "--recipe", "bench.yaml", "--fresh"]
    run = measured(
        [*command, "--workers", str(workers)], folder, pinned=workers, timeout=36_000, **limits
    )
    if run.code:
        raise SystemExit(f"ftool prepare ended with {run.code}:\n{run.output}")
    return Prepared(run, folder / "data" / "bench")


def corpus_data(file: str = CORPUS, **more: Any) -> dict[str, Any]:
    """Return the recipe for texts that all go to train, with nothing done but the comparison."""
    return {"kind": "text", "sources": [{"path": file, "split": "train"}]} | UNTOUCHED | more
