"""`ftool prepare` beside other programs for the same work: speed, quality, leaks, broken rows.

    python benchmarks/prepare.py [--quick] [--only CASE] [--json FILE] [--rows MILLIONS]
                                 [--rival NAME] [--sentences FOLDER] [--dialogues FILE]

Ours runs right before each rival, so that other load on the machine meets both. Rivals come from
PyPI into environments of their own, on first use; one that cannot run is listed with the reason.
"""

import argparse
import csv
import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import personal_data
from corpus import filled_lines, sentences, write_broken, write_documents
from ours import corpus_data, ftool
from processes import Peaks, Run, cores, measured, size_of
from rivals import CORPUS, READ_BROKEN, RIVALS, Unfit, finished, installed, run_rival
from similarity import judged, leaks
from support_tickets import documents, tickets

Results = dict[str, dict[str, dict[str, Any]]]
Options = argparse.Namespace

ROWS, QUICK_ROWS, LARGE_ROWS = 100_000, 20_000, 10_000_000
QUALITY_ROWS, FUZZ_ROWS, PRESIDIO_ROWS = 5_000, 10_000, 500
QUICK_SECONDS, SECONDS = 90, 3600
SHARE = 0.1
STARTS = 5
NOBODY = "nobody"
QUICK_PAIRS = ("convmerge",)
"""Rivals that also run on two processes in a quick run."""


def entry(ours: float, peer: float | None = None, reason: str = "") -> dict[str, Any]:
    """Return both figures and how many times ours the peer's is; or why there is none."""
    ratio = ours / peer if peer else None
    return {"ours": ours, "peer": peer, "ratio": ratio} | ({"reason": reason} if reason else {})


def core(options: Options) -> Results:
    """Read, find exact and near duplicates, verify, write: documents per processor second."""
    rows = QUICK_ROWS if options.quick else _rows(options, ROWS)
    results: Results = {"core, documents per processor second": {}}
    if len(cores()) > 1:
        results["core, documents per second on 2 processors"] = {}
    for workers, found in enumerate(results.values(), 1):
        for name in options.rival or RIVALS:
            if workers == 2 and options.quick and name not in QUICK_PAIRS:
                continue
            found[name] = _side_by_side(name, rows, workers, options)
    return results


def _rows(options: Options, usual: int) -> int:
    return usual if options.rows is None else round(options.rows * 1_000_000)


def _side_by_side(name: str, rows: int, workers: int, options: Options) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_documents(folder / CORPUS, rows, options.pool)
        ours = ftool(folder, corpus_data(), workers).run
        seconds = QUICK_SECONDS if options.quick else SECONDS
        try:
            peer, _ = run_rival(name, folder, workers=workers, timeout=seconds)
        except Unfit as why:
            return entry(rows / _seconds(ours, workers), reason=str(why))
    return entry(rows / _seconds(ours, workers), rows / _seconds(peer, workers))


def _seconds(run: Run, workers: int) -> float:
    return run.processor if workers == 1 else run.wall


def default(options: Options) -> Results:
    """Prepare texts with the default settings; no rival has all these steps."""
    rows = QUICK_ROWS if options.quick else ROWS
    data = {"kind": "text", "sources": [{"path": CORPUS}]}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_documents(folder / CORPUS, rows, options.pool)
        one = ftool(folder, data, 1).run
        found = {"default, documents per processor second": {NOBODY: entry(rows / one.processor)}}
        if len(cores()) > 1:
            two = ftool(folder, data, 2).run
            case = "default, documents per second on 2 processors"
            found[case] = {NOBODY: entry(rows / two.wall)}
    return found


