"""The disk takes no more: a sentence, older checkpoints stay, with room the same bytes come out."""

import functools
import json
import resource
import shutil

import pytest
from reliability.harness import (
    METHODS,
    STEPS,
    cases,
    copied,
    eval_task,
    learned_bytes,
    not_finite,
    prepare_task,
    run_task,
    training,
)

from ftool.artifacts import PreparedDataset
from ftool.train.checkpoint import damage_of

SHARES = (0.02, 0.25, 0.5, 0.75, 0.99)
"""Where a file breaks off, as a share of its size."""
COUNT = cases(12)
"""Sizes at which the disk is full, for each method."""


def limit(size):
    """Let no file of this process grow beyond a size, in bytes; errors are those of a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def sizes_of(run):
    """Return the sizes of what a save and the end of a run write, by name."""
    checkpoint = run / f"checkpoints/step-{STEPS:06d}"
    files = [*checkpoint.iterdir(), *(run / "model").iterdir()]
    return {path.relative_to(run).as_posix(): path.stat().st_size for path in files}


def limits(run):
    """Return sizes at which a run meets a full disk, spread over the files that it writes."""
    sizes = sorted(set(sizes_of(run).values()))
    found = {max(1, round(size * share)) for size in sizes for share in SHARES}
    return sorted(found)


def sound(run):
    return sorted(p.name for p in (run / "checkpoints").glob("step-*") if not damage_of(p))


@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_meets_a_full_disk_goes_on_to_the_same_bytes(
    interrupted, finished, expected, tmp_path, method, record_testsuite_property
):
    every = limits(finished / "runs" / method)
    chosen = [every[place * (len(every) - 1) // (COUNT - 1)] for place in range(COUNT)]
    refused = 0
    for size in chosen:
        project = copied(interrupted, tmp_path / f"{method}-{size}")
        run = project / "runs" / method
        before = sound(run)
        outcome = training(project, method, fault=functools.partial(limit, size))
        if outcome.code != 0:
            refused += 1
            assert outcome.code == 5, (size, outcome)
            assert "GiB are free | make room and run the same command again" in outcome.message
            assert set(before) <= set(sound(run)) or f"step-{STEPS:06d}" in sound(run)
            assert not (run / "manifest.json").exists()
            assert training(project, method).code == 0
        assert learned_bytes(run) == expected[method], size
        assert not_finite(run) == []
        shutil.rmtree(project)
    record_testsuite_property(f"sizes of a full disk, {method}", refused)
    assert refused >= COUNT - 1


def test_a_run_that_meets_a_full_disk_in_its_first_save(clean, expected, tmp_path):
    project = copied(clean, tmp_path / "project")
    outcome = training(project, "lora", fault=functools.partial(limit, 5_000))
    run = project / "runs/lora"
    assert outcome.code == 5 and "checkpoints/step-000002 cannot be written" in outcome.message
    assert list((run / "checkpoints").iterdir()) == []
    assert training(project, "lora").code == 0
    assert learned_bytes(run) == expected["lora"]


@pytest.mark.parametrize("size", [1, 100, 1_000, 3_000, 10_000, 30_000])
def test_prepare_that_meets_a_full_disk_goes_on_to_the_same_data(clean, tmp_path, size):
    project = copied(clean, tmp_path / "project")
    shutil.rmtree(project / "data")
    outcome = run_task(_limited_prepare, project=project, size=size)
    assert outcome.code == 5, outcome
    assert "the disk takes no more" in outcome.message and "make room" in outcome.message
    assert not (project / "data/tiny").exists()
    assert run_task(prepare_task, project=project).code == 0
    there = PreparedDataset.open(project / "data/tiny")
    assert there.manifest() == PreparedDataset.open(clean / "data/tiny").manifest()


@pytest.mark.parametrize("size", [1, 100, 1_000, 5_000, 20_000])
def test_eval_that_meets_a_full_disk_goes_on_to_the_same_report(finished, tmp_path, size):
    project = copied(finished, tmp_path / "project")
    run = project / "runs/lora"
    outcome = run_task(_limited_eval, project=project, size=size)
    assert outcome.code == 5, outcome
    assert "the disk takes no more" in outcome.message and "make room" in outcome.message
    assert not (run / "eval/validation/metrics.json").exists()
    assert run_task(eval_task, project=project, run="lora").code == 0
    found = json.loads((run / "eval/validation/metrics.json").read_text())
    whole = copied(finished, tmp_path / "whole")
    assert run_task(eval_task, project=whole, run="lora").code == 0
    assert found == json.loads((whole / "runs/lora/eval/validation/metrics.json").read_text())


def _limited_prepare(notes, *, project, size):
    limit(size)
    prepare_task(notes, project=project)


def _limited_eval(notes, *, project, size):
    limit(size)
    eval_task(notes, project=project, run="lora")


@pytest.mark.parametrize("method", METHODS)
def test_what_a_disk_cannot_hold_is_refused_before_the_first_step(clean, tmp_path, method):
    project = copied(clean, tmp_path / "project")
    outcome = training(project, method, fault=functools.partial(nearly_full, 100_000))
    assert outcome.code == 5, outcome
    needed = {"lora": "1", "full": "1"}[method]
    assert needed and "are free; no step was taken | make room" in outcome.message
    assert not (project / f"runs/{method}/steps.jsonl").exists()


def nearly_full(free):
    """Let the disk say that so many bytes are free."""
    usage = shutil.disk_usage
    shutil.disk_usage = lambda path: usage(path)._replace(free=free)
