"""Extension -> reader: the rows of a file, or of a folder that a library wrote."""

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ftool.errors import DataError
from ftool.prepare.read import layouts, nlu
from ftool.prepare.read.delimited import Dialect, read_delimited
from ftool.prepare.read.encoding import open_bytes, open_text, physical_lines, unreadable
from ftool.prepare.read.json_text import holds_lines, is_one_a_line, read_json, read_json_lines
from ftool.prepare.read.layouts import LayoutRow
from ftool.prepare.read.lines import is_tabbed, read_lines
from ftool.prepare.read.rows import Row
from ftool.prepare.read.workbook import read_workbook
from ftool.prepare.read.yaml_text import read_yaml

if TYPE_CHECKING:
    from ftool.recipe.blocks.data import Source

LONGEST_DOCUMENT = 2**26
"""A longer JSON document is read piece by piece, and is a list of objects, in characters."""
_BATCH_ROWS = 1_000
TextReader = Callable[[TextIO, "Source", str], Iterator[Row]]


def _read_table(file: TextIO, source: "Source", _: str) -> Iterator[Row]:
    return read_delimited(physical_lines(file), _dialect(source, ","))


def _read_tabs(file: TextIO, source: "Source", _: str) -> Iterator[Row]:
    return read_delimited(physical_lines(file), _dialect(source, "\t"))


def _dialect(source: "Source", usual: str) -> Dialect:
    return Dialect(source.delimiter, usual, has_header=source.header != "none")


def _read_objects(file: TextIO, source: "Source", kind: str) -> Iterator[Row]:
    if is_one_a_line(file):
        return read_json_lines(physical_lines(file))
    return _read_document(file, source, kind)


def _read_document(file: TextIO, _: "Source", kind: str) -> Iterator[Row]:
    if holds_lines(file):
        yield from read_json_lines(physical_lines(file))
        return
    text = file.read(LONGEST_DOCUMENT)
    if len(text) < LONGEST_DOCUMENT:
        found = _known_layout(text, kind)
        if found is not None:
            yield from _numbered(found)
            return
    file.seek(0)
    yield from read_json(file)


def _known_layout(text: str, kind: str) -> Iterator[LayoutRow] | None:
    """Return the records of a sound document of a known layout; for a corpus a list of texts."""
    if kind == "text" and "".join(text[:64].split())[:2] != '["':
        return None
    try:
        document = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return None
    return layouts.texts(document) if kind == "text" else layouts.records(document)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object that names no key twice.

    Raises:
        ValueError: it does.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is given twice")
    return found


def _numbered(found: Iterable[LayoutRow]) -> Iterator[Row]:
    """Number records from 1: a layout has no line for each."""
    for number, (record, split) in enumerate(found, start=1):
        raw = json.dumps(record, ensure_ascii=False, default=str)
        problem = unreadable(raw)
        if not isinstance(record, dict):
            problem = ("not_an_object", "a row is an object {...}")
        if problem:
            yield Row(number, raw, reason=problem[0], detail=problem[1])
        else:
            yield Row(number, raw, record, split=split)


def _read_yaml(file: TextIO, *_: object) -> Iterator[Row]:
    document = read_yaml(file.read())
    found = layouts.records(document)
    if found is None and isinstance(document, list):
        found = iter([LayoutRow(row) for row in document])
    if found is None:
        raise DataError(
            "holds no examples that are known",
            hint="known are Rasa's nlu, ChatterBot's conversations, lists of objects",
        )
    yield from _numbered(found)


def _read_text(file: TextIO, source: "Source", kind: str) -> Iterator[Row]:
    text = file.read()
    problem = unreadable(text)
    if problem:
        yield Row(1, text, reason=problem[0], detail=problem[1])
        return
    if kind == "chat":
        if source.delimiter or source.header == "none" or is_tabbed(text):
            dialect = Dialect(source.delimiter, "\t", has_header=False)
            yield from read_delimited(physical_lines(io.StringIO(text, newline="")), dialect)
            return
        found = nlu.read_markdown(text) or read_lines(text)
        if found is not None:
            for number, record in found:
                yield Row(number, json.dumps(record, ensure_ascii=False), record)
            return
    if END_OF_TEXT not in text:
        if text:
            yield Row(1, text, {"text": text})
        return
    line = 1
    for piece in text.split(END_OF_TEXT):
        body = piece.lstrip()
        if body:
            yield Row(line + piece[: -len(body)].count("\n"), piece, {"text": piece})
        line += piece.count("\n")


def companions(path: Path) -> list[Path]:
    """Return the files beside one that its rows are made of, too."""
    beside = path.with_name(LABELS_BESIDE)
    return [beside] if path.name == PARALLEL and beside.is_file() else []


def _lines(text: str) -> list[str]:
    return text.replace("\r\n", "\n").removesuffix("\n").split("\n")


def _read_parallel(file: TextIO, *_: object) -> Iterator[Row]:
    """Read `seq.in` beside a file `label`, line by line, as sets of spoken requests have them."""
    beside = Path(file.name).with_name(LABELS_BESIDE) if hasattr(file, "name") else None
    if beside is None or not beside.is_file():
        raise DataError(f"has no file `{LABELS_BESIDE}` beside it")
    texts = _lines(file.read())
    labels = _lines(beside.read_text(encoding="utf-8", errors="backslashreplace"))
    if len(texts) != len(labels):
        raise DataError(f"has {len(texts):,} lines, and `{LABELS_BESIDE}` {len(labels):,}")
    for number, (text, label) in enumerate(zip(texts, labels, strict=True), start=1):
        record = {"text": text, "label": label}
        yield Row(number, json.dumps(record, ensure_ascii=False), record)


