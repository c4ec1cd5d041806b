import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from folders import (
    RECIPE,
    data_manifest,
    example_to_record,
    write_dataset,
    write_manifest,
    write_run,
)

from ftool import artifacts
from ftool.artifacts import (
    Prediction,
    PreparedDataset,
    TrainingRun,
    TrainingStep,
    Validation,
    data_settings,
    file_sha256,
    fingerprint,
    is_ours,
    newest_run,
    read_json,
    read_jsonl,
    write_json,
    write_jsonl,
    write_text,
)
from ftool.errors import DataError, RunError
from ftool.example import Example, Message, example_from_record
from ftool.recipe.schema import Recipe

CALL = {"type": "function", "function": {"name": "look_up", "arguments": '{"order": 7}'}}
CONVERSATION = Example(
    "e1",
    messages=(
        Message("system", "Be brief."),
        Message("user", "Where is order 7?"),
        Message("assistant", "", tool_calls=(CALL,)),
        Message("tool", "on its way", name="look_up", tool_call_id="c1"),
        Message("assistant", "Unterwegs: 送信済み é"),
    ),
    tools=({"type": "function", "function": {"name": "look_up"}},),
    label="delivery",
    group="customer 3",
    source="tickets.csv",
    line=4,
    extra={"channel": "mail", "stars": 5},
)
CORPUS = Example("t1", text="Returns are free.\n", source="faq.txt", line=1)


def test_a_fingerprint_follows_the_content_and_not_its_order() -> None:
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 1.5})
    expected = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert fingerprint({}) == expected
    assert len(fingerprint("lone \ud800")) == 64


