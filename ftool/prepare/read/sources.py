"""Read files, folders, globs and Hub data sets: rows with file and line."""

import hashlib
import json
import unicodedata
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ftool.artifacts import MANIFEST, OnNote, file_sha256, is_ours
from ftool.errors import DataError, HubError
from ftool.prepare.read.delimited import read_delimited
from ftool.prepare.read.encoding import (
    detect_encoding,
    open_bytes,
    open_text,
    physical_lines,
    printable,
    unreadable,
)
from ftool.prepare.read.json_text import holds_lines, read_json, read_json_lines
from ftool.prepare.read.rows import Row
from ftool.shortage import is_shortage

if TYPE_CHECKING:
    from ftool.recipe.blocks.data import Source

HUB = "hf://"
_BATCH_ROWS = 1_000


def _read_table(file: TextIO) -> Iterator[Row]:
    return read_delimited(physical_lines(file))


def _read_objects(file: TextIO) -> Iterator[Row]:
    return read_json_lines(physical_lines(file))


def _read_document(file: TextIO) -> Iterator[Row]:
    return _read_objects(file) if holds_lines(file) else read_json(file)


def _read_text(file: TextIO) -> Iterator[Row]:
    text = file.read()
    problem = unreadable(text)
    if problem:
        yield Row(1, text, reason=problem[0], detail=problem[1])
    elif text:
        yield Row(1, text, {"text": text})


TABLES = (".csv", ".tsv")
TEXT_READERS: dict[str, Callable[[TextIO], Iterator[Row]]] = {
    **dict.fromkeys(TABLES, _read_table),
    ".json": _read_document,
    ".jsonl": _read_objects,
    ".ndjson": _read_objects,
    ".txt": _read_text,
    ".md": _read_text,
}
PARQUET = ".parquet"
EXTENSIONS = (*TEXT_READERS, PARQUET)


@dataclass(frozen=True, slots=True)
class Input:
    """One file or Hub data set of a source.

    `origin` is the index of the source in the recipe; `shown` is the name that people and
    manifests see, never an absolute path.
    """

    origin: int
    source: "Source"
    shown: str
    path: Path | None = None
    table: Any = None


def find_inputs(folder: Path, sources: "Sequence[Source]", on_note: OnNote) -> list[Input]:
    """Return the files and Hub data sets of all sources, in their order.

    Args:
        folder: what paths are relative to.
        sources: of a recipe.
        on_note: told which files are not read.

    Raises:
        DataError: sources are missing or of an unknown kind; all of them are named.
        HubError: a Hub data set cannot be loaded.
    """
    inputs: list[Input] = []
    problems: list[str] = []
    for origin, source in enumerate(sources):
        if source.path.startswith(HUB):
            continue
        files, links = _files(folder, source.path)
        if links:
            on_note(
                f"{source.path}: {links} links that lead elsewhere are not read; name them one by"
                " one where they are meant"
            )
        known = [(shown, path) for shown, path in files if _extension(path) in EXTENSIONS]
        if not known:
            problems.append(_problem(source.path, files, folder))
        elif len(known) < len(files):
            unknown = sorted({_extension(path) for _, path in files} - set(EXTENSIONS))
            on_note(
                f"{source.path}: {len(files) - len(known)} files are not read, for their kind is "
                f"not known ({', '.join(unknown)})"
            )
        if source.encoding and any(_extension(path) == PARQUET for _, path in known):
            problems.append(f"{source.path}: `encoding` is for text files, not for parquet")
        inputs += [Input(origin, source, shown, path) for shown, path in known]
    if problems:
        raise DataError(
            "\n".join(["sources cannot be read:", *(f"  {problem}" for problem in problems)]),
            hint=f"paths are relative to the recipe's folder {folder}",
        )
    for origin, source in enumerate(sources):
        if source.path.startswith(HUB):
            inputs.append(Input(origin, source, source.path, table=_load_hub(source)))
    return sorted(inputs, key=lambda found: found.origin)


