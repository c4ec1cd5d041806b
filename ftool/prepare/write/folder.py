"""The folder of a prepared dataset: parquet splits, rejected rows, and the swap into place."""

import hashlib
import heapq
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow
import pyarrow.compute as compute
from pyarrow import parquet

from ftool.artifacts import (
    MANIFEST,
    OnProgress,
    file_sha256,
    fingerprint,
    is_ours,
    read_json,
)
from ftool.errors import DataError, RunError
from ftool.example import SPLITS
from ftool.lock import LOCK
from ftool.prepare.decide.table import Table
from ftool.prepare.decide.verdicts import finding_of
from ftool.prepare.refine.shard import PARTIAL, columns, rejected_record

if TYPE_CHECKING:
    from numpy.typing import NDArray


REJECTED = "rejected.jsonl"
ROWS_PER_GROUP = 10_000


def refuse_foreign(target: Path) -> None:
    """Refuse a folder that ftool did not write.

    Raises:
        DataError: it exists and holds something else.
    """
    hint = "give the prepared dataset another name: data.name in the recipe"
    if target.is_symlink() or not is_ours(target):
        raise DataError(
            f"{target} exists and was not written by ftool prepare; it is left as it is", hint=hint
        )
    strangers = _strangers(target)
    if strangers:
        raise DataError(
            f"{target} holds files that ftool prepare did not write: {', '.join(strangers[:5])}",
            hint=f"move them away, or {hint}",
        )


def _strangers(target: Path) -> list[str]:
    """Name what lies in a prepared dataset and is not in its manifest."""
    if not (target / MANIFEST).is_file():
        return []
    manifest = read_json(target / MANIFEST)
    if not isinstance(manifest, dict) or "outputs" not in manifest:
        return []
    known = {MANIFEST, LOCK, *manifest["outputs"]}
    found = (file.relative_to(target) for file in target.rglob("*") if not file.is_dir())
    return sorted(
        file.as_posix()
        for file in found
        if file.as_posix() not in known and not any(part.startswith(".") for part in file.parts)
    )


def is_current(target: Path, inputs_fingerprint: str) -> bool:
    """Tell whether a folder holds what the same inputs gave before, unchanged."""
    try:
        manifest = read_json(target / MANIFEST)
        outputs: Mapping[str, str] = manifest["outputs"]
        return bool(manifest["inputs_fingerprint"] == inputs_fingerprint) and all(
            (target / name).is_file() and file_sha256(target / name) == sha256
            for name, sha256 in outputs.items()
        )
    except (RunError, KeyError, TypeError):
        return False


def work_folder(target: Path, key: str, *, fresh: bool = False) -> Path:
    """Return the folder beside the target where shards lie; one of other work is emptied.

    What is there is as private as the raw data, so only its owner may look.

    Args:
        target: the place of the dataset.
        key: of the work; shards of the same key are taken up.
        fresh: empty it in any case.

    Raises:
        DataError: it holds something else.
    """
    folder = sibling(target, "work")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "key").is_file():
        raise DataError(
            f"{folder} holds files that ftool prepare did not write; nothing was removed",
            hint="move it away",
        )
    if folder.is_dir() and (fresh or _read_key(folder) != key):
        (folder / "key").write_text("", encoding="utf-8")  # killed here, nothing left counts
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for left in folder.glob(f"*{PARTIAL}"):
        shutil.rmtree(left, ignore_errors=True)
    (folder / "key").write_text(key, encoding="utf-8")
    return folder


def _read_key(folder: Path) -> str:
    try:
        return (folder / "key").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def put_back(target: Path) -> None:
    """Put back what a killed swap left aside."""
    old = sibling(target, "old")
    if old.exists():
        if target.exists():
            shutil.rmtree(old)
        else:
            old.rename(target)


def fresh_partial(target: Path) -> Path:
    """Return an empty folder beside the target."""
    partial = sibling(target, "partial")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    return partial


def refused_rows(target: Path) -> Path | None:
    """Return the rejected rows of a preparation that was refused after the one that stands."""
    file = sibling(target, "partial") / REJECTED
    return file if file.is_file() else None


def forget_refused(target: Path) -> None:
    """Remove what a refused preparation left, where the dataset is what is wanted again."""
    shutil.rmtree(sibling(target, "partial"), ignore_errors=True)


def put_in_place(partial: Path, target: Path) -> None:
    """Swap the finished folder with the earlier one, which is then removed."""
    old = sibling(target, "old")
    if target.exists():
        target.rename(old)
    partial.rename(target)
    if old.exists():
        shutil.rmtree(old)


def sibling(target: Path, what: str) -> Path:
    """Return the hidden neighbour of a dataset's folder."""
    return target.with_name(f".{target.name}.{what}")


def write_rejected(folder: Path, table: Table) -> Path:
    """Write every removed row as it was, in the order of the sources; only its owner may read it.

    Bytes that could not be decoded stand as escaped lone surrogates.
    """
    path = folder / REJECTED
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as f:
        for number, shard in enumerate(table.shards):
            for _, line in heapq.merge(shard.refused(), _decided(table, number)):
                f.write(line)
    return path


