import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from prepare_files import recipe_for
from pyarrow import parquet

from ftool.artifacts import OnNote, ignore_note
from ftool.errors import DataError, HubError
from ftool.prepare.read.rows import Row
from ftool.prepare.read.sources import (
    Input,
    describe_input,
    find_inputs,
    input_encoding,
    is_json_lines,
    no_rows,
    read_rows,
)

SNIPS = Path(__file__).parents[4] / "shared/data/snips/train_PlayMusic_full.json"


def inputs(
    folder: Path, *sources: dict[str, Any] | str, on_note: OnNote = ignore_note
) -> list[Input]:
    return find_inputs(folder, recipe_for(folder, *sources).data.sources, on_note)


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def shown(folder: Path, *sources: str) -> list[str]:
    return [found.shown for found in inputs(folder, *sources)]


def rows(folder: Path, source: dict[str, Any] | str) -> list[Row]:
    (found,) = inputs(folder, source)
    return list(read_rows(found, input_encoding(found, ignore_note)))


def test_files_folders_and_globs(tmp_path: Path) -> None:
    write(tmp_path, raw__b_csv="x", raw__a_txt="x", raw__deep__c_jsonl="x", d_csv="x")
    write(tmp_path, raw___hidden__e_csv="x", up__recipe_yaml="x")
    assert shown(tmp_path, "raw") == ["raw/a.txt", "raw/b.csv", "raw/deep/c.jsonl"]
    assert shown(tmp_path, "raw/*.csv", "raw/a.txt") == ["raw/b.csv", "raw/a.txt"]
    assert shown(tmp_path, "**/*.csv") == ["d.csv", "raw/b.csv"]
    assert shown(tmp_path / "up", "../d.csv", "../raw/*.txt") == ["../d.csv", "../raw/a.txt"]


def test_absolute_paths_are_not_shown(tmp_path: Path) -> None:
    write(tmp_path, raw__b_csv="x")
    paths = (str(tmp_path / "raw/b.csv"), str(tmp_path / "raw"), str(tmp_path / "*/b.csv"))
    assert shown(Path("/"), *paths) == ["b.csv", "raw/b.csv", "b.csv"]


def test_other_kinds_in_a_folder_are_told(tmp_path: Path) -> None:
    write(tmp_path, raw__b_csv="x", raw__b_pdf="x", raw__c_pdf="x")
    notes: list[str] = []
    inputs(tmp_path, "raw", on_note=lambda sentence: notes.append(sentence))
    assert notes == ["raw: 2 files are not read, for their kind is not known (.pdf)"]


def test_what_ftool_wrote_is_no_raw_data(tmp_path: Path) -> None:
    write(tmp_path, data__raw_csv="x", data__out__manifest_json='{"ftool": "1"}')
    write(tmp_path, data__out__train__a_csv="x")
    assert shown(tmp_path, "data") == ["data/raw.csv"]


