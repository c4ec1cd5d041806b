"""Digests of the files of a folder: brought to disk, written down, compared."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import xxhash

CHUNK_BYTES = 2**22


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk, so that they outlive a power cut."""
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders; it keeps their names itself.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sealed_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Bring a folder to the disk and return name, size and digest of every file in it.

    Source: XXH3 of the xxHash specification, 128 bits: finds accidents, not attackers.
    """
    for path in sorted(folder.rglob("*")):
        sync(path)
    sync(folder)
    sync(folder.parent)
    return {name: _measured(folder / name) for name in _names(folder)}


def damages(
    folder: Path, files: Mapping[str, Any], *, besides: frozenset[str] = frozenset()
) -> list[str]:
    """Say what of a folder is not as it was sealed; nothing where every byte is.

    Args:
        folder: that was sealed.
        files: what `sealed_files` returned.
        besides: files that are not part of it.
    """
    there = set(_names(folder)) - besides
    missing = [f"{name} is missing" for name in sorted(files.keys() - there)]
    strange = [f"{name} was not there" for name in sorted(there - files.keys())]
    changed = [
        f"{name} has other bytes"
        for name in sorted(there & files.keys())
        if not _is_as(folder / name, files[name])
    ]
    return missing + strange + changed


def _names(folder: Path) -> Iterator[str]:
    """Yield the files of a folder; hidden ones are the file manager's, nothing reads them."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        is_hidden = any(part.startswith(".") for part in name.parts)
        if not is_hidden and (path.is_symlink() or not path.is_dir()):
            yield name.as_posix()


def _is_as(path: Path, sealed: Any) -> bool:
    try:
        # The size tells most damage without reading.
        return bool(path.stat().st_size == sealed["bytes"]) and bool(_measured(path) == sealed)
    except (OSError, KeyError, TypeError):
        return False


def _measured(path: Path) -> dict[str, Any]:
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return {"bytes": path.stat().st_size, "xxh3_128": digest.hexdigest()}
