"""Rows -> shards: read, convert, clean, redact, filter, on as many processes as there are."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing import active_children, get_context, parent_process, resource_tracker
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from ftool.errors import RunError
from ftool.example import is_held_out
from ftool.prepare.read.formats import Reader
from ftool.prepare.read.rows import Finding, Row, Unusable
from ftool.prepare.read.units import Unit
from ftool.prepare.refine.clean import clean
from ftool.prepare.refine.filters import find_fault
from ftool.prepare.refine.redact import redact
from ftool.prepare.refine.shard import Shard, ShardWriter

if TYPE_CHECKING:
    from ftool.example import Example
    from ftool.recipe.blocks.data import Data

WAITING = 3
"""Units of each process at a time: enough to keep it busy, few enough for the memory."""

MASKED = frozenset(("personal_data",))


@dataclass(frozen=True, slots=True)
class Refining:
    """What is done with every row, the same in every process."""

    data: "Data"
    count_tokens: Callable[["Example"], int] | None = None

    def refine(self, row: Row, reader: Reader, *, held_out: bool) -> "Refined | Finding":
        """Return the example that a row becomes, or why it goes."""
        try:
            example, changed = clean(reader.example(row), self.data.clean)
        except Unusable as why:
            return Finding(why.reason, why.detail)
        found = self._judge(example, changed, held_out=held_out)
        return replace(found, label=example.label) if isinstance(found, Finding) else found

    def _judge(
        self, example: "Example", changed: frozenset[str], *, held_out: bool
    ) -> "Refined | Finding":
        example, found = redact(example, self.data.clean)
        if found and self.data.clean.personal_data == "drop" and not held_out:
            total = float(sum(found.values()))
            return Finding("personal_data", _listed(found), total)
        fault = find_fault(example, self.data, held_out=held_out)
        if fault is not None:
            return fault
        tokens, most = 0, self.data.filter.max_tokens
        if self.count_tokens and most is not None:
            tokens = self.count_tokens(example)
            if tokens > most and not held_out:
                detail = f"{tokens:,} tokens"
                return Finding("too_many_tokens", detail, tokens, most)
        return Refined(example, changed | MASKED if found else changed, found, tokens)


@dataclass(frozen=True, slots=True)
class Refined:
    """An example, what changed it and was redacted in it, and its tokens where somebody asks."""

    example: "Example"
    cleaned: frozenset[str]
    personal_data: Mapping[str, int]
    tokens: int


def _listed(found: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(found.items()))


def gather_unit(unit: Unit, folder: Path, refining: Refining) -> Path:
    """Work on one unit and write its shard."""
    data = refining.data
    source = data.sources[unit.origin]
    plan = unit.plan
    reader = Reader(unit.shown, unit.suffix, source, data, plan.survey, plan.threads)
    writer = ShardWriter(data.kind, data.dedup.near)
    rows = 0
    for place, row in enumerate(unit.read()):
        rows += 1
        held_out = is_held_out(source.split or row.split)
        found = refining.refine(row, reader, held_out=held_out)
        if isinstance(found, Finding):
            writer.reject(place, row, unit.shown, found)
            continue
        writer.keep(place, row, found.example, found.tokens, found.cleaned)
        if found.personal_data:
            writer.personal_data.update(found.personal_data)
            writer.redacted_rows += 1
    problem = reader.problem
    about = {
        "shown": unit.shown,
        "suffix": unit.suffix,
        "origin": unit.origin,
        "bytes": unit.bytes,
        "is_sample": unit.is_sample,
        "columns": list(reader.columns),
        "recognised": reader.recognised,
        "problem": problem and asdict(problem),
        "readings": reader.readings,
        "repairs": dict(sorted(reader.repairs.items())),
        "unused": sorted(reader.unused),
        "matched": reader.matched,
    }
    path = shard_path(folder, unit.number)
    writer.write(path, rows, about)
    return path


def shard_path(folder: Path, number: int) -> Path:
    """Return where the shard of a unit lies."""
    return folder / f"unit-{number:06d}"


def gather(
    units: Iterator[Unit],
    folder: Path,
    refining: Refining,
    *,
    workers: int,
    on_shard: Callable[[Shard], None],
    helps: bool = True,
) -> list[Shard]:
    """Work on all units and return their shards in order; finished ones are not done again.

    Args:
        units: what there is to do.
        folder: where shards lie.
        refining: what is done with every row.
        workers: processes that work.
        on_shard: told every finished shard.
        helps: whether this process is one of them; the memory for it stays with it.

    Raises:
        RunError: a process was ended from outside.
    """
    work = partial(gather_unit, folder=folder, refining=refining)
    paths: list[Path] = []

    def unfinished() -> Iterator[Unit]:
        for unit in units:
            path = shard_path(folder, unit.number)
            paths.append(path)
            if Shard.is_sound(path):
                on_shard(Shard.open(path))
            else:
                yield unit

    if workers == 1:
        for unit in unfinished():
            on_shard(Shard.open(work(unit)))
    else:
        _on_processes(unfinished(), work, workers - helps, on_shard, helps=helps)
    return [Shard.open(path) for path in paths]


def _on_processes(
    units: Iterator[Unit],
    work: Callable[[Unit], Path],
    others: int,
    on_shard: Callable[[Shard], None],
    *,
    helps: bool,
) -> None:
    """Work on units in other processes, and here while those start and after."""
    pending: set[Future[Path]] = set()

    def settle(timeout: float | None) -> None:
        nonlocal pending
        done, pending = wait(pending, timeout, return_when=FIRST_COMPLETED)
        for future in done:
            on_shard(Shard.open(future.result()))

    # `spawn` starts clean processes, which is safe beside the threads of libraries.
    with ProcessPoolExecutor(others, get_context("spawn"), initializer=_begin) as pool:
        try:
            for unit in units:
                while not helps and len(pending) == others * WAITING:
                    settle(timeout=None)
                if len(pending) < others * WAITING:
                    with _signals_held():
                        pending.add(pool.submit(work, unit))
                else:
                    on_shard(Shard.open(work(unit)))
                settle(timeout=0)
            while pending:
                settle(timeout=None)
        except BrokenProcessPool as error:
            raise RunError(
                f"one of {others + helps} processes was ended, perhaps for want of memory",
                hint="run it again, what is done stays; one process takes least: --workers 1",
            ) from error
        except BaseException:
            # A part that is worked on counts only as a whole, so nothing is lost by ending it.
            for child in active_children():
                child.kill()  # it ignores SIGTERM where this process was started to
            pool.shutdown(wait=True, cancel_futures=True)
            raise


ENDING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def _signals_held() -> Iterator[None]:
    """Hold signals while processes start, which have them held until they can take them.

    One in between would end a process that knows too little of its work to end without a word.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # which else, started with the first process, lets them go
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin() -> None:
    """End this process when the one that started it ends, also by a kill, which tells nobody.

    Ctrl-C reaches both; it is left to the parent.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    Thread(target=watch, daemon=True).start()


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
