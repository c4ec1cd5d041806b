import json
import stat
from pathlib import Path

import pytest
from pyarrow import parquet

from ftool.artifacts import file_sha256, ignore_progress, write_json
from ftool.errors import DataError
from ftool.example import Example, Message, example_from_record
from ftool.prepare.folder import (
    fresh_partial,
    is_current,
    outputs_of,
    put_in_place,
    refuse_foreign,
    write_rejected,
    write_splits,
)
from ftool.prepare.rows import Rejected

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


@pytest.mark.parametrize(("kind", "examples"), [("chat", CHAT), ("text", TEXT), ("chat", CHAT[1:])])
def test_splits_round_trip(tmp_path: Path, kind: str, examples: list[Example]) -> None:
    write_splits(tmp_path, {"train": examples, "test": []}, kind, ignore_progress)
    table = parquet.read_table(tmp_path / "train/data-00000.parquet")
    assert [example_from_record(record) for record in table.to_pylist()] == examples
    assert str(table.schema.field("label").type) == "string"
    assert not (tmp_path / "test").exists()


def test_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    def written(name: str, **splits: list[Example]) -> str:
        (tmp_path / name).mkdir()
        return write_splits(tmp_path / name, splits, "chat", ignore_progress)

    both = written("a", train=CHAT)
    assert both == written("b", train=CHAT, test=[])
    assert len({both, written("c", train=CHAT[::-1]), written("d", test=CHAT)}) == 3
    assert outputs_of(tmp_path / "a") == outputs_of(tmp_path / "b")
    assert list(outputs_of(tmp_path / "d")) == ["test/data-00000.parquet"]


def test_progress_is_told_at_least_every_thousand_rows(tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    many = [Example(id=str(i), text=str(i)) for i in range(2_500)]
    write_splits(tmp_path, {"train": many}, "text", lambda *args: told.append(args))
    assert told == [("writing", n, 2_500) for n in (1_000, 2_000, 2_500)]


def test_rejected_rows_are_kept_as_they_were_for_the_owner_only(tmp_path: Path) -> None:
    rejected = [
        Rejected("a.csv", 2, "undecodable_bytes", "byte 0xff", "ü\udcff"),
        Rejected("a.parquet", 3, "empty_row", "", {"b": b"x"}),
    ]
    path = write_rejected(tmp_path, rejected)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lines = path.read_bytes().decode("utf-8").splitlines()
    assert lines[0] == (
        '{"source": "a.csv", "line": 2, "reason": "undecodable_bytes", "detail": "byte 0xff", '
        '"raw": "ü\\udcff"}'
    )
    assert json.loads(lines[0])["raw"] == "ü\udcff"
    assert json.loads(lines[1])["raw"] == {"b": "b'x'"}


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
    partial = fresh_partial(target)
    assert (target / "file").read_text() == "two"
    assert not list(partial.iterdir())


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
