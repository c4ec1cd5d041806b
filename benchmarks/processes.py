"""Programs that are run and measured: seconds, processor seconds, memory, disk."""

import os
import resource
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

HALF_A_SECOND = 0.5


@dataclass(frozen=True, slots=True)
class Run:
    """What a program took and said; `processor` counts its children too."""

    wall: float
    processor: float
    code: int
    output: str


def cores() -> list[int]:
    """Return the processors that this program may use; none where the system cannot tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def measured(
    command: Sequence[str],
    folder: Path,
    *,
    pinned: int = 0,
    environment: Mapping[str, str] | None = None,
    timeout: float | None = None,
    on_start: Callable[[int], None] = lambda _: None,
) -> Run:
    """Run a program and measure it, from its start on.

    Args:
        command: program and arguments.
        folder: where it runs.
        pinned: bound to that many processors, the last ones; 0 binds it to none.
        environment: all of its variables; those of this program by default.
        timeout: seconds until it is ended, with its children.
        on_start: told its process id.

    Raises:
        TimeoutError: it took longer.
    """
    bind = partial(os.sched_setaffinity, 0, cores()[-pinned:]) if pinned and cores() else None
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.Popen(
        list(command),
        cwd=folder,
        env=None if environment is None else dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        preexec_fn=bind,
    )
    on_start(process.pid)
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"took over {timeout:.0f} seconds") from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, 9)
            process.communicate()
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(wall, spent, process.returncode, output)


@dataclass(slots=True)
class Peaks:
    """The highest values that were sampled while a program ran, in bytes."""

    folder: Path
    largest: int = 0
    together: int = 0
    disk: int = 0
    _ended: threading.Event = field(default_factory=threading.Event)

    def watch(self, process: int) -> None:
        """Begin to sample a process, its children and the folder, beside this program."""
        threading.Thread(target=self._sample, args=(process,), daemon=True).start()

    def stop(self) -> None:
        """Sample no more."""
        self._ended.set()

    def _sample(self, process: int) -> None:
        rounds = 0
        while not self._ended.wait(HALF_A_SECOND):
            resident = [_resident(one) for one in _family(process)]
            self.largest = max([self.largest, *resident])
            self.together = max(self.together, sum(resident))
            if rounds % 4 == 0:
                self.disk = max(self.disk, size_of(self.folder))
            rounds += 1


def _family(process: int) -> list[int]:
    """Return a process and all that it started, from the children that Linux lists."""
    found = [process]
    for one in found:
        for file in Path(f"/proc/{one}/task").glob("*/children"):
            with suppress(OSError):
                found.extend(int(child) for child in file.read_text().split())
    return found


def _resident(process: int) -> int:
    with suppress(OSError, IndexError):
        pages = Path(f"/proc/{process}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    return 0


def size_of(folder: Path) -> int:
    """Return the bytes of all files of a folder; one that goes meanwhile counts nothing."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += (Path(place) / name).stat().st_size
    return total
