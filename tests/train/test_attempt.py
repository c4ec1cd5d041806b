import json
import time

import pytest

from ftool.example import EncodedExample
from ftool.train import attempt
from ftool.train.attempt import ATTEMPT, halved, last_death, written_down
from ftool.train.layout import run_tokens
from ftool.train.order import divided
from ftool.train.plan import HALVED, Plan


def example(name, prompt):
    return EncodedExample(name, (*prompt, 7, 8), (-100,) * (len(prompt) + 1) + (8,))


def plan(*, tokens=999, shared=True):
    return Plan("cpu", "float32", 64, 16, tokens, shared, 1, 1, None, 100, {"device": "no GPU"})


ALIKE = [example(f"a{n}", (*range(20, 60), 200 + n)) for n in range(8)]
APART = [example(f"b{n}", range(20 * n, 20 * n + 5 + n)) for n in range(8)]


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Let the test say what the kernel says."""
    boot, events = tmp_path / "boot_id", tmp_path / "vmstat"
    monkeypatch.setattr(attempt, "BOOT", boot)
    monkeypatch.setattr(attempt, "EVENTS", events)

    def say(start, kills):
        boot.write_text(f"{start}\n")
        events.write_text("" if kills is None else f"pgfault 7\noom_kill {kills}\nthp 1\n")

    say("first", 3)
    return say


class Killed(BaseException):
    """A process that ends without unwinding."""


def die(folder, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(Killed), written_down(folder) as note:
        note(1, 16)
        note(12, 3)
        patch.setattr(attempt.Path, "unlink", lambda *_, **__: None)
        raise Killed


def test_only_a_kill_leaves_the_step_behind(tmp_path, monkeypatch, machine):
    with written_down(tmp_path) as note:
        note(1, 16)
        assert json.loads((tmp_path / ATTEMPT).read_text())["step"] == 1
    assert not (tmp_path / ATTEMPT).exists() and last_death(tmp_path) is None
    with pytest.raises(KeyboardInterrupt), written_down(tmp_path) as note:
        note(1, 16)
        raise KeyboardInterrupt
    assert last_death(tmp_path) is None
    with pytest.raises(RuntimeError), written_down(tmp_path) as note:
        note(1, 16)
        raise RuntimeError("of this process")
    assert last_death(tmp_path) is None
    die(tmp_path, monkeypatch)
    found = last_death(tmp_path)
    assert (found.step, found.examples, found.for_memory) == (12, 3, False)
    assert found.sentence(is_auto=True) == (
        "the last try ended without a word in step 12, with micro-batches of up to 3 examples:"
        " killed, but not by the kernel for lack of memory"
    )


def test_a_death_of_another_process_is_one(tmp_path, machine):
    with pytest.raises(RuntimeError, match="peer"), written_down(tmp_path) as note:
        note(7, 16)
        raise RuntimeError("[../gloo/transport/tcp/pair.cc:547] Connection closed by peer")
    assert last_death(tmp_path).step == 7


@pytest.mark.parametrize(
    ("start", "kills", "for_memory", "cause"),
    [
        ("first", 4, True, "since then the kernel ended a process for lack of memory"),
        ("second", 0, False, "the machine was started anew since then"),
        ("second", 9, False, "the machine was started anew since then"),
        ("first", None, False, "killed, or for lack of memory; this system does not say"),
    ],
)
def test_the_cause_is_told_as_far_as_the_system_knows(
    tmp_path, monkeypatch, machine, start, kills, for_memory, cause
):
    die(tmp_path, monkeypatch)
    machine(start, kills)
    found = last_death(tmp_path)
    assert (found.for_memory, found.cause) == (for_memory, cause)
    lower = found.sentence(is_auto=False).endswith("; lower train.batch_size_per_device")
    assert lower == for_memory
    assert found.sentence(is_auto=True).endswith(cause)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"step": 3}', '{"step": "x"}', "\x00" * 9])
def test_a_file_that_says_nothing_is_no_death(tmp_path, machine, text):
    (tmp_path / ATTEMPT).write_text(text)
    assert last_death(tmp_path) is None


def test_a_system_without_proc_does_not_say(tmp_path, monkeypatch):
    monkeypatch.setattr(attempt, "BOOT", tmp_path / "none")
    monkeypatch.setattr(attempt, "EVENTS", tmp_path / "none")
    die(tmp_path, monkeypatch)
    assert last_death(tmp_path).cause.endswith("this system does not say")


def test_writing_a_step_down_costs_microseconds(tmp_path):
    with written_down(tmp_path) as note:
        started = time.perf_counter()
        for step in range(1000):
            note(step, 16)
        seconds = (time.perf_counter() - started) / 1000
    assert seconds < 1e-3  # a step takes a second; about a hundredth of this was measured


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("data", [ALIKE, APART])
def test_a_smaller_plan_runs_the_same_examples_in_smaller_micro_batches(data, shared):
    given, sizes, step = plan(shared=shared), [], 0
    batch = list(range(len(data)))
    while given is not None:
        micro = divided(batch, data, given)
        assert sorted(e.id for part in micro for e in part) == sorted(e.id for e in data)
        sizes.append(max(run_tokens(part, shared=shared)[0] for part in micro))
        last, given, step = given, halved(given, micro, step=7), step + 1
        assert step < 20
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > sizes[-1]
    assert max(map(len, micro)) == 1 or len(max(micro, key=lambda p: len(p[0].input_ids))) == 1
    assert last.batch_size_per_device == 16 and last.reasons["device"] == "no GPU"
    assert " examples in step 7: at most " in last.reasons[HALVED]


def test_half_of_what_shares_a_prefix_is_half_of_the_examples():
    micro = divided(range(8), ALIKE, plan())
    assert list(map(len, micro)) == [8]
    less = halved(plan(), micro, step=1)
    assert list(map(len, divided(range(8), ALIKE, less))) == [4, 4]
    assert less.micro_batch_tokens == run_tokens(ALIKE[:4], shared=True)[0] == 40 + 4 * 3