def quality(options: Options) -> Results:
    """Judge the rows that are removed as duplicates by brute force."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_documents(folder / CORPUS, QUALITY_ROWS, options.pool)
        lines = (folder / CORPUS).read_text(encoding="utf-8").splitlines()
        texts = [json.loads(line)["text"] for line in lines]
        made = ftool(folder, corpus_data(), 1)
        ours = judged(texts, {record["line"] - 1 for record in made.rejected()})
        false: dict[str, dict[str, Any]] = {}
        recall: dict[str, dict[str, Any]] = {}
        for name in RIVALS:
            try:
                _, kept = run_rival(name, folder, workers=1, timeout=SECONDS)
            except Unfit as why:
                false[name] = entry(ours["false"], reason=str(why))
                recall[name] = entry(ours["recall"], reason=str(why))
                continue
            peer = judged(texts, set(range(len(texts))) - kept)
            false[name] = entry(ours["false"], peer["false"])
            recall[name] = entry(ours["recall"], peer["recall"])
    return {
        "quality, rows removed below 0.75 with every kept row": false,
        f"quality, share found of {ours['alike']} rows above 0.85": recall,
    }


def personal(options: Options) -> Results:
    """Search invented tickets for personal data, and time the search beside presidio's patterns."""
    labelled = tickets(personal_data.ROWS // (10 if options.quick else 1))
    scores = personal_data.scores(labelled)["all"]
    plain = documents(PRESIDIO_ROWS)
    ours = personal_data.speed(plain)
    try:
        found = personal_data.presidio(str(installed("presidio")), plain)
        speed = entry(ours, found["documents_per_second"])
    except (Unfit, OSError, ValueError, subprocess.CalledProcessError) as error:
        speed = entry(ours, reason=str(error)[:160])
    return {
        "personal_data, documents per second": {"presidio": speed},
        "personal_data, precision": {NOBODY: entry(scores["precision"])},
        "personal_data, recall": {NOBODY: entry(scores["recall"])},
    }


def splits(options: Options) -> Results:
    """Count rows of validation and test that nearly repeat a row of another split."""
    found: Results = {}
    for name, given, make in (
        ("banking77", options.sentences, _questions),
        ("taskmaster4", options.dialogues, _dialogues),
    ):
        if given is None:
            option = "--sentences" if make is _questions else "--dialogues"
            missing = {"ours": None, "peer": None, "ratio": None, "reason": f"needs {option}"}
            found[f"splits, leaks of {name}"] = {"random split": missing}
            continue
        with tempfile.TemporaryDirectory() as place:
            texts = make(given, Path(place))
            data = {"sources": [{"path": "rows.jsonl"}], "split": _shares()}
            ours = ftool(Path(place), data, 1).splits()
        by_ours = leaks([[_said(row) for row in ours[name]] for name in ours])
        by_luck = leaks(random_split(texts))
        found[f"splits, leaks of {name}"] = {"random split": entry(by_ours, by_luck)}
    return found


def _shares() -> dict[str, float]:
    return {"validation": SHARE, "test": SHARE}


def _said(row: dict[str, Any]) -> str:
    """Return what is compared of a row: the prompt where there is a label, else all of it."""
    messages = row["messages"]
    spoken = messages[:-1] if row.get("label") is not None else messages
    return "\n".join(message["content"] for message in spoken if message["role"] != "system")


def _questions(folder: Path, place: Path) -> list[str]:
    with (folder / "train.csv").open(encoding="utf-8", newline="") as file:
        rows = [{"text": row["text"], "label": row["category"]} for row in csv.DictReader(file)]
    _write_rows(place / "rows.jsonl", rows)
    return [row["text"] for row in rows]


def _dialogues(file: Path, place: Path) -> list[str]:
    """Write every turn of a customer with the answer to it as a conversation."""
    rows = []
    for dialogue in json.loads(file.read_text(encoding="utf-8")):
        for asked, answer in pairwise(dialogue["utterances"]):
            if (asked["speaker"], answer["speaker"]) == ("user", "assistant"):
                rows.append({"prompt": asked["text"], "completion": answer["text"]})
    _write_rows(place / "rows.jsonl", rows)
    return ["\n".join(row.values()) for row in rows]


def _write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def random_split(texts: list[str]) -> list[list[str]]:
    """Return texts as training programs divide them: shuffled and cut."""
    shuffled = random.Random(0).sample(texts, len(texts))
    size = round(len(texts) * SHARE)
    return [shuffled[2 * size :], shuffled[:size], shuffled[size : 2 * size]]


def fuzz(options: Options) -> Results:
    """Read broken rows, and count those of which nothing is told afterwards."""
    found: Results = {}
    tracebacks = 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        all_rows, mild = folder / "all.jsonl", folder / "mild.jsonl"
        write_broken(all_rows, FUZZ_ROWS, options.pool)
        lines = all_rows.read_bytes().split(b"\n")
        mild.write_bytes(b"".join(line + b"\n" for line in lines if _is_mild(line)))
        for file, what in ((all_rows, "broken rows"), (mild, "rows, all UTF-8, no non-objects")):
            rows = filled_lines(file)
            made = ftool(folder, corpus_data(file.name), 1)
            told = {record["line"] for record in made.rejected()}
            told |= {row["line"] for split in made.splits().values() for row in split}
            tracebacks += made.run.output.count("Traceback")
            peer = _lost_by_datatrove(folder, file, len(rows), len(rows - told))
            found[f"fuzz, lost of {len(rows):,} {what}"] = {"datatrove": peer}
    return found | {"fuzz, tracebacks": {NOBODY: entry(tracebacks)}}


def _is_mild(line: bytes) -> bool:
    """Return whether a line is UTF-8 and, where it is JSON at all, an object."""
    try:
        return isinstance(json.loads(line.decode("utf-8")), dict)
    except UnicodeDecodeError:
        return False
    except (ValueError, RecursionError):
        return True


def _lost_by_datatrove(folder: Path, file: Path, rows: int, ours: int) -> dict[str, Any]:
    (folder / file.stem).mkdir()
    (folder / file.stem / file.name).write_bytes(file.read_bytes())
    try:
        command = [str(installed("datatrove")), "-c", READ_BROKEN, file.stem]
        run = finished(command, folder, workers=1, timeout=SECONDS)
    except Unfit as why:
        return entry(ours, reason=str(why))
    told = json.loads(run.output.splitlines()[-1])
    return entry(ours, rows - told["read"], reason=told["ended"])


FIRST_ROW = """
from ftool.prepare.run import prepare
from ftool.prepare.read.sources import find_inputs
from ftool.prepare.read.units import divide
from ftool.recipe.file import load_recipe
recipe = load_recipe("bench.yaml")
found = find_inputs(recipe.folder, recipe.data.sources, print)
next(iter(next(divide(found, print)).read()))
"""


def start(options: Options) -> Results:
    """Start on 20 rows: the whole verb, and its imports until the first row is read."""
    texts = [text.replace('"', "") for text in options.pool[:20]]
    table = "text,label\n" + "".join(
        f'"{text}",{"ab"[place % 2]}\n' for place, text in enumerate(texts)
    )
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "rows.csv").write_text(table, encoding="utf-8")
        data = {"sources": [{"path": "rows.csv"}]}
        verb = [ftool(folder, data, 1).run for _ in range(STARTS)]
        first = [measured([sys.executable, "-c", FIRST_ROW], folder) for _ in range(STARTS)]
    if any(run.code for run in first):
        raise SystemExit(first[0].output)
    found: Results = {}
    for what, runs in (("whole verb", verb), ("until the first row", first)):
        wall = statistics.median(run.wall for run in runs)
        processor = statistics.median(run.processor for run in runs)
        found[f"start, {what}, seconds"] = {NOBODY: entry(wall)}
        found[f"start, {what}, processor seconds"] = {NOBODY: entry(processor)}
    return found