def _problem(written: str, files: list[tuple[str, Path]], folder: Path) -> str:
    if not files:
        no_file = "no file matches" if _is_pattern(written) else "no such file or folder"
        with suppress(OSError, ValueError):  # no path of this disk
            no_file = "no file is in it" if (folder / written).is_dir() else no_file
        return f"{written}: {no_file}"
    found = ", ".join(sorted({_extension(path) or "no extension" for _, path in files}))
    return f"{written}: {found} is not a known kind; known are {', '.join(EXTENSIONS)}, also .gz"


def _extension(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


def _files(folder: Path, written: str) -> tuple[list[tuple[str, Path]], int]:
    """Return shown name and path of every file that a source's path means, sorted.

    Files of a folder or pattern that are links out of it are counted and left out: who put them
    there need not be who names the folder.
    """
    try:
        given = Path(written).expanduser()
        path = folder / given
        if path.is_file():
            return [(_name(Path(path.name) if given.is_absolute() else given), path)], 0
        fixed = takewhile(lambda part: not _is_pattern(part), given.parts)
        root = folder.joinpath(*fixed).resolve()
        files = _files_below(folder, given, path)
    except (OSError, RuntimeError, ValueError):  # no path of this disk, or the home of nobody
        return [], 0
    own = [(name, file) for name, file in files if file.resolve().is_relative_to(root)]
    return own, len(files) - len(own)


def _is_pattern(text: str) -> bool:
    return any(sign in text for sign in "*?[")


def _files_below(folder: Path, given: Path, path: Path) -> list[tuple[str, Path]]:
    if path.is_dir():
        base = Path(path.name) if given.is_absolute() else given
        found = [(base / file.relative_to(path), file) for file in path.rglob("*")]
    else:
        top = Path(given.anchor) if given.is_absolute() else folder
        try:
            matches = list(top.glob(str(given.relative_to(given.anchor))))
        except (ValueError, IndexError):  # not a pattern, such as `a**b`
            matches = []
        found = [
            (Path(file.name) if given.is_absolute() else file.relative_to(top), file)
            for file in matches
        ]
    return sorted((_name(name), file) for name, file in found if _is_raw(name, file, given))


def _is_raw(name: Path, file: Path, given: Path) -> bool:
    """Leave out hidden files, and what ftool itself wrote below a folder of raw data."""
    hidden = any(part.startswith(".") for part in name.parts if part not in given.parts)
    folders = (file.parent, file.parent.parent)
    ours = any((folder / MANIFEST).is_file() and is_ours(folder) for folder in folders)
    return file.is_file() and not hidden and not ours


def _name(path: Path) -> str:
    return "".join(map(_visible, printable(path.as_posix())))


def _visible(letter: str) -> str:
    """Write a line end or control character of a name as what stands for it in Python."""
    is_control = unicodedata.category(letter) in {"Cc", "Zl", "Zp"}
    return letter.encode("unicode_escape").decode() if is_control else letter


def _load_hub(source: "Source") -> Any:
    import datasets

    if source.encoding:
        raise DataError(f"{source.path}: `encoding` is for text files, not for the Hub")
    try:
        return datasets.load_dataset(source.path.removeprefix(HUB), split=source.hub_split)
    except Exception as error:  # the Hub client raises many unrelated kinds
        if is_shortage(error):
            raise
        first = (str(error) or type(error).__name__).splitlines()[0]
        offline = datasets.config.HF_HUB_OFFLINE or isinstance(error, ConnectionError)
        why = "the Hub cannot be reached (offline)" if offline else "it cannot be loaded"
        raise HubError(
            f"{source.path}: {why}: {first}",
            hint="check the name, `hub_split` and the network, or download the files and name them",
        ) from error


def describe_input(found: Input) -> dict[str, Any]:
    """Return name, size and content hash of an input, as the manifest states them.

    Raises:
        DataError: the file cannot be read.
    """
    if found.path is not None:
        with _damage_named(found):
            size, sha256 = found.path.stat().st_size, file_sha256(found.path)
        return {"source": found.shown, "bytes": size, "sha256": sha256}
    digest, size = hashlib.sha256(), 0
    for record in found.table:
        data = json.dumps(record, sort_keys=True, default=str).encode()
        digest.update(data)
        size += len(data)
    return {"source": found.shown, "bytes": size, "sha256": digest.hexdigest()}


def input_encoding(found: Input, on_note: OnNote) -> str:
    """Return the character encoding of an input, named or detected; empty for tables.

    Raises:
        DataError: the file is damaged or not readable.
    """
    if found.path is None or _extension(found.path) == PARQUET:
        return ""
    if found.source.encoding is not None:
        return found.source.encoding
    with _damage_named(found):
        encoding = detect_encoding(found.path)
    if not encoding.startswith("utf"):
        on_note(
            f"{found.shown} is not UTF-8 and read as {encoding}; if letters look wrong, set "
            "`encoding` of the source"
        )
    return encoding


def is_json_lines(found: Input) -> bool:
    """Tell whether an input is an uncompressed file of one JSON object a line."""
    return found.path is not None and found.path.suffix.lower() in {".jsonl", ".ndjson"}


def read_rows(found: Input, encoding: str) -> Iterator[Row]:
    """Yield the rows of one input; a row that cannot be read says why and stops nothing.

    Raises:
        DataError: there are no rows, or the file as a whole is damaged.
    """
    empty = True
    with _damage_named(found):
        for row in _rows(found, encoding):
            empty = False
            yield row
    if empty:
        raise no_rows(found)


def no_rows(found: Input) -> DataError:
    """Return what to say of an input without rows."""
    return DataError(f"{found.shown} has no rows", hint="remove it from the recipe")


@contextmanager
def _damage_named(found: Input) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{found.shown} is damaged or not readable: {error}") from error
    except UnicodeError as error:  # a whole file can be of another encoding, not single bytes
        raise DataError(
            f"{found.shown} cannot be read in its encoding: {error}",
            hint="correct `encoding` of this source, or leave it out",
        ) from error
    except DataError as error:
        raise DataError(f"{found.shown}: {error.message}", hint=error.hint) from error


def _rows(found: Input, encoding: str) -> Iterator[Row]:
    if found.path is None:
        yield from _read_hub(found.table)
    elif _extension(found.path) == PARQUET:
        yield from _read_parquet(found.path)
    else:
        with open_text(found.path, encoding) as file:
            yield from TEXT_READERS[_extension(found.path)](file)


def _read_parquet(path: Path) -> Iterator[Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        with open_bytes(path) as file:
            number = 0
            for batch in parquet.ParquetFile(file).iter_batches(batch_size=_BATCH_ROWS):
                for record in _records(batch):
                    number += 1
                    yield _table_row(number, record)
    except pyarrow.ArrowException as error:
        raise DataError(f"is damaged or no parquet file: {error}") from error


def _records(batch: Any) -> Iterator[dict[str, Any] | None]:
    """Yield the records of a batch; None for one whose texts are not UTF-8."""
    for index in range(batch.num_rows):
        try:
            yield batch.slice(index, 1).to_pylist()[0]
        except UnicodeDecodeError:
            yield None


def _read_hub(table: Any) -> Iterator[Row]:
    import datasets

    names = {
        column: feature.int2str
        for column, feature in table.features.items()
        if isinstance(feature, datasets.ClassLabel)
    }
    for number, record in enumerate(table, start=1):
        for column, name_of in names.items():
            if record[column] is not None and record[column] >= 0:
                record[column] = name_of(record[column])
        yield _table_row(number, record)


def _table_row(number: int, record: dict[str, Any] | None) -> Row:
    if record is None:
        return Row(number, None, reason="undecodable_bytes", detail="a text is not UTF-8")
    if all(value is None or value == "" for value in record.values()):
        return Row(number, record, reason="empty_row")
    return Row(number, record, record)
