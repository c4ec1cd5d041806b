import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prepare_files import recipe_for, write_csv

from ftool.artifacts import PreparedDataset, data_settings, read_jsonl
from ftool.errors import DataError, RunError
from ftool.example import SPLITS
from ftool.lock import locked
from ftool.prepare import run
from ftool.prepare.read import units
from ftool.prepare.run import prepare
from ftool.prepare.write.folder import outputs_of
from ftool.recipe.schema import Recipe

READ = "a.csv: prompt <- text; label <- label"
BANKING77 = Path(__file__).parents[3] / "shared/data/banking77"


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the pictures of the report, which take most of the time of a small preparation."""
    monkeypatch.setattr(run, "write_report", lambda _, path: path.write_text("report"))


def tickets(n: int, *labels: str) -> list[tuple[str, str]]:
    return [(f"ticket {i}", labels[i % len(labels)]) for i in range(n)]


def test_from_rows_to_splits(tmp_path: Path) -> None:
    write_csv(
        tmp_path / "a.csv", [*tickets(40, "card", "Pin code"), ("ticket 1", "pin_code"), ("", "x")]
    )
    notes: list[str] = []
    progress: list[tuple[str, int, int | None]] = []
    made = prepare(
        recipe_for(tmp_path, "a.csv", system="Route."),
        output=tmp_path / "data",
        on_note=lambda sentence: notes.append(sentence),
        on_progress=lambda *args: progress.append(args),
    )
    assert made.path == tmp_path / "data/desk"
    assert made.kind == "chat"
    assert made.label_names == ("Pin code", "card")
    assert made.rows == {
        "read": 42,
        "kept": {"train": 32, "validation": 4, "test": 4},
        "rejected": {"empty_prompt": 1, "exact_duplicate": 1},
    }
    assert notes == [
        "a.csv: prompt <- text; label <- label",
        "label spellings merged into `Pin code`: `pin_code` (1)",
        "labels of which every row was rejected: `x` (1 empty_prompt)",
    ]
    assert made.manifest()["lost_labels"] == {"x": {"empty_prompt": 1}}
    assert progress[0] == ("reading", 42, 42) and progress[-1] == ("writing", 40, 40)
    first = made.examples("train")[0]
    assert [message.content for message in first.messages] == ["Route.", "ticket 0", "card"]
    assert (first.id, first.label, first.line) == ("a.csv:2", "card", 2)
    assert list(read_jsonl(made.path / "rejected.jsonl")) == [
        {
            **{"source": "a.csv", "line": 42, "reason": "exact_duplicate"},
            **{"detail": "same as a.csv:3", "value": 1, "threshold": 1, "twin": "a.csv:3"},
            "raw": "ticket 1,pin_code",
        },
        {
            **{"source": "a.csv", "line": 43, "reason": "empty_prompt"},
            **{"detail": "nothing is left of the prompt", "value": None, "threshold": None},
            **{"twin": None, "raw": ",x"},
        },
    ]
    assert list(next(read_jsonl(made.path / "rejected.jsonl"))) == [
        *("source", "line", "reason", "detail", "value", "threshold", "twin", "raw"),
    ]


def test_manifest(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", tickets(20, "card", "pin"))
    made = prepare(recipe_for(tmp_path, "a.csv"), output=tmp_path / "data")
    manifest = made.manifest()
    assert set(manifest) == {
        *("schema", "ftool", "kind", "name", "fingerprint", "inputs_fingerprint", "recipe"),
        *("inputs", "rows", "label_names", "label_counts", "merged_spellings", "outputs"),
        *("lost_labels", "sampled", "readings", "repairs", "assigned"),
        *("continues", "statistics"),
    }
    assert manifest["recipe"] == data_settings(recipe_for(tmp_path, "a.csv"))
    assert [found["source"] for found in manifest["inputs"]] == ["a.csv"]
    assert manifest["label_counts"]["train"] == {"card": 8, "pin": 8}
    outputs = {name: sha for name, sha in outputs_of(made.path).items() if name != "manifest.json"}
    assert manifest["outputs"] == outputs
    assert str(tmp_path) not in (made.path / "manifest.json").read_text()


def test_same_inputs_same_bytes_wherever_they_lie(tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        write_csv(folder / "a.csv", tickets(50, "card", "pin"))
        made.append(prepare(recipe_for(folder, "a.csv"), output=folder / "data").path)
    assert outputs_of(made[0]) == outputs_of(made[1])


def test_up_to_date(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", tickets(20, "card", "pin"))
    made = prepare(recipe_for(tmp_path, "a.csv"), output=tmp_path / "data")
    stamp = (made.path / "manifest.json").stat().st_mtime_ns

    def again(settings: Recipe) -> tuple[PreparedDataset, list[str]]:
        notes: list[str] = []
        return prepare(
            settings, output=tmp_path / "data", on_note=lambda sentence: notes.append(sentence)
        ), notes

    same, notes = again(recipe_for(tmp_path, "a.csv"))
    assert same == made
    assert notes == [f"{made.path} is up to date"]
    assert (made.path / "manifest.json").stat().st_mtime_ns == stamp

    other, notes = again(recipe_for(tmp_path, "a.csv", system="Route."))
    assert notes == [READ] and other.fingerprint != made.fingerprint
    write_csv(tmp_path / "a.csv", tickets(30, "card", "pin"))
    assert again(recipe_for(tmp_path, "a.csv"))[0].rows["read"] == 30


def test_plain_datasets_opens_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "a.csv", tickets(20, "card", "pin"))
    prepare(recipe_for(tmp_path, "a.csv"))
    opened = datasets.load_dataset("data/desk", cache_dir=str(tmp_path / "cache"))
    assert {name: len(rows) for name, rows in opened.items()} == {
        "train": 16,
        "validation": 2,
        "test": 2,
    }
    assert opened["train"].column_names[:2] == ["id", "messages"]


def test_corpus(tmp_path: Path) -> None:
    for n in range(10):
        (tmp_path / f"{n}.txt").write_text(f"Document {n}.\n\n\n\nEnd. ")
    made = prepare(recipe_for(tmp_path, "*.txt", kind="text"), output=tmp_path / "data")
    assert made.kind == "text" and made.label_names == ()
    assert {e.text for s in SPLITS for e in made.examples(s)} == {
        f"Document {n}.\n\n\n\nEnd." for n in range(10)
    }


def test_assigned_test_source_keeps_its_rows(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", tickets(30, "card", "pin"))
    write_csv(tmp_path / "test.csv", [("ticket 0", "card"), ("ticket 0", "card"), ("x", "pin")])
    sources = ("train.csv", {"path": "test.csv", "split": "test"})
    made = prepare(recipe_for(tmp_path, *sources), output=tmp_path / "data")
    assert made.rows["kept"] == {"train": 26, "validation": 3, "test": 3}
    assert made.rejected == {"leaks_into_test": 1}


def test_one_file_used_twice_has_unique_ids(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", tickets(10, "card"))
    settings = recipe_for(tmp_path, "a.csv", "a.csv", dedup={"exact": False})
    made = prepare(settings, output=tmp_path / "data")
    ids = [example.id for split in SPLITS for example in made.examples(split)]
    assert len(set(ids)) == 20 and {"a.csv:2", "a.csv:2#2"} <= set(ids)


def test_a_sample_does_not_count_as_rejected(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", tickets(100, "card", "pin"))
    made = prepare(recipe_for(tmp_path, {"path": "a.csv", "limit": 10}), output=tmp_path / "data")
    assert made.rows["kept"] == {"train": 8, "validation": 1, "test": 1}
    assert made.rejected == {"not_sampled": 90}


def test_too_many_rejected_rows_are_kept_to_read(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", tickets(4, "card"))
    before = prepare(recipe_for(tmp_path, "a.csv"), output=tmp_path / "data")
    write_csv(tmp_path / "a.csv", [("fine", "a"), ("", "a"), ("", "b"), ("", "c"), ("", "d")])
    with pytest.raises(DataError) as caught:
        prepare(recipe_for(tmp_path, "a.csv"), output=tmp_path / "data")
    assert "4 of 5 rows were rejected" in caught.value.message
    assert "4  empty_prompt: the row has no prompt (a.csv:3, a.csv:4, a.csv:5)" in str(caught.value)
    rejected = Path(caught.value.hint.removeprefix("the rejected rows are in "))
    assert len(list(read_jsonl(rejected))) == 4
    assert PreparedDataset.open(before.path) == before


def test_raw_data_is_never_written_over(tmp_path: Path) -> None:
    raw = tmp_path / "data/desk"
    raw.mkdir(parents=True)
    write_csv(raw / "a.csv", tickets(4, "card"))
    with pytest.raises(DataError, match="was not written by ftool prepare"):
        prepare(recipe_for(tmp_path, "data/desk/a.csv"), output=tmp_path / "data")
    assert [path.name for path in (tmp_path / "data").rglob("*")] == ["desk", "a.csv"]


def test_nothing_is_left_is_told_with_its_reasons(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [("", "a"), ("", "b")])
    with pytest.raises(DataError, match="2 of 2 rows were rejected; none is left") as caught:
        prepare(recipe_for(tmp_path, "a.csv", max_rejected_ratio=1), output=tmp_path / "data")
    assert "empty_prompt" in caught.value.message
    assert not (tmp_path / "data/desk").exists()


def test_repeats_count_as_rejected(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [("ticket", "a")] * 5 + [("other", "a")])
    with pytest.raises(DataError, match="4 of 6 rows were rejected") as caught:
        prepare(recipe_for(tmp_path, "a.csv"), output=tmp_path / "data")
    assert "exact_duplicate" in caught.value.message
    assert prepare(
        recipe_for(tmp_path, "a.csv", max_rejected_ratio=0.7), output=tmp_path / "data"
    ).rejected == {"exact_duplicate": 4}


def test_a_killed_swap_is_put_back_and_rows_stay_in_their_splits(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", tickets(40, "card", "pin"))
    made = prepare(recipe_for(tmp_path, "a.csv"), output=tmp_path / "data")
    held_out = {example.id for example in made.examples("test")}
    made.path.rename(made.path.with_name(".desk.old"))
    write_csv(tmp_path / "a.csv", tickets(80, "card", "pin"))
    again = prepare(recipe_for(tmp_path, "a.csv"), output=tmp_path / "data")
    assert again.manifest()["continues"] == made.fingerprint
    assert held_out <= {example.id for example in again.examples("test")}


def test_a_trial_reads_some_rows_and_leaves_the_dataset_alone(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", tickets(40, "card", "pin"))
    write_csv(tmp_path / "b.csv", [(f"other {n}", "card") for n in range(3)])
    recipe = recipe_for(tmp_path, "a.csv", "b.csv")
    made = prepare(recipe, output=tmp_path / "data", trial=10)
    assert made.path == tmp_path / "data/.desk.trial"
    assert (made.rows["read"], made.manifest()["continues"]) == (13, None)
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [
        *(".desk.trial", ".desk.trial.lock"),
    ]
    full = prepare(recipe, output=tmp_path / "data")
    before = outputs_of(full.path)
    write_csv(tmp_path / "a.csv", [(f"changed {n}", "pin") for n in range(40)])
    again = prepare(recipe, output=tmp_path / "data", trial=20)
    assert again.rows["read"] == 23
    assert any("changed" in e.prompt[-1].content for e in again.examples("train"))
    assert outputs_of(full.path) == before
    assert prepare(recipe, output=tmp_path / "data").rows["read"] == 43


def test_fresh_forgets_every_time(tmp_path: Path) -> None:
    recipe = recipe_for(tmp_path, "a.csv")
    for word in ("one", "two", "three"):
        write_csv(tmp_path / "a.csv", [(f"{word} {n}", "a") for n in range(10)])
        made = prepare(recipe, output=tmp_path / "data", fresh=True)
        assert made.manifest()["continues"] is None
        assert {e.prompt[-1].content.split()[0] for e in made.examples("train")} == {word}
    stamp = (made.path / "manifest.json").stat().st_mtime_ns
    prepare(recipe, output=tmp_path / "data", fresh=True)
    assert (made.path / "manifest.json").stat().st_mtime_ns > stamp


def test_rows_that_only_held_out_sources_give(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", tickets(10, "card", "pin"))
    write_csv(tmp_path / "test.csv", [(f"other {n}", "card") for n in range(4)])
    sources = ({"path": "train.csv", "split": "train"}, {"path": "test.csv", "split": "test"})
    made = prepare(recipe_for(tmp_path, *sources), output=tmp_path / "data")
    assert made.rows["kept"] == {"train": 10, "validation": 0, "test": 4}


DECONTAMINATE: dict[str, Callable[[str], str]] = {
    "eval.csv": lambda text: f"id,question\n1,{text}\n2,something else\n",
    "eval.jsonl": lambda text: json.dumps(
        {"messages": [{"role": "user", "content": [{"type": "text", "text": text}]}]}
    ),
    "eval.json": lambda text: json.dumps([{"deep": {"er": [text]}}]),
    "eval.txt": lambda text: f"Preface. {text} The end.",
}


@pytest.mark.parametrize("name", DECONTAMINATE)
def test_files_that_train_must_not_repeat_are_no_rows(tmp_path: Path, name: str) -> None:
    leaked = "the quick brown fox jumps over the lazy dog near an old stone bridge today"
    write_csv(tmp_path / "a.csv", [*tickets(10, "a"), (f"Please note {leaked}", "a")])
    (tmp_path / name).write_text(DECONTAMINATE[name](leaked), encoding="utf-8")
    settings = {"decontaminate": [name], "split": {"validation": 0, "test": 0}}
    made = prepare(recipe_for(tmp_path, "a.csv", **settings), output=tmp_path / "data")
    assert made.rows["read"] == 11 and made.rejected == {"contaminated": 1}
    (record,) = read_jsonl(made.path / "rejected.jsonl")
    assert (record["line"], record["twin"]) == (12, name)
    assert record["detail"].endswith(f"of 13 words stand in {name}")
    assert [each["source"] for each in made.manifest()["inputs"]] == ["a.csv"]
    assert name in made.manifest()["statistics"]["contamination"]["against"]
    (tmp_path / name).write_text(DECONTAMINATE[name]("nothing of it"), encoding="utf-8")
    again = prepare(recipe_for(tmp_path, "a.csv", **settings), output=tmp_path / "data")
    assert again.rejected == {}


def test_a_missing_file_to_decontaminate_is_named(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", tickets(4, "a"))
    with pytest.raises(DataError, match=r"gone\.csv: no such file or folder"):
        prepare(recipe_for(tmp_path, "a.csv", decontaminate=["gone.csv"]), output=tmp_path / "d")


def test_prepared_data_beside_raw_data_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write_csv(tmp_path / "data/a.csv", tickets(10, "card"))
    for system in ("one", "two"):
        made = prepare(recipe_for(tmp_path, "data", system=system), output=tmp_path / "data")
        assert made.rows["read"] == 10


def test_two_at_once(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", tickets(4, "card"))
    with locked(tmp_path / "data/.desk.lock"), pytest.raises(RunError, match="another ftool"):
        prepare(recipe_for(tmp_path, "a.csv"), output=tmp_path / "data")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"keep_columns": ["lable"]}, "no source has a column `lable`; did you mean `label`?"),
        ({"split": {"group": "customer"}}, "a.csv has no column `customer`"),
    ],
)
def test_unknown_columns(tmp_path: Path, data: dict[str, Any], message: str) -> None:
    write_csv(tmp_path / "a.csv", tickets(4, "card"))
    with pytest.raises(DataError) as caught:
        prepare(recipe_for(tmp_path, "a.csv", **data), output=tmp_path / "data")
    assert message in caught.value.message


def test_a_wrong_column_of_a_table_is_told_at_its_first_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "UNIT_ROWS", 2)
    write_csv(tmp_path / "a.csv", tickets(20, "card"))
    source = {"path": "a.csv", "columns": {"prompt": "txet", "label": "label"}}
    recipe = recipe_for(tmp_path, source)
    told: list[int] = []
    with pytest.raises(DataError, match="no column `txet`; did you mean `text`"):
        prepare(
            recipe,
            output=tmp_path / "data",
            workers=1,
            on_progress=lambda _, done, __: told.append(done),
        )
    assert told == []


BYTES = st.one_of(
    st.binary(max_size=20),
    st.text(max_size=12).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.text(alphabet='ab,;"\n\r\0 é<&\ud800', max_size=12).map(
        lambda text: text.encode("utf-8", "surrogatepass")
    ),
    st.text(alphabet='{}[]":,ab\\u0 \n', max_size=12).map(str.encode),
    st.sampled_from(
        [
            *(
                "é".encode("latin-1"),
                "né\n".encode("utf-16"),
                b"\xef\xbb\xbf",
                b"\0",
                b"\xed\xa0\x80",
            ),
            *(b"[" * 2_000, b'{"text":' * 300, b'{"text": "\\ud800", "label": "a"}'),
            *(b'{"text": null, "label": null}', b"null", b'{"a": NaN}', b'"', b"w" * 5_000),
        ]
    ),
)
ROW = st.builds(lambda n, label: (n, label), st.integers(0, 9), st.integers(0, 3))
OBJECT = ROW.map(lambda row: b'{"text": "q%d", "label": "l%d"}' % row)
RECORD = ROW.map(lambda row: b"q%d,l%d" % row)
END = st.sampled_from([b"\n", b"\r\n", b"\r", b"\n\n", b",\n"])
KINDS: dict[str, tuple[st.SearchStrategy[bytes], bytes, bytes]] = {
    "a.csv": (RECORD, b"text,label\nfirst,l\n", b""),
    "a.tsv": (RECORD.map(lambda row: row.replace(b",", b"\t")), b"text\tlabel\nfirst\tl\n", b""),
    "a.jsonl": (OBJECT, b'{"text": "first", "label": "l"}\n', b""),
    "a.json": (OBJECT, b'[\n{"text": "first", "label": "l"},\n', b"]"),
    "a.txt": (RECORD, b"", b""),
}


def account(
    folder: Path, name: str, data: bytes, *, unit_bytes: int = 100, encoding: str | None = None
) -> PreparedDataset:
    """Prepare a file beside a good one, and hold that every row is accounted for."""
    (folder / name).write_bytes(data)
    (folder / "good.csv").write_text("text,label\nthis one is fine,l\n", encoding="utf-8")
    (folder / "good.txt").write_text("this one is fine", encoding="utf-8")
    is_text = name.endswith(".txt")
    good = "good.txt" if is_text else "good.csv"
    source = {"path": name, "encoding": encoding}
    kind = "text" if is_text else "chat"
    recipe = recipe_for(folder, source, good, kind=kind, max_rejected_ratio=1)
    with patch.object(units, "UNIT_BYTES", unit_bytes):
        made = prepare(recipe, output=folder / "data")
    kept, rejected = sum(made.rows["kept"].values()), sum(made.rows["rejected"].values())
    assert made.rows["read"] == kept + rejected
    examples = [example for s in SPLITS if made.count(s) for example in made.examples(s)]
    records = list(read_jsonl(made.path / "rejected.jsonl"))
    assert (len(examples), len(records)) == (kept, rejected)
    assert dict(Counter(record["reason"] for record in records)) == made.rejected
    places = [(example.source, example.line) for example in examples]
    places += [(record["source"], record["line"]) for record in records]
    assert len(set(places)) == len(places) or name.endswith(".json")
    return made


@pytest.mark.parametrize("name", KINDS)
def test_every_row_is_kept_or_rejected(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    good, head, foot = KINDS[name]
    lines = st.lists(st.tuples(st.one_of(good, BYTES), END), max_size=12)

    @settings(
        max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
    )
    @given(lines, st.sampled_from([head, head, b""]))
    def check(lines: list[tuple[bytes, bytes]], start: bytes) -> None:
        folder = tmp_path_factory.mktemp("rows")
        data = start + b"".join(text + end for text, end in lines) + foot
        try:
            account(folder, name, data)
        except DataError:
            assert start == b"" or name in {"a.json", "a.txt"}
        shutil.rmtree(folder)

    check()


def test_every_broken_line_is_there_once_as_it_was(tmp_path: Path) -> None:
    lines = [
        b'{"text": "fine", "label": "a"}',
        b'{"text": "caf\xe9", "label": "a"}',
        b'{"text": "a\0b", "label": "a"}',
        b'{"text": "\\ud800", "label": "a"}',
        b"[" * 5_000,
        b'{"text": null, "label": "a"}',
        b'{"text": "q", "label": null}',
        b'{"text": "q", "text": "r"}',
        b"",
        b"null",
        "{\u2028\u0085".encode(),
        b'{"other": 1}',
        b'{"text": "%s", "label": "a"}' % (b"w" * 10_000_001),
        b'{"text": "fine too", "label": "a"}',
    ]
    made = account(tmp_path, "a.jsonl", b"\n".join(lines), unit_bytes=50)
    records = list(read_jsonl(made.path / "rejected.jsonl"))
    assert [(record["line"], record["reason"]) for record in records] == [
        (2, "undecodable_bytes"),
        (3, "nul_byte"),
        (4, "lone_surrogate"),
        (5, "too_deep"),
        (6, "empty_prompt"),
        (7, "missing_label"),
        (8, "duplicate_key"),
        (9, "empty_row"),
        (10, "not_an_object"),
        (11, "broken_json"),
        (12, "missing_field"),
        (13, "line_too_long"),
    ]
    for record in records:
        raw = lines[record["line"] - 1]
        assert record["raw"] == raw.decode("utf-8", "ftool.escape").strip()


def broken_lines(random: Random, count: int) -> list[bytes]:
    """Return objects of which most are damaged: cut, with bytes changed, or of odd values."""
    values: list[Any] = [None, 1, True, "", " ", "é", [], {}, ["x"], {"a": 1}, "\ud800", "\0"]
    lines = []
    for number in range(count):
        record: dict[str, Any] = {"text": f"question {number} of many", "label": "ab"[number % 2]}
        if random.random() < 0.4:
            record[random.choice(["text", "label", "more"])] = random.choice(values)
        line = bytearray(
            json.dumps(record, ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")
        )
        for _ in range(random.choice([0, 1, 1, 3])):
            line[random.randrange(len(line))] = random.randrange(256)
        if random.random() < 0.2:
            del line[random.randrange(len(line)) :]
        lines.append(bytes(line).replace(b"\n", b" ").replace(b"\r", b" "))
    return lines


def test_ten_thousand_broken_rows_are_accounted_for(tmp_path: Path) -> None:
    lines = broken_lines(Random(5), 10_000)
    start = perf_counter()
    data = b"\n".join([*lines, b"{}"])
    made = account(tmp_path, "a.jsonl", data, unit_bytes=100_000, encoding="utf-8")
    assert perf_counter() - start < 15
    assert made.rows["read"] == 10_002
    assert sum(made.rejected.values()) > 5_000
    for record in read_jsonl(made.path / "rejected.jsonl"):
        if record["source"] == "a.jsonl" and record["line"] <= len(lines):
            raw = lines[record["line"] - 1].decode("utf-8", "ftool.escape").strip()
            assert record["raw"] == raw


@pytest.mark.skipif(not BANKING77.is_dir(), reason="the shared data folder is not here")
def test_banking77(tmp_path: Path) -> None:
    sources: list[dict[str, Any]] = [
        {"path": "train.csv", "columns": {"prompt": "text", "label": "category"}},
        {"path": "test.csv", "split": "test"},
    ]
    start = perf_counter()
    made = prepare(recipe_for(BANKING77, *sources), output=tmp_path)
    assert perf_counter() - start < 30
    assert made.rows == {
        "read": 13_083,
        "kept": {"train": 8_894, "validation": 988, "test": 3_080},
        "rejected": {
            **{"near_duplicate": 49, "leaks_into_test": 37, "contaminated": 31},
            **{"exact_duplicate": 4},
        },
    }
    assert len(made.label_names) == 77
    counts = made.manifest()["label_counts"]
    assert all(set(counts[split]) == set(made.label_names) for split in SPLITS)


def test_import_is_light() -> None:
    heavy = {"torch", "transformers", "datasets", "pandas", "scipy", "matplotlib", "jinja2"}
    code = f"import sys, ftool.prepare.run; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_parts_of_messages_that_nothing_reads_are_told(tmp_path: Path) -> None:
    said = [
        {"role": "user", "content": "one two three", "mood": 0},
        {"role": "assistant", "content": "four", "annotations": ["hm"], "refusal": None},
    ]
    rows = [
        {"messages": said},
        {"messages": json.dumps([said[0], {"role": "assistant", "content": "six"}])},
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    notes: list[str] = []
    recipe = recipe_for(tmp_path, "rows.jsonl", split={"validation": 0, "test": 0})
    prepare(recipe, output=tmp_path / "data", on_note=notes.append)
    assert "nothing reads these parts of messages: `annotations`, `mood`" in notes


AUTO_REPLY = "This is an automatic reply. I am out of office until Monday and will answer then."


@pytest.mark.parametrize(
    ("rows", "data", "lost"),
    [
        ([(AUTO_REPLY, "auto")], {}, {"auto": {"boilerplate": 1}}),
        ([(AUTO_REPLY, "auto"), ("", "auto")], {}, {"auto": {"boilerplate": 1, "empty_prompt": 1}}),
        ([("ticket 1", "auto")], {}, {"auto": {"conflicting_label": 1}}),
        ([(AUTO_REPLY, "auto"), ("one that stays", "Auto")], {}, {}),
        ([(AUTO_REPLY, "auto")], {"filter": {"boilerplate": False}}, {}),
        ([(AUTO_REPLY, "auto")], {"label_names": ["card", "pin"]}, {}),
        ([(AUTO_REPLY, "auto")], {"label_names": "none"}, {}),
    ],
)
def test_a_class_that_is_lost_to_rejections_is_named(
    tmp_path: Path, rows: list[tuple[str, str]], data: dict[str, Any], lost: dict[str, Any]
) -> None:
    write_csv(tmp_path / "a.csv", [*tickets(40, "card", "pin"), *rows])
    notes: list[str] = []
    recipe = recipe_for(tmp_path, "a.csv", **data)
    made = prepare(recipe, output=tmp_path / "data", on_note=notes.append)
    assert made.manifest()["lost_labels"] == lost
    assert any("every row was rejected: `auto`" in note for note in notes) is bool(lost)


def test_a_trial_of_a_file_that_is_sorted_by_label_sees_all_labels(tmp_path: Path) -> None:
    rows = [(f"a ticket about {word} with number {n}", word) for word in "abcd" for n in range(500)]
    write_csv(tmp_path / "a.csv", rows)
    notes: list[str] = []
    recipe = recipe_for(tmp_path, "a.csv", dedup={"near": None})
    made = prepare(recipe, output=tmp_path / "data", trial=200, on_note=notes.append)
    assert made.label_names == ("a", "b", "c", "d")
    assert made.manifest()["sampled"] == ["a.csv"] and made.rows["read"] == 200
    assert "a.csv: 200 of its 2,000 rows are tried" in notes
    whole = prepare(recipe, output=tmp_path / "data", trial=2_000)
    assert whole.manifest()["sampled"] == [] and whole.rows["read"] == 2_000


def test_splits_of_one_document_stay_apart(tmp_path: Path) -> None:
    texts = [[f"a ticket about {word} number {n}", word] for n in range(20) for word in "ab"]
    document = {"train": texts, "val": texts[:2], "test": [["another about a", "a"]]}
    (tmp_path / "data.json").write_text(json.dumps(document), encoding="utf-8")
    made = prepare(recipe_for(tmp_path, "data.json"), output=tmp_path / "data")
    assert made.rows["kept"] == {"train": 38, "validation": 2, "test": 1}
    assert made.rejected == {"leaks_into_validation": 2}
    assert made.manifest()["assigned"] == ["validation", "test"]
    assert "come from sources of their own" in (made.path / "README.md").read_text()
    whole = recipe_for(tmp_path, {"path": "data.json", "split": "train"}, dedup={"near": None})
    assert prepare(whole, output=tmp_path / "all").rows["kept"] == {
        **{"train": 41, "validation": 0, "test": 0},
    }


def test_foreign_files_among_those_that_train_must_not_repeat(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", tickets(20, "card", "pin"))
    held = {"t.csv": "text,label\nother words,card\n", "README.md": "", "x.yml": "on: 1"}
    (tmp_path / "held").mkdir()
    for name, text in held.items():
        (tmp_path / "held" / name).write_text(text)
    made = prepare(recipe_for(tmp_path, "a.csv", decontaminate=["held"]), output=tmp_path / "data")
    assert made.rejected == {}


def test_what_is_rejected_depends_on_no_order_of_a_set(tmp_path: Path) -> None:
    rows = [{"said": f"answer {n}"} for n in range(4)] + [
        {**dict.fromkeys("wzr", "q"), "said": "a"}
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    columns = {"prompt": ["w", "z", "r"], "completion": "said"}
    source = {"path": "a.jsonl", "columns": columns}
    settings = {"name": "desk", "data": {"sources": [source], "max_rejected_ratio": 1.0}}
    (tmp_path / "r.yaml").write_text(json.dumps(settings))
    found = set()
    for seed in "123":
        command = [sys.executable, "-m", "ftool", "prepare", "--recipe", "r.yaml", "--fresh"]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
        found.add((tmp_path / "data/desk/rejected.jsonl").read_bytes())
    assert len(found) == 1 and b"it has no w, z, r" in found.pop()


def test_a_first_row_that_stands_again_is_no_repeated_header(tmp_path: Path) -> None:
    rows = ["I am very sad,negative", "so glad,positive", "I am very sad,negative"] * 5
    (tmp_path / "a.csv").write_text("\n".join(rows))
    with pytest.raises(DataError, match="its first line looks like data"):
        prepare(recipe_for(tmp_path, "a.csv"), output=tmp_path / "data")
    write_csv(tmp_path / "a.csv", [*tickets(20, "card", "pin"), ("text", "label")])
    made = prepare(recipe_for(tmp_path, "a.csv"), output=tmp_path / "data")
    assert made.rejected == {"repeated_header": 1}
