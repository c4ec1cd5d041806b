"""A run dies at every single write of a save, its pruning and the end; the same command mends it.

The method is SQLite's: fail at operation 1, then 2, and so on until the run completes.
"""

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from reliability.harness import (
    HALF,
    KILLED,
    LONG,
    METHODS,
    Bomb,
    copied,
    learned_bytes,
    not_finite,
    training,
)

from ftool.train.checkpoint import damage_of

AT_ONCE = 2


def sound_checkpoints(run):
    return [path for path in (run / "checkpoints").glob("step-*") if not damage_of(path)]


def operations(start, folder, method):
    """Return what a run does to the disk, from where it stands to its end, a character each."""
    project, tally = copied(start, folder / "counted"), folder / "tally"
    assert training(project, method, fault=Bomb(0, halves=False, tally=tally)).code == 0
    return tally.read_text()


def crash_at(start, folder, method, expected, at, *, halves):
    """Let a run die at an operation, run it again, compare; return whether it died."""
    project = copied(start, folder / f"{halves}-{at}")
    run, tally = project / "runs" / method, folder / f"tally-{halves}-{at}"
    had_checkpoint = bool(sound_checkpoints(run))
    died = training(project, method, fault=Bomb(at, halves=halves, tally=tally))
    if died.code != 0:
        assert died.code == KILLED, died
        assert not had_checkpoint or sound_checkpoints(run)
        mended = training(project, method)
        assert mended.code == 0, (at, mended)
    assert learned_bytes(run) == expected, at
    assert not_finite(run) == []
    shutil.rmtree(project)
    return died.code != 0


def crash_everywhere(start, folder, method, expected):
    """Return at how many operations a run died, before them and half way through them."""
    done = operations(start, folder, method)
    count = len(done)

    def crash(at, halves):
        return crash_at(start, folder, method, expected, at, halves=halves)

    points = [(at, False) for at in range(1, count + 1)]
    points += [(at, True) for at, kind in enumerate(done, start=1) if kind == HALF]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        died = dict(zip(points, pool.map(crash, *zip(*points, strict=True)), strict=True))
    assert all(died[at, False] for at in range(1, count + 1))
    assert not crash(count + 1, False)
    return sum(died.values())


@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_dies_at_any_write_is_mended_to_the_same_bytes(
    interrupted, expected, tmp_path, method, record_testsuite_property
):
    """The run goes on from step 4, saves step 6, prunes step 2 and writes the model."""
    points = crash_everywhere(interrupted, tmp_path, method, expected[method])
    record_testsuite_property(f"crash points, {method}", points)
    assert points >= 50


@pytest.mark.skipif(not LONG, reason="FTOOL_LONG=1: every write from the first one")
@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_dies_at_any_write_of_its_life(
    clean, expected, tmp_path, method, record_testsuite_property
):
    points = crash_everywhere(clean, tmp_path, method, expected[method])
    record_testsuite_property(f"crash points, {method}", points)
    assert points >= 100
