import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftool.artifacts import PreparedDataset, data_settings, locked, read_jsonl
from ftool.errors import DataError, RunError
from ftool.example import SPLITS
from ftool.prepare.folder import outputs_of
from ftool.prepare.run import prepare
from ftool.recipe.schema import Recipe

BANKING77 = Path(__file__).parents[3] / "shared/data/banking77"


def recipe(folder: Path, *sources: dict[str, Any] | str, **data: Any) -> Recipe:
    listed = [{"path": source} if isinstance(source, str) else source for source in sources]
    made = Recipe.model_validate({"name": "desk", "data": {"sources": listed, **data}})
    made._folder = folder
    return made


def write(path: Path, rows: list[tuple[str, str]], *, header: str = "text,label") -> None:
    path.write_text("\n".join([header, *(f"{text},{label}" for text, label in rows)]) + "\n")


def tickets(n: int, *labels: str) -> list[tuple[str, str]]:
    return [(f"ticket {i}", labels[i % len(labels)]) for i in range(n)]


def test_from_rows_to_splits(tmp_path: Path) -> None:
    write(
        tmp_path / "a.csv", [*tickets(40, "card", "Pin code"), ("ticket 1", "pin_code"), ("", "x")]
    )
    notes: list[str] = []
    progress: list[tuple[str, int, int | None]] = []
    made = prepare(
        recipe(tmp_path, "a.csv", system="Route."),
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
    assert notes == ["label spellings merged into `Pin code`: `pin_code` (1)"]
    assert progress[-2:] == [("reading", 42, 42), ("writing", 40, 40)]
    first = made.examples("train")[0]
    assert [message.content for message in first.messages] == ["Route.", "ticket 0", "card"]
    assert (first.id, first.label, first.line) == ("a.csv:2", "card", 2)
    assert list(read_jsonl(made.path / "rejected.jsonl")) == [
        {
            "source": "a.csv",
            "line": 43,
            "reason": "empty_prompt",
            "detail": "nothing is left of the prompt",
            "raw": ",x",
        },
        {
            "source": "a.csv",
            "line": 42,
            "reason": "exact_duplicate",
            "detail": "same as a.csv:3",
            "raw": "ticket 1,pin_code",
        },
    ]


def test_manifest(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", tickets(20, "card", "pin"))
    made = prepare(recipe(tmp_path, "a.csv"), output=tmp_path / "data")
    manifest = made.manifest()
    assert set(manifest) == {
        *("schema", "ftool", "kind", "name", "fingerprint", "inputs_fingerprint", "recipe"),
        *("inputs", "rows", "label_names", "label_counts", "merged_spellings", "outputs"),
    }
    assert manifest["recipe"] == data_settings(recipe(tmp_path, "a.csv"))
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
        write(folder / "a.csv", tickets(50, "card", "pin"))
        made.append(prepare(recipe(folder, "a.csv"), output=folder / "data").path)
    assert outputs_of(made[0]) == outputs_of(made[1])


def test_up_to_date(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", tickets(20, "card", "pin"))
    made = prepare(recipe(tmp_path, "a.csv"), output=tmp_path / "data")
    stamp = (made.path / "manifest.json").stat().st_mtime_ns

    def again(settings: Recipe) -> tuple[PreparedDataset, list[str]]:
        notes: list[str] = []
        return prepare(
            settings, output=tmp_path / "data", on_note=lambda sentence: notes.append(sentence)
        ), notes

    same, notes = again(recipe(tmp_path, "a.csv"))
    assert same == made
    assert notes == [f"{made.path} is up to date"]
    assert (made.path / "manifest.json").stat().st_mtime_ns == stamp

    other, notes = again(recipe(tmp_path, "a.csv", system="Route."))
    assert notes == [] and other.fingerprint != made.fingerprint
    write(tmp_path / "a.csv", tickets(30, "card", "pin"))
    assert again(recipe(tmp_path, "a.csv"))[0].rows["read"] == 30


def test_plain_datasets_opens_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.csv", tickets(20, "card", "pin"))
    prepare(recipe(tmp_path, "a.csv"))
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
    made = prepare(recipe(tmp_path, "*.txt", kind="text"), output=tmp_path / "data")
    assert made.kind == "text" and made.label_names == ()
    assert {e.text for s in SPLITS for e in made.examples(s)} == {
        f"Document {n}.\n\nEnd." for n in range(10)
    }


def test_assigned_test_source_keeps_its_rows(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", tickets(30, "card", "pin"))
    write(tmp_path / "test.csv", [("ticket 0", "card"), ("ticket 0", "card"), ("x", "pin")])
    sources = ("train.csv", {"path": "test.csv", "split": "test"})
    made = prepare(recipe(tmp_path, *sources), output=tmp_path / "data")
    assert made.rows["kept"] == {"train": 26, "validation": 3, "test": 3}
    assert made.rejected == {"leaks_into_test": 1}


def test_one_file_used_twice_has_unique_ids(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", tickets(10, "card"))
    settings = recipe(tmp_path, "a.csv", "a.csv", dedup={"exact": False})
    made = prepare(settings, output=tmp_path / "data")
    ids = [example.id for split in SPLITS for example in made.examples(split)]
    assert len(set(ids)) == 20 and {"a.csv:2", "a.csv:2#2"} <= set(ids)


def test_a_sample_does_not_count_as_rejected(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", tickets(100, "card", "pin"))
    made = prepare(recipe(tmp_path, {"path": "a.csv", "limit": 10}), output=tmp_path / "data")
    assert made.rows["kept"] == {"train": 8, "validation": 1, "test": 1}
    assert made.rejected == {"not_sampled": 90}


def test_too_many_rejected_rows_are_kept_to_read(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", tickets(4, "card"))
    before = prepare(recipe(tmp_path, "a.csv"), output=tmp_path / "data")
    write(tmp_path / "a.csv", [("fine", "a"), ("", "a"), ("", "b"), ("", "c"), ("", "d")])
    with pytest.raises(DataError) as caught:
        prepare(recipe(tmp_path, "a.csv"), output=tmp_path / "data")
    assert "4 of 5 rows were rejected" in caught.value.message
    assert "4  empty_prompt: the row has no prompt (a.csv:3, a.csv:4, a.csv:5)" in str(caught.value)
    rejected = Path(caught.value.hint.removeprefix("the rejected rows are in "))
    assert len(list(read_jsonl(rejected))) == 4
    assert PreparedDataset.open(before.path) == before


def test_raw_data_is_never_written_over(tmp_path: Path) -> None:
    raw = tmp_path / "data/desk"
    raw.mkdir(parents=True)
    write(raw / "a.csv", tickets(4, "card"))
    with pytest.raises(DataError, match="was not written by ftool prepare"):
        prepare(recipe(tmp_path, "data/desk/a.csv"), output=tmp_path / "data")
    assert [path.name for path in (tmp_path / "data").rglob("*")] == ["desk", "a.csv"]


def test_prepared_data_beside_raw_data_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write(tmp_path / "data/a.csv", tickets(10, "card"))
    for system in ("one", "two"):
        made = prepare(recipe(tmp_path, "data", system=system), output=tmp_path / "data")
        assert made.rows["read"] == 10


def test_two_at_once(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", tickets(4, "card"))
    with locked(tmp_path / "data/.desk.lock"), pytest.raises(RunError, match="another ftool"):
        prepare(recipe(tmp_path, "a.csv"), output=tmp_path / "data")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"keep_columns": ["lable"]}, "no source has a column `lable`; did you mean `label`?"),
        ({"split": {"group": "customer"}}, "a.csv has no column `customer`"),
    ],
)
def test_unknown_columns(tmp_path: Path, data: dict[str, Any], message: str) -> None:
    write(tmp_path / "a.csv", tickets(4, "card"))
    with pytest.raises(DataError) as caught:
        prepare(recipe(tmp_path, "a.csv", **data), output=tmp_path / "data")
    assert message in caught.value.message


LINE = st.one_of(
    st.builds("q{},l{}".format, st.integers(0, 9), st.integers(0, 3)),
    st.text(alphabet=st.sampled_from('ab,"\n\r\0 é<&\ud800'), max_size=12),
)
OBJECT = st.one_of(
    st.builds('{{"text": "q{}", "label": "l{}"}}'.format, st.integers(0, 9), st.integers(0, 3)),
    st.recursive(
        st.none() | st.integers() | st.text(max_size=3) | st.floats(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from("abtext"), inner),
        max_leaves=4,
    ).map(json.dumps),
    st.text(alphabet=st.sampled_from('{}[]":,ab\\u0 \n'), max_size=12),
)


@pytest.mark.parametrize(
    ("name", "line", "head", "foot"),
    [
        ("a.csv", LINE, "text,label\nfirst,l", ""),
        ("a.jsonl", OBJECT, '{"text": "first", "label": "l"}', ""),
        ("a.json", OBJECT, '[\n{"text": "first", "label": "l"},', "]"),
    ],
)
def test_every_row_is_kept_or_rejected(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    line: st.SearchStrategy[str],
    head: str,
    foot: str,
) -> None:
    @settings(
        max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
    )
    @given(st.lists(line, max_size=15))
    def check(lines: list[str]) -> None:
        folder = tmp_path_factory.mktemp("rows")
        between = ",\n" if name.endswith(".json") else "\n"
        text = "\n".join([head, between.join(lines), foot])
        (folder / name).write_bytes(text.encode("utf-8", "surrogatepass"))
        made = prepare(recipe(folder, name, max_rejected_ratio=1), output=folder / "data")
        rows = made.rows
        kept, rejected = sum(rows["kept"].values()), sum(rows["rejected"].values())
        assert rows["read"] == kept + rejected
        assert kept == sum(len(made.examples(s)) for s in SPLITS if made.count(s)) >= 1
        reasons = Counter(row["reason"] for row in read_jsonl(made.path / "rejected.jsonl"))
        assert dict(reasons) == rows["rejected"]

    check()


@pytest.mark.skipif(not BANKING77.is_dir(), reason="the shared data folder is not here")
def test_banking77(tmp_path: Path) -> None:
    sources: list[dict[str, Any]] = [
        {"path": "train.csv", "columns": {"prompt": "text", "label": "category"}},
        {"path": "test.csv", "split": "test"},
    ]
    start = perf_counter()
    made = prepare(recipe(BANKING77, *sources), output=tmp_path)
    assert perf_counter() - start < 30
    assert made.rows == {
        "read": 13_083,
        "kept": {"train": 8_993, "validation": 999, "test": 3_080},
        "rejected": {"leaks_into_test": 7, "exact_duplicate": 4},
    }
    assert len(made.label_names) == 77
    counts = made.manifest()["label_counts"]
    assert all(set(counts[split]) == set(made.label_names) for split in SPLITS)


def test_import_is_light() -> None:
    heavy = {"torch", "transformers", "datasets", "pandas", "pyarrow"}
    code = f"import sys, ftool.prepare.run; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
