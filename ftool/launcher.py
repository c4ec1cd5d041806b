"""What torchrun and accelerate tell the processes that they start."""

import os

RANK, SIZE, LOCAL_SIZE = "RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"
OTHERS = ("LOCAL_RANK", "MPI_LOCALRANKID", "PMI_RANK", "PMI_SIZE", "MPI_LOCALNRANKS")
FAMILIES = ("OMPI_COMM_WORLD_", "MV2_COMM_WORLD_")
"""By these accelerate, too, finds out that it is one of several; source: accelerate.utils."""


def place() -> tuple[int, int]:
    """Return which one this process is, from 0, and of how many; alone it is 0 of 1."""
    size = int(os.environ.get(SIZE, "1"))
    return (int(os.environ[RANK]), size) if RANK in os.environ and size > 1 else (0, 1)


def on_this_machine() -> int:
    """Return how many of the processes share this machine's memory."""
    return int(os.environ.get(LOCAL_SIZE, "1")) if place()[1] > 1 else 1


def forget() -> None:
    """Take out of the environment what would make accelerate look for other processes."""
    for name in [name for name in os.environ if name.startswith(FAMILIES)]:
        del os.environ[name]
    for name in (RANK, SIZE, LOCAL_SIZE, *OTHERS):
        os.environ.pop(name, None)
