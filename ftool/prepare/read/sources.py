"""Read files, folders, globs and Hub data sets: rows with file and line."""

import hashlib
import json
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftool.artifacts import MANIFEST, OnNote, file_sha256, fingerprint, is_ours
from ftool.errors import DataError, HubError
from ftool.prepare.read.encoding import detect_encoding, open_text, printable
from ftool.prepare.read.json_text import is_one_a_line
from ftool.prepare.read.readers import (
    BINARY_READERS,
    DELIMITED,
    EXTENSIONS,
    NAMED_ONLY,
    PARQUET,
    WORKBOOKS,
    SavedTable,
    companions,
    extension,
    is_known,
    open_saved,
    read_file,
    read_hub,
)
from ftool.prepare.read.rows import Row
from ftool.shortage import is_shortage

if TYPE_CHECKING:
    from ftool.recipe.blocks.data import Source

HUB = "hf://"


@dataclass(frozen=True, slots=True)
class Input:
    """One file, saved data set or Hub data set of a source.

    `origin` is the index of the source in the recipe; `shown` is the name that people and
    manifests see, never an absolute path. `kind` is that of the data; `is_alone` tells whether it
    is all that its source means.
    """

    origin: int
    source: "Source"
    shown: str
    path: Path | None = None
    tables: tuple[SavedTable, ...] = ()
    kind: str = "chat"
    is_alone: bool = True


def find_inputs(
    folder: Path, sources: "Sequence[Source]", on_note: OnNote, *, kind: str = "chat"
) -> list[Input]:
    """Return the files and Hub data sets of all sources, in their order.

    Args:
        folder: what paths are relative to.
        sources: of a recipe.
        on_note: told which files are not read.
        kind: of the data, `chat` or `text`.

    Raises:
        DataError: sources are missing or of an unknown kind; all of them are named.
        HubError: a Hub data set cannot be loaded.
    """
    inputs: list[Input] = []
    problems: list[str] = []
    for origin, source in enumerate(sources):
        if source.path.startswith(HUB):
            problems += _unread_settings(source, [])
            continue
        saved = _saved(folder, source.path)
        if saved is not None:
            problems += _unread_settings(source, [])
            inputs.append(Input(origin, source, _name(Path(source.path)), tables=saved, kind=kind))
            continue
        files, links = _files(folder, source.path)
        if links:
            on_note(
                f"{source.path}: {links} links that lead elsewhere are not read; name them one by"
                " one where they are meant"
            )
        is_named = _is_file(folder, source.path)
        known = [(shown, path) for shown, path in files if is_known(path, is_named=is_named)]
        if not known:
            problems.append(_problem(source.path, files, folder))
        elif len(known) < len(files):
            _tell_unknown(source.path, files, on_note)
        problems += _unread_settings(source, [path for _, path in known])
        inputs += [
            Input(origin, source, shown, path, kind=kind, is_alone=len(known) == 1)
            for shown, path in known
        ]
    if problems:
        raise DataError(
            "\n".join(["sources cannot be read:", *(f"  {problem}" for problem in problems)]),
            hint=f"paths are relative to the recipe's folder {folder}",
        )
    for origin, source in enumerate(sources):
        if source.path.startswith(HUB):
            tables = (SavedTable(_load_hub(source), None),)
            inputs.append(Input(origin, source, source.path, tables=tables, kind=kind))
    return sorted(inputs, key=lambda found: found.origin)


def _is_file(folder: Path, written: str) -> bool:
    with suppress(OSError, RuntimeError, ValueError):  # no path of this disk
        return (folder / Path(written).expanduser()).is_file()
    return False


def _saved(folder: Path, written: str) -> tuple[SavedTable, ...] | None:
    """Return the tables of a folder that `save_to_disk` wrote."""
    with suppress(OSError, RuntimeError, ValueError):  # no path of this disk
        path = folder / Path(written).expanduser()
        if path.is_dir():
            found = open_saved(path)
            return None if found is None else tuple(found)
    return None


def _tell_unknown(written: str, files: Sequence[tuple[str, Path]], on_note: OnNote) -> None:
    read = {companion for _, path in files for companion in companions(path)}
    unknown = [path for _, path in files if not is_known(path) and path not in read]
    if not unknown:
        return
    kinds = sorted({extension(path) for path in unknown})
    on_note(
        f"{written}: {len(unknown)} files are not read, for their kind is not known "
        f"({', '.join(kinds)})"
    )


def _unread_settings(source: "Source", paths: Sequence[Path]) -> list[str]:
    """Return what the recipe says of how text is written where no text is."""
    kinds = {extension(path) for path in paths} or {"a saved data set"}
    binary = {PARQUET, *WORKBOOKS, "a saved data set"}
    delimited = {*DELIMITED, *NAMED_ONLY, ".txt"}
    settings = (
        ("encoding", source.encoding is not None, lambda kind: kind not in binary, "text files"),
        ("delimiter", source.delimiter is not None, delimited.__contains__, "text tables"),
        ("header", source.header == "none", {*delimited, *WORKBOOKS}.__contains__, "tables"),
    )
    return [
        f"{source.path}: `{name}` is for {what}, not for {', '.join(sorted(kinds))}"
        for name, is_set, reads, what in settings
        if is_set and not any(map(reads, kinds))
    ]


def _problem(written: str, files: list[tuple[str, Path]], folder: Path) -> str:
    if not files:
        no_file = "no file matches" if _is_pattern(written) else "no such file or folder"
        with suppress(OSError, ValueError):  # no path of this disk
            no_file = "no file is in it" if (folder / written).is_dir() else no_file
        return f"{written}: {no_file}"
    found = ", ".join(sorted({extension(path) or "no extension" for _, path in files}))
    advice = "; save it as .xlsx or .csv" if found == ".xls" else ""
    known = ", ".join(EXTENSIONS)
    return f"{written}: {found} is not a known kind{advice}; known are {known}, also .gz"


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
            for companion in companions(found.path):  # of which the rows are made, too
                sha256 = fingerprint([sha256, file_sha256(companion)])
        return {"source": found.shown, "bytes": size, "sha256": sha256}
    digest, size = hashlib.sha256(), 0
    for record in (record for part in found.tables for record in part.table):
        data = json.dumps(record, sort_keys=True, default=str).encode()
        digest.update(data)
        size += len(data)
    return {"source": found.shown, "bytes": size, "sha256": digest.hexdigest()}


def input_encoding(found: Input, on_note: OnNote) -> str:
    """Return the character encoding of an input, named or detected; empty for tables.

    Raises:
        DataError: the file is damaged or not readable.
    """
    if found.path is None or extension(found.path) in BINARY_READERS:
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
    if found.path is None or found.path.suffix.lower() not in {".jsonl", ".ndjson"}:
        return False
    with _damage_named(found), open_text(found.path, "utf-8") as file:
        return is_one_a_line(file)


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
    if found.path is not None:
        yield from read_file(found.path, found.source, found.kind, encoding)
        return
    first = 1
    for part in found.tables:
        yield from read_hub(part.table, split=part.split, first=first)
        first += len(part.table)
