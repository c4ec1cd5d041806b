"""Memory or disk that runs out, whichever library meets it, as a sentence."""

import errno
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ftool.errors import DeviceError, FtoolError, RunError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
"""What the disk refuses: more bytes, or to be written at all."""
IN_THE_WAY = {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP}
"""A file where a folder is needed, a link in a circle, and the like."""
NO_MEMORY = re.compile(
    r"can't allocate memory|cannot allocate memory|not enough memory|out of memory|bad_alloc"
    r"|os error 12\b|can't start new thread",
    re.IGNORECASE,
)
"""How PyTorch on a CPU and on a GPU, C++ and Rust say that memory ran out."""
NO_ROOM = re.compile(
    r"os error (?:28|122|27)\b|no space left on device|file too large|disk quota exceeded"
    r"|PytorchStreamWriter|inline_container\.cc",
    re.IGNORECASE,
)
"""How Rust (with Linux's numbers) and PyTorch's own archive say that the disk took no more."""
ABOUT_VALUES = (ValueError, TypeError, LookupError, AssertionError)
"""Errors that may quote what somebody wrote."""
MEMORY_HINT = "close other programs, or use a machine with more memory"


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory was asked for in vain."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or _says(error, NO_MEMORY)


def is_out_of_room(error: BaseException) -> bool:
    """Tell whether an error says that the disk took no more bytes."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in FULL
    return _says(error, NO_ROOM)


def is_shortage(error: BaseException) -> bool:
    """Tell whether memory or disk ran out, which is nobody's mistake in a recipe or a file."""
    return any(is_out_of_memory(one) or is_out_of_room(one) for one in _causes(error))


def refusal_of(error: BaseException, *, memory_hint: str = MEMORY_HINT) -> FtoolError | None:
    """Say what the machine refuses; None where the error is of another kind.

    Args:
        error: of any library; where it was raised from another, that one counts too.
        memory_hint: what to change where memory was not enough.
    """
    for cause in _causes(error):
        if is_out_of_memory(cause):
            return DeviceError(f"the memory is not enough ({first_line(cause)})", hint=memory_hint)
        if is_out_of_room(cause):
            return DeviceError(_full(cause), hint="make room and run the same command again")
    if not isinstance(error, OSError):
        return None
    what = f"{error.filename or 'a file'}: {error.strerror}"
    if error.errno in REFUSED:
        return DeviceError(what, hint="work in a folder that can be written")
    if error.errno in IN_THE_WAY and error.filename:
        return RunError(what, hint="something else stands there; move it away")
    return None


@contextmanager
def shortages_told(*, memory_hint: str) -> Iterator[None]:
    """Turn memory or disk that runs out into a sentence; also a decorator.

    Args:
        memory_hint: what to change where memory was not enough.

    Raises:
        DeviceError: memory or disk is not enough.
        RunError: something else stands where a file has to be written.
    """
    try:
        yield
    except FtoolError:
        raise
    except Exception as error:
        if (told := refusal_of(error, memory_hint=memory_hint)) is None:
            raise
        raise told from error


def _says(error: BaseException, words: re.Pattern[str]) -> bool:
    return not isinstance(error, ABOUT_VALUES) and words.search(str(error)) is not None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it was raised from."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _full(error: BaseException) -> str:
    name = getattr(error, "filename", None)
    what = f"{name}: {first_line(error)}" if name else first_line(error)
    return f"{what}; the disk takes no more, {free_gib(Path(name or '.')):.1f} GiB are free"


def free_gib(path: Path) -> float:
    """Return what is free where a file lies or will lie, in GiB."""
    there = path.absolute()
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there).free / 2**30


def first_line(error: BaseException) -> str:
    """Return what an error says, without the traces that some libraries add."""
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(said).splitlines()[0]
