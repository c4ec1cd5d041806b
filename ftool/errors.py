"""What ftool refuses on purpose, and the exit code of each refusal.

```
FtoolError       1   anything ftool refuses on purpose
  RecipeError    2   the recipe, an override or the usage is wrong
  DataError      3   a source, a row or a prepared dataset is wrong
  RunError       3   a run is missing, locked, incomplete or of other inputs; training diverged
    ElsewhereError   another process of the same training ended; with the exit code of that one
  GateError      4   a metric is below its gate
  DeviceError    5   memory, GPU, precision or disk is not enough
  HubError       6   the Hub or the network refused
```
Any other exception is a bug in ftool: the traceback is kept and the exit code is 70.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from signal import Signals

from ftool.credentials import masked


class FtoolError(Exception):
    """Say where, what, what is allowed and what to do; tokens are masked.

    Args:
        message: where and what is wrong, and what is allowed there.
        hint: what to do about it, usually a command.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message = masked(message)
        self.hint = masked(hint)
        super().__init__(self.message)


class RecipeError(FtoolError):
    """The recipe, an override or the usage is wrong."""

    exit_code = 2


class DataError(FtoolError):
    """A source, a row or a prepared dataset is wrong."""

    exit_code = 3


class RunError(FtoolError):
    """A run folder is missing, locked, incomplete or of other inputs, or training diverged."""

    exit_code = 3


class DivergedError(RunError):
    """Training met a loss, gradient, weight or moment that is not finite.

    Args:
        step: that met it, counted from 1.
        cause: what was not finite.
    """

    def __init__(self, step: int, cause: str) -> None:
        self.step = step
        self.cause = cause
        super().__init__(
            f"step {step}: {cause}",
            hint="lower train.learning_rate or look at these examples, then train with --fresh",
        )


class StoppedError(RunError):
    """A signal asked to stop, and what was done until then is saved.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(
            f"stopped by {Signals(number).name}", hint="the same command goes on from there"
        )


class ElsewhereError(RunError):
    """Another process of the same training refused or ended, and says why.

    Args:
        message: of that process, where it is known.
        hint: likewise.
        exit_code: likewise.
    """

    def __init__(self, message: str, *, hint: str, exit_code: int) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


class GateError(FtoolError):
    """A metric is below its gate."""

    exit_code = 4


class DeviceError(FtoolError):
    """Memory, GPU, precision or disk is not enough."""

    exit_code = 5


class HubError(FtoolError):
    """The Hub or the network refused."""

    exit_code = 6


def did_you_mean(name: str, allowed: Sequence[str]) -> str:
    """Return `; did you mean ...?` for the allowed name nearest to a mistyped one, or nothing."""
    near = get_close_matches(name, allowed, n=1, cutoff=0.6)
    return f"; did you mean `{near[0]}`?" if near else ""