def test_all_missing_sources_are_named_at_once(tmp_path: Path) -> None:
    write(tmp_path, a_pdf="x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError) as caught:
        inputs(tmp_path, "gone.csv", "none/*.csv", "a.pdf", "a**b", "empty")
    assert caught.value.message.splitlines() == [
        "sources cannot be read:",
        "  gone.csv: no such file or folder",
        "  none/*.csv: no file matches",
        "  a.pdf: .pdf is not a known kind; known are .csv, .tsv, .tab, .json, .jsonl, "
        ".ndjson, .txt, .md, .yml, .yaml, .parquet, .xlsx, .xlsm, also .gz",
        "  a**b: no file matches",
        "  empty: no file is in it",
    ]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.csv", "text,label\nq,a\n", {"text": "q", "label": "a"}),
        ("a.TSV", "text\tlabel\nq\ta\n", {"text": "q", "label": "a"}),
        ("a.json", '[{"text": "q"}]', {"text": "q"}),
        ("a.json", '{"text": "q"}\n{"text": "r"}', {"text": "q"}),
        ("a.jsonl", '{"text": "q"}\n', {"text": "q"}),
        ("a.ndjson", '{"text": "q"}\n', {"text": "q"}),
        ("a.txt", "q\n\nr\n", {"text": "q\n\nr\n"}),
        ("a.md", "# q\n", {"text": "# q\n"}),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_every_kind_of_text_file(
    tmp_path: Path, name: str, text: str, expected: dict[str, str], packed: bool
) -> None:
    path = tmp_path / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    assert rows(tmp_path, path.name)[0].values == expected


@pytest.mark.parametrize("packed", [False, True])
def test_parquet(tmp_path: Path, packed: bool) -> None:
    table = pyarrow.table({"text": ["q", None, "r"], "n": pyarrow.array([1, None, 2])})
    parquet.write_table(table, tmp_path / "a.parquet")
    if packed:
        (tmp_path / "a.parquet.gz").write_bytes(
            gzip.compress((tmp_path / "a.parquet").read_bytes())
        )
    found = rows(tmp_path, "a.parquet.gz" if packed else "a.parquet")
    assert [(row.line, row.reason or row.values) for row in found] == [
        (1, {"text": "q", "n": 1}),
        (2, "empty_row"),
        (3, {"text": "r", "n": 2}),
    ]


def test_parquet_with_bytes_that_are_no_text(tmp_path: Path) -> None:
    data = pyarrow.array([b"fine", b"\xff", b"good"]).view(pyarrow.string())
    parquet.write_table(pyarrow.table({"text": data}), tmp_path / "a.parquet")
    found = rows(tmp_path, "a.parquet")
    assert [row.reason for row in found] == ["", "undecodable_bytes", ""]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.csv", b"", "a.csv has no rows"),
        ("a.csv", b"text,label\n", "a.csv has no rows"),
        ("a.json", b"[]", "a.json has no rows"),
        ("a.txt", b"", "a.txt has no rows"),
        ("a.csv", b'"a,a\n1,2\n', "a.csv: line 1: the header is broken"),
        ("a.csv.gz", gzip.compress(b"a,b\n" * 999)[:-9], "a.csv.gz is damaged"),
        ("a.csv.gz", b"a,b\n1,2\n", "a.csv.gz is damaged"),
        ("a.parquet", b"PAR1", "a.parquet: is damaged or no parquet file"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError) as caught:
        rows(tmp_path, name)
    assert caught.value.message.startswith(message)


def test_encoding_is_detected_told_and_can_be_forced(tmp_path: Path) -> None:
    text = "text,label\n" + "Où est passée ma carte ? Déjà réglé à l'hôtel,é\n" * 20
    (tmp_path / "a.csv").write_bytes(text.encode("cp1252"))
    notes: list[str] = []
    (found,) = inputs(tmp_path, "a.csv")
    assert input_encoding(found, lambda sentence: notes.append(sentence)) == "cp1252"
    assert next(read_rows(found, "cp1252")).reason == ""
    assert len(notes) == 1 and notes[0].startswith("a.csv is not UTF-8 and read as cp1252;")
    forced = rows(tmp_path, {"path": "a.csv", "encoding": "cp1252"})
    assert forced[0].values == {
        "text": "Où est passée ma carte ? Déjà réglé à l'hôtel",
        "label": "é",
    }
    with pytest.raises(DataError, match=r"a\.csv: encoding: `klingon`"):
        rows(tmp_path, {"path": "a.csv", "encoding": "klingon"})


def test_encoding_means_nothing_for_parquet(tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table({"text": ["q"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"`encoding` is for text files, not for \.parquet"):
        rows(tmp_path, {"path": "a.parquet", "encoding": "utf-8"})


def test_input_is_described_by_content(tmp_path: Path) -> None:
    write(tmp_path, a_txt="abc")
    (found,) = inputs(tmp_path, "a.txt")
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert describe_input(found) == {"source": "a.txt", "bytes": 3, "sha256": sha256}


def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> str:
        raise PermissionError("not yours")

    write(tmp_path, a_txt="abc")
    (found,) = inputs(tmp_path, "a.txt")
    monkeypatch.setattr("ftool.prepare.read.sources.file_sha256", refuse)
    with pytest.raises(DataError, match=r"a\.txt is damaged or not readable: not yours"):
        describe_input(found)


def test_tables_have_no_encoding(tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table({"text": ["q"]}), tmp_path / "a.parquet")
    (found,) = inputs(tmp_path, "a.parquet")
    assert input_encoding(found, ignore_note) == ""


def test_a_named_encoding_is_taken_as_it_is(tmp_path: Path) -> None:
    write(tmp_path, a_txt="ü")
    (found,) = inputs(tmp_path, {"path": "a.txt", "encoding": "latin-1"})
    assert input_encoding(found, ignore_note) == "latin-1"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.jsonl", True), ("a.NDJSON", True), ("a.json", False), ("a.jsonl.gz", False)],
)
def test_files_of_one_object_a_line(tmp_path: Path, name: str, expected: bool) -> None:
    (tmp_path / name).write_bytes(b"{}")
    assert is_json_lines(inputs(tmp_path, name)[0]) is expected


def test_inputs_come_in_the_order_of_the_recipe(tmp_path: Path) -> None:
    write(tmp_path, b_csv="x", a_csv="x")
    found = inputs(tmp_path, "b.csv", "*.csv")
    assert [(each.origin, each.shown) for each in found] == [
        *((0, "b.csv"), (1, "a.csv"), (1, "b.csv")),
    ]
    assert no_rows(found[0]).message == "b.csv has no rows"


def test_hub_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])}
    )
    records = [{"text": "q", "label": 1}, {"text": "", "label": None}, {"text": "r", "label": 0}]
    made = datasets.Dataset.from_list(records, features=features)
    asked = []

    def load(name: str, split: str) -> Any:
        asked.append((name, split))
        return made

    monkeypatch.setattr(datasets, "load_dataset", load)
    source = {"path": "hf://org/name", "hub_split": "validation"}
    (found,) = inputs(tmp_path, source)
    assert asked == [("org/name", "validation")]
    assert [(row.line, row.reason or row.values) for row in read_rows(found, "")] == [
        (1, {"text": "q", "label": "yes"}),
        (2, "empty_row"),
        (3, {"text": "r", "label": "no"}),
    ]
    described = describe_input(found)
    assert described["source"] == "hf://org/name" and len(described["sha256"]) == 64


