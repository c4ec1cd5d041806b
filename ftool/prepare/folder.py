"""The folder of a prepared dataset: parquet splits, rejected rows, and the swap into place."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ftool.artifacts import (
    LOCK,
    MANIFEST,
    OnProgress,
    file_sha256,
    fingerprint,
    is_ours,
    read_json,
)
from ftool.errors import DataError, RunError
from ftool.example import Example, example_to_record
from ftool.prepare.rows import Rejected

REJECTED = "rejected.jsonl"
_ROWS_PER_GROUP = 10_000


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


def fresh_partial(target: Path) -> Path:
    """Return an empty folder beside the target, and put back what a killed swap left aside."""
    partial, old = _sibling(target, "partial"), _sibling(target, "old")
    if old.exists():
        if target.exists():
            shutil.rmtree(old)
        else:
            old.rename(target)
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    return partial


def put_in_place(partial: Path, target: Path) -> None:
    """Swap the finished folder with the earlier one, which is then removed."""
    old = _sibling(target, "old")
    if target.exists():
        target.rename(old)
    partial.rename(target)
    if old.exists():
        shutil.rmtree(old)


def _sibling(target: Path, what: str) -> Path:
    return target.with_name(f".{target.name}.{what}")


def write_rejected(folder: Path, rejected: Sequence[Rejected]) -> Path:
    """Write every removed row as it was; only its owner may read the file.

    Bytes that could not be decoded stand as escaped lone surrogates.
    """
    path = folder / REJECTED
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as f:
        for row in rejected:
            record = {
                "source": row.source,
                "line": row.line,
                "reason": row.reason,
                "detail": row.detail,
                "raw": row.raw,
            }
            f.write(json.dumps(record, ensure_ascii=False, default=str) + "\n")
    return path


def write_splits(
    folder: Path, splits: Mapping[str, Sequence[Example]], kind: str, on_progress: OnProgress
) -> str:
    """Write the splits that are not empty, and return the fingerprint of their content.

    The fingerprint is over the records, since the bytes of parquet depend on pyarrow's version.
    """
    digests = {}
    total, done = sum(map(len, splits.values())), 0
    for split, examples in splits.items():
        if not examples:
            continue
        digest = hashlib.sha256()
        (folder / split).mkdir()
        with _writer(folder / split / "data-00000.parquet", kind) as write:
            for start in range(0, len(examples), _ROWS_PER_GROUP):
                records = []
                for example in examples[start : start + _ROWS_PER_GROUP]:
                    record = example_to_record(example)
                    digest.update(fingerprint(record).encode())
                    records.append(record)
                    done += 1
                    if done % 1_000 == 0 or done == total:
                        on_progress("writing", done, total)
                write.write_table(_table(records, write.schema))
        digests[split] = digest.hexdigest()
    return fingerprint(digests)


def _writer(path: Path, kind: str) -> Any:
    from pyarrow import parquet

    return parquet.ParquetWriter(path, _schema(kind), compression="zstd")


def _table(records: list[dict[str, Any]], schema: Any) -> Any:
    import pyarrow

    return pyarrow.Table.from_pylist(records, schema=schema)


def _schema(kind: str) -> Any:
    """Return the columns with their types, so that they do not depend on which are empty."""
    import pyarrow

    text = pyarrow.string()
    message = ("role", "content", "name", "tool_calls", "tool_call_id")
    content = {
        "chat": [
            ("messages", pyarrow.list_(pyarrow.struct([(name, text) for name in message]))),
            ("tools", pyarrow.list_(text)),
        ],
        "text": [("text", text)],
    }
    about = [("label", text), ("group", text), ("source", text), ("line", pyarrow.int64())]
    return pyarrow.schema([("id", text), *content[kind], *about, ("extra", text)])


def outputs_of(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file in a folder, by relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in files}
