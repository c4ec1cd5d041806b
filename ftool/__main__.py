"""`python -m ftool`, also what torchrun starts: runs the verbs, turns errors into exit codes."""

import contextlib
import io
import os
import re
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

import typer

from ftool import launcher
from ftool.cli import app
from ftool.credentials import WHERE, is_secret
from ftool.errors import DeviceError, FtoolError, RecipeError, did_you_mean
from ftool.shortage import refusal_of

INTERRUPTED = 130
TERMINATED = 143
BUG = 70
SPINS = "20000"
"""How long OpenMP threads spin for one another; the default starves on a machine that is shared."""
LAST_SECONDS = 1.0
"""What the main process has to say why all end; a launcher ends it as soon as one has ended."""
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Parameters of glibc's mallopt, as malloc.h numbers them."""


def _usage_error(error: typer.TyperException) -> RecipeError:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "ftool"
    message = error.format_message().replace("Value error, ", "")
    if wrong := re.search(r"'([^']*)' is not one of (.*)\.", message):
        message = message.rstrip(".") + did_you_mean(wrong[1], re.findall(r"'([^']*)'", wrong[2]))
    return RecipeError(message, hint=f"run: {command} --help")


def _is_beside() -> bool:
    """Tell whether another process speaks for this one, as torchrun and accelerate count them."""
    try:
        return sys.argv[1:2] == ["train"] and launcher.place()[0] != 0
    except RecipeError:  # told by the verb
        return False


def _speak() -> None:
    """Show what the main process cannot know of this one."""
    if _is_beside():
        sys.stderr = sys.__stderr__


def _refuse(error: FtoolError) -> int:
    from ftool.console import show_error

    if isinstance(error, DeviceError):
        _speak()
    elif _is_beside():
        time.sleep(LAST_SECONDS)
    with contextlib.suppress(OSError):  # stderr may lie on the disk that is full
        show_error(error)
    return error.exit_code


def _ended(code: Any) -> Any:
    """Return the exit code, told where a signal gave it."""
    if code in (INTERRUPTED, TERMINATED):
        typer.echo("interrupted; the same command does the rest", err=True)
    return code


def _bug() -> int:
    from ftool.console import show_bug

    _speak()
    show_bug(traceback.format_exc())
    typer.echo("\nThis is a bug in ftool, not a mistake of yours; please report it.", err=True)
    return BUG


def _broken_pipe() -> int:
    """Send what is still buffered nowhere, or Python complains while it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def run(words: list[str]) -> Any:
    """Run one command line and return its exit code."""
    try:
        if any(map(is_secret, words)):
            raise RecipeError(f"a word of this command looks like a secret: {WHERE}")
        code = app(args=words, prog_name="ftool", standalone_mode=False) or 0
        if sys.stdout is not None:
            sys.stdout.flush()
    except typer.TyperException as error:
        return _refuse(_usage_error(error))
    except FtoolError as error:
        return _refuse(error)
    except KeyboardInterrupt:
        return _ended(INTERRUPTED)
    except SystemExit as end:
        return _ended(end.code)
    except BrokenPipeError:
        return _broken_pipe()
    except Exception as error:
        return _refuse(told) if (told := refusal_of(error)) else _bug()
    return _ended(code)


def _terminate(*_: Any) -> NoReturn:
    raise SystemExit(TERMINATED)


def _keep_freed_memory() -> None:
    """Let the C library keep what is freed, in large pages, for training needs it at once again.

    Fresh pages take more than a tenth of a step on a CPU. Settings of the user's own stay.
    """
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return
    import ctypes

    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # PyTorch's
    with contextlib.suppress(AttributeError):  # another C library than glibc
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def main() -> NoReturn:
    """Run the command line of this process; SIGTERM unwinds it like any other exit.

    A signal that was ignored when the process began stays ignored, as Python leaves SIGINT.
    """
    if signal.getsignal(signal.SIGTERM) != signal.SIG_IGN:
        signal.signal(signal.SIGTERM, _terminate)
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    if sys.argv[1:2] == ["train"]:
        _keep_freed_memory()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if _is_beside():
        sys.stdout = sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
