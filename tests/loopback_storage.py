"""Where the loopback Hub keeps contents: small files in "git", large ones as LFS objects or in xet.

hf_xet ships a content store in a local folder (`local://`), which the real client writes and reads.
"""

from __future__ import annotations

import hashlib
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

# hf_xet starts threads and writes logs below HF_HOME, so it gets a process of its own. The session
# needs a name: an unnamed one is freed at once, and the stream then ends early without an error.
READ_XET = """
import sys, hf_xet
session = hf_xet.XetSession()
group = session.new_download_stream_group(endpoint=sys.argv[1])
for chunk in group.download_stream(hf_xet.XetFileInfo(sys.argv[2], int(sys.argv[3]))):
    sys.stdout.buffer.write(chunk)
"""


@dataclass(frozen=True)
class StoredFile:
    """One file of a commit: `blob` is what git holds, the content or (with `sha256`) a pointer."""

    blob: bytes
    size: int
    sha256: str | None = None

    @classmethod
    def regular(cls, content: bytes) -> Self:
        """Return a file that git holds itself."""
        return cls(content, len(content))

    @classmethod
    def large(cls, sha256: str, size: int) -> Self:
        """Return a file of which git only holds a pointer."""
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"
        return cls(pointer.encode(), size, sha256)

    @property
    def oid(self) -> str:
        """The git id of the blob."""
        return hashlib.sha1(b"blob %d\0" % len(self.blob) + self.blob).hexdigest()

    @property
    def etag(self) -> str:
        """The id by which clients see whether the content is the one they have."""
        return self.sha256 or self.oid


class XetFile(NamedTuple):
    """A file in the xet store."""

    hash: str
    size: int


class LargeFiles:
    """The contents of large files by SHA-256."""

    def __init__(self, folder: Path) -> None:
        """Keep LFS objects in `folder`/lfs and the xet store in `folder`/cas."""
        self._objects = folder / "lfs"
        self._objects.mkdir(parents=True, exist_ok=True)
        self._cas = folder.resolve() / "cas"
        self.cas_url = f"local://{self._cas}"

    def write(self, sha256: str, content: bytes) -> None:
        """Keep an LFS object.

        Raises:
            ValueError: If the content is not what its SHA-256 says.
        """
        _verify(sha256, content)
        (self._objects / sha256).write_bytes(content)

    def size(self, sha256: str) -> int | None:
        """Return the size of a content, None if nobody has uploaded it."""
        path = self._objects / sha256
        if path.exists():
            return path.stat().st_size
        file = self.xet().get(sha256)
        return file.size if file else None

    def read(self, sha256: str, environment: Mapping[str, str]) -> bytes:
        """Return a content, put back together by hf_xet if hf_xet has stored it.

        Raises:
            KeyError: If nobody has uploaded it.
            ValueError: If the content is not what its SHA-256 says.
        """
        path = self._objects / sha256
        if path.exists():
            return path.read_bytes()
        file = self.xet()[sha256]
        command = [sys.executable, "-c", READ_XET, self.cas_url, file.hash, str(file.size)]
        content = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
        _verify(sha256, content.stdout)
        return content.stdout

    def xet(self) -> dict[str, XetFile]:
        """Return every file in the xet store, by SHA-256."""
        shards = sorted(self._cas.glob("xet/xorbs/shards/*.mdb"))
        return {sha256: file for path in shards for sha256, file in _shard(path.read_bytes())}


def _verify(sha256: str, content: bytes) -> None:
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{len(content)} bytes do not match SHA-256 {sha256}")


def _shard(data: bytes) -> Iterator[tuple[str, XetFile]]:
    """Yield the files of a xet shard by SHA-256.

    A shard is a table of 48-byte records. A file is a header (hash, flags, number of segments), its
    segments, as many verification records if bit 31 of the flags is set, and a record with the
    SHA-256 if bit 30 is set. A hash of ones ends the files.
    """
    position = 48
    while (digest := data[position : position + 32]) != b"\xff" * 32:
        flags, count = struct.unpack_from("<II", data, position + 32)
        segments = range(position + 48, position + 48 * (count + 1), 48)
        size = sum(struct.unpack_from("<I", data, segment + 36)[0] for segment in segments)
        position += 48 * (1 + count * (2 if flags >> 31 else 1))
        if flags >> 30 & 1:
            yield _hex(data[position : position + 32]), XetFile(_hex(digest), size)
            position += 48


def _hex(digest: bytes) -> str:
    return "".join(f"{word:016x}" for word in struct.unpack("<4Q", digest))
