"""SIGTERM and SIGINT while the loop runs: noted, so that it can save before it ends."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch

from ftool.errors import StoppedError

SIGNALS = (signal.SIGTERM, signal.SIGINT)

Asked = Callable[[], int]
"""Returns the number of the signal that asks for a stop; 0 while none does."""


@contextmanager
def noted_signals() -> Iterator[list[int]]:
    """Note the first SIGTERM or SIGINT instead of obeying it; it is sent again at the end.

    What is yielded holds its number as soon as it came. A second signal does at once what it would
    have done without all this, and so does the first one after the body: in `ftool` both unwind
    the process to its exit code. Signals that the process ignores stay ignored, and outside the
    main thread, where Python takes no signals, nothing changes.

    Raises:
        StoppedError: of the body, where whoever calls handles the signal without ending.
    """
    came: list[int] = []
    earlier = _obeyed()

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        came.append(number)
        _obey(earlier)

    for number in earlier:
        signal.signal(number, note)
    try:
        yield came
    except StoppedError as stopped:
        _obey(earlier)
        signal.raise_signal(stopped.number)  # of this process, or of one beside it
        raise
    finally:
        _obey(earlier)
    if came:
        signal.raise_signal(came[0])


@contextmanager
def ending_at_once() -> Iterator[None]:
    """Let SIGTERM and SIGINT end the process as if nobody handled them, in a long call of C too."""
    earlier = _obeyed()
    _obey(dict.fromkeys(earlier, signal.SIG_DFL))
    try:
        yield
    finally:
        _obey(earlier)


def _obeyed() -> dict[signal.Signals, Any]:
    """Return what is done at each signal; not those that are ignored or not Python's.

    Outside the main thread, which may set no handlers, there are none.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    return {key: how for key, how in handlers.items() if how not in (signal.SIG_IGN, None)}


def _obey(handlers: dict[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


def stopped_sentence(number: int, step: int) -> str:
    """Say which signal stopped a training, and that it goes on from its step."""
    name = signal.Signals(number).name
    return f"stopped by {name}: step {step} is saved, the same command goes on from there"


def agreed(came: list[int], accelerator: Any) -> Asked:
    """Return what tells which signal asks for a stop, whichever process it reached.

    Every process has to ask equally often, for the answers are exchanged: all stop at one step.
    """

    def ask() -> int:
        mine = came[0] if came else 0
        if accelerator.num_processes == 1:
            return mine
        return int(accelerator.gather(torch.tensor([mine], device=accelerator.device)).max())

    return ask


def leaving_off(tell: Callable[..., None], asked: Asked) -> Callable[..., None]:
    """Return a callback that is told what `tell` is, and raises where a stop is asked for.

    Raises:
        StoppedError: in the callback.
    """

    def told(*words: Any) -> None:
        tell(*words)
        if number := asked():
            raise StoppedError(number)

    return told
