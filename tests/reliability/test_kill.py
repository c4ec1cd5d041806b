"""kill -9 at random instants: the same command goes on to the same bytes."""

import functools
import os
import random
import subprocess
import sys
import time

import pytest
from reliability.harness import (
    METHODS,
    TESTS,
    Running,
    cases,
    copied,
    learned_bytes,
    not_finite,
    train_task,
)

KILLS = 2
SEED = 20


@pytest.fixture(scope="module")
def seconds(clean, tmp_path_factory):
    """How long an uninterrupted run takes here."""
    project = copied(clean, tmp_path_factory.mktemp("timed") / "project")
    started = time.monotonic()
    assert start(project, "lora", "timed").wait().code == 0
    return time.monotonic() - started


def start(project, method, run):
    words = METHODS[method]
    return Running(functools.partial(train_task, project=project, words=words, run=run))


def test_random_kills_end_in_the_same_bytes(
    clean, expected, seconds, tmp_path, record_testsuite_property
):
    luck, killed = random.Random(SEED), 0
    project = copied(clean, tmp_path / "project")
    for trial in range(cases(20)):
        method = list(METHODS)[trial % 2]
        name = f"trial-{trial}"
        for _ in range(KILLS):
            running = start(project, method, name)
            running.process.join(luck.uniform(0, seconds))
            running.kill()
            killed += running.wait().code == -9
        last = start(project, method, name).wait()
        assert last.code == 0, last
        assert learned_bytes(project / "runs" / name) == expected[method], (trial, last)
        assert not_finite(project / "runs" / name) == []
    record_testsuite_property("kills", killed)
    assert killed >= cases(20)


@pytest.mark.parametrize("trial", range(3))
def test_the_command_line_killed_at_a_random_instant(clean, expected, tmp_path, trial):
    luck = random.Random(SEED + trial)
    method = list(METHODS)[trial % 2]
    project = copied(clean, tmp_path / "project")
    words = ["-m", "ftool", "train", "--run", "cli", *METHODS[method]]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS.parent)}
    command = {"args": [sys.executable, *words], "cwd": project, "env": environment}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(**command, **quiet) as process:
        log = project / "runs/cli/steps.jsonl"
        wanted, deadline = luck.randrange(1, 6), time.monotonic() + 120
        while not (log.exists() and log.read_text().count("\n") >= wanted):
            assert process.poll() is None and time.monotonic() < deadline, process.stderr.read()
            time.sleep(0.002)
        time.sleep(luck.uniform(0, 0.05))
        process.kill()
        process.wait()
    again = subprocess.run(**command, **quiet, timeout=120, check=False)
    assert again.returncode == 0 and "Traceback" not in again.stderr, again.stderr
    assert learned_bytes(project / "runs/cli") == expected[method]
