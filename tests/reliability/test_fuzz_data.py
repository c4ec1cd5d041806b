"""Whatever is in a file: every row is kept or rejected with a reason, or a sentence refuses all."""

import gzip
import json
import os
import shutil
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prepare_files import recipe_for

from ftool.artifacts import read_jsonl
from ftool.errors import FtoolError
from ftool.prepare import run
from ftool.prepare.run import prepare
from ftool.prepare.write.folder import outputs_of

FILES = 10_000 if os.environ.get("FTOOL_LONG") else 500
RAW = (
    *(b"\xff", b"\x80\x81", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\0", b"\x1b[2J"),
    *(b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\r\n", b"\r", b"\n", b"\n\n\n", b"\x85"),
    *(b"\xe2\x80\xa8", b"\xe2\x80\xae", b'"', b"'", b",", b";", b"\t", b"{", b"}", b"[", b"]"),
    *(b"\\", b"\\u", b"\\ud800", b"null", b"NaN", b"1e999", b"9" * 5_000, b"x" * 70_000),
    *(b"[" * 200, b'{"a":' * 200, b"a,b,c,d,e\n", b"text,text\n", b"<script>", b"\x1a", b"\x0c"),
)
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        ["\ud800", "\0", "\u202e", "", " ", "é" * 300, "\x1b]0;x\x07", "[]", "{}", "["]
    ),
    st.lists(st.one_of(st.none(), st.integers(), st.text(max_size=5)), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
)
ROLES = st.sampled_from(["user", "assistant", "system", "tool", "human", "gpt", "User ", "x", ""])
MESSAGE = st.one_of(
    st.fixed_dictionaries({"role": ROLES, "content": st.one_of(st.text(max_size=20), ODD)}),
    st.fixed_dictionaries({"from": ROLES, "value": st.text(max_size=20)}),
    st.fixed_dictionaries({"role": ODD, "content": ODD, "tool_calls": ODD}),
    ODD,
)
WORDS = st.text(st.sampled_from("abc de\nfö,;\"'"), min_size=1, max_size=30)
ROW = st.one_of(
    st.fixed_dictionaries({"messages": st.lists(MESSAGE, max_size=4)}),
    st.fixed_dictionaries({"text": WORDS, "label": st.sampled_from(["a", "b", "A", " b"])}),
    st.fixed_dictionaries({"text": st.one_of(WORDS, ODD), "label": ODD}),
    st.fixed_dictionaries({"prompt": WORDS, "completion": st.one_of(WORDS, ODD)}),
    st.fixed_dictionaries({"text": WORDS}, optional={"label": ODD, "tools": ODD, "system": ODD}),
    ODD,
)
ROWS = st.lists(ROW, min_size=1, max_size=8)
DAMAGE = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 6), st.sampled_from(RAW)), max_size=3)
SETTINGS = st.fixed_dictionaries(
    {"max_rejected_ratio": st.just(1.0), "kind": st.sampled_from(["chat", "chat", "text"])},
    optional={
        "label_names": st.sampled_from(["none", ["a", "b"], "auto"]),
        "keep_columns": st.just(["label"]),
        "system": st.just("Route."),
        "split": st.just({"validation": 0.3, "test": 0.3}),
        "dedup": st.just({"exact": False, "near": None}),
        "clean": st.just({"personal_data": "drop", "html": "strip"}),
    },
)
ENCODINGS = st.sampled_from(
    [None] * 6 + ["utf-8", "utf-16", "cp1252", "utf-7", "idna", "rot13", "cp037", "no such"]
)


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the pictures of the report, which take most of the time of a small preparation."""
    monkeypatch.setattr(run, "write_report", lambda _, path: path.write_text("report"))


def _as_json(rows: list[object], *, lines: bool) -> bytes:
    texts = [json.dumps(row, ensure_ascii=len(str(row)) % 2 == 0) for row in rows]
    text = "\n".join(texts) + "\n" if lines else f"[{', '.join(texts)}]"
    return text.encode("utf-8", "surrogatepass")


def _as_table(rows: list[object], sign: str) -> bytes:
    lines = ["text" + sign + "label"]
    for row in rows:
        values = list(row.values()) if isinstance(row, dict) else [row]
        lines.append(sign.join(str(value) for value in values))
    return "\n".join(lines).encode("utf-8", "surrogatepass")


WRITERS = {
    "jsonl": lambda rows: _as_json(rows, lines=True),
    "json": lambda rows: _as_json(rows, lines=False),
    "csv": lambda rows: _as_table(rows, ","),
    "tsv": lambda rows: _as_table(rows, "\t"),
    "txt": lambda rows: str(rows).encode("utf-8", "surrogatepass"),
    "md": lambda rows: "\n".join(map(str, rows)).encode("utf-8", "surrogatepass"),
}


def damaged(data: bytes, damage: list[tuple[float, int, bytes]]) -> bytes:
    for place, length, piece in damage:
        start = int(place * len(data))
        data = data[:start] + piece + data[start + length :]
    return data


def answer(folder: Path, source: dict[str, object], data: dict[str, object]) -> object:
    """Prepare one file; return what was written, or what was said against it."""
    output = folder / "data"
    shutil.rmtree(output, ignore_errors=True)
    try:
        made = prepare(recipe_for(folder, source, **data), output=output)
    except FtoolError as error:
        error.message.encode()
        assert error.message.strip()
        assert len(error.message) < 3_000
        return type(error), error.message
    kept = sum(made.rows["kept"].values())
    assert kept + sum(made.rejected.values()) == made.rows["read"]
    rejected = list(read_jsonl(made.path / "rejected.jsonl"))
    assert Counter(row["reason"] for row in rejected) == made.rejected
    assert all(row["source"] == source["path"] and row["line"] >= 1 for row in rejected)
    examples = [
        one for split in made.rows["kept"] if made.count(split) for one in made.examples(split)
    ]
    assert len(examples) == kept
    # The elements of a JSON document may stand on one line, and then they share an id.
    if not str(source["path"]).removesuffix(".gz").endswith(".json"):
        assert len({one.id for one in examples}) == kept
    return outputs_of(made.path)


@settings(
    max_examples=FILES,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    kind=st.sampled_from(sorted(WRITERS)),
    rows=ROWS,
    damage=DAMAGE,
    data=SETTINGS,
    encoding=ENCODINGS,
    is_packed=st.sampled_from([False] * 5 + [True]),
)
def test_any_file_is_answered_the_same_way_twice(
    kind: str,
    rows: list[object],
    damage: list[tuple[float, int, bytes]],
    data: dict[str, object],
    encoding: str | None,
    is_packed: bool,
) -> None:
    content = damaged(WRITERS[kind](rows), damage)
    with TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / f"rows.{kind}{'.gz' if is_packed else ''}"
        file.write_bytes(gzip.compress(content, mtime=0) if is_packed else content)
        source = {"path": file.name, "encoding": encoding}
        assert answer(folder, source, data) == answer(folder, source, data)
        assert sorted(path.name for path in folder.iterdir() if path.name != "data") == [file.name]


@settings(
    max_examples=FILES // 10,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    content=st.binary(max_size=400),
    kind=st.sampled_from([*sorted(WRITERS), "parquet", "csv.gz", "jsonl.gz"]),
)
def test_any_bytes_are_answered(content: bytes, kind: str) -> None:
    with TemporaryDirectory() as name:
        (Path(name) / f"rows.{kind}").write_bytes(content)
        answer(Path(name), {"path": f"rows.{kind}"}, {"max_rejected_ratio": 1.0})


@pytest.mark.parametrize(
    "written", ["x" * 300, "~nobody-is-called-so/a.csv", "a\0b", "**a", "[", ""]
)
def test_a_path_that_no_disk_has_is_refused(written: str, tmp_path: Path) -> None:
    said = answer(tmp_path, {"path": written}, {})
    assert isinstance(said, tuple) and said[0].__name__ == "DataError"
