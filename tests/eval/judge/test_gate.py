from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from folders import write_run
from hypothesis import given
from hypothesis import strategies as st

from ftool.artifacts import Prediction
from ftool.errors import GateError, RecipeError
from ftool.eval.judge.gate import Gates, bounds_of, failures, hold_to_gates, judged, write_junit
from ftool.eval.measure.paired import pair_predictions
from ftool.eval.report import Report, label_report
from ftool.example import Example, Message

NAMES = ("lost_card", "a, b", "spare", 'x<y>&"]=z')
USED = (NAMES[0], NAMES[1], NAMES[3])


def example(n: int, answer: str = "") -> Example:
    label = USED[n % 3]
    return Example(
        str(n), (Message("user", "hi"), Message("assistant", answer or label)), label=label
    )


EXAMPLES = [example(n) for n in range(60)]


def report(wrong: int, unparsed: int = 0) -> Report:
    """Return a report in which the first rows are wrong and the first of these unread."""
    return label_report(
        answers(wrong, unparsed), NAMES, subject="support", split="test", mode="rank", inputs={}
    )


def answers(wrong: int, unparsed: int = 0) -> list[Prediction]:
    return [
        Prediction(
            row.id,
            row.label,
            None if n < unparsed else NAMES[2] if n < wrong else row.label,
            "",
        )
        for n, row in enumerate(EXAMPLES)
    ]


def bounds(*texts: str, names: Sequence[str] = NAMES):
    return bounds_of(Gates(texts), EXAMPLES, mode="rank", label_names=names)


def judge(found: Report, *texts: str) -> dict[str, bool]:
    gates = judged(found, bounds(*texts, names=USED), Gates(texts)).gates
    return {gate["gate"]: gate["passed"] for gate in gates}


def test_bounds_hold_values_and_ends_of_intervals() -> None:
    found = report(6, 3)
    accuracy, recall = found.metrics["accuracy"], found.per_label["lost_card"]
    assert accuracy.value == 0.9 and recall["recall"] == 0.9
    assert judge(found, "accuracy=0.9", "accuracy=0.91") == {
        "accuracy >= 0.9": True,
        "accuracy >= 0.91": False,
    }
    low = f"accuracy.low={accuracy.low:.6f},accuracy.high>={accuracy.high + 0.001:.6f}"
    assert list(judge(found, low).values()) == [True, False]
    assert judge(found, "recall[lost_card]=0.9, recall[lost_card].low=0.8") == {
        "recall[lost_card] >= 0.9": True,
        "recall[lost_card].low >= 0.8": False,
    }
    assert judge(found, "unparsed<=0.05", "unparsed=0.04", "unparsed.high<=0.1") == {
        "unparsed <= 0.05": True,
        "unparsed <= 0.04": False,
        "unparsed.high <= 0.1": False,
    }
    assert judge(found, 'f1[x<y>&"]=z]=1', "precision[a, b] >= 1") == {
        'f1[x<y>&"]=z] >= 1': False,
        "precision[a, b] >= 1": True,
    }


@given(st.integers(0, 60), st.sampled_from(["accuracy", "f1_macro", "recall_weighted"]))
def test_a_bound_is_met_exactly_from_its_own_value_on(wrong: int, name: str) -> None:
    found = report(wrong)
    value = found.metrics[name].value
    assert list(judge(found, f"{name}={value!r}").values()) == [True]
    assert list(judge(found, f"{name}<={value!r}").values()) == [True]
    if value < 0.999:
        assert list(judge(found, f"{name}={value + 0.001!r}").values()) == [False]


