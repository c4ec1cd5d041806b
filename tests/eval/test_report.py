import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ftool.artifacts import Prediction, fingerprint, read_jsonl
from ftool.errors import DataError, RunError
from ftool.eval.report import (
    BLOCKS,
    Report,
    label_comparison,
    label_report,
    loss_comparison,
    loss_report,
)
from ftool.metrics import score_labels, wilson

LABELS = ("card", "refund", "other", "unused")
EXPECTED = ["card", "card", "refund", "refund", "other"]
PREDICTED = ["card", "refund", "refund", None, "card"]
INPUTS = {"dataset_fingerprint": "d" * 8, "model": {"name": "tiny", "files": ("a", "b")}}


def prediction(index: int, expected: str | None, predicted: str | None) -> Prediction:
    output = predicted or "no idea \u2028 \u00e9"
    return Prediction(f"id-{index}", expected, predicted, output, log_probability=-0.5)


PREDICTIONS = [
    prediction(index, *pair) for index, pair in enumerate(zip(EXPECTED, PREDICTED, strict=True))
]
OPEN = [
    Prediction("x", None, None, "", loss=1.0, learned_tokens=30),
    Prediction("y", None, None, "", loss=3.0, learned_tokens=10),
]


def support_report(**changes: Any) -> Report:
    report = label_report(
        PREDICTIONS, LABELS, subject="support", split="test", mode="rank", inputs=INPUTS
    )
    return replace(report, **changes)


def test_a_label_report_holds_the_scores() -> None:
    report, scores = support_report(), score_labels(EXPECTED, PREDICTED, LABELS)
    assert report.metrics == scores.metrics
    assert report.metrics["accuracy"] == wilson(2, 5)
    assert report.per_label == scores.per_label
    assert report.per_label["card"]["f1"] == 0.5 and report.per_label["card"]["support"] == 2
    assert report.confusion == ((1, 1, 0, 0, 0), (0, 1, 0, 0, 1), (1, 0, 0, 0, 0), (0, 0, 0, 0, 0))
    assert (report.examples, report.unparsed, report.unparsed_ratio) == (5, 1, 0.2)
    assert report.without_support == ("unused",)
    assert report.never_predicted == ("other", "unused")


def test_the_shape_of_metrics_json() -> None:
    base = label_comparison("tiny", EXPECTED[:3], [None, None, "refund"], LABELS)
    floor = label_comparison("tfidf", EXPECTED, ["card"] * 5, LABELS)
    content = support_report().beside(base=base, floor=floor).as_dict()
    assert list(content) == [
        "schema",
        "subject",
        "split",
        "data",
        "examples",
        "mode",
        "metrics",
        "learned_tokens",
        "label_names",
        "per_label",
        "confusion",
        "unparsed",
        "without_support",
        "never_predicted",
        "base",
        "floor",
        "group",
        "left_out",
        "paired",
        "calibration",
        "free_answers",
        "slices",
        "overlap",
        "learning",
        "gates",
        "inputs",
        "fingerprint",
    ]
    assert list(content["metrics"])[:4] == [
        "accuracy",
        "precision_macro",
        "recall_macro",
        "f1_macro",
    ]
    assert content["metrics"]["accuracy"].keys() == {"value", "low", "high"}
    assert content["per_label"]["refund"]["support"] == 2
    assert content["unparsed"] == {"count": 1, "ratio": 0.2}
    assert content["base"]["examples"] == 3
    assert content["base"]["metrics"]["accuracy"]["value"] == pytest.approx(1 / 3)
    assert content["floor"]["name"] == "tfidf"
    assert content["floor"]["metrics"]["recall_macro"]["value"] == pytest.approx(1 / 3)
    assert content["inputs"]["dataset_fingerprint"] == "d" * 8


