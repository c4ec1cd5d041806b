"""The characters and physical lines of a file: byte order marks, UTF-8 or a detected encoding."""

import codecs
import gzip
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from ftool.errors import DataError

MAX_LINE = 10_000_000
"""Longest physical line that is read as a row, in characters."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_COMMON = (
    *("cp1252", "cp1250", "cp1251", "koi8_r", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257"),
    *("cp932", "euc_jp", "gb18030", "big5", "cp949"),
)
"""What files are still written in; the first is plausible for any Western text."""
_SAMPLE_BYTES = 1 << 18
_SURROGATE = re.compile("[\ud800-\udfff]")

Line = tuple[int, str]


def _escape(error: UnicodeError) -> tuple[str, int]:
    """Turn each undecodable byte into a lone surrogate, so that its row can be told and shown.

    The standard `surrogateescape` does so too, but refuses bytes below 128, which multi-byte
    encodings can leave undecoded.
    """
    if not isinstance(error, UnicodeDecodeError):
        raise error
    bad = error.object[error.start : error.end]
    return "".join(chr(0xDC00 + byte) for byte in bad), error.end


codecs.register_error("ftool.escape", _escape)


def open_bytes(path: Path) -> BinaryIO:
    """Open a file for reading, decompressed where its name ends in .gz."""
    return cast(BinaryIO, gzip.open(path)) if path.suffix.lower() == ".gz" else path.open("rb")


def open_text(path: Path, encoding: str) -> TextIO:
    """Open a file as text whose undecodable bytes are escaped and whose line ends are kept.

    Raises:
        DataError: there is no such character encoding.
    """
    file = open_bytes(path)
    try:
        return text_of(file, encoding)
    except LookupError as error:
        file.close()
        raise DataError(
            f"encoding: `{encoding}` is not a known character encoding",
            hint="common ones are utf-8, cp1252, iso-8859-1, utf-16, shift_jis and gb18030",
        ) from error


def text_of(file: BinaryIO, encoding: str) -> TextIO:
    """Return bytes as text whose undecodable bytes are escaped and whose line ends are kept."""
    try:
        b"a".decode(encoding, "ftool.escape")
    except ValueError as error:  # an encoding of names, such as idna, or a name with a NUL
        raise LookupError(encoding) from error
    return io.TextIOWrapper(file, encoding, errors="ftool.escape", newline="")


def detect_encoding(path: Path) -> str:
    """Return the encoding of a file: its byte order, UTF-8, or the most likely other one.

    A few broken lines in a UTF-8 file stay UTF-8 (those rows are rejected later); only where most
    of the lines that are not plain ASCII are broken is another encoding looked for.
    """
    with open_bytes(path) as file:
        head = file.read(4)
        for mark, encoding in _MARKS:
            if head.startswith(mark):
                return encoding
        file.seek(0)
        if wide := _wide_encoding(file.read(_SAMPLE_BYTES)):
            return wide
        file.seek(0)
        valid = broken = 0
        sample = bytearray()
        for line in file:
            if line.isascii():
                continue
            if len(sample) < _SAMPLE_BYTES:
                sample += line[:_SAMPLE_BYTES]
            try:
                line.decode()
                valid += 1
            except UnicodeDecodeError:
                broken += 1
    return _likely_encoding(bytes(sample)) if broken > valid else "utf-8"


def _wide_encoding(sample: bytes) -> str | None:
    """Return the byte order of UTF-16 without a mark: every other byte of most text is zero."""
    zeros = [sample[start::2].count(0) for start in (0, 1)]
    if min(zeros) or max(zeros) * 4 < len(sample):
        return None
    return "utf-16-be" if zeros[0] else "utf-16-le"


def _likely_encoding(sample: bytes) -> str:
    """Guess an encoding; where the guess lies among the Latin ones, the most common is taken."""
    from charset_normalizer import from_bytes

    matches = from_bytes(sample, cp_isolation=list(_COMMON))
    if any(_COMMON[0] in match.could_be_from_charset for match in matches):
        return _COMMON[0]
    best = matches.best()
    return best.encoding if best is not None else "utf-8"


def physical_lines(file: TextIO, *, first: int = 1, ends_file: bool = True) -> Iterator[Line]:
    """Yield lines with their numbers; a blank last line is the end of the file, no row.

    Args:
        file: the text.
        first: number of its first line.
        ends_file: whether its last line is that of the file.
    """
    held: Line | None = None
    for line in enumerate(file, start=first):
        if held is not None:
            yield held
        held = line
    if held is not None and (held[1].strip() or not ends_file):
        yield held


def unreadable(text: str) -> tuple[str, str] | None:
    """Return reason and detail where the text of a row cannot be taken as it is."""
    if len(text) > MAX_LINE:
        return "line_too_long", f"{len(text):,} characters; at most {MAX_LINE:,}"
    escaped = _SURROGATE.search(text)
    if escaped is not None:
        byte, place = ord(escaped.group()) - 0xDC00, escaped.start() + 1
        if 0 <= byte < 256:
            return "undecodable_bytes", f"byte 0x{byte:02x} at character {place}"
        return "lone_surrogate", f"half of a character pair stands alone at character {place}"
    if "\0" in text:
        return "nul_byte", f"at character {text.index(chr(0)) + 1}"
    return None


def printable(text: str) -> str:
    """Return text that any file can hold: escaped bytes are written as backslash sequences."""
    return text.encode("utf-8", "backslashreplace").decode()
