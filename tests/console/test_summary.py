import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from folders import write_run

from ftool import console
from ftool.console import summary
from ftool.errors import RunError
from ftool.eval.report import Comparison, Report
from ftool.metrics import Estimate

ESTIMATE = Estimate(0.912, 0.8712, 0.9449)


def report(labels: int = 3, **changes: Any) -> Report:
    names = tuple(f"label_{number:02d}_with_quite_a_long_name" for number in range(labels))
    metrics = {name: ESTIMATE for name in summary.LABEL_METRICS}
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
