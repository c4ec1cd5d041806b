import math

import pytest

from ftool.artifacts import Prediction
from ftool.errors import DataError
from ftool.eval.measure.answers import answer_comparison, answer_report, token_metrics
from ftool.eval.measure.text_scores import text_scores
from ftool.eval.report import Report

ANSWERS = [
    Prediction("a", "The card is on its way.", "the card is lost", "the card is lost"),
    Prediction("b", "Yes.", "Yes.", "Yes."),
]


def test_the_report_holds_the_text_scores(tmp_path):
    report = answer_report(ANSWERS, subject="run", split="test", inputs={"dataset": "d"})
    outputs = [row.output for row in ANSWERS]
    assert report.metrics == text_scores(outputs, [row.expected for row in ANSWERS])
    assert (report.mode, report.examples, report.label_names) == ("generate", 2, ())
    report.write(tmp_path, ANSWERS)
    assert Report.read(tmp_path) == report
    assert answer_comparison("base", ANSWERS).metrics == report.metrics


def test_an_example_without_an_answer_is_named():
    with pytest.raises(DataError, match="those of the examples: c has none"):
        answer_comparison("base", [*ANSWERS, Prediction("c", None, "x", "x")])
    with pytest.raises(DataError, match="open answers"):
        answer_comparison("base", [])


def loss_row(loss, tokens, correct, size):
    return Prediction(
        "x",
        None,
        None,
        "",
        loss=loss,
        learned_tokens=tokens,
        correct_tokens=correct,
        learned_bytes=size,
    )


def test_token_metrics_are_over_all_tokens_and_bytes():
    found = token_metrics(
        [loss_row(1.0, 30, 15, 90), loss_row(3.0, 10, 9, 20), loss_row(0, 0, 0, 0)]
    )
    assert found["token_accuracy"].value == pytest.approx(24 / 40)
    bits = (1.0 * 30 + 3.0 * 10) / math.log(2)
    assert found["bits_per_byte"].value == pytest.approx(bits / 110)
    for estimate in found.values():
        assert estimate.low <= estimate.value <= estimate.high


def test_tokens_that_stand_for_no_text_have_no_bits_per_byte():
    assert set(token_metrics([loss_row(1.0, 1, 0, 0)])) == {"token_accuracy"}