def test_a_report_is_read_back_equal(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "support" / "eval" / "test"
    floor = label_comparison("majority", EXPECTED, ["card"] * 5, LABELS)
    report = support_report().beside(base=None, floor=floor)
    report.write(folder, PREDICTIONS)
    assert Report.read(folder) == report
    assert Report.read(folder).fingerprint == report.fingerprint
    rows = list(read_jsonl(folder / "predictions.jsonl"))
    assert rows == [row.as_dict() for row in PREDICTIONS]
    assert [row["correct"] for row in rows] == [True, False, True, False, False]
    assert sorted(path.name for path in folder.iterdir()) == ["metrics.json", "predictions.jsonl"]


def test_blocks_are_plain_values_that_are_read_back_equal(tmp_path: Path) -> None:
    report = support_report(group="customer").with_blocks(
        overlap={"shared": 2, "ids": ("a", "b")},
        learning={"training": ((1, 2.5), (2, 2.0))},
        slices={"channel": [{"value": "mail"}]},
    )
    assert report.learning == {"training": [[1, 2.5], [2, 2.0]]}
    assert report.overlap == {"shared": 2, "ids": ["a", "b"]}
    report.write(tmp_path, PREDICTIONS)
    assert Report.read(tmp_path) == report
    with pytest.raises(ValueError, match="JSON compliant"):
        report.with_blocks(learning={"gap": math.nan})


def test_a_report_of_an_earlier_version_is_read_without_blocks(tmp_path: Path) -> None:
    support_report().write(tmp_path, PREDICTIONS)
    file = tmp_path / "metrics.json"
    content = json.loads(file.read_text())
    for name in ("group", *BLOCKS, "fingerprint"):
        del content[name]
    content["fingerprint"] = fingerprint(content)
    file.write_text(json.dumps(content))
    assert Report.read(tmp_path) == support_report()


def test_intervals_of_groups_are_wider() -> None:
    rows = [replace(row, id=f"{row.id}-{copy}") for row in PREDICTIONS for copy in range(20)]
    named = {"subject": "s", "split": "test", "mode": "rank", "inputs": {}}
    groups = [row.id.rpartition("-")[0] for row in rows]
    alone, grouped = (label_report(rows, LABELS, groups=g, **named) for g in (None, groups))
    ours, theirs = grouped.metrics["accuracy"], alone.metrics["accuracy"]
    assert ours.value == theirs.value
    assert ours.high - ours.low > 3 * (theirs.high - theirs.low)


def test_a_loss_report(tmp_path: Path) -> None:
    report = loss_report(OPEN, subject="novel", split="validation", inputs={})
    report = report.beside(base=loss_comparison("tiny", OPEN[1:]), floor=None)
    assert report.mode == "loss"
    assert list(report.metrics) == ["loss", "perplexity"]
    assert report.metrics["loss"].value == 1.5
    assert report.metrics["perplexity"].value == pytest.approx(math.exp(1.5))
    assert (report.examples, report.learned_tokens, report.label_names) == (2, 40, ())
    assert report.base is not None and report.base.metrics["loss"].value == 3.0
    report.write(tmp_path, OPEN)
    assert Report.read(tmp_path) == report


def test_the_fingerprint_is_over_content_and_inputs() -> None:
    content = support_report().as_dict()
    stated = content.pop("fingerprint")
    assert stated == fingerprint(content) == support_report().fingerprint
    other = support_report(inputs={**INPUTS, "dataset_fingerprint": "e" * 8})
    assert other.fingerprint != stated
    assert support_report(split="validation").fingerprint != stated


@pytest.mark.parametrize("folder", ["/home/somebody/models/tiny", "C:\\Users\\somebody\\tiny"])
def test_no_folder_of_the_machine_is_written(folder: str, tmp_path: Path) -> None:
    report = label_report(
        PREDICTIONS,
        LABELS,
        subject=folder,
        split="test",
        mode="rank",
        inputs={"model": {"name": folder, "files": [tmp_path / "weights"]}, "revision": None},
    )
    assert report.subject == "tiny"
    assert report.inputs == {"model": {"name": "tiny", "files": ["weights"]}, "revision": None}
    base = label_comparison(folder, EXPECTED, PREDICTED, LABELS)
    floor = loss_comparison(folder, OPEN)
    report.beside(base=base, floor=floor).write(tmp_path, PREDICTIONS)
    text = (tmp_path / "metrics.json").read_text()
    assert "somebody" not in text and str(tmp_path) not in text


def test_metrics_json_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    support_report().write(tmp_path, PREDICTIONS)

    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("ftool.eval.report.write_jsonl", full)
    with pytest.raises(OSError, match="disk full"):
        support_report().write(tmp_path, PREDICTIONS)
    assert not (tmp_path / "metrics.json").exists()  # old scores never stand beside new predictions


def test_what_is_no_report_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no report") as caught:
        Report.read(tmp_path)
    assert caught.value.hint == "run: ftool eval"
    support_report().write(tmp_path, PREDICTIONS)
    file = tmp_path / "metrics.json"
    content = json.loads(file.read_text())
    content["metrics"]["accuracy"]["value"] = 0.99
    file.write_text(json.dumps(content))
    with pytest.raises(RunError, match="was changed after"):
        Report.read(tmp_path)
    for other in ('{"schema": 2}', "[]"):
        file.write_text(other)
        with pytest.raises(RunError, match="not written by this version"):
            Report.read(tmp_path)
    file.write_text("{")
    with pytest.raises(RunError, match="cannot be read"):
        Report.read(tmp_path)


def test_every_unscorable_label_is_named() -> None:
    rows = [*PREDICTIONS, prediction(6, None, "card"), prediction(7, "refunds", "card")]
    with pytest.raises(DataError) as caught:
        label_report(rows, LABELS, subject="s", split="test", mode="rank", inputs={})
    assert "1 of 7 examples have no label" in caught.value.message
    assert "`refunds` (1 examples) is not a declared label; did you mean `refund`?" in (
        caught.value.message
    )
    assert caught.value.hint == "declared are: card, refund, other, unused"


def test_nothing_to_score_is_refused() -> None:
    with pytest.raises(DataError, match="no examples"):
        label_comparison("base", [], [], LABELS)
    with pytest.raises(DataError, match="no learned token"):
        loss_report([replace(OPEN[0], learned_tokens=0)], subject="s", split="test", inputs={})


@pytest.mark.parametrize("loss", [None, math.nan, math.inf])
def test_a_broken_loss_is_refused(loss: float | None) -> None:
    with pytest.raises(RunError, match=r"1 of 2 examples is not a number \(first: y\)"):
        loss_comparison("base", [OPEN[0], replace(OPEN[1], loss=loss)])
