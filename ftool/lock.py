"""One process in a folder: held by the operating system, its owner written beside."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import gethostname

from ftool.errors import RunError

LOCK, OWNER = ".lock", ".owner.json"
OWNER_SECONDS = 0.2
"""How long a new owner may take to write its name down."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process; the lock of a dead process never blocks.

    Raises:
        RunError: another process holds it; which, where and since when.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise RunError(
            f"another ftool process works in {folder}{_owner(folder)}",
            hint="wait for it, or stop it",
        ) from error
    try:
        me = {"pid": os.getpid(), "host": gethostname(), "since": time.strftime("%F %T")}
        (folder / OWNER).write_text(json.dumps(me), encoding="utf-8")
        yield
    finally:
        lock.release()


def _owner(folder: Path) -> str:
    time.sleep(OWNER_SECONDS)
    try:
        owner = json.loads((folder / OWNER).read_text(encoding="utf-8"))
        return f": process {owner['pid']} on {owner['host']} since {owner['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
