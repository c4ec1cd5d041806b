import errno
import os
import shutil
from pathlib import Path

import pytest

from ftool.errors import DataError, DeviceError, RunError
from ftool.shortage import free_gib, is_out_of_memory, is_out_of_room, refusal_of, shortages_told

MEMORY = [
    MemoryError(),
    MemoryError("Unable to allocate 8.00 GiB for an array"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:126] . DefaultCPUAllocator: can't allocate memory: you"
        " tried to allocate 99 bytes. Error code 12 (Cannot allocate memory)"
    ),
    RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("MPS backend out of memory"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
    RuntimeError("std::bad_alloc"),
    RuntimeError("unable to mmap 538 bytes from file <x>: Cannot allocate memory (12)"),
]
ROOM = [
    OSError(errno.ENOSPC, "No space left on device", "data/x"),
    OSError(errno.EFBIG, "File too large"),
    OSError(errno.EDQUOT, "Disk quota exceeded"),
    RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0"),
    RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"),
    Exception("No space left on device (os error 28)"),
    Exception("Error while serializing: I/O error: File too large (os error 27)"),
]
OTHER = [
    ValueError("no"),
    KeyError("memory"),
    ValueError("no label for the row `your app is out of memory, no space left on device`"),
    OSError("tiny is not a local folder"),
    RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
    FileNotFoundError(errno.ENOENT, "No such file or directory", "x"),
    Exception("os error 280"),
]


@pytest.mark.parametrize("error", MEMORY, ids=str)
def test_every_way_to_say_that_memory_ran_out_is_one_sentence(error):
    assert is_out_of_memory(error) and not is_out_of_room(error)
    told = refusal_of(error, memory_hint="take less")
    assert isinstance(told, DeviceError) and told.hint == "take less"
    assert told.message.startswith("the memory is not enough (") and "\n" not in told.message


@pytest.mark.parametrize("error", ROOM, ids=str)
def test_every_way_to_say_that_the_disk_is_full_is_one_sentence(error):
    assert is_out_of_room(error) and not is_out_of_memory(error)
    told = refusal_of(error)
    assert isinstance(told, DeviceError)
    assert told.hint == "make room and run the same command again"
    assert f"the disk takes no more, {free_gib(Path()):.1f} GiB are free" in told.message


@pytest.mark.parametrize("error", OTHER, ids=str)
def test_other_errors_stay_what_they_are(error):
    assert refusal_of(error) is None
    with pytest.raises(type(error)) as caught, shortages_told(memory_hint=""):
        raise error
    assert caught.value is error


def test_what_a_library_makes_of_it_counts_too_but_not_what_happened_besides():
    wrapped, besides = ValueError("damaged"), ValueError("a bug")
    wrapped.__cause__, besides.__context__ = ROOM[0], ROOM[0]
    assert refusal_of(wrapped).message.startswith("data/x: No space left on device; the disk")
    assert refusal_of(besides) is None


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.EACCES, DeviceError), (errno.EROFS, DeviceError), (errno.ENOTDIR, RunError)],
)
def test_a_disk_that_cannot_be_written_names_the_file(number, kind):
    told = refusal_of(OSError(number, os.strerror(number), "data"))
    assert isinstance(told, kind) and told.message == f"data: {os.strerror(number)}"


def test_a_decorated_function_keeps_its_name_result_and_refusals():
    @shortages_told(memory_hint="take less")
    def work(error=None):
        """Work."""
        if error:
            raise error
        return 7

    assert (work(), work.__name__, work.__doc__) == (7, "work", "Work.")
    for _ in range(2):
        with pytest.raises(DeviceError) as caught:
            work(MEMORY[0])
        assert caught.value.__cause__ is MEMORY[0]
    mine = DataError("out of memory of the row")
    with pytest.raises(DataError) as refused:
        work(mine)
    assert refused.value is mine


def test_free_space_is_that_of_the_nearest_folder(tmp_path):
    free = shutil.disk_usage(tmp_path).free / 2**30
    assert free_gib(tmp_path / "a/b/c.txt") == pytest.approx(free, abs=0.5)
