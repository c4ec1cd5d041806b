import json
import stat
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from prepare_tables import table_of, write_shard
from pyarrow import parquet

from ftool.artifacts import file_sha256, ignore_progress, read_jsonl, write_json
from ftool.errors import DataError
from ftool.example import Example, Message, example_from_record
from ftool.prepare.decide.table import Table, read_table
from ftool.prepare.read.rows import Finding, Row
from ftool.prepare.refine.shard import Shard, ShardWriter
from ftool.prepare.write import folder as folders
from ftool.prepare.write.folder import (
    count_kept,
    fresh_partial,
    is_current,
    outputs_of,
    put_back,
    put_in_place,
    refuse_foreign,
    work_folder,
    write_rejected,
    write_splits,
)
from ftool.recipe.blocks.data import Source

CALL = {"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}
CHAT = [
    Example(
        id="a:1",
        messages=(Message("user", "q"), Message("assistant", "", tool_calls=(CALL,))),
        tools=({"name": "f"},),
        label="l",
        group="g",
        source="a",
        line=1,
        extra={"n": None},
    ),
    Example(id="a:2", messages=(Message("user", "q"), Message("assistant", "a")), line=2),
]
TEXT = [Example(id="a:1", text="long", line=1)]
TRAIN, VALIDATION, TEST = range(3)


def stored(folder: Path, examples: Sequence[Example], kind: str, *, shards: int = 1) -> Table:
    """Return a table of examples that lie in some shards."""
    cuts = np.linspace(0, len(examples), shards + 1).astype(int)
    made = []
    for number, (start, end) in enumerate(pairwise(cuts)):
        writer = ShardWriter(kind, None)
        for place, example in enumerate(examples[start:end]):
            writer.keep(place, Row(example.line, "raw"), example, 0)
        path = folder / f"unit-{number:06d}"
        about = {"shown": "a", "suffix": "", "origin": 0, "bytes": 1, "columns": []}
        writer.write(path, int(end - start), {**about, "recognised": True})
        made.append(Shard.open(path))
    return read_table(made, [Source(path="a")])


def written(
    folder: Path,
    examples: Sequence[Example],
    *splits: int,
    kind: str = "chat",
    spelled: dict[str, str] | None = None,
    shards: int = 1,
) -> str:
    """Write examples into their splits and return the fingerprint."""
    table = stored(folder.with_name(f"{folder.name}.shards"), examples, kind, shards=shards)
    folder.mkdir(parents=True)
    places = np.array(splits, np.int8)
    return write_splits(folder, table, places, spelled or {}, kind, ignore_progress)


def read(folder: Path, split: str) -> list[Example]:
    table = parquet.read_table(folder / split / "data-00000.parquet")
    return [example_from_record(record) for record in table.to_pylist()]


@pytest.mark.parametrize(("kind", "examples"), [("chat", CHAT), ("text", TEXT), ("chat", CHAT[1:])])
def test_splits_round_trip(tmp_path: Path, kind: str, examples: list[Example]) -> None:
    written(tmp_path / "out", examples, *[TRAIN] * len(examples), kind=kind)
    assert read(tmp_path / "out", "train") == examples
    table = parquet.read_table(tmp_path / "out/train/data-00000.parquet")
    assert str(table.schema.field("label").type) == "string"
    assert "raw" not in table.column_names
    assert not (tmp_path / "out/test").exists()


def test_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    both = written(tmp_path / "a", CHAT, TRAIN, TRAIN)
    assert both == written(tmp_path / "b", CHAT, TRAIN, TRAIN, shards=2)
    others = {
        written(tmp_path / "c", CHAT[::-1], TRAIN, TRAIN),
        written(tmp_path / "d", CHAT, TEST, TEST),
        written(tmp_path / "e", CHAT, TRAIN, TEST),
        written(tmp_path / "f", CHAT, TRAIN, TRAIN, spelled={"l": "L"}),
    }
    assert len(others | {both}) == 5
    assert outputs_of(tmp_path / "a") == outputs_of(tmp_path / "b")
    assert list(outputs_of(tmp_path / "d")) == ["test/data-00000.parquet"]


def test_texts_that_run_together_have_another_fingerprint(tmp_path: Path) -> None:
    def of(name: str, *texts: str) -> str:
        examples = [Example(id=str(n), text=text) for n, text in enumerate(texts)]
        return written(tmp_path / name, examples, *[TRAIN] * len(texts), kind="text")

    assert len({of("a", "ab", "c"), of("b", "a", "bc"), of("c", "abc", "")}) == 3


def test_bytes_and_fingerprint_do_not_depend_on_the_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "ROWS_PER_GROUP", 7)
    examples = [
        Example(
            id=f"a:{n}",
            messages=(Message("user", "q" * (n % 5)), Message("assistant", "ü" * (n % 3))),
            label="l" if n % 4 else None,
            tools=({"n": n},) * (n % 3),
            line=n,
        )
        for n in range(50)
    ]
    splits = [n % 7 % 3 for n in range(50)]
    prints = {
        written(tmp_path / str(shards), examples, *splits, shards=shards)
        for shards in (1, 2, 3, 11, 50)
    }
    assert len(prints) == 1
    assert len({str(outputs_of(tmp_path / name)) for name in ("1", "2", "3", "11", "50")}) == 1
    for split, name in enumerate(("train", "validation", "test")):
        assert read(tmp_path / "3", name) == [examples[n] for n in range(50) if splits[n] == split]
    file = parquet.ParquetFile(tmp_path / "3/train/data-00000.parquet")
    sizes = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
    assert sizes == [7] * (sum(sizes) // 7) + [sum(sizes) % 7] * (sum(sizes) % 7 > 0)


def test_rows_that_went_are_not_written(tmp_path: Path) -> None:
    table = stored(tmp_path / "shards", CHAT, "chat", shards=2)
    table.reject(np.array([0]), "exact_duplicate")
    (tmp_path / "out").mkdir()
    places = np.array([TRAIN, TEST], np.int8)
    assert count_kept(table, places) == {"train": 0, "validation": 0, "test": 1}
    write_splits(tmp_path / "out", table, places, {}, "chat", ignore_progress)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["test"]
    assert read(tmp_path / "out", "test") == CHAT[1:]


def test_chosen_spellings_stand_in_label_and_completion(tmp_path: Path) -> None:
    examples = [
        Example(
            id=f"a:{n}", messages=(Message("user", "q"), Message("assistant", answer)), label=label
        )
        for n, (label, answer) in enumerate(
            [("a", "a"), ("A", "A"), ("A", "A free answer"), (None, "A")]
        )
    ]
    written(tmp_path / "out", examples, *[TRAIN] * 4, spelled={"A": "a"})
    assert [(each.label, each.completion) for each in read(tmp_path / "out", "train")] == [
        *(("a", "a"), ("a", "a"), ("a", "A free answer"), (None, "A")),
    ]
    texts = [Example(id="a:1", text="A", label="A")]
    written(tmp_path / "texts", texts, TRAIN, kind="text", spelled={"A": "a"})
    (found,) = read(tmp_path / "texts", "train")
    assert (found.label, found.text) == ("a", "A")


def test_progress_is_told_for_every_shard(tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    many = [Example(id=str(i), text=str(i)) for i in range(25)]
    table = stored(tmp_path / "shards", many, "text", shards=2)
    places = np.zeros(25, np.int8)
    write_splits(tmp_path, table, places, {}, "text", lambda *args: told.append(args))
    assert told == [("writing", 12, 25), ("writing", 25, 25)]


def test_rejected_rows_are_kept_as_they_were_for_the_owner_only(tmp_path: Path) -> None:
    writer = ShardWriter("chat", None)
    raw = Row(2, "ü\udcff")
    writer.reject(0, raw, "a.csv", Finding("undecodable_bytes", "byte 0xff"))
    writer.keep(1, Row(3, "kept\t\n"), CHAT[1], 0)
    writer.reject(2, Row(9, {"b": b"x"}), "a.csv", Finding("too_long", value=9.0, threshold=3))
    about = {"shown": "a.csv", "suffix": "", "origin": 0, "bytes": 1, "columns": []}
    writer.write(tmp_path / "unit-000000", 3, {**about, "recognised": True})
    table = read_table([Shard.open(tmp_path / "unit-000000")], [Source(path="a.csv")])
    path = write_rejected(tmp_path, table)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lines = path.read_bytes().decode("utf-8").splitlines()
    assert lines[0] == (
        '{"source": "a.csv", "line": 2, "reason": "undecodable_bytes", "detail": "byte 0xff", '
        '"value": null, "threshold": null, "twin": null, "raw": "ü\\udcff"}'
    )
    assert json.loads(lines[0])["raw"] == "ü\udcff"
    assert json.loads(lines[1])["raw"] == {"b": "b'x'"}
    assert len(lines) == 2


def test_rejected_rows_come_in_the_order_of_the_sources(tmp_path: Path) -> None:
    table = table_of(tmp_path, [(each, 0) for each in CHAT] * 2, near=None, shard_rows=3)
    refused = write_shard(tmp_path / "more", [], source=1, refused=["too_long", "empty_row"])
    table = read_table([*table.shards, refused], [Source(path="a"), Source(path="b")])
    table.reject(np.array([3, 1]), "near_duplicate", twin=np.array([1, 0]), value=0.9)
    table.reject(np.array([0]), "contaminated", twin=-2, value=2)
    table.against.append("eval.csv")
    records = list(read_jsonl(write_rejected(tmp_path, table)))
    assert [
        (each["source"], each["line"], each["reason"], each["twin"], each["raw"])
        for each in records
    ] == [
        ("0.csv", 1, "contaminated", "eval.csv", "row 1"),
        ("0.csv", 2, "near_duplicate", "0.csv:1", "row 2"),
        ("0.csv", 4, "near_duplicate", "0.csv:2", "row 4"),
        ("1.csv", 1, "too_long", None, "raw"),
        ("1.csv", 2, "empty_row", None, "raw"),
    ]
    assert records[1]["value"] == 0.9


def test_work_of_the_same_key_is_taken_up(tmp_path: Path) -> None:
    target = tmp_path / "deep/desk"
    folder = work_folder(target, "one")
    assert folder == tmp_path / "deep/.desk.work"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (folder / "unit-000000").mkdir()
    (folder / "unit-000001.12.partial").mkdir()

    def names() -> list[str]:
        return sorted(path.name for path in folder.iterdir())

    work_folder(target, "one")
    assert names() == ["key", "unit-000000"]
    work_folder(target, "one", fresh=True)
    assert names() == ["key"]
    (folder / "unit-000000").mkdir()
    work_folder(target, "two")
    assert names() == ["key"] and (folder / "key").read_text() == "two"
    (folder / "unit-000000").mkdir()
    (folder / "key").write_bytes(b"\xff")
    work_folder(target, "two")
    assert names() == ["key"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_foreign_folders_are_refused(tmp_path: Path) -> None:
    refuse_foreign(tmp_path / "new")
    (tmp_path / "raw").mkdir()
    refuse_foreign(tmp_path / "raw")
    (tmp_path / "raw/a.csv").write_text("x")
    with pytest.raises(DataError, match="was not written by ftool prepare"):
        refuse_foreign(tmp_path / "raw")
    write_json(tmp_path / "raw/manifest.json", {"ftool": "1"})
    refuse_foreign(tmp_path / "raw")


def test_current_means_same_inputs_and_unchanged_outputs(tmp_path: Path) -> None:
    assert not is_current(tmp_path, "x")
    (tmp_path / "a").write_text("a")
    outputs = {"a": file_sha256(tmp_path / "a")}
    write_json(tmp_path / "manifest.json", {"inputs_fingerprint": "x", "outputs": outputs})
    assert is_current(tmp_path, "x")
    assert not is_current(tmp_path, "y")
    (tmp_path / "a").write_text("b")
    assert not is_current(tmp_path, "x")
    (tmp_path / "a").unlink()
    assert not is_current(tmp_path, "x")


def test_swap_and_recovery(tmp_path: Path) -> None:
    target = tmp_path / "set"
    for text in ("one", "two"):
        partial = fresh_partial(target)
        (partial / "file").write_text(text)
        put_in_place(partial, target)
        assert (target / "file").read_text() == text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]

    target.rename(tmp_path / ".set.old")
    (tmp_path / ".set.partial").mkdir()
    (tmp_path / ".set.partial/left").write_text("")
    put_back(target)
    assert (target / "file").read_text() == "two"
    assert not list(fresh_partial(target).iterdir())
    (tmp_path / ".set.old").mkdir()
    (tmp_path / ".set.old/file").write_text("one")
    put_back(target)
    assert (target / "file").read_text() == "two"
    assert not (tmp_path / ".set.old").exists()


def test_files_of_others_in_a_prepared_dataset_are_never_lost(tmp_path: Path) -> None:
    target = tmp_path / "desk"
    target.mkdir()
    write_json(target / "manifest.json", {"ftool": "0", "outputs": {"README.md": "x"}})
    (target / "README.md").write_text("ours")
    refuse_foreign(target)
    (target / "notes.txt").write_text("precious")
    with pytest.raises(DataError, match=r"did not write: notes\.txt"):
        refuse_foreign(target)
    assert (target / "notes.txt").read_text() == "precious"


def test_a_link_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "desk").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="was not written by ftool prepare"):
        refuse_foreign(tmp_path / "desk")


def test_a_foreign_work_folder_is_left_alone(tmp_path: Path) -> None:
    foreign = tmp_path / ".desk.work"
    foreign.mkdir()
    (foreign / "mine.txt").write_text("precious")
    with pytest.raises(DataError, match="did not write"):
        work_folder(tmp_path / "desk", "one", fresh=True)
    assert (foreign / "mine.txt").read_text() == "precious"
