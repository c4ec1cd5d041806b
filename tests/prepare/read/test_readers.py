import json
from pathlib import Path
from typing import Any

import pytest

from ftool.errors import DataError
from ftool.prepare.read.readers import (
    EXTENSIONS,
    extension,
    is_known,
    open_saved,
    read_file,
    read_hub,
)
from ftool.recipe.blocks.data import Source

datasets = pytest.importorskip("datasets")


def outcomes(path: Path, text: str, kind: str = "chat", **source: Any) -> list[Any]:
    path.write_text(text, encoding="utf-8")
    rows = read_file(path, Source(path=path.name, **source), kind, "utf-8")
    return [row.reason or row.values for row in rows]


Q_A = {"prompt": "q", "completion": "a"}


@pytest.mark.parametrize(
    ("name", "text", "source"),
    [
        ("a.csv", "prompt,completion\nq,a\n", {}),
        ("a.csv", "sep=;\nprompt;completion\nq;a\n", {}),
        ("a.csv", "prompt#completion\nq#a\n", {"delimiter": "#"}),
        ("a.tsv", "prompt\tcompletion\nq\ta\n", {}),
        ("a.tsv", "prompt,completion\nq,a\n", {}),
        ("a.json", json.dumps([Q_A]), {}),
        ("a.json", json.dumps(Q_A), {}),
        ("a.json", json.dumps(Q_A, indent=1) * 1, {}),
        ("a.jsonl", json.dumps([Q_A]), {}),
        ("a.jsonl", json.dumps(Q_A, indent=1), {}),
        ("a.yaml", '- {prompt: "q", completion: "a"}\n', {}),
    ],
)
def test_one_row_in_many_forms(tmp_path: Path, name: str, text: str, source: Any) -> None:
    assert outcomes(tmp_path / name, text, **source) == [Q_A]


def test_objects_behind_one_another(tmp_path: Path) -> None:
    text = json.dumps(Q_A, indent=2) + "\n" + json.dumps(Q_A, indent=2)
    for name in ("a.json", "a.jsonl"):
        assert outcomes(tmp_path / name, text) == [Q_A, Q_A]


def test_a_tab_that_is_named_splits_where_quotes_do_not_match(tmp_path: Path) -> None:
    text = 'label\ttext\nham\t"quoted to the end\nspam\tend "here\nham\t"both" of them\n'
    assert outcomes(tmp_path / "a.tsv", text) == [
        {"label": "ham", "text": '"quoted to the end'},
        {"label": "spam", "text": 'end "here'},
        {"label": "ham", "text": '"both" of them'},
    ]


def test_a_table_without_a_header_counts_its_columns(tmp_path: Path) -> None:
    assert outcomes(tmp_path / "a.csv", "ham,hi\nspam,win\n", header="none") == [
        {"1": "ham", "2": "hi"},
        {"1": "spam", "2": "win"},
    ]
    assert outcomes(tmp_path / "a.txt", "ham|hi\n", header="none", delimiter="|") == [
        {"1": "ham", "2": "hi"}
    ]


def test_a_text_file_is_a_text_where_its_lines_show_no_pattern(tmp_path: Path) -> None:
    assert outcomes(tmp_path / "a.txt", "One.\n\nTwo.\n") == [{"text": "One.\n\nTwo.\n"}]
    lines = "".join(f"some words {n}\t{'ab'[n % 2]}\n" for n in range(6))
    assert outcomes(tmp_path / "a.txt", lines)[0] == {"text": "some words 0", "label": "a"}
    assert outcomes(tmp_path / "a.txt", lines, kind="text") == [{"text": lines}]


def test_texts_of_a_corpus_in_one_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(
        "One.\n\n<|endoftext|>\n Two.\n<|endoftext|>\n", encoding="utf-8"
    )
    rows = list(read_file(tmp_path / "a.txt", Source(path="a.txt"), "text", "utf-8"))
    assert [(row.line, row.raw.strip()) for row in rows] == [(1, "One."), (4, "Two.")]


def test_yaml_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no sound YAML"):
        outcomes(tmp_path / "a.yml", "a: [")
    with pytest.raises(DataError, match="no examples that are known"):
        outcomes(tmp_path / "a.yml", "rules: []\n")


def test_a_corpus_in_a_list(tmp_path: Path) -> None:
    assert outcomes(tmp_path / "a.json", '["a b", "c"]', kind="text") == [
        {"text": "a b"},
        {"text": "c"},
    ]


def test_texts_beside_their_labels(tmp_path: Path) -> None:
    (tmp_path / "label").write_text("greet\nbye\n")
    assert outcomes(tmp_path / "seq.in", "hi there\nbye now\n") == [
        {"text": "hi there", "label": "greet"},
        {"text": "bye now", "label": "bye"},
    ]
    with pytest.raises(DataError, match="has 1 lines, and `label` 2"):
        outcomes(tmp_path / "seq.in", "hi there\n")
    (tmp_path / "label").unlink()
    with pytest.raises(DataError, match="has no file `label`"):
        outcomes(tmp_path / "seq.in", "hi there\n")


def test_names_of_classes_in_parquet(tmp_path: Path) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    table = datasets.Dataset.from_dict({"text": ["x", "y", "z"], "label": [1, 0, None]}, features)
    table.to_parquet(str(tmp_path / "a.parquet"))
    rows = read_file(tmp_path / "a.parquet", Source(path="a.parquet"), "chat", "")
    assert [row.values["label"] for row in rows if row.values] == ["good", "bad", None]
    assert [row.line for row in read_hub(table, split="test", first=5)] == [5, 6, 7]


def test_saved_data_sets(tmp_path: Path) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    table = datasets.Dataset.from_dict({"text": ["x"], "label": [1]}, features)
    table.save_to_disk(str(tmp_path / "one"))
    datasets.DatasetDict({"train": table, "test": table}).save_to_disk(str(tmp_path / "both"))
    assert [part.split for part in open_saved(tmp_path / "one") or ()] == [None]
    both = open_saved(tmp_path / "both") or []
    assert [part.split for part in both] == [None, "test"]
    (row,) = read_hub(both[1].table, split=both[1].split)
    assert (row.values, row.split) == ({"text": "x", "label": "good"}, "test")
    assert open_saved(tmp_path) is None
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/state.json").write_text("{}")
    with pytest.raises(DataError, match="damaged or no saved data set"):
        open_saved(tmp_path / "bad")


@pytest.mark.parametrize(
    ("name", "expected", "alone"),
    [
        ("a.CSV.gz", ".csv", True),
        ("seq.in", "seq.in", True),
        ("seq.out", ".out", False),
        ("SMSSpam", "", False),
        ("a.pdf", ".pdf", False),
    ],
)
def test_what_tells_how_a_file_is_read(name: str, expected: str, alone: bool) -> None:
    assert extension(Path(name)) == expected
    assert is_known(Path(name)) is alone
    assert is_known(Path("SMSSpam"), is_named=True) and not is_known(Path("a.pdf"), is_named=True)
    assert "" not in EXTENSIONS


def test_keys_that_stand_twice_and_items_that_are_no_objects(tmp_path: Path) -> None:
    twice = '{"greet": ["hi there"], "greet": ["lost text"], "bye": ["bye now"]}'
    assert outcomes(tmp_path / "a.json", twice) == ["duplicate_key"]
    found = outcomes(tmp_path / "a.yaml", "- {prompt: 0123, completion: 12:30}\n- just text\n")
    assert found == [{"prompt": "0123", "completion": "12:30"}, "not_an_object"]
