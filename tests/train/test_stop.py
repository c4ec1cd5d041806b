import functools
import os
import signal
import socket
import threading
from signal import SIG_IGN, SIGINT, SIGTERM
from types import SimpleNamespace

import pytest
from reliability.harness import Running

from ftool.errors import StoppedError
from ftool.train.stop import agreed, ending_at_once, leaving_off, noted_signals

ALONE = SimpleNamespace(num_processes=1)


@pytest.fixture
def obeyed():
    """The signals that reached the handlers of whoever calls."""
    numbers, earlier = [], {n: signal.getsignal(n) for n in (SIGTERM, SIGINT)}
    for number in earlier:
        signal.signal(number, lambda number, frame: numbers.append(number))
    yield numbers
    for number, handler in earlier.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [SIGTERM, SIGINT])
def test_a_signal_is_noted_and_obeyed_at_the_end(obeyed, number):
    with noted_signals() as came:
        signal.raise_signal(number)
        assert came == [number] and obeyed == []
    assert obeyed == [number]
    signal.raise_signal(number)
    assert obeyed == [number, number] and came == [number]


def test_a_second_signal_is_obeyed_at_once(obeyed):
    with noted_signals() as came:
        signal.raise_signal(SIGTERM)
        signal.raise_signal(SIGINT)
        assert came == [SIGTERM] and obeyed == [SIGINT]


def test_nothing_changes_without_a_signal(obeyed):
    with noted_signals() as came:
        assert came == []
    signal.raise_signal(SIGINT)
    assert came == [] and obeyed == [SIGINT]


def test_a_signal_that_is_ignored_stays_so(obeyed):
    signal.signal(SIGINT, SIG_IGN)
    with noted_signals() as came:
        assert signal.getsignal(SIGINT) is SIG_IGN
        signal.raise_signal(SIGINT)
    assert came == [] and signal.getsignal(SIGINT) is SIG_IGN


def test_another_thread_leaves_the_handlers_alone(obeyed):
    before, found = signal.getsignal(SIGTERM), []

    def work():
        with noted_signals() as came:
            found.append((came, signal.getsignal(SIGTERM)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [([], before)]


def test_where_nothing_can_be_saved_the_default_holds(obeyed):
    signal.signal(SIGINT, SIG_IGN)
    with ending_at_once():
        assert signal.getsignal(SIGTERM) is signal.SIG_DFL
        assert signal.getsignal(SIGINT) is SIG_IGN
    signal.raise_signal(SIGTERM)
    assert obeyed == [SIGTERM]


def test_an_error_of_the_body_is_not_hidden_by_a_signal(obeyed):
    with pytest.raises(ValueError, match="body"), noted_signals():
        signal.raise_signal(SIGTERM)
        raise ValueError("body")
    signal.raise_signal(SIGTERM)
    assert obeyed == [SIGTERM]


def test_a_stop_sends_the_signal_and_is_raised_where_that_does_not_end_the_process(obeyed):
    with pytest.raises(StoppedError, match="stopped by SIGTERM") as stopped, noted_signals():
        raise StoppedError(SIGTERM)  # as where it reached another process
    assert obeyed == [SIGTERM] and stopped.value.exit_code == 3


def test_one_process_agrees_with_itself():
    came = []
    asked = agreed(came, ALONE)
    assert asked() == 0
    came.append(SIGINT)
    assert asked() == SIGINT


def test_work_is_left_off_after_it_was_told(obeyed):
    told, came = [], []
    tell = leaving_off(lambda *words: told.append(words), agreed(came, ALONE))
    tell("scoring", 1, 3)
    came.append(SIGTERM)
    with pytest.raises(StoppedError) as stopped:
        tell("scoring", 2, 3)
    assert stopped.value.number == SIGTERM
    assert told == [("scoring", 1, 3), ("scoring", 2, 3)]


def ask_together(notes, *, rank, port, reaches):
    from accelerate import Accelerator

    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_PORT": port}
    os.environ.update({key: str(value) for key, value in place.items()}, MASTER_ADDR="127.0.0.1")
    accelerator = Accelerator(cpu=True)
    notes.append(accelerator.num_processes)
    came = []
    asked = agreed(came, accelerator)
    notes.append(asked())
    if rank == reaches:
        came.append(int(SIGTERM))
    notes.append(asked())


@pytest.mark.parametrize("reaches", [0, 1])
def test_two_processes_stop_at_one_step_whichever_the_signal_reaches(reaches):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    together = [
        Running(functools.partial(ask_together, rank=rank, port=port, reaches=reaches))
        for rank in range(2)
    ]
    for process in together:
        outcome = process.wait()
        assert outcome.notes == [2, 0, SIGTERM], outcome