def _decided(table: Table, number: int) -> Iterator[tuple[int, str]]:
    """Yield place and line of the rows of a shard that were decided against."""
    shard, span = table.shards[number], table.shard_rows(number)
    rows = np.flatnonzero(~table.stays[span])
    if not len(rows):
        return
    places = shard.numbers("place")[0][rows]
    raws = shard.examples().column("raw").take(rows).to_pylist()
    rows += span.start
    columns_of_rows = (rows, places, table.line[rows], table.ids_of(table.twin[rows]), raws)
    for row, place, line, twin, raw in zip(*columns_of_rows, strict=True):
        record = rejected_record(
            shard.about["shown"],
            int(line),
            finding_of(table, int(row), twin),
            json.loads(raw) if shard.about["is_table"] else raw,
            twin=twin,
        )
        yield int(place), json.dumps(record, ensure_ascii=False, default=str) + "\n"


def write_splits(
    folder: Path,
    table: Table,
    places: "NDArray[np.int8]",
    spelled: Mapping[str, str],
    kind: str,
    on_progress: OnProgress,
) -> str:
    """Write the splits that are not empty, and return the fingerprint of their content.

    The fingerprint is over values, since the bytes of parquet depend on pyarrow's version.
    """
    total, done = int(table.stays.sum()), 0
    writers = {split: SplitWriter(folder / split, kind) for split in SPLITS}
    for number, shard in enumerate(table.shards):
        span = table.shard_rows(number)
        stays, own = table.stays[span], places[span]
        if not stays.any():
            continue
        examples = respelled(shard.examples().drop_columns(["raw"]), spelled)
        for index, split in enumerate(SPLITS):
            rows = np.flatnonzero(stays & (own == index))
            writers[split].add(examples.take(rows))
        done += int(stays.sum())
        on_progress("writing", done, total)
    return fingerprint({split: digest for split in SPLITS if (digest := writers[split].close())})


class SplitWriter:
    """Writes one split in row groups of one size, and hashes what it writes."""

    def __init__(self, folder: Path, kind: str) -> None:
        self._folder, self._schema = folder, columns(kind)
        self._waiting: list[pyarrow.Table] = []
        self._digest = hashlib.sha256()
        self._file: parquet.ParquetWriter | None = None

    def add(self, examples: pyarrow.Table) -> None:
        """Take the next examples."""
        if examples.num_rows:
            self._waiting.append(examples)
        while sum(part.num_rows for part in self._waiting) >= ROWS_PER_GROUP:
            every = pyarrow.concat_tables(self._waiting)
            self._write(every.slice(0, ROWS_PER_GROUP))
            self._waiting = [every.slice(ROWS_PER_GROUP)]

    def close(self) -> str | None:
        """Write the rest; return the digest of the content, None where there was none."""
        if any(part.num_rows for part in self._waiting):
            self._write(pyarrow.concat_tables(self._waiting))
        if self._file is None:
            return None
        self._file.close()
        return self._digest.hexdigest()

    def _write(self, group: pyarrow.Table) -> None:
        if self._file is None:
            self._folder.mkdir()
            path = self._folder / "data-00000.parquet"
            self._file = parquet.ParquetWriter(path, self._schema, compression="zstd")
        group = group.combine_chunks()
        for column in group.columns:
            for piece in _values(column.combine_chunks()):
                self._digest.update(piece)
        self._file.write_table(group)


def _values(array: pyarrow.Array) -> Iterator[bytes]:
    """Yield the values of an array as bytes that say the same whatever its layout in memory."""
    if isinstance(array, pyarrow.ChunkedArray):
        array = pyarrow.concat_arrays(array.chunks)
    if pyarrow.types.is_list(array.type):
        yield compute.list_value_length(array).cast(pyarrow.int64()).to_numpy().tobytes()
        yield from _values(array.flatten())
    elif pyarrow.types.is_struct(array.type):
        for field in array.flatten():
            yield from _values(field)
    elif pyarrow.types.is_string(array.type):
        lengths = compute.binary_length(array).cast(pyarrow.int64())
        yield compute.fill_null(lengths, -1).to_numpy().tobytes()
        yield _characters(array)
    elif pyarrow.types.is_boolean(array.type):
        yield array.cast(pyarrow.int8()).to_numpy().tobytes()
    else:
        yield array.to_numpy().tobytes()


def _characters(array: pyarrow.Array) -> bytes:
    """Return the bytes of all texts of an array, one after the other."""
    _, ends, data = array.buffers()
    if data is None:
        return b""
    places = np.frombuffer(ends, np.int32)[array.offset : array.offset + len(array) + 1]
    return bytes(memoryview(data)[places[0] : places[-1]])


def respelled(examples: pyarrow.Table, spelled: Mapping[str, str]) -> pyarrow.Table:
    """Return examples with the chosen spelling of every label, in the completion too."""
    labels = examples.column("label").to_pylist()
    rows = [row for row, label in enumerate(labels) if label in spelled]
    if not rows:
        return examples
    changed = examples.take(rows).to_pylist()
    for record in changed:
        messages = record.get("messages") or [{"content": None}]
        if messages[-1]["content"] == record["label"]:
            messages[-1]["content"] = spelled[record["label"]]
        record["label"] = spelled[record["label"]]
    places = np.arange(len(labels))
    places[rows] = len(labels) + np.arange(len(rows))
    both = [examples, pyarrow.Table.from_pylist(changed, schema=examples.schema)]
    return pyarrow.concat_tables(both).take(places)


def outputs_of(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file in a folder, by relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in files}


def count_kept(table: Table, places: "NDArray[np.int8]") -> dict[str, int]:
    """Return the number of rows in each split."""
    kept = np.bincount(places[table.stays], minlength=len(SPLITS))
    return {split: int(count) for split, count in zip(SPLITS, kept, strict=True)}
