"""One prepared project, one interrupted and one finished run of each method, for all files."""

import functools

import pytest
from reliability.harness import (
    CHECKPOINTED,
    KILLED,
    METHODS,
    copied,
    learned_bytes,
    stop_after,
    training,
    write_project,
)


@pytest.fixture(scope="session")
def clean(tmp_path_factory):
    """A project without runs."""
    return write_project(tmp_path_factory.mktemp("reliability") / "clean")


@pytest.fixture(scope="session")
def interrupted(clean):
    """A project whose runs were killed one step after a checkpoint."""
    project = copied(clean, clean.with_name("interrupted"))
    fault = functools.partial(stop_after, CHECKPOINTED + 1)
    for method in METHODS:
        outcome = training(project, method, fault=fault)
        assert outcome.code == KILLED, outcome.message
    return project


@pytest.fixture(scope="session")
def finished(clean):
    """A project whose runs were never interrupted."""
    project = copied(clean, clean.with_name("finished"))
    for method in METHODS:
        outcome = training(project, method)
        assert outcome.code == 0, outcome.message
    return project


@pytest.fixture(scope="session")
def expected(finished):
    """What uninterrupted runs learned."""
    return {method: learned_bytes(finished / "runs" / method) for method in METHODS}
