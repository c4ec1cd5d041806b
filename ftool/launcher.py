"""What torchrun and accelerate tell the processes that they start."""

import os

from ftool.errors import RecipeError

HINT = "start with torchrun or accelerate launch, or unset RANK and WORLD_SIZE"
RANK, SIZE, LOCAL_SIZE = "RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"
OTHERS = ("LOCAL_RANK", "MPI_LOCALRANKID", "PMI_RANK", "PMI_SIZE", "MPI_LOCALNRANKS")
FAMILIES = ("OMPI_COMM_WORLD_", "MV2_COMM_WORLD_")
"""By these accelerate, too, finds out that it is one of several; source: accelerate.utils."""


def place() -> tuple[int, int]:
    """Return which one this process is, from 0, and of how many; alone it is 0 of 1.

    Raises:
        RecipeError: the environment names a place that there is not.
    """
    size = _number(SIZE, 1)
    if not os.environ.get(RANK) or size == 1:
        return 0, 1
    rank = _number(RANK, 0)
    if not 0 <= rank < size:
        raise RecipeError(f"{RANK}={rank} is not below {SIZE}={size}", hint=HINT)
    return rank, size


def on_this_machine() -> int:
    """Return how many of the processes share this machine's memory."""
    return max(1, _number(LOCAL_SIZE, 1)) if place()[1] > 1 else 1


def _number(name: str, usual: int) -> int:
    value = os.environ.get(name) or str(usual)
    if not value.isascii() or not value.isdigit():
        raise RecipeError(f"the environment variable {name} is {value!r}, no number", hint=HINT)
    return int(value)


def forget() -> None:
    """Take out of the environment what would make accelerate look for other processes."""
    for name in [name for name in os.environ if name.startswith(FAMILIES)]:
        del os.environ[name]
    for name in (RANK, SIZE, LOCAL_SIZE, *OTHERS):
        os.environ.pop(name, None)
