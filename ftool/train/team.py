"""The processes that train together: what the main one does for all, and one end for all."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch

from ftool import launcher
from ftool.errors import ElsewhereError, FtoolError, RecipeError
from ftool.model.weights.load import choose_device
from ftool.shortage import shortages_told
from ftool.train.plan import MEMORY_HINT
from ftool.train.stop import ending_at_once

PATIENCE = timedelta(hours=12)
"""How long a process waits for another: the main one may score a long validation split alone."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Team:
    """This process among those of one training; process 0 is the main one, the only that writes.

    Every process has to call the same methods in the same order, for outcomes are exchanged.
    """

    index: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Tell whether this process writes and speaks for all."""
        return self.index == 0

    def by_main(self, work: Callable[[], T]) -> T:
        """Do work in the main process alone; return its result, which is pickled, in all.

        Raises:
            FtoolError: what the main process refuses.
            ElsewhereError: the same in the others.
        """
        if self.size == 1:
            return work()
        value, error = _outcome(work) if self.is_main else (None, None)
        values = self._exchanged(value, error)
        return value if self.is_main else values[0]  # type: ignore[return-value]

    def together(self, work: Callable[[], T]) -> T:
        """Do work in every process; return each its own result, or end all where one refuses.

        Raises:
            FtoolError: what the first process to refuse says.
            ElsewhereError: the same in all but the main process.
        """
        if self.size == 1:
            return work()
        value, error = _outcome(work)
        self._exchanged(None, error)
        return value  # type: ignore[return-value]

    def _exchanged(self, value: T | None, error: FtoolError | None) -> list[T | None]:
        """Return the values of all processes, or raise the first error of any."""
        from accelerate.utils import gather_object

        refusal = error and (error.message, error.hint, error.exit_code)
        outcomes = gather_object([(value, refusal)])
        if first := next((refused for _, refused in outcomes if refused), None):
            if self.is_main and error is not None:
                raise error
            message, hint, exit_code = first
            raise ElsewhereError(message, hint=hint, exit_code=exit_code) from error
        return [found for found, _ in outcomes]


ALONE = Team()


def _outcome(work: Callable[[], T]) -> tuple[T | None, FtoolError | None]:
    try:
        with shortages_told(memory_hint=MEMORY_HINT):
            return work(), None
    except FtoolError as error:
        return None, error


@contextmanager
def joined() -> Iterator[Team]:
    """Yield this process's place among those that torchrun or accelerate started.

    Raises:
        RecipeError: the environment does not say where the others are.
        ElsewhereError: another process ended in the middle of the body.
    """
    if launcher.place()[1] == 1:
        launcher.forget()
        yield ALONE
        return
    if not os.environ.get("MASTER_ADDR"):
        raise RecipeError("RANK and WORLD_SIZE are set, but no MASTER_ADDR", hint=launcher.HINT)
    from accelerate import PartialState

    is_cpu = choose_device().device.type == "cpu"
    with ending_at_once():  # nothing is to be saved yet, and the others may never come
        state = PartialState(cpu=is_cpu, timeout=PATIENCE)
    try:
        yield Team(state.process_index, state.num_processes)
    except RuntimeError as error:
        if not is_lost(error):
            raise
        raise ElsewhereError(
            "another process of this training has ended",
            hint="it says why where it can; the same command goes on",
            exit_code=ElsewhereError.exit_code,
        ) from error
    state.destroy_process_group()


def is_lost(error: RuntimeError) -> bool:
    """Tell whether another process could not be reached; gloo says so by its own place alone."""
    return isinstance(error, torch.distributed.DistError) or "gloo/transport" in str(error)
