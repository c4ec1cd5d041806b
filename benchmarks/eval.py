"""`ftool eval`'s scorers beside lm-evaluation-harness: same model, same rows, same answers.

    python benchmarks/eval.py [--quick] [--only CASE] [--json FILE] [--data FOLDER_OF_BANKING77]

Every program runs in a process of its own. They take parts of the rows in turn on the same two
cores, so that other load on the machine meets both. The harness runs at its best batch size, on
the first of our rows. Models are tuned by ftool the first time, which takes some minutes, and kept.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from eval_data import CASES, Asked, Missing, asked_case
from rivals import OTHER_REQUIREMENTS, Unfit, installed
from train_turns import Program, Step, take_turns

from ftool.quiet import quiet_libraries

Options = argparse.Namespace
Entry = dict[str, Any]

PEER = "lm_eval"
OTHER_REQUIREMENTS["lm-eval"] = (
    *("lm-eval==0.4.13", "torch==2.13.0", "transformers==5.23.0"),
    *("accelerate==1.15.0", "datasets==5.2.0"),
)
PARTS: dict[str, tuple[Sequence[int], Sequence[int]]] = {
    "labels_77": ((2, 64, 64, 64), (2, 12, 12, 12)),
    "list_450": ((2, 64, 64), (1, 1, 1)),
    "prefix_labels": ((4, 64, 64, 64), (4, 48, 48, 48)),
    "few_labels": ((4, 40, 40, 40), (4, 40, 40, 40)),
    "loss": ((4, 332, 332, 332), (4, 100, 100, 100)),
    "intervals": ((3080, 0, 0), (3080, 0, 0)),
    "full": ((16, 3064), ()),
}
"""Rows of every turn, ours and the harness's; the first one warms up, and finds its batch size.

What a row takes the harness does not depend on their number."""
QUICK_PARTS = {"labels_77": ((2, 64, 64), (2, 8, 8))}
ALONE = ("full",)
"""Cases that would take the harness hours; run on demand."""
MARGIN = 1e-3
"""Nats between the two likeliest labels from which on the answers have to be equal."""
PROGRAM = {"loss": "loss", "intervals": "intervals"}


def compare(case: str, options: Options) -> Entry:
    """Let both programs answer the rows of a case in turn."""
    sizes, peer_sizes = QUICK_PARTS.get(case, PARTS[case]) if options.quick else PARTS[case]
    starts = list(accumulate(sizes, initial=0))
    job = _job(case, starts[-1], options) | {
        "parts": {
            "ours": [[at, at + size] for at, size in zip(starts, sizes, strict=False)],
            PEER: [[at, at + size] for at, size in zip(starts, peer_sizes, strict=False)],
        }
    }
    program = PROGRAM.get(case, "labels")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        ours, peer = _ours(program, folder), _peer(program, folder)
        take_turns([ours] if case in ALONE else [ours, peer], len(sizes))
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
    return Program(program, [sys.executable, str(file), program, str(folder)], folder)


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
    found = _read(folder / "ours.jsonl")
    right = sum(label == job["rows"][place][1] for place, label in found.items())
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
        "ratio": statistics.median(_cost(other) / _cost(one) for one, other in pairs),
        "peer_memory_gib": rates["ours_memory_gib"],
        "memory_ratio": ours.steps[-1].memory_gib / peer.steps[-1].memory_gib,
    }


def _cost(step: Step) -> float:
    return step.seconds / (step.examples or 1)


def _agreement(case: str, job: Asked, folder: Path) -> Entry:
    """Return how far the answers agree, and who finds labels that another one begins."""
    if case == "intervals":
        return {}
    ours, peer = _read(folder / "ours.jsonl"), _read(folder / "peer.jsonl")
    if case == "loss":
        apart = [abs(ours[place] - loss) / max(1.0, abs(loss)) for place, loss in peer.items()]
        return {"loss_difference": max(apart), "rows": len(apart)}
    if job["ended"]:
        return _equal(ours, peer)
    # The harness ranks what is not ended; the truth is then our own plain rows.
    take_turns([_ours("brute", folder)], 1)
    return _equal(ours, _read(folder / "brute.jsonl")) | _recalls(job, ours, peer)


def _equal(ours: dict[int, str], truth: dict[int, tuple[str, float]]) -> Entry:
    clear = [place for place, (_, margin) in truth.items() if margin > MARGIN]
    equal = sum(ours[place] == truth[place][0] for place in clear)
    return {"argmax_equal": equal / len(clear), "clear": len(clear), "rows": len(truth)}


def _recalls(job: Asked, ours: dict[int, str], peer: dict[int, tuple[str, float]]) -> Entry:
    """Return who finds labels that another label begins."""
    labels, answers = job["labels"], {place: job["rows"][place][1] for place in peer}
    extend = {one for one in labels for other in labels if one != other and one.startswith(other)}
    asked = [place for place, answer in answers.items() if answer in extend]
    if not asked:
        return {}
    found = sum(ours[place] == answers[place] for place in asked)
    by_peer = sum(peer[place][0] == answers[place] for place in asked)
    return {"recall": found / len(asked), "peer_recall": by_peer / len(asked)}


def _read(file: Path) -> dict[int, Any]:
    """Return what a program found, by the place of the row."""
    lines = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return {place: one for start, found in lines for place, one in enumerate(found, start)}


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


def chosen(options: Options) -> list[str]:
    """Return the cases that were asked for."""
    if options.only:
        return [options.only]
    return list(QUICK_PARTS) if options.quick else [case for case in PARTS if case not in ALONE]


def main() -> None:
    """Run the cases and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one case, under seven minutes")
    parser.add_argument("--only", choices=PARTS, help="run one case")
    parser.add_argument("--json", type=Path, help="write the figures to a file")
    parser.add_argument("--data", type=Path, help="folder with train.csv (test.csv) of banking77")
    parser.add_argument("--model", type=Path, help="a run or model tuned on the 77 intents")
    options = parser.parse_args()
    quiet_libraries()
    print(f"{'':15}" + "".join(f"{head:>11}" for head in SHOWN.values()), flush=True)
    results: dict[str, dict[str, Entry]] = {}
    for case in chosen(options):
        try:
            found = compare(case, options)
        except Missing as why:
            print(f"{case:15}{why}", flush=True)
            continue
        show(case, found)
        results[case] = {PEER: found}
        if options.json:
            options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