def large(options: Options) -> Results:
    """Prepare millions of rows with the default settings: seconds, memory, disk."""
    rows = _rows(options, LARGE_ROWS)
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        folder = Path(place)
        write_documents(folder / CORPUS, rows, options.pool)
        size = size_of(folder)
        peaks = Peaks(folder)
        data = {"kind": "text", "sources": [{"path": CORPUS}]}
        run = ftool(folder, data, min(2, len(cores()) or 2), on_start=peaks.watch).run
        peaks.stop()
    figures = {
        "million rows": rows / 1e6,
        "input, GB": size / 1e9,
        "seconds": run.wall,
        "processor seconds": run.processor,
        "largest process, GB": peaks.largest / 1e9,
        "all processes, GB": peaks.together / 1e9,
        "disk besides the input, GB": (peaks.disk - size) / 1e9,
    }
    return {f"large, {what}": {NOBODY: entry(value)} for what, value in figures.items()}


CASES: dict[str, Callable[[Options], Results]] = {
    "core": core,
    "default": default,
    "quality": quality,
    "personal_data": personal,
    "splits": splits,
    "fuzz": fuzz,
    "start": start,
    "large": large,
}


def show(results: Results) -> None:
    """Print one line for each figure and rival."""
    for case, by_rival in results.items():
        for name, found in by_rival.items():
            figures = "".join(f"{_figure(found[key]):>12}" for key in ("ours", "peer", "ratio"))
            print(f"{case:56} {name:13}{figures}  {found.get('reason', '')}".rstrip(), flush=True)


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3f}"


def main() -> None:
    """Run the cases and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="20,000 rows, under five minutes")
    parser.add_argument("--json", type=Path, help="write the figures to a file")
    parser.add_argument("--only", choices=CASES, help="run one case")
    parser.add_argument("--rows", type=float, help="millions of rows of `core` (0.1), `large` (10)")
    parser.add_argument("--rival", choices=RIVALS, action="append", help="only it, in `core`")
    parser.add_argument("--folder", type=Path, help="where `large` puts its files for a while")
    parser.add_argument("--sentences", type=Path, help="folder with train.csv of banking77")
    parser.add_argument("--dialogues", type=Path, help="file of dialogues of taskmaster4")
    options = parser.parse_args()
    options.pool = sentences(options.sentences)
    print(f"{'':56} {'rival':13}{'ours':>12}{'peer':>12}{'ratio':>12}")
    results: Results = {}
    for name, case in CASES.items():
        is_left_out = name == "large" and options.quick
        if options.only == name or (options.only is None and not is_left_out):
            found = case(options)
            show(found)
            results |= found
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
