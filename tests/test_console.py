import io
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from folders import write_dataset, write_run
from rich.console import Console

from ftool import console
from ftool.artifacts import TrainingStep, Validation
from ftool.console import Screen, clean, duration
from ftool.errors import RunError
from ftool.eval.report import Comparison, Report
from ftool.metrics import Estimate

ESTIMATE = Estimate(0.912, 0.8712, 0.9449)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(console, "time", clock)
    return clock


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    text = io.StringIO()
    monkeypatch.setenv("TERM", "xterm")
    fake = Console(file=text, force_terminal=True, width=80, markup=False, highlight=False)
    monkeypatch.setattr(console, "_stderr", fake)
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


def report(labels: int = 3, **changes: Any) -> Report:
    names = tuple(f"label_{number:02d}_with_quite_a_long_name" for number in range(labels))
    metrics = {name: ESTIMATE for name in console.LABEL_METRICS}
    values: dict[str, Any] = {
        "subject": "runs/support",
        "split": "validation",
        "mode": "rank",
        "examples": 146,
        "metrics": metrics,
        "label_names": names,
        "per_label": {
            name: {"precision": 0.5, "recall": 0.25, "f1": 1 - index / 100, "support": 10.0}
            for index, name in enumerate(names)
        },
        "confusion": tuple(
            tuple(index + column for column in range(labels + 1)) for index in range(labels)
        ),
        "unparsed": 3,
        "base": Comparison("smollm2-135m-instruct", metrics, 100),
        "floor": Comparison("TF-IDF + linear", metrics, 146),
    }
    return Report(**{**values, **changes})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("a\rb\x00c\x9b", "abc"),
        ("safe\u202eevil\u2066", "safeevil"),
        ("[bold]kept[/bold] :smile:", "[bold]kept[/bold] :smile:"),
        ("two\nlines é 日本 👩‍🔧", "two\nlines é 日本 👩‍🔧"),
        ("\ud800lone", "lone"),
    ],
)
def test_clean_removes_what_steers_a_terminal(text: str, expected: str) -> None:
    assert clean(text) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.4, "0 s"), (59.4, "59 s"), (61, "1 min 1 s"), (3599.6, "1 h 0 min"), (7500, "2 h 5 min")],
)
def test_duration(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


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


def test_an_error_says_what_and_what_to_do_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    console.show_error(RunError("runs/x: [red]\x1b[2Jbroken", hint="run: ftool train"))
    out, err = capsys.readouterr()
    assert (out, err) == ("", "error: runs/x: [red]broken\nhint: run: ftool train\n")
    console.show_error(RunError("no hint"))
    assert capsys.readouterr().err == "error: no hint\n"


def test_the_next_command_can_be_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    console.show_next(["ftool", "train", "--recipe", "my tickets.yaml", "a=[1, 2]"])
    expected = "\nnext: ftool train --recipe 'my tickets.yaml' 'a=[1, 2]'\n"
    assert capsys.readouterr().out == expected


def test_json_is_readable_and_refuses_what_no_reader_takes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console.show_json({"label": "zurück"})
    out = capsys.readouterr().out
    assert json.loads(out) == {"label": "zurück"}
    assert "zurück" in out
    with pytest.raises(ValueError, match="JSON compliant"):
        console.show_json({"loss": float("nan")})


def test_a_dataset_shows_its_funnel_and_labels(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    console.show_dataset(write_dataset(tmp_path / "support"))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0].endswith("support (chat, 2 labels)")
    assert lines[1:9] == [
        "read 1,500",
        "rejected 37",
        "repeated 30",
        "empty prompt 7",
        "kept 1,463",
        "train 1,200",
        "validation 150",
        "test 113",
    ]
    assert lines[10:] == [
        "label train validation test",
        "billing 700 100 113",
        "delivery 500 50 0",
    ]


def test_many_labels_are_cut_and_counted(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    counts = {"train": {f"label{number}": number for number in range(1, 78)}}
    dataset = write_dataset(tmp_path, label_names=list(counts["train"]), label_counts=counts)
    console.show_dataset(dataset)
    out = capsys.readouterr().out
    assert "label77 " in out
    assert "label65 " not in out
    assert out.endswith("and 65 more; the rarest is label1 with 1 example\n")


def test_a_corpus_has_no_labels_to_show(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    console.show_dataset(write_dataset(tmp_path, kind="text", label_names=[], label_counts={}))
    assert "(text, 0 labels)" in capsys.readouterr().out


def test_a_run_shows_what_it_came_to(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    console.show_run(write_run(tmp_path / "support", overlong_rejected=["a"]))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0].endswith("support (finished)")
    assert lines[1:] == [
        "base model smollm2-135m-instruct",
        "method lora, 4,884,480 of 139,399,872 parameters (3.5%)",
        "steps 300 in 12 min 10 s on cpu",
        "best f1_macro 0.8123 at step 250",
        "left out 1 example longer than train.max_length",
    ]


def test_a_run_without_validation_shows_no_best(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    console.show_run(write_run(tmp_path, best_metric=None, best_step=None))
    assert "best" not in capsys.readouterr().out


def test_a_report_stands_beside_base_and_floor(capsys: pytest.CaptureFixture[str]) -> None:
    console.show_report(report())
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[:9] == [
        "runs/support (validation, rank)",
        "tuned base floor",
        "accuracy" + " 0.912 (0.871-0.945)" * 3,
        "macro precision" + " 0.912 (0.871-0.945)" * 3,
        "macro recall" + " 0.912 (0.871-0.945)" * 3,
        "macro F1" + " 0.912 (0.871-0.945)" * 3,
        "examples 146 100 146",
        "floor: TF-IDF + linear",
        "answers that name no label: 3 of 146 (2.1%)",
    ]


def test_the_weakest_labels_and_the_most_frequent_confusions_are_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    wrong = ((5, 2, 0), (0, 9, 1))
    scores = {"precision": 1.0, "recall": 0.9, "f1": 0.95, "support": 10.0}
    per_label = {"a": scores | {"f1": 0.8}, "b": scores, "c": scores | {"f1": 1.0}}
    labels = ("a", "b")
    console.show_report(report(label_names=labels, confusion=wrong, per_label=per_label))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    start = lines.index("weakest labels precision recall F1 examples")
    assert lines[start + 1 : start + 3] == ["a 1.000 0.900 0.800 10", "b 1.000 0.900 0.950 10"]
    assert lines[start + 3 :] == ["", "expected predicted times", "a b 2", "b (no label) 1"]


def test_a_perfect_report_names_no_weakness(capsys: pytest.CaptureFixture[str]) -> None:
    perfect = report(label_names=("a",), confusion=((5, 0),), per_label={}, unparsed=0)
    console.show_report(perfect)
    out = capsys.readouterr().out
    assert "weakest" not in out
    assert "expected" not in out
    assert "name no label" not in out


def test_a_report_of_77_labels_fits_a_screen(capsys: pytest.CaptureFixture[str]) -> None:
    console.show_report(report(labels=77))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80


def test_open_answers_show_loss_and_perplexity(capsys: pytest.CaptureFixture[str]) -> None:
    metrics = {"loss": Estimate(2.3, 2.2, 2.4), "perplexity": Estimate(9.97, 9.03, 11.02)}
    base = Comparison("base", {"loss": Estimate(3.0, 2.9, 3.1)}, 50)
    console.show_report(
        report(
            mode="loss",
            metrics=metrics,
            base=base,
            floor=None,
            label_names=(),
            per_label={},
            confusion=(),
            unparsed=0,
        )
    )
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[1:] == [
        "tuned base",
        "loss 2.300 (2.200-2.400) 3.000 (2.900-3.100)",
        "perplexity 9.970 (9.030-11.020) -",
        "examples 146 50",
    ]


@pytest.mark.parametrize(("dry_run", "private"), [(True, True), (False, False)])
def test_an_upload_shows_files_and_in_a_dry_run_the_card(
    capsys: pytest.CaptureFixture[str], dry_run: bool, private: bool
) -> None:
    upload: Any = SimpleNamespace(
        repo="me/support",
        url=None if dry_run else "https://hub/me/support",
        files=(("README.md", 1800), ("model.safetensors", 269_060_552), ("tiny", 12)),
        card="---\nlicense: mit\n---\n# Card [x]",
        private=private,
        dry_run=dry_run,
    )
    console.show_upload(upload)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    table = ["README.md 1.8 kB", "model.safetensors 269.1 MB", "tiny 12 B", "together 269.1 MB"]
    assert lines[-4:] == table
    if dry_run:
        assert lines[:4] == ["---", "license: mit", "---", "# Card [x]"]
        assert lines[4] == "me/support (private; dry run, nothing was uploaded)"
    else:
        assert lines[0] == "https://hub/me/support (public; published)"
