"""What a person sees while a stage works: notes, progress, the live loss."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from rich.live import Live
from rich.text import Text

from ftool.artifacts import TrainingStep, Validation
from ftool.console import terminal
from ftool.console.terminal import clean, duration

SECONDS_BETWEEN_LINES = 5.0
SECONDS_BETWEEN_FRAMES = 0.1
STEP_COLUMNS = ("step", "epoch", "loss", "learning rate", "tokens/s", "memory", "time left")
STEP_WIDTHS = (13, 7, 9, 15, 10, 10, 13)


@dataclass(frozen=True, slots=True)
class _Pace:
    """Where and when a stage began in this process: what its rate and time left follow from."""

    stage: str
    done: int
    started: float

    def rate(self, done: int) -> float:
        """Return rows or steps per second since the beginning; 0 where nothing is known yet."""
        elapsed = time.monotonic() - self.started
        return (done - self.done) / elapsed if elapsed > 0 else 0.0

    def time_left(self, done: int, total: int) -> str:
        """Say how long the rest takes, or nothing where nothing is known yet."""
        rate = self.rate(done)
        return duration((total - done) / rate) if rate > 0 and done < total else ""


class Screen:
    """What a person sees while a stage works: notes stay, one line below them lives.

    All of it goes to stderr. In a pipe or a log the living line is written anew every few seconds.
    """

    def __init__(self) -> None:
        self._live = Live(console=terminal.stderr, transient=True, auto_refresh=False)
        self._pace = _Pace("", 0, 0.0)
        self._training: _Pace | None = None
        self._shown = 0.0

    def __enter__(self) -> Self:
        """Take over the last line of a terminal."""
        if terminal.stderr.is_interactive:
            self._live.start()
        self._shown = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        """Give the last line back."""
        self._live.stop()

    def note(self, sentence: str) -> None:
        """Show a sentence for good."""
        self._keep(Text(clean(sentence)))

    def progress(self, stage: str, done: int, total: int | None) -> None:
        """Show how far a stage is."""
        if stage != self._pace.stage or done < self._pace.done:
            self._pace = _Pace(stage, done, time.monotonic())
        words = [f"{clean(stage)}  {done:,}"]
        if total:
            words += [f"of {total:,}", f"{done / total:4.0%}"]
        if rate := self._pace.rate(done):
            words.append(f" {rate:,.0f}/s" if rate >= 10 else f" {rate:.2g}/s")
        if total and (left := self._pace.time_left(done, total)):
            words.append(f" {left} left")
        self._show(Text(" ".join(words), style="dim"))

    def step(self, step: TrainingStep, total_steps: int) -> None:
        """Show an optimizer step; a validation and the last step stay."""
        if self._training is None:
            self._training = _Pace("train", step.step, time.monotonic())
            self._keep(Text(_row(STEP_COLUMNS), style="bold"))
        cells = (
            f"{step.step}/{total_steps}",
            f"{step.epoch:.2f}",
            f"{step.loss:.4f}",
            f"{step.learning_rate:.2e}",
            f"{step.tokens_per_second:,.0f}",
            f"{step.peak_memory_gib:.2f} GiB",
            self._training.time_left(step.step, total_steps),
        )
        line = Text(_row(cells))
        if step.validation or step.step == total_steps:
            self._keep(line)
        else:
            self._show(line)
        if step.validation:
            self._keep(_validation_line(step.validation))

    def _keep(self, line: Text) -> None:
        if self._live.is_started:
            self._live.update("", refresh=True)
        terminal.stderr.print(line, soft_wrap=not terminal.stderr.is_terminal)
        self._shown = time.monotonic()

    def _show(self, line: Text) -> None:
        lives = self._live.is_started
        pause = SECONDS_BETWEEN_FRAMES if lives else SECONDS_BETWEEN_LINES
        if time.monotonic() - self._shown < pause:
            return
        if lives:
            line.no_wrap, line.overflow = True, "ellipsis"
            self._live.update(line, refresh=True)
        else:
            terminal.stderr.print(line, soft_wrap=not terminal.stderr.is_terminal)
        self._shown = time.monotonic()


def _row(cells: Sequence[str]) -> str:
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, STEP_WIDTHS, strict=True))


def _validation_line(validation: Validation) -> Text:
    chosen_first = sorted(validation.metrics, key=lambda name: name == "loss")
    values = "  ".join(f"{name} {validation.metrics[name]:.4f}" for name in chosen_first)
    line = Text(f"   validation  {values}  ({validation.examples:,} examples)")
    return line.append("  * best so far", style="bold green") if validation.best else line