def test_hub_out_of_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def load(name: str, split: str) -> Any:
        raise ConnectionError("no route\nmore")

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(HubError, match=r"hf://org/name: the Hub cannot be reached .*: no route"):
        inputs(tmp_path, "hf://org/name")


@pytest.mark.skipif(not SNIPS.is_file(), reason="the shared data folder is not here")
def test_a_file_with_a_few_broken_bytes_loses_their_rows_only() -> None:
    found = rows(SNIPS.parent, SNIPS.name)
    bad = [row for row in found if row.reason]
    assert len(found) == 2_000
    assert {row.reason for row in bad} == {"undecodable_bytes"}
    assert 0 < len(bad) < 20
    with pytest.raises(UnicodeDecodeError):
        json.loads(SNIPS.read_bytes().decode())


def test_the_file_beside_texts_is_a_part_of_the_input(tmp_path: Path) -> None:
    write(tmp_path, seq_in="hi there\nbye now\n")
    (tmp_path / "label").write_text("greet\nbye\n")
    notes: list[str] = []
    (found,) = inputs(tmp_path, ".", on_note=notes.append)
    before = describe_input(found)["sha256"]
    (tmp_path / "label").write_text("bye\ngreet\n")
    assert describe_input(found)["sha256"] != before and notes == []


@pytest.mark.parametrize("setting", [{"delimiter": ";"}, {"header": "none"}, {"encoding": "utf-8"}])
def test_settings_of_text_mean_nothing_for_saved_data_sets(
    tmp_path: Path, setting: dict[str, str]
) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_dict({"text": ["q"]}).save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(DataError, match="not for a saved data set"):
        inputs(tmp_path, {"path": "saved", **setting})


@pytest.mark.parametrize("written", ["~nobody-is-called-so/a.csv", "a" * 5000])
def test_a_path_of_no_disk_is_no_file(tmp_path: Path, written: str) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        inputs(tmp_path, written)
