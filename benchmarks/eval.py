"""`ftool eval`'s scorers beside lm-evaluation-harness: same model, same rows, same answers.

    python benchmarks/eval.py [--quick] [--only CASE] [--json FILE] [--data FOLDER_OF_BANKING77]

Every program runs in a process of its own. They take parts of the rows in turn on the same two
cores, so that other load on the machine meets both. The harness runs at its best batch size. The
models are tuned by ftool the first time, which takes some minutes, and kept.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval_data import CASES, Asked, Missing, asked_case
from rivals import OTHER_REQUIREMENTS, Unfit, installed
from train_turns import Program, take_turns

Options = argparse.Namespace
Entry = dict[str, Any]

PEER = "lm_eval"
OTHER_REQUIREMENTS["lm-eval"] = (
    *("lm-eval==0.4.13", "torch==2.13.0", "transformers==5.23.0"),
    *("accelerate==1.15.0", "datasets==5.2.0"),
)
PARTS = {
    "labels_77": (2, 16, 16, 16, 16),
    "list_450": (1, 4, 4, 4),
    "prefix_labels": (4, 64, 64, 64),
    "few_labels": (4, 64, 64, 64),
    "loss": (4, 100, 100, 100),
    "intervals": (3080, 0, 0),
    "full": (16, 3064),
}
"""Rows of every turn; the first one warms up, and finds the harness's batch size."""
QUICK_PARTS = {"labels_77": (1, 8, 8, 8)}
ALONE = ("full",)
"""Cases that would take the harness hours."""
PROGRAM = {"loss": "loss", "intervals": "intervals"}


def compare(case: str, parts: Sequence[int], options: Options) -> Entry:
    """Let both programs answer the rows of a case in turn."""
    job = _job(case, sum(parts), options)
    job["parts"] = [sum(parts[:count]) for count in range(len(parts) + 1)]
    program = PROGRAM.get(case, "labels")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        ours, peer = _ours(program, folder), _peer(program, folder)
        take_turns([ours] if case in ALONE else [ours, peer], len(parts))
        if ours.unfit:
            raise SystemExit(f"{case}: ftool {ours.unfit}")
        if case in ALONE:
            return _alone(ours, job, folder)
        if peer.unfit:
            return _rates(ours) | {"reason": peer.unfit}
        return _beside(ours, peer) | _agreement(case, job, folder)


def _job(case: str, rows: int, options: Options) -> Asked:
    if case == "intervals":
        labels = [f"label {number}" for number in range(77)]
        asked = [("", labels[number % 77]) for number in range(rows)]
        return asked_case("", "", labels, asked, ended=True)
    return CASES[case](options.data, options.model, rows)


def _ours(program: str, folder: Path) -> Program:
    file = Path(__file__).with_name("eval_ours.py")
    return Program("ours", [sys.executable, str(file), program, str(folder)], folder)


def _peer(program: str, folder: Path) -> Program:
    file = Path(__file__).with_name("eval_peer.py")
    try:
        python = installed("lm-eval")
    except Unfit as why:
        return Program(PEER, [], folder, unfit=str(why))
    return Program(PEER, [str(python), str(file), program, str(folder)], folder)


def _rates(ours: Program) -> Entry:
    """Return rows per second of the timed turns; of intervals, seconds."""
    timed = ours.steps[1:]
    seconds, rows = sum(step.seconds for step in timed), sum(step.examples for step in timed)
    return {
        "ours": rows / seconds if rows else seconds / len(timed),
        "peer": None,
        "ratio": None,
        "argmax_equal": None,
        "ours_memory_gib": ours.steps[-1].memory_gib,
    }


def _alone(ours: Program, job: Asked, folder: Path) -> Entry:
    seconds = sum(step.seconds for step in ours.steps)
    found = [one for part in _read(folder / "ours.jsonl") for one in part]
    right = sum(one == answer for one, (_, answer) in zip(found, job["rows"], strict=False))
    return _rates(ours) | {
        "seconds": seconds,
        "rows": len(found),
        "accuracy": right / len(found),
        "reason": "alone: the harness would take hours",
    }


def _beside(ours: Program, peer: Program) -> Entry:
    pairs = list(zip(ours.steps, peer.steps, strict=True))[1:]
    rates = _rates(peer)
    return _rates(ours) | {
        "peer": rates["ours"],
        "ratio": statistics.median(other.seconds / one.seconds for one, other in pairs),
        "peer_memory_gib": rates["ours_memory_gib"],
        "memory_ratio": ours.steps[-1].memory_gib / peer.steps[-1].memory_gib,
    }


def _agreement(case: str, job: Asked, folder: Path) -> Entry:
    """Return how far the answers agree, and who finds labels that another one begins."""
    if case == "intervals":
        return {}
    found = [
        [one for part in _read(folder / name) for one in part]
        for name in ("ours.jsonl", "peer.jsonl")
    ]
    pairs = list(zip(*found, strict=True))
    if case == "loss":
        apart = max(abs(one - other) / max(1.0, abs(other)) for one, other in pairs)
        return {"argmax_equal": None, "loss_difference": apart}
    equal = {"argmax_equal": sum(one == other for one, other in pairs) / len(pairs)}
    long = [
        place
        for place, (_, answer) in enumerate(job["rows"][: len(pairs)])
        if any(answer != other and answer.startswith(other) for other in job["labels"])
    ]
    if not long:
        return equal
    recalls = [
        sum(one[place] == job["rows"][place][1] for place in long) / len(long) for one in found
    ]
    return equal | {"recall": recalls[0], "peer_recall": recalls[1]}


def _read(file: Path) -> list[list[Any]]:
    lines = file.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def show(case: str, found: Entry) -> None:
    """Print one line."""
    figures = "".join(f"{_figure(found.get(key)):>11}" for key in SHOWN)
    print(f"{case:15}{figures}  {found.get('reason', '')}".rstrip(), flush=True)


SHOWN = {
    "ours": "ours/s",
    "peer": "lm-eval/s",
    "ratio": "ratio",
    "argmax_equal": "same",
    "loss_difference": "loss diff",
    "recall": "recall",
    "peer_recall": "lm-eval's",
    "ours_memory_gib": "GiB",
    "peer_memory_gib": "lm-eval's",
    "seconds": "seconds",
}
"""Figures and their heads; recall is of labels that another one begins."""


def _figure(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.1e}" if 0 < value < 1e-3 else f"{value:.3f}" if value < 10 else f"{value:.1f}"


def chosen(options: Options) -> dict[str, Sequence[int]]:
    """Return the cases that were asked for, with the rows of their turns."""
    if options.only:
        parts = QUICK_PARTS if options.quick else PARTS
        return {options.only: parts.get(options.only, PARTS[options.only])}
    return dict(QUICK_PARTS if options.quick else PARTS)


def main() -> None:
    """Run the cases and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one case, under seven minutes")
    parser.add_argument("--only", choices=PARTS, help="run one case")
    parser.add_argument("--json", type=Path, help="write the figures to a file")
    parser.add_argument("--data", type=Path, help="folder with train.csv (test.csv) of banking77")
    parser.add_argument("--model", type=Path, help="a merged model tuned on the 77 intents")
    options = parser.parse_args()
    print(f"{'':15}" + "".join(f"{head:>11}" for head in SHOWN.values()), flush=True)
    results: dict[str, dict[str, Entry]] = {}
    for case, parts in chosen(options).items():
        try:
            found = compare(case, parts, options)
        except Missing as why:
            print(f"{case:15}{why}", flush=True)
            continue
        show(case, found)
        results[case] = {PEER: found}
        if options.json:
            options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
