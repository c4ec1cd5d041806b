"""Work on parts of the data in threads: while numpy computes, others of them may too."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Part = TypeVar("Part")
Found = TypeVar("Found")

WAITING = 1
"""Parts that wait for each thread: they are in memory already."""


def mapped(work: Callable[[Part], Found], parts: Iterable[Part], workers: int) -> Iterator[Found]:
    """Yield what work makes of every part, in their order.

    Parts are taken as they are needed, so only a few of them are in memory.

    Args:
        work: of one part, independent of the others.
        parts: taken one after the other.
        workers: threads; with one, nothing runs beside the caller.
    """
    if workers == 1:
        yield from map(work, parts)
        return
    with ThreadPoolExecutor(workers) as pool:
        running: deque[Future[Found]] = deque()
        for part in parts:
            running.append(pool.submit(work, part))
            if len(running) > workers * (1 + WAITING):
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
