from typing import Any

import pytest

from ftool import console
from ftool.artifacts import Prediction
from ftool.console.report import NAMES
from ftool.eval.judge.compare import Compared
from ftool.eval.measure.paired import pair_predictions
from ftool.eval.report import Comparison, Report, label_report
from ftool.metrics import Estimate

ESTIMATE = Estimate(0.912, 0.8712, 0.9449)


def report(labels: int = 3, **changes: Any) -> Report:
    names = tuple(f"label_{number:02d}_with_quite_a_long_name" for number in range(labels))
    metrics = {name: ESTIMATE for name in NAMES}
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


def test_the_title_says_how_labels_were_ranked(capsys: pytest.CaptureFixture[str]) -> None:
    console.show_report(report(inputs={"ranked_by": "full rows"}))
    assert capsys.readouterr().out.startswith("runs/support  (validation, rank by full rows)\n")


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


def test_everything_there_is_to_say_fits_a_screen(capsys: pytest.CaptureFixture[str]) -> None:
    estimate = {"value": 0.5, "low": 0.4, "high": 0.6}
    part = {"value": "mail", "examples": 9, "accuracy": estimate, "f1_macro": estimate}
    names = report(labels=77).label_names
    block = {
        "verdict": "better",
        "name": "the base (smollm2-135m-instruct)",
        "examples": 3080,
        "p_value": 0.0001,
        "deltas": {"accuracy": estimate},
    }
    full = report(
        labels=77,
        split="train",
        without_support=names[:5],
        never_predicted=names[:9],
        free_answers={"named": 0.99, "right": 0.9, "off_label": 0.01},
        calibration={
            "coverage": {"share": 0.5, "threshold": 0.9},
            "ece": 0.1,
            "ece_by_chance": 0.01,
            "out_of_scope": estimate,
            "bins": [{"probability": 0.9, "accuracy": estimate, "examples": 146}],
        },
        slices={f"column {n}": [part | {"is_weaker": True}] * 9 for n in range(4)},
        paired=dict.fromkeys(("base", "floor", "run"), block),
        gates=[{"passed": True}] * 3,
    )
    console.show_report(full)
    console.show_next(["ftool", "push-to-hub"])
    lines = capsys.readouterr().out.splitlines()
    assert 30 < len(lines) <= 40
    assert max(map(len, lines)) <= 80
    told = "\n".join(lines)
    for words in (
        "weakest labels",
        "expected",
        "column 0",
        "all 3 gates hold",
        "more in report",
        "no room for slices by",
    ):
        assert words in told
    console.show_report(report(labels=77, slices={"column": [part | {"is_weaker": False}] * 2}))
    out = capsys.readouterr().out
    assert out.count("mail") == 2 and len(out.splitlines()) == 27
    assert out.count("label_") == 5 + 2 * 5 - 3, "three were read as no label"


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


def answered(right: int, rows: int = 60) -> list[Prediction]:
    labels = ("card", "refund")
    return [
        Prediction(f"{n}", labels[n % 2], labels[(n + (n >= right)) % 2], "") for n in range(rows)
    ]


def full_report() -> Report:
    """Return a report of 77 labels that has everything to say."""
    estimate = {"value": 0.5, "low": 0.4, "high": 0.6}
    paired = pair_predictions(answered(50), answered(20), ("card", "refund"), name="the base (x)")
    same = pair_predictions(answered(50), answered(51), ("card", "refund"), name="the floor (y)")
    bins = [{"probability": 0.9, "accuracy": {"value": 0.5}, "examples": 9}]
    return report(
        labels=77,
        without_support=("a" * 30, "b" * 30, "c" * 30, "d"),
        never_predicted=("e" * 30, "f" * 30),
        paired={"base": paired.as_dict(), "floor": same.as_dict()},
        free_answers={"off_label": 0.0123, "named": 0.987, "right": 0.8},
        calibration={
            "ece": 0.2,
            "ece_by_chance": 0.1,
            "bins": bins,
            "coverage": {"share": 0.5, "threshold": 0.75, "precision": estimate},
            "out_of_scope": estimate,
        },
        overlap={"shared": 3, "examples": 146, "without": {"f1_macro": estimate}},
        learning={
            "verdict": "over-fitting",
            "sentence": "over-fitting from step 60: " + "validation loss 0.8, " * 4,
            "validation": [[1, 2.0]],
        },
    )


def test_a_report_with_everything_fits_a_screen(capsys: pytest.CaptureFixture[str]) -> None:
    console.show_report(full_report())
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 38  # two more name the next command
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    for words in (
        "left to itself: names a label 98.7%, right 80.0%, 1.2% off label",
        "probability: 50.0% of rows at 95% precision from 0.750, ECE 0.200",
        "out of scope: AUROC 0.500 (0.400-0.600)",
        "note: 3 of 146 scored rows are in the train split too; macro F1 0.500 without them",
        "more in report.html",
        "better than the base (x) by 50.0 points of accuracy",
        "no detectable difference from the floor (y)",
    ):
        assert words in text


def test_slices_are_shown_where_they_were_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    estimate = {"value": 0.5, "low": 0.4, "high": 0.6}
    parts = [
        {
            "value": f"mail\x1b[2J {n}",
            "examples": 1200 - n,
            "accuracy": estimate,
            "f1_macro": estimate,
            "is_weaker": n == 1,
        }
        for n in range(9)
    ]
    console.show_report(report(slices={"channel": parts}))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    start = lines.index("channel accuracy macro F1 examples")
    assert lines[start + 1 : start + 3] == [
        "mail 0 0.500 (0.400-0.600) 0.500 (0.400-0.600) 1,200",
        "mail 1 0.500 (0.400-0.600) 0.500 (0.400-0.600) 1,199 weaker",
    ]
    assert lines[start + 6] == ""


def test_a_metric_of_the_users_own_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    metrics = {**{name: ESTIMATE for name in NAMES}, "f1_micro": ESTIMATE, "mine.py:hits": ESTIMATE}
    console.show_report(report(metrics=metrics))
    out = capsys.readouterr().out
    assert "mine.py:hits" in out and "micro" not in out


def test_runs_are_shown_beside_one_another(capsys: pytest.CaptureFixture[str]) -> None:
    reports = {}
    for name, right in (("production", 20), ("rank8", 50)):
        named: Any = {"subject": name, "split": "test", "mode": "rank", "inputs": {}}
        reports[name] = label_report(answered(right), ("card", "refund"), **named)
    paired = pair_predictions(answered(50), answered(20), ("card", "refund"), name="production")
    console.show_comparison(Compared("test", reports, {"rank8": paired}))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[:2] == ["production, rank8 (test)", "production rank8"]
    assert lines[2].startswith("accuracy 0.333 (0.") and " 0.833 (0." in lines[2]
    start = lines.index("against production fixed broken both right both wrong")
    assert lines[start + 1] == "rank8 30 0 20 10"
    assert lines[start + 3].startswith("rank8: better than production by 50.0 points of accuracy")
    assert lines[-2:] == ["card: recall +0.500 (p 0.000)", "refund: recall +0.500 (p 0.000)"]
    console.show_comparison(Compared("test", reports, {}))
    assert "against" not in capsys.readouterr().out
