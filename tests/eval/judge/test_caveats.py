from dataclasses import replace
from typing import Any

import pytest

from ftool.artifacts import Prediction
from ftool.eval.judge.caveats import caveats
from ftool.eval.report import label_report, loss_report

NAMES = ("a", "b", "c", "d", "e")


def report(**changes: Any) -> Any:
    rows = [Prediction(f"{n}", "ab"[n % 2], "a", "") for n in range(40)]
    made = label_report(rows, NAMES, subject="s", split="test", mode="rank", inputs={})
    return replace(made, **changes)


def test_absent_and_never_predicted_labels_are_named() -> None:
    assert caveats(report()) == [
        "labels without an example here: c, d, e",
        "labels never predicted: b",
    ]
    many = report(without_support=tuple("cdefg"), never_predicted=())
    assert caveats(many) == ["labels without an example here: c, d, e and 2 more"]


def test_one_label_alone_is_told() -> None:
    rows = [Prediction(f"{n}", "a", "a", "") for n in range(40)]
    made = label_report(rows, "ab", subject="s", split="test", mode="rank", inputs={})
    told = "only one label is scored, a: whoever always says it is always right"
    assert told in caveats(made) and told not in caveats(report())


def test_rare_labels_are_rough() -> None:
    rows = [Prediction(f"{n}", "ab"[n % 2], "ab"[n % 2], "") for n in range(10)]
    made = label_report(rows, "ab", subject="s", split="test", mode="rank", inputs={})
    assert caveats(made) == ["2 of 2 labels have fewer than 10 examples: their scores are rough"]


def test_rows_that_were_learned_from_come_first() -> None:
    without = {"f1_macro": {"value": 0.25}}
    found = report(overlap={"shared": 7, "examples": 1300, "without": without})
    assert caveats(found)[0] == (
        "7 of 1,300 scored rows are in the train split too; macro F1 0.250 without them"
    )
    assert len(caveats(report(overlap={"shared": 0, "examples": 40, "without": {}}))) == 2
    learned = "the model has learned from these rows: this is no test of it"
    assert caveats(report(split="train"))[0] == learned
    assert learned not in caveats(report(split="train", data="mails"))


def test_the_run_is_judged() -> None:
    learning = {
        "verdict": "over-fitting",
        "sentence": "over-fitting from step 3",
        "validation": [1],
    }
    assert caveats(report(learning=learning))[0] == "over-fitting from step 3"
    calm = {**learning, "verdict": "no over-fitting"}
    assert len(caveats(report(learning=calm))) == 2
    chosen = caveats(report(learning=calm, split="validation"))
    assert chosen[0] == "this split also chose the checkpoint, which flatters the model"
    assert len(caveats(report(learning=calm, split="validation", data="mails"))) == 2


@pytest.mark.parametrize(("probability", "what"), [(0.9, "high"), (0.2, "low")])
def test_probabilities_are_judged_beside_chance(probability: float, what: str) -> None:
    bins = [{"probability": probability, "accuracy": {"value": 0.5}, "examples": 4}]
    found = {"ece": 0.3, "ece_by_chance": 0.1, "bins": bins}
    assert caveats(report(calibration=found))[-1] == (
        f"probabilities are too {what}: off by 0.300, by chance up to 0.100"
    )
    assert len(caveats(report(calibration={**found, "ece_by_chance": 0.31}))) == 2


def test_weak_slices_are_named() -> None:
    parts = [
        {"value": "mail", "is_weaker": True, "accuracy": {"value": 0.5}},
        {"value": "chat", "is_weaker": False, "accuracy": {"value": 0.9}},
    ]
    assert caveats(report(slices={"channel": parts}))[-1] == (
        "weaker than the rest by channel: mail (accuracy 0.500)"
    )


def test_open_answers_have_none_of_this() -> None:
    rows = [Prediction("x", None, None, "", loss=1.0, learned_tokens=3)]
    assert caveats(loss_report(rows, subject="s", split="test", inputs={})) == []


def test_rows_that_are_not_scored_come_first() -> None:
    found = report(left_out={"template_refuses": 3, "tools_not_rendered": 1000}, split="train")
    assert caveats(found)[0] == (
        "1,003 of 1,043 rows are not scored: template_refuses 3, tools_not_rendered 1,000"
    )
    assert not any("not scored" in sentence for sentence in caveats(report(left_out={})))
