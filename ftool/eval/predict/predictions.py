"""predictions.jsonl while it is made: a batch at a time, taken up again after an interruption."""

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ftool.artifacts import (
    OnNote,
    OnProgress,
    Prediction,
    fingerprint,
    ignore_note,
    ignore_progress,
    read_json,
    write_json,
    write_text,
)
from ftool.errors import RunError
from ftool.eval.predict.scorer import Scorer
from ftool.eval.report import METRICS_FILE
from ftool.example import Example


def predict_resumably(
    scorer: Scorer,
    examples: Sequence[Example],
    *,
    file: Path,
    inputs: Mapping[str, Any],
    after_seconds: float = 0.0,
    on_note: OnNote = ignore_note,
    on_progress: OnProgress = ignore_progress,
) -> list[Prediction]:
    """Make one prediction per example, in their order, and keep each batch as soon as it is made.

    A report beside the file goes as soon as it is no longer made of these predictions.
    What the file holds is used again where it was made of the same inputs, whole or not; else it
    is made anew.

    Args:
        scorer: the model.
        examples: with ids that are their own.
        file: predictions.jsonl; its inputs' fingerprint is kept beside it.
        inputs: everything that decides the predictions.
        after_seconds: what is made in less time is not kept.
        on_note: told how many are used again, and what slows the scorer down.
        on_progress: told how many there are.

    Raises:
        DataError: an example is longer than the model's context.
    """
    made_of = file.with_suffix(".inputs.json")
    stated = {"fingerprint": fingerprint(dict(inputs))}
    found = _read(file) if _is_stated(made_of, stated) else {}
    wanted = {example.id for example in examples}
    found = {key: prediction for key, prediction in found.items() if key in wanted}
    if found:
        on_note(f"{len(found)} of {len(examples)} predictions were there already")
    known = {place for place, example in enumerate(examples) if example.id in found}
    is_begun, started = False, time.monotonic()
    for batch in scorer.batches(examples, known=known, on_progress=on_progress, on_note=on_note):
        new = {examples[place].id: row for place, row in batch.items() if place not in known}
        is_long = time.monotonic() - started >= after_seconds
        if is_long and not is_begun and new:  # not before the model could answer one
            file.parent.mkdir(parents=True, exist_ok=True)
            file.with_name(METRICS_FILE).unlink(missing_ok=True)
            write_text(file, _lines(found.values()))
            write_json(made_of, stated)
            is_begun = True
        if is_begun:
            _append(file, new.values())
        found |= new
    return [found[example.id] for example in examples]


def _is_stated(path: Path, stated: Mapping[str, Any]) -> bool:
    try:
        return bool(read_json(path) == stated)
    except RunError:
        return False


def _read(file: Path) -> dict[str, Prediction]:
    """Read the whole lines of a file; a killed process may have left half of the last one."""
    found: dict[str, Prediction] = {}
    if not file.is_file():
        return found
    for line in file.read_bytes().splitlines():
        try:
            prediction = Prediction.from_dict(json.loads(line))
        except (ValueError, TypeError, AttributeError):
            break
        found[prediction.id] = prediction
    return found


def _lines(predictions: Iterable[Prediction]) -> str:
    """Return JSON Lines; a loss that is not finite is kept as it is, for its reader refuses it."""
    return "".join(json.dumps(row.as_dict(), ensure_ascii=False) + "\n" for row in predictions)


def _append(file: Path, predictions: Iterable[Prediction]) -> None:
    with file.open("a", encoding="utf-8") as out:
        out.write(_lines(predictions))
        out.flush()
        os.fsync(out.fileno())
