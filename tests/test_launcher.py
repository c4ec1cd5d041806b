import os

import pytest
from accelerate import PartialState

from ftool import launcher
from ftool.errors import RecipeError


@pytest.fixture(autouse=True)
def _nobody_said_anything(monkeypatch):
    for name in (launcher.RANK, launcher.SIZE, launcher.LOCAL_SIZE, *launcher.OTHERS):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("told", "place", "here"),
    [
        ({}, (0, 1), 1),
        ({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}, (0, 1), 1),
        ({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}, (3, 4), 2),
        ({"RANK": "1", "WORLD_SIZE": "2"}, (1, 2), 1),
        ({"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}, (0, 1), 1),  # of all that a scheduler starts
        ({"RANK": "1"}, (0, 1), 1),
    ],
)
def test_where_this_process_stands(told, place, here, monkeypatch):
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert launcher.place() == place
    assert launcher.on_this_machine() == here


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"RANK": "abc", "WORLD_SIZE": "2"}, "RANK is 'abc', no number"),
        ({"RANK": "0", "WORLD_SIZE": "x"}, "WORLD_SIZE is 'x', no number"),
        ({"RANK": "5", "WORLD_SIZE": "2"}, "RANK=5 is not below WORLD_SIZE=2"),
        ({"RANK": "-1", "WORLD_SIZE": "2"}, "RANK is '-1', no number"),
    ],
)
def test_a_place_that_there_is_not_is_refused(told, says, monkeypatch):
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RecipeError, match=says) as caught:
        launcher.place()
    assert "torchrun" in caught.value.hint


def test_an_empty_variable_says_nothing(monkeypatch):
    monkeypatch.setenv("RANK", "")
    monkeypatch.setenv("WORLD_SIZE", "")
    assert launcher.place() == (0, 1)


def test_one_process_is_alone_whatever_started_it(monkeypatch):
    told = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "PMI_SIZE")
    for name in told:
        monkeypatch.setenv(name, "1")
    launcher.forget()
    assert not set(told) & os.environ.keys()
    PartialState._reset_state()
    try:
        assert PartialState(cpu=True).num_processes == 1
        assert not PartialState().use_distributed
    finally:
        PartialState._reset_state()
