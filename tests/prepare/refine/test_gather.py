import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from multiprocessing import active_children
from pathlib import Path
from random import Random
from typing import Any

import pytest
from prepare_files import recipe_for

from ftool.artifacts import PreparedDataset, ignore_note
from ftool.errors import RunError
from ftool.prepare.read import units
from ftool.prepare.read.rows import Finding, Row
from ftool.prepare.read.sources import find_inputs
from ftool.prepare.read.units import Unit, divide
from ftool.prepare.refine import gather as gathering
from ftool.prepare.refine.gather import Refined, Refining, gather, processors, shard_path
from ftool.prepare.refine.minhash import shape
from ftool.prepare.refine.shard import Shard
from ftool.prepare.run import prepare
from ftool.prepare.write.folder import outputs_of
from ftool.prepare.write.report import write_report
from ftool.recipe.schema import Recipe

UNIT_BYTES = 1_500
SOURCES = ("a.jsonl", "b.csv", "a.jsonl", {"path": "c.jsonl", "split": "test"})


def write_sources(folder: Path) -> None:
    """Write some hundred rows, good, repeated and broken ones, of several units."""
    random = Random(3)
    words = [f"word{number}" for number in range(300)]

    def line(number: int) -> str:
        text = " ".join(random.choices(words, k=12)) + random.choice(["", " mail@example.org"])
        row = json.dumps({"text": text, "label": "ab"[number % 2]})
        return row[: random.randrange(40)] if number % 13 == 5 else row

    lines = [line(number) for number in range(70)]
    lines += random.choices(lines, k=6)
    (folder / "a.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = [f"csv {' '.join(random.choices(words, k=9))},{'ab'[n % 2]}" for n in range(40)]
    (folder / "b.csv").write_text("\n".join(["text,label", *rows, ",a", '"x']), encoding="utf-8")
    (folder / "c.jsonl").write_text("\n".join(line(n) for n in range(1, 16)), encoding="utf-8")


def many_units(folder: Path, **data: Any) -> Recipe:
    return recipe_for(folder, *SOURCES, **{"max_rejected_ratio": 0.9, **data})


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(units, "UNIT_BYTES", UNIT_BYTES)
    monkeypatch.setattr(units, "UNIT_ROWS", 25)
    write_sources(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the pictures of the report, which take most of the time of a small preparation."""
    monkeypatch.setattr("ftool.prepare.run.write_report", lambda _, path: path.write_text("report"))


@pytest.fixture
def worked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return count_work(monkeypatch)


def count_work(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the numbers of the units that are worked on in this process from now on."""
    numbers: list[int] = []
    work = gathering.gather_unit

    def counted(unit: Unit, folder: Path, refining: Refining) -> Path:
        numbers.append(unit.number)
        return work(unit, folder, refining)

    monkeypatch.setattr(gathering, "gather_unit", counted)
    return numbers


def refine(values: dict[str, Any] | None, held_out: bool = False, **data: Any) -> Any:
    recipe = recipe_for(Path(), "a.csv", **data)
    reader = gathering.Reader("a.csv", "", recipe.data.sources[0], recipe.data)
    row = Row(2, "raw", values, reason="" if values else "broken_json")
    return Refining(recipe.data, lambda _: 7).refine(row, reader, held_out=held_out)


GOOD = {"text": "write to jo@example.org", "label": "a"}


def test_a_row_becomes_an_example_or_a_finding() -> None:
    found = refine(GOOD)
    assert isinstance(found, Refined)
    assert found.example.prompt[-1].content == "write to [EMAIL_1]"
    assert sum(found.personal_data.values()) == 1 and found.tokens == 0
    assert refine(None) == Finding("broken_json")
    assert refine({"text": "q", "label": ""}).reason == "missing_label"
    assert refine({"text": "", "label": "a"}).reason == "empty_prompt"


def test_held_out_rows_stay_where_a_rule_is_about_their_quality() -> None:
    for data, reason in (
        ({"clean": {"personal_data": "drop"}}, "personal_data"),
        ({"filter": {"max_tokens": 5}}, "too_many_tokens"),
        ({"filter": {"max_characters": 5}}, "too_long"),
    ):
        assert refine(GOOD, **data).reason == reason
        assert isinstance(refine(GOOD, held_out=True, **data), Refined)
    finding = refine(GOOD, filter={"max_tokens": 5})
    assert (finding.detail, finding.value, finding.threshold) == ("7 tokens", 7, 5)
    assert refine(GOOD, filter={"max_tokens": 7}).tokens == 7


def gathered(folder: Path, output: Path, *, workers: int) -> tuple[list[Shard], list[Shard]]:
    recipe = many_units(folder)
    told: list[Shard] = []
    found = divide(find_inputs(folder, recipe.data.sources, ignore_note), ignore_note)
    refining = Refining(recipe.data)
    shards = gather(found, output, refining, workers=workers, on_shard=told.append)
    return shards, told


def test_shards_come_in_the_order_of_the_units(sources: Path, worked: list[int]) -> None:
    shards, told = gathered(sources, sources / "work", workers=1)
    assert len(shards) > 10
    paths = [shard.path for shard in shards]
    assert paths == [shard_path(sources / "work", number) for number in range(len(shards))]
    assert told == shards and worked == list(range(len(shards)))
    origins = [shard.about["origin"] for shard in shards]
    assert origins == sorted(origins) and set(origins) == {0, 1, 2, 3}
    assert {shard.about["suffix"] for shard in shards if shard.about["origin"] == 2} == {"#2"}
    assert sum(shard.about["rows"] for shard in shards) == 76 * 2 + 42 + 15


def test_finished_shards_are_told_and_not_done_again(sources: Path, worked: list[int]) -> None:
    shards, _ = gathered(sources, sources / "work", workers=1)
    for number in (0, 4):
        shutil.rmtree(shards[number].path)
    worked.clear()
    again, told = gathered(sources, sources / "work", workers=1)
    assert worked == [0, 4]
    assert again == shards and told == shards


@pytest.mark.parametrize("helps", [True, False])
def test_this_process_works_where_it_helps(monkeypatch: pytest.MonkeyPatch, helps: bool) -> None:
    monkeypatch.setattr(gathering, "WAITING", 1)
    monkeypatch.setattr(gathering.Shard, "open", lambda found: found)
    processes: list[Any] = []
    units: Iterator[Any] = iter(["__import__('os').getpid()"] * 8)
    gathering._on_processes(units, eval, 1, processes.append, helps=helps)
    assert len(processes) == 8
    assert (os.getpid() in processes) == helps and len(set(processes)) == 1 + helps


def test_one_and_several_processes_give_the_same_bytes(
    sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftool.prepare.run.write_report", write_report)
    made = [
        prepare(many_units(sources), output=sources / str(workers), workers=workers)
        for workers in (1, 2)
    ]
    one, two = (outputs_of(dataset.path) for dataset in made)
    assert one == two
    assert {"manifest.json", "rejected.jsonl", "report.html", "README.md"} < set(one)
    assert {"empty_prompt", "broken_json", "exact_duplicate"} < set(made[0].rejected)


def test_the_size_of_units_decides_nothing(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [outputs_of(prepare(many_units(sources), output=sources / "small").path)]
    monkeypatch.setattr(units, "UNIT_BYTES", 2**20)
    monkeypatch.setattr(units, "UNIT_ROWS", 1_000)
    made.append(outputs_of(prepare(many_units(sources), output=sources / "large").path))
    assert made[0] == made[1]


def test_a_process_that_is_ended_is_told() -> None:
    statuses: Iterator[Any] = iter([1, 1])
    with pytest.raises(RunError, match="one of 2 processes was ended") as caught:
        gathering._on_processes(statuses, os._exit, 1, lambda _: None, helps=True)  # type: ignore[arg-type]
    assert "--workers 1" in caught.value.hint


@pytest.mark.parametrize("number", gathering.ENDING)
def test_no_signal_comes_between_while_processes_start(number: signal.Signals) -> None:
    came: list[int] = []
    before = signal.signal(number, lambda number, _: came.append(number))
    try:
        with gathering._signals_held():
            signal.raise_signal(number)
            assert came == []
        assert came == [number]
    finally:
        signal.signal(number, before)


def test_what_a_broken_call_had_done_is_taken_up(
    sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = outputs_of(prepare(many_units(sources), output=sources / "whole").path)

    def kill_one(stage: str, done: int, total: int | None) -> None:
        for child in active_children():
            child.kill()

    with pytest.raises(RunError, match="one of 2 processes was ended"):
        prepare(many_units(sources), output=sources / "data", workers=2, on_progress=kill_one)
    assert not (sources / "data/desk").exists()
    finished = finished_units(sources / "data/.desk.work")
    assert finished
    worked = count_work(monkeypatch)
    made = prepare(many_units(sources), output=sources / "data", workers=1)
    assert outputs_of(made.path) == expected
    assert not set(worked) & {number for number, _ in finished}
    assert finished < finished_units(sources / "data/.desk.work")


def finished_units(work: Path) -> set[tuple[int, int]]:
    """Return number and inode of every finished shard."""
    found = (path for path in work.glob("unit-*") if not path.name.endswith(".partial"))
    return {(int(path.name.removeprefix("unit-")), path.stat().st_ino) for path in found}


PROGRAM = """
import json, sys
from pathlib import Path
from prepare_files import recipe_for
from ftool.prepare.read import units
from ftool.prepare.run import prepare

folder, workers, units.UNIT_BYTES, units.UNIT_ROWS = Path(sys.argv[1]), *map(int, sys.argv[2:5])
prepare(
    recipe_for(folder, *json.loads(sys.argv[5]), max_rejected_ratio=0.9),
    output=folder / "data",
    workers=workers,
    on_progress=lambda *told: print(*told, flush=True),
)
"""


def kill_after(lines: int, folder: Path, *, workers: int) -> None:
    """Prepare in a process of its own, which is killed when it has told that many lines."""
    arguments = [str(folder), str(workers), str(UNIT_BYTES), "25", json.dumps(SOURCES)]
    tests = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}"},
    ) as process:
        assert process.stdout is not None
        for _ in range(lines):
            assert process.stdout.readline(), "it ended by itself"
        process.kill()


def test_killed_anywhere_and_run_again_gives_the_same_bytes(
    sources: Path, worked: list[int]
) -> None:
    whole = prepare(many_units(sources), output=sources / "whole", workers=1)
    expected, every = outputs_of(whole.path), set(worked)
    moments = [1, len(every) + 2, *Random(7).sample(range(2, 2 * len(every)), 4)]
    for trial, lines in enumerate(moments):
        shutil.rmtree(sources / "data", ignore_errors=True)
        kill_after(lines, sources, workers=1 + trial % 2)
        before = finished_units(sources / "data/.desk.work")
        assert len(before) >= min(lines, len(every))
        worked.clear()
        made = prepare(many_units(sources), output=sources / "data", workers=1)
        assert outputs_of(made.path) == expected
        assert before <= finished_units(sources / "data/.desk.work")
        assert set(worked) == every - {number for number, _ in before}
        left = sorted(path.name for path in (sources / "data").iterdir())
        assert left == [".desk.lock", ".desk.work", "desk"]


def change(folder: Path, worked: list[int], **data: Any) -> tuple[PreparedDataset, list[int]]:
    worked.clear()
    made = prepare(many_units(folder, **data), output=folder / "data", workers=1)
    return made, list(worked)


@pytest.mark.parametrize(
    "data",
    [
        {"dedup": {"near": 0.85}},
        {"split": {"test": 0.3, "stratify": None}},
        {"dedup": {"exact": False}, "max_rejected_ratio": 0.8, "decontaminate": ["c.jsonl"]},
    ],
)
def test_a_setting_that_no_shard_depends_on_uses_them_again(
    sources: Path, worked: list[int], data: dict[str, Any]
) -> None:
    assert shape(0.85) == shape(0.8)
    prepare(many_units(sources), output=sources / "data", workers=1)
    made, done = change(sources, worked, **data)
    assert done == []
    fresh = prepare(many_units(sources, **data), output=sources / "fresh", workers=1)
    if "split" in data:
        assert made.fingerprint == fresh.fingerprint
    else:
        assert made.rows["read"] == fresh.rows["read"]
        assert made.manifest()["recipe"] == fresh.manifest()["recipe"]


def test_a_smaller_sample_uses_the_shards_again(sources: Path, worked: list[int]) -> None:
    first = prepare(many_units(sources), output=sources / "data", workers=1)
    recipe = recipe_for(
        sources, {"path": "a.jsonl", "limit": 20}, *SOURCES[1:], max_rejected_ratio=0.9
    )
    worked.clear()
    made = prepare(recipe, output=sources / "data", workers=1)
    assert worked == [] and made.rejected["not_sampled"] > 0
    assert made.rows["read"] == first.rows["read"]


@pytest.mark.parametrize(
    "data",
    [
        {"clean": {"personal_data": "keep"}},
        {"dedup": {"near": None}},
        {"dedup": {"near": 0.5}},
        {"split": {"group": "text"}},
        {"system": "Route."},
    ],
)
def test_a_setting_that_shards_depend_on_makes_them_anew(
    sources: Path, worked: list[int], data: dict[str, Any]
) -> None:
    assert shape(0.5) != shape(0.8)
    prepare(many_units(sources), output=sources / "data", workers=1)
    every = list(worked)
    _, done = change(sources, worked, **data)
    assert done == every


def other_input(folder: Path, patch: pytest.MonkeyPatch) -> None:
    with (folder / "b.csv").open("a") as file:
        file.write("\none more,a\n")


def other_code(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr("ftool.prepare.run._code", lambda: "other")
    with (folder / "data/desk/README.md").open("a") as file:
        file.write("so that it is not up to date")


@pytest.mark.parametrize("happens", [other_input, other_code])
def test_shards_of_other_inputs_or_code_are_dropped(
    sources: Path,
    worked: list[int],
    monkeypatch: pytest.MonkeyPatch,
    happens: Callable[[Path, pytest.MonkeyPatch], None],
) -> None:
    prepare(many_units(sources), output=sources / "data", workers=1)
    old = finished_units(sources / "data/.desk.work")
    every = list(worked)
    happens(sources, monkeypatch)
    _, done = change(sources, worked)
    assert len(done) >= len(every)
    assert len(finished_units(sources / "data/.desk.work")) == len(done) >= len(old)


def test_fresh_takes_up_nothing_and_leaves_shards_to_use(sources: Path, worked: list[int]) -> None:
    prepare(many_units(sources), output=sources / "data", workers=1)
    every = list(worked)
    worked.clear()
    prepare(many_units(sources), output=sources / "data", workers=1, fresh=True)
    assert worked == every
    assert change(sources, worked, split={"test": 0.3})[1] == []


def test_shards_are_for_their_owner_only(sources: Path) -> None:
    prepare(many_units(sources), output=sources / "data", workers=1)
    assert stat.S_IMODE((sources / "data/.desk.work").stat().st_mode) == 0o700
    assert stat.S_IMODE((sources / "data/desk/rejected.jsonl").stat().st_mode) == 0o600


def test_processors_are_those_that_may_be_used() -> None:
    assert 1 <= processors() <= (os.cpu_count() or 1)
