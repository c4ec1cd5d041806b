import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ftool.example import Example, Message, example_from_record
from ftool.keys import compared_text, keys_of
from ftool.prepare.read.rows import Finding, Row
from ftool.prepare.refine.minhash import shape
from ftool.prepare.refine.shard import FILES, Shard, ShardWriter, columns, rejected_record
from ftool.prepare.refine.words import word_hashes

CALL = {"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}
CHAT = [
    Example(
        id="a:1",
        messages=(
            Message("system", "Be kind."),
            Message("user", "Where is my card", name="Jo"),
            Message("assistant", "", tool_calls=(CALL,)),
            Message("tool", "ok", tool_call_id="1"),
            Message("assistant", "fine", reasoning_content="all is done", learned=False),
        ),
        tools=({"name": "f"},),
        label="l",
        group="g",
        source="a",
        line=1,
        extra={"n": None, "ü": [1]},
    ),
    Example(id="a:2", messages=(Message("user", "q"), Message("assistant", "a")), line=2),
    Example(id="a:4", messages=(Message("assistant", "only"),), label="k", line=4),
]
ABOUT = {"shown": "a", "suffix": "", "origin": 0, "bytes": 9, "columns": [], "recognised": True}


def written(folder: Path, examples: list[Example], kind: str, near: float | None = 0.8) -> Shard:
    writer = ShardWriter(kind, near)
    for place, example in enumerate(examples):
        writer.keep(place, Row(example.line, f"raw {place}"), example, tokens=place)
    writer.write(folder / "unit-000000", len(examples), ABOUT)
    return Shard.open(folder / "unit-000000")


def test_examples_round_trip(tmp_path: Path) -> None:
    stored = written(tmp_path, CHAT, "chat").examples()
    assert [example_from_record(record) for record in stored.to_pylist()] == CHAT
    assert stored.column("raw").to_pylist() == ["raw 0", "raw 1", "raw 2"]
    assert stored.drop_columns(["raw"]).schema == columns("chat")


def test_texts_round_trip(tmp_path: Path) -> None:
    texts = [Example(id="a:1", text="long\nü", line=1), Example(id="a:2", text="", line=2)]
    stored = written(tmp_path, texts, "text").examples()
    assert [example_from_record(record) for record in stored.to_pylist()] == texts


def test_numbers_are_those_of_the_examples(tmp_path: Path) -> None:
    shard = written(tmp_path, CHAT, "chat")
    names = ("content", "unit", "label", "line", "place", "characters", "turns", "tokens")
    content, unit, label, line, place, characters, turns, tokens = shard.numbers(*names)
    assert [row.tobytes() for row in content] == [keys_of(example).content for example in CHAT]
    assert [row.tobytes() for row in unit] == [keys_of(example).unit for example in CHAT]
    assert shard.about["labels"] == ["k", "l"]
    assert label.tolist() == [1, -1, 0]
    assert (line.tolist(), place.tolist(), tokens.tolist()) == ([1, 2, 4], [0, 1, 2], [0, 1, 2])
    assert characters.tolist() == [8 + 16 + 0 + 2 + 4, 2, 4]
    assert turns.tolist() == [4, 2, 1]
    words, (lengths,) = shard.words(), shard.numbers("lengths")
    expected = [word_hashes(compared_text(example)) for example in CHAT]
    assert lengths.tolist() == [len(found) for found in expected]
    assert np.array_equal(words, np.concatenate(expected))


def test_bands_are_there_where_somebody_asks(tmp_path: Path) -> None:
    shard = written(tmp_path / "a", CHAT, "chat", 0.8)
    assert shard.about["bands"] == shape(0.8)[0] > 0
    assert len(shard.numbers(f"band_{shard.about['bands'] - 1}")[0]) == len(CHAT)
    without = written(tmp_path / "b", CHAT, "chat", None)
    assert without.about["bands"] == 0
    with pytest.raises(KeyError):
        without.numbers("band_0")


@pytest.mark.parametrize("kind", ["chat", "text"])
def test_a_shard_can_be_empty(tmp_path: Path, kind: str) -> None:
    shard = written(tmp_path, [], kind)
    assert (shard.about["rows"], shard.about["kept"], shard.about["refused"]) == (0, 0, {})
    assert shard.examples().num_rows == 0 and list(shard.refused()) == []
    assert shard.numbers("content")[0].shape == (0, 2)


def test_refused_rows_keep_place_reason_and_raw_row(tmp_path: Path) -> None:
    writer = ShardWriter("chat", None)
    raws = ["ü\udcff", 'tab\t"quote"\n\u2028\x85\r\0end', "x"]
    for place, raw in enumerate(raws):
        finding = Finding("too_long", "so long", value=9, threshold=3.5)
        writer.reject(10 + place, Row(2 + place, raw), "a.csv", finding)
    writer.reject(20, Row(7, {"b": b"x"}), "a.csv", Finding("empty_row"))
    writer.write(tmp_path / "unit-000000", 4, ABOUT)
    shard = Shard.open(tmp_path / "unit-000000")
    assert shard.about["refused"] == {"too_long": 3, "empty_row": 1}
    found = [(place, json.loads(line)) for place, line in shard.refused()]
    assert [place for place, _ in found] == [10, 11, 12, 20]
    assert [record["raw"] for _, record in found] == [*raws, {"b": "b'x'"}]
    assert found[0][1] == {
        **{"source": "a.csv", "line": 2, "reason": "too_long", "detail": "so long"},
        **{"value": 9, "threshold": 3.5, "twin": None, "raw": "ü\udcff"},
    }
    assert list(found[0][1]) == list(rejected_record("", 0, Finding(""), ""))


def test_raw_rows_of_tables_are_kept_as_json(tmp_path: Path) -> None:
    writer = ShardWriter("chat", None)
    writer.keep(0, Row(1, {"q": "ü", "n": 1.5}), CHAT[1], 0)
    writer.write(tmp_path / "unit-000000", 1, ABOUT)
    shard = Shard.open(tmp_path / "unit-000000")
    assert shard.about["is_table"] is True
    assert json.loads(shard.examples().column("raw")[0].as_py()) == {"q": "ü", "n": 1.5}


def test_numbers_that_json_lacks_stand_as_text(tmp_path: Path) -> None:
    writer = ShardWriter("chat", None)
    raw = {"n": float("nan"), "deep": [float("-inf"), 1.5]}
    writer.keep(0, Row(1, raw), CHAT[1], 0)
    writer.reject(1, Row(2, raw), "a", Finding("empty_row"))
    writer.write(tmp_path / "unit-000000", 2, ABOUT)
    shard = Shard.open(tmp_path / "unit-000000")
    expected = {"n": "NaN", "deep": ["-Infinity", 1.5]}
    assert json.loads(shard.examples().column("raw")[0].as_py()) == expected
    ((_, line),) = shard.refused()
    assert json.loads(line)["raw"] == expected


def test_what_was_redacted_is_counted(tmp_path: Path) -> None:
    writer = ShardWriter("chat", None)
    writer.keep(0, Row(1, "raw"), CHAT[1], 0)
    writer.personal_data.update({"email": 2, "card": 1})
    writer.redacted_rows = 1
    writer.write(tmp_path / "unit-000000", 1, ABOUT)
    about = Shard.open(tmp_path / "unit-000000").about
    assert list(about["personal_data"].items()) == [("card", 1), ("email", 2)]
    assert about["redacted_rows"] == 1


def test_a_shard_is_complete_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> Iterator[None]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("ftool.prepare.refine.shard.write_json", killed)
        written(tmp_path, CHAT, "chat")
    (left,) = tmp_path.iterdir()
    assert left.name == f"unit-000000.{os.getpid()}.partial"
    assert written(tmp_path, CHAT, "chat").about["kept"] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["unit-000000"]


def test_the_same_examples_give_the_same_files(tmp_path: Path) -> None:
    one, two = (written(tmp_path / name, CHAT, "chat").path for name in "ab")
    for file in ("about.json", "examples.arrow", "rejected.jsonl"):
        assert (one / file).read_bytes() == (two / file).read_bytes()


@pytest.mark.parametrize("name", [*FILES, "about.json"])
@pytest.mark.parametrize("damage", ["gone", "cut", "changed"])
def test_a_damaged_shard_is_not_sound(tmp_path: Path, name: str, damage: str) -> None:
    shard = written(tmp_path / "unit", CHAT, "chat")
    assert Shard.is_sound(shard.path)
    file = shard.path / name
    content = file.read_bytes()
    if damage == "gone":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    else:
        file.write_bytes(bytes([*content[:-3], 0xFE, 0xFE, 0xFE]))
    assert Shard.is_sound(shard.path) == (damage == "cut" and not content)