NAMED_ONLY = ("", ".dat", ".data")
"""Files of text that are read where a source names them, not where they lie in its folder."""
END_OF_TEXT = "<|endoftext|>"
"""Parts the texts of a corpus that stand in one file, since GPT-2."""
LABELS_BESIDE = "label"
PARALLEL = "seq.in"
DELIMITED = (".csv", ".tsv", ".tab")
TEXT_READERS: Mapping[str, TextReader] = {
    ".csv": _read_table,
    ".tsv": _read_tabs,
    ".tab": _read_tabs,
    ".json": _read_document,
    ".jsonl": _read_objects,
    ".ndjson": _read_objects,
    ".txt": _read_text,
    ".md": _read_text,
    ".yml": _read_yaml,
    ".yaml": _read_yaml,
    PARALLEL: _read_parallel,
    **dict.fromkeys(NAMED_ONLY, _read_text),
}


def _read_parquet(path: Path, _: "Source") -> Iterator[Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        with open_bytes(path) as file:
            number = 0
            table = parquet.ParquetFile(file)
            names = _class_names(table.schema_arrow.metadata)
            for batch in table.iter_batches(batch_size=_BATCH_ROWS):
                for record in _records(batch):
                    number += 1
                    yield _table_row(number, record, names)
    except pyarrow.ArrowException as error:
        raise DataError(f"is damaged or no parquet file: {error}") from error


def _class_names(metadata: Mapping[bytes, bytes] | None) -> dict[str, list[str]]:
    """Return the names of classes that `datasets` writes into the metadata of a parquet file."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    return {
        column: list(feature["names"])
        for column, feature in features.items()
        if isinstance(feature, dict)
        and feature.get("_type") == "ClassLabel"
        and feature.get("names")
    }


def _records(batch: Any) -> Iterator[dict[str, Any] | None]:
    """Yield the records of a batch; None for one whose texts are not UTF-8."""
    for index in range(batch.num_rows):
        try:
            yield batch.slice(index, 1).to_pylist()[0]
        except UnicodeDecodeError:
            yield None


def _read_excel(path: Path, source: "Source") -> Iterator[Row]:
    return read_workbook(path, has_header=source.header != "none")


PARQUET = ".parquet"
WORKBOOKS = (".xlsx", ".xlsm")
BINARY_READERS: Mapping[str, Callable[[Path, "Source"], Iterator[Row]]] = {
    PARQUET: _read_parquet,
    **dict.fromkeys(WORKBOOKS, _read_excel),
}
EXTENSIONS = (
    *(name for name in TEXT_READERS if name not in {PARALLEL, *NAMED_ONLY}),
    *BINARY_READERS,
)


def extension(path: Path) -> str:
    """Return what tells how a file is read: its extension, or its name where that has a meaning."""
    name = path.name.lower().removesuffix(".gz")
    return name if name == PARALLEL else Path(name).suffix


def is_known(path: Path, *, is_named: bool = False) -> bool:
    """Tell whether there is a reader for a file; some are read only where a source names them."""
    own = extension(path)
    return (own in TEXT_READERS or own in BINARY_READERS) and (is_named or own not in NAMED_ONLY)


def read_file(path: Path, source: "Source", kind: str, encoding: str) -> Iterator[Row]:
    """Yield the rows of a file.

    Args:
        path: the file.
        source: how the recipe says that it is read.
        kind: of the data, `chat` or `text`.
        encoding: of its characters; read for text files alone.
    """
    binary = BINARY_READERS.get(extension(path))
    if binary is not None:
        yield from binary(path, source)
        return
    with open_text(path, encoding) as file:
        yield from TEXT_READERS[extension(path)](file, source, kind)


def read_hub(table: Any, *, split: str | None = None, first: int = 1) -> Iterator[Row]:
    """Yield the rows of a table of `datasets`, names in place of the numbers of classes."""
    import datasets

    names = {
        column: feature.names
        for column, feature in table.features.items()
        if isinstance(feature, datasets.ClassLabel)
    }
    for number, record in enumerate(table, start=first):
        yield _table_row(number, record, names, split)


def _table_row(
    number: int,
    record: dict[str, Any] | None,
    names: Mapping[str, list[str]],
    split: str | None = None,
) -> Row:
    if record is None:
        return Row(number, None, reason="undecodable_bytes", detail="a text is not UTF-8")
    if all(value is None or value == "" for value in record.values()):
        return Row(number, record, reason="empty_row")
    for column, own in names.items():
        value = record.get(column)
        if isinstance(value, int) and 0 <= value < len(own):
            record[column] = own[value]
    return Row(number, record, record, split=split)


@dataclass(frozen=True, slots=True)
class SavedTable:
    """A part of what `save_to_disk` of `datasets` wrote, and the split that its folder names."""

    table: Any
    split: str | None


def open_saved(folder: Path) -> list[SavedTable] | None:
    """Open a folder that `save_to_disk` wrote; None for any other.

    Raises:
        DataError: it is damaged.
    """
    is_dict, is_one = ((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))
    if not is_dict and not is_one:
        return None
    import datasets

    try:
        found = datasets.load_from_disk(str(folder))
    except Exception as error:  # it raises many unrelated kinds
        raise DataError(f"{folder.name} is damaged or no saved data set: {error}") from error
    parts = found.items() if is_dict else [("", found)]
    return [SavedTable(part, layouts.split_named(name) or None) for name, part in parts]