def test_a_file_hash_is_the_known_one(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_sha256(tmp_path / "abc") == known


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "manifest.json"
    write_text(path, "old")

    def fail(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_text(path, "new")
    assert path.read_text() == "old"


def test_json_is_utf8_and_refuses_what_no_reader_takes(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": "é", "a": 1})
    assert (tmp_path / "a.json").read_bytes() == '{\n  "b": "é",\n  "a": 1\n}\n'.encode()
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "b.json", {"loss": float("inf")})
    assert not (tmp_path / "b.json").exists()


@pytest.mark.parametrize("text", [None, "{broken"])
def test_unreadable_json_is_an_error_of_the_run(tmp_path: Path, text: str | None) -> None:
    if text:
        (tmp_path / "m.json").write_text(text)
    with pytest.raises(RunError, match=r"m\.json cannot be read"):
        read_json(tmp_path / "m.json")


def test_json_lines_survive_the_way_through_a_file(tmp_path: Path) -> None:
    rows = [{"id": "1", "text": "line\u2028break\nand more"}, {"id": "2"}]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    assert (tmp_path / "rows.jsonl").read_bytes().count(b"\n") == 2
    assert list(read_jsonl(tmp_path / "rows.jsonl")) == rows
    assert list(read_jsonl(tmp_path / "missing.jsonl")) == []


def test_ours_is_what_is_new_empty_locked_or_of_a_manifest(tmp_path: Path) -> None:
    assert is_ours(tmp_path / "absent")
    assert is_ours(tmp_path)
    foreign = tmp_path / "foreign"
    write_manifest(foreign, {"name": "a browser extension"})
    assert not is_ours(foreign)
    (foreign / "manifest.json").write_text("[1]")
    assert not is_ours(foreign)
    write_manifest(foreign, data_manifest())
    assert is_ours(foreign)
    assert not is_ours(foreign / "manifest.json")
    locked_folder = tmp_path / "locked"
    locked_folder.mkdir()
    (locked_folder / "weights").touch()
    assert not is_ours(locked_folder)
    (locked_folder / ".lock").touch()
    assert is_ours(locked_folder)


@pytest.mark.parametrize("example", [CONVERSATION, CORPUS], ids=["chat", "text"])
def test_an_example_survives_parquet(tmp_path: Path, example: Example) -> None:
    table = pa.Table.from_pylist([example_to_record(example)])
    parquet.write_table(table, tmp_path / "part.parquet")
    (record,) = parquet.read_table(tmp_path / "part.parquet").to_pylist()
    assert example_from_record(record) == example


def test_a_dataset_reads_its_splits_in_the_order_of_the_files(tmp_path: Path) -> None:
    for part, name in enumerate(("b", "a")):
        file = tmp_path / "train" / f"{1 - part:05}.parquet"
        file.parent.mkdir(exist_ok=True)
        record = example_to_record(Example(name, text=name))
        parquet.write_table(pa.Table.from_pylist([record]), file)
    rows = {"read": 2, "kept": {"train": 2, "validation": 0, "test": 0}, "rejected": {"empty": 1}}
    dataset = write_dataset(tmp_path, rows=rows, kind="text", label_names=["x"])
    assert [example.id for example in dataset.examples("train")] == ["a", "b"]
    assert (dataset.count("train"), dataset.count("nonsense")) == (2, 0)
    assert (dataset.kind, dataset.label_names, dataset.rejected) == ("text", ("x",), {"empty": 1})
    with pytest.raises(DataError, match="has no validation split; it has train"):
        dataset.examples("validation")


def test_a_folder_that_is_no_dataset_is_refused_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a prepared dataset") as refused:
        PreparedDataset.open(tmp_path)
    assert refused.value.hint == "run: ftool prepare"
    write_manifest(tmp_path, data_manifest(schema=2))
    with pytest.raises(DataError, match="was not written by this version"):
        PreparedDataset.open(tmp_path)


def recipe(**changes: Any) -> Recipe:
    return Recipe.model_validate(
        {"name": "a", "data": {"name": "x", "sources": [{"path": "a.csv"}]}, **changes}
    )


def test_a_dataset_belongs_to_the_settings_that_made_it(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path, recipe=data_settings(recipe()))
    assert dataset.is_of(recipe())
    assert dataset.is_of(recipe(name="b", train={"epochs": 1}))
    assert dataset.is_of(recipe(data={"sources": [{"path": "a.csv"}]}))
    assert not dataset.is_of(recipe(seed=18))
    assert not dataset.is_of(recipe(data={"sources": [{"path": "b.csv"}]}))


def test_a_run_knows_what_its_manifest_says(tmp_path: Path) -> None:
    run = write_run(tmp_path / "rank8", RECIPE + "seed: 3\n")
    assert (run.status, run.steps, run.best_step) == ("finished", 300, 250)
    assert run.base_model.name == "smollm2-135m-instruct"
    assert run.model_path == tmp_path / "rank8" / "model"
    assert run.recipe().seed == 3
    assert run.steps_log() == []
    assert run.manifest()["method"] == "lora"


def test_what_is_no_run_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no run"):
        TrainingRun.open(tmp_path / "missing")
    with pytest.raises(RunError, match="is not a run of ftool"):
        TrainingRun.open(tmp_path)
    (tmp_path / "recipe.yaml").touch()
    (tmp_path / ".lock").touch()
    with pytest.raises(RunError, match="is not finished"):
        TrainingRun.open(tmp_path)
    write_manifest(tmp_path, data_manifest())
    with pytest.raises(RunError, match="was not written by this version"):
        TrainingRun.open(tmp_path)


def test_the_newest_run_is_the_one_that_finished_last(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no finished run"):
        newest_run(tmp_path)
    for name, age in (("first", 30), ("second", 20), ("unfinished", 40)):
        write_run(tmp_path / name)
        os.utime(tmp_path / name / "manifest.json", (age, age))
    (tmp_path / "unfinished" / "manifest.json").unlink()
    assert newest_run(tmp_path).path.name == "first"


def test_a_step_is_a_line_of_json() -> None:
    validation = Validation({"loss": 0.5}, 300, best=True)
    step = TrainingStep(7, 0.5, 512, 40, 0.8, 1e-4, 1.5, 900.0, 1.9, validation)
    line = json.loads(json.dumps(step.as_dict()))
    assert line["validation"] == {"metrics": {"loss": 0.5}, "examples": 300, "best": True}
    assert (line["step"], line["learned_tokens"], line["peak_memory_gib"]) == (7, 40, 1.9)


@pytest.mark.parametrize(
    ("expected", "predicted", "correct"),
    [("a", "a", True), ("a", "b", False), ("a", None, False), (None, None, False)],
)
def test_a_prediction_is_right_only_where_a_label_was_expected(
    expected: str | None, predicted: str | None, correct: bool
) -> None:
    prediction = Prediction("e1", expected, predicted, "output")
    assert prediction.correct is correct
    assert prediction.as_dict()["correct"] is correct


def test_a_line_of_predictions_is_read_back() -> None:
    prediction = Prediction("e1", "a", "b", "b", probability_bounds=(0.25, 0.5), parsed_by="exact")
    line = json.loads(json.dumps(prediction.as_dict()))
    assert Prediction.from_dict(line) == prediction
    with pytest.raises(TypeError):
        Prediction.from_dict({**line, "more": 1})


def test_the_version_is_known_or_says_that_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert artifacts.ftool_version().count(".") == 2

    def missing(_: str) -> str:
        raise PackageNotFoundError

    monkeypatch.setattr(artifacts, "version", missing)
    assert artifacts.ftool_version() == "0+unknown"


@pytest.mark.parametrize("manifest", ["[]", "null", '{"ftool": "0", "schema": 1, "rows": {}}'])
def test_a_dataset_manifest_of_another_shape_is_a_sentence(tmp_path: Path, manifest: str) -> None:
    (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(DataError, match="not written by this version of ftool prepare"):
        PreparedDataset.open(tmp_path)


def test_a_run_manifest_of_another_shape_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"ftool": "0", "schema": 1, "base_model": {}}')
    with pytest.raises(RunError, match="not written by this version of ftool train"):
        TrainingRun.open(tmp_path)


def test_reading_a_split_loads_no_pandas(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    records = [example_to_record(Example("a", text="hello"))]
    parquet.write_table(pa.Table.from_pylist(records), tmp_path / "train/00000.parquet")
    rows = {"read": 1, "kept": {"train": 1, "validation": 0, "test": 0}, "rejected": {}}
    write_dataset(tmp_path, rows=rows, kind="text", label_names=[])
    program = (
        "import sys; from pathlib import Path; from ftool.artifacts import PreparedDataset;"
        f"found = PreparedDataset.open(Path({str(tmp_path)!r})).examples('train');"
        "assert found[0].text == 'hello' and 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_damaged_and_missing_examples_are_a_sentence(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path)
    (tmp_path / "train").mkdir(exist_ok=True)
    for file in (tmp_path / "train").glob("*.parquet"):
        file.unlink()
    with pytest.raises(DataError, match=r"train holds 0 of \d+ examples"):
        dataset.examples("train")
    (tmp_path / "train/data-00000.parquet").write_bytes(b"PAR1 but not for long")
    with pytest.raises(DataError, match="train is damaged"):
        dataset.examples("train")