def test_every_mistake_is_told_at_once_with_the_nearest_name() -> None:
    with pytest.raises(RecipeError) as caught:
        bounds(
            "f1_makro=0.9",
            "recall[lost_cart]=0.9",
            "f1=0.9",
            "accuracy=90",
            "recall[spare]=1",
            "recal[lost_card]=1,f1[lost_card]=2",
        )
    assert caught.value.message.splitlines() == [
        "these gates cannot be judged:",
        "  f1_makro>=0.9: no metric `f1_makro`; did you mean `f1_macro`?",
        "  recall[lost_cart]>=0.9: `lost_cart` is not a declared label; did you mean `lost_card`?",
        "  f1>=0.9: no metric `f1`; write `f1_macro`, or `f1[LABEL]` of one label",
        "  accuracy>=90: a share is between 0 and 1",
        "  recall[spare]>=1: no example here has the label `spare`",
        "  recal[lost_card]>=1: no metric `recal` of one label; did you mean `recall`?",
        "  f1[lost_card]>=2: a share is between 0 and 1",
    ]
    assert caught.value.exit_code == 2 and "recall[LABEL]=0.95" in caught.value.hint


ONE = [row for row in EXAMPLES if row.label == "lost_card"]


@pytest.mark.parametrize(
    "text", ["accuracy=0.9", "f1_macro=0.9", "recall[lost_card]=0.5", "f1_micro.low=0.1"]
)
@pytest.mark.parametrize("names", [USED, ("lost_card",)])
def test_one_label_alone_is_no_evidence(text: str, names: tuple[str, ...]) -> None:
    with pytest.raises(RecipeError, match="only one label is scored, `lost_card`") as refused:
        bounds_of(Gates([text]), ONE, mode="rank", label_names=names)
    assert refused.value.exit_code == 2
    assert refused.value.hint == "", "which names gates like this one"


def test_one_label_alone_is_no_comparison_with_another_run(tmp_path: Path) -> None:
    gates = Gates((), write_run(tmp_path / "production"))
    with pytest.raises(RecipeError, match="--no-worse-than: only one label is scored"):
        bounds_of(gates, ONE, mode="rank", label_names=USED)
    assert bounds_of(gates, EXAMPLES, mode="rank", label_names=USED) == []


def test_one_label_alone_can_still_be_read_from_answers_or_not() -> None:
    (bound,) = bounds_of(Gates(["unparsed<=0.1"]), ONE, mode="generate", label_names=USED)
    assert bound.metric == "unparsed"


@pytest.mark.parametrize("name", ["f1_macro", "recall_macro", "precision_macro.low"])
def test_a_mean_over_labels_wants_all_of_them(name: str) -> None:
    with pytest.raises(RecipeError, match=r"no example here: `spare`; .*data\.label_names"):
        bounds(f"{name}=0.9")
    with pytest.raises(RecipeError, match="no example here: `auto`"):
        bounds_of(Gates([f"{name}=1"]), EXAMPLES, mode="rank", label_names=USED, lost=["auto"])
    assert len(bounds(f"{name}=0.9", names=USED)) == 1


def test_a_label_that_was_lost_is_told_as_such() -> None:
    gates = Gates(["recall[auto]=0.9"])
    with pytest.raises(RecipeError, match="prepare rejected every row of the label `auto`"):
        bounds_of(gates, EXAMPLES, mode="rank", label_names=USED, lost=["auto"])
    with pytest.raises(RecipeError, match="`auto` is not a declared label"):
        bounds_of(gates, EXAMPLES, mode="rank", label_names=USED)


@pytest.mark.parametrize("text", ["accuracy=0.9", "f1_weighted=1", "f1[lost_card]=1", "unparsed=1"])
def test_what_is_no_mean_over_labels_does_without_some(text: str) -> None:
    lost = ["auto"]
    assert len(bounds_of(Gates([text]), EXAMPLES, mode="rank", label_names=NAMES, lost=lost)) == 1


@pytest.mark.parametrize("text", ["", "accuracy", "=0.9", "accuracy=", "accuracy=nan", "a=b=1"])
def test_what_is_no_bound_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="not a bound"):
        bounds(text)


