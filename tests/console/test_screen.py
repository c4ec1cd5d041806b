import io
from collections.abc import Iterator

import pytest
from rich.console import Console

from ftool.artifacts import TrainingStep, Validation
from ftool.console import Screen, screen
from ftool.console import terminal as streams


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(screen, "time", clock)
    return clock


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    text = io.StringIO()
    monkeypatch.setenv("TERM", "xterm")
    fake = Console(file=text, force_terminal=True, width=80, markup=False, highlight=False)
    monkeypatch.setattr(streams, "stderr", fake)
    yield text


def step(number: int, validation: Validation | None = None) -> TrainingStep:
    return TrainingStep(
        step=number,
        epoch=number / 100,
        tokens=512,
        learned_tokens=40,
        loss=0.83214,
        learning_rate=1.8e-4,
        grad_norm=1.0,
        tokens_per_second=5210.4,
        peak_memory_gib=1.923,
        validation=validation,
    )


def test_notes_go_to_stderr_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    with Screen() as screen:
        screen.note("label [bold]refund[/bold] " + "word " * 40)
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "label [bold]refund[/bold] " + "word " * 40 + "\n"


def test_progress_in_a_log_is_a_line_every_few_seconds(
    capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    with Screen() as screen:
        for done in range(0, 1001, 10):
            screen.progress("encoding", done, 1000)
            clock.now += 0.2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "encoding  250 of 1,000  25%  50/s  15 s left"
    assert [line.split()[1] for line in lines] == ["250", "500", "750", "1,000"]


def test_progress_without_a_total_says_nothing_about_the_rest(
    capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    with Screen() as screen:
        screen.progress("reading", 0, None)
        clock.now += 6
        screen.progress("reading", 1200, None)
    assert capsys.readouterr().err == "reading  1,200  200/s\n"


def test_quick_stages_leave_no_line_in_a_log(
    capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    with Screen() as screen:
        for done in range(100):
            screen.progress("reading", done, 100)
            clock.now += 0.01
    assert capsys.readouterr().err == ""


def test_the_rate_of_a_resumed_training_counts_only_its_own_steps(
    capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    with Screen() as screen:
        screen.step(step(900), 1000)
        clock.now += 10
        screen.step(step(910), 1000)
    header, line = capsys.readouterr().err.splitlines()
    assert header.split("  ")[-1] == "time left"
    assert line.split() == [
        *("910/1000", "9.10", "0.8321", "1.80e-04", "5,210", "1.92", "GiB", "1", "min", "30", "s"),
    ]
    assert len(header) <= 80


def test_validations_and_the_last_step_stay(
    capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    with Screen() as screen:
        screen.step(step(1), 4)
        screen.step(step(2, Validation({"loss": 0.5, "f1_macro": 0.8}, 300, best=True)), 4)
        screen.progress("validating", 0, 300)
        screen.step(step(3, Validation({"loss": 0.6}, 300, best=False)), 4)
        screen.step(step(4), 4)
    lines = [line.split() for line in capsys.readouterr().err.splitlines()]
    assert [line[0] for line in lines] == ["step", "2/4", "validation", "3/4", "validation", "4/4"]
    best = "validation f1_macro 0.8000 loss 0.5000 (300 examples) * best so far"
    assert " ".join(lines[2]) == best
    assert " ".join(lines[4]) == "validation loss 0.6000 (300 examples)"


def test_a_terminal_shows_the_living_line_and_leaves_only_what_stays(
    terminal: io.StringIO, clock: Clock
) -> None:
    with Screen() as screen:
        screen.progress("encoding", 0, 10)
        clock.now += 1
        screen.progress("encoding", 5, 10)
        shown = terminal.getvalue()
        screen.note("kept")
    assert "encoding  5 of 10  50%  5/s  1 s left" in shown
    after_note = terminal.getvalue().partition("kept")[2]
    assert "encoding" not in after_note


def test_a_long_note_is_broken_between_words(terminal: io.StringIO) -> None:
    words = [f"word{number}" for number in range(20)]
    Screen().note(" ".join(words))
    lines = terminal.getvalue().splitlines()
    assert len(lines) > 1 and " ".join(lines).split() == words
    assert all(len(line) <= 80 for line in lines)