def test_open_answers_and_losses_have_gates_of_their_own() -> None:
    rows = [example(n, '{"team": "a"}') for n in range(2)]
    found = bounds_of(
        Gates(["json_f1[team]=0.9", "bleu=20"]), rows, mode="generate", label_names=()
    )
    assert [(bound.name, bound.limit) for bound in found] == [("json_f1[team]", 0.9), ("bleu", 20)]
    (loss,) = bounds_of(Gates(["loss=1.5"]), rows, mode="loss", label_names=())
    assert loss.is_most
    with pytest.raises(RecipeError, match="no metric `f1_macro`; there are loss, perplexity"):
        bounds_of(Gates(["f1_macro=1"]), rows, mode="loss", label_names=())


def test_one_line_names_every_gate_that_failed() -> None:
    texts = ("accuracy=0.95", "unparsed<=0.01", "f1_macro=0.1")
    found = judged(report(6, 3), bounds(*texts, names=USED), Gates(texts))
    line = "2 of 3 gates failed: accuracy is 0.900, not accuracy >= 0.95; "
    assert failures(found) == line + "unparsed is 0.050, not unparsed <= 0.01"
    with pytest.raises(GateError, match="2 of 3 gates failed") as caught:
        hold_to_gates(found)
    assert caught.value.exit_code == 4
    passed = judged(report(0), bounds(*texts, names=USED), Gates(texts))
    assert failures(passed) == "" and len(passed.gates) == 3
    hold_to_gates(passed)
    near = judged(report(1), bounds("accuracy=0.98333334"), Gates())
    assert "accuracy is 0.983, not accuracy >= 0.98333334" in failures(near)
    near = judged(report(1), bounds("accuracy<=0.983"), Gates())
    assert "accuracy is 0.983333333333, not accuracy <= 0.983" in failures(near)


def test_a_run_is_worse_only_where_the_interval_shows_it(tmp_path: Path) -> None:
    production = write_run(tmp_path / "production")

    def passed(ours: int, theirs: int, margin: float) -> bool:
        paired = pair_predictions(answers(ours), answers(theirs), NAMES, name="production")
        found = report(ours).with_blocks(paired={"run": paired.as_dict()})
        (gate,) = judged(found, [], Gates((), production, margin)).gates
        assert gate["gate"] == f"no worse than production by {margin:g}"
        assert gate["value"] == paired.deltas["f1_macro"].value
        return bool(gate["passed"])

    assert passed(6, 6, 0.0) and passed(0, 30, 0.0)
    assert passed(7, 6, 0.0), "one row is chance"
    assert not passed(30, 6, 0.0)
    assert passed(30, 6, 0.9) and not passed(30, 6, 0.01)


def test_a_run_cannot_be_compared_on_open_answers(tmp_path: Path) -> None:
    gates = Gates((), write_run(tmp_path / "production"))
    with pytest.raises(RecipeError, match="compares labels"):
        bounds_of(gates, EXAMPLES, mode="loss", label_names=())


def test_junit_has_a_test_case_for_every_gate(tmp_path: Path) -> None:
    texts = ("accuracy=0.95", 'recall[x<y>&"]=z]=0.5')
    found = replace(judged(report(6), bounds(*texts), Gates(texts)), subject="a\x00b")
    write_junit(tmp_path / "new/gates.xml", found)
    root = ElementTree.parse(tmp_path / "new/gates.xml").getroot()
    (suite,) = root
    assert root.tag == "testsuites" and suite.tag == "testsuite"
    assert {name: suite.get(name) for name in ("tests", "failures", "errors")} == {
        "tests": "2",
        "failures": "1",
        "errors": "0",
    }
    first, second = suite
    assert first.get("name") == "accuracy >= 0.95" and first.get("classname") == "a\ufffdb.test"
    assert first[0].tag == "failure" and first[0].get("message") == "accuracy is 0.900"
    assert second.get("name") == 'recall[x<y>&"]=z] >= 0.5' and len(second) == 0
