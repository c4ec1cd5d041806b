import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from ftool.errors import RecipeError
from ftool.eval.measure.metric import METRICS, Classification, load_metric
from ftool.metrics import LABEL_METRICS, label_metrics
from ftool.recipe.blocks.eval import Eval, NamedMetric

EXPECTED = ["a", "b", "a", "c"]
PREDICTED = [None, "b", "a", "nonsense"]


def test_metrics_are_those_of_the_recipe_and_can_be_computed() -> None:
    assert get_args(NamedMetric) == METRICS
    assert "loss" in METRICS and Eval().metric in METRICS
    assert set(METRICS) - {"loss"} <= set(LABEL_METRICS)


def test_values_are_those_of_the_pure_functions() -> None:
    values = Classification().compute(
        predictions=PREDICTED, references=EXPECTED, label_names=["a", "b", "c", "d"]
    )
    assert values == label_metrics(EXPECTED, PREDICTED, ["a", "b", "c", "d"])
    assert values["accuracy"] == 0.5
    assert values["f1_macro"] == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_labels_come_from_the_construction_or_the_references() -> None:
    declared = Classification(["a", "b", "c", "nonsense"])
    values = declared.compute(predictions=PREDICTED, references=EXPECTED)
    assert values["precision_micro"] == pytest.approx(2 / 3)  # `nonsense` is a label here
    taken = Classification().compute(predictions=PREDICTED, references=EXPECTED)
    assert taken["precision_micro"] == 1.0


def test_batches_are_collected() -> None:
    metric = Classification(keep_in_memory=True)
    metric.add_batch(predictions=PREDICTED[:2], references=EXPECTED[:2])
    metric.add(prediction=PREDICTED[2], reference=EXPECTED[2])
    metric.add_batch(predictions=PREDICTED[3:], references=EXPECTED[3:])
    assert metric.compute() == label_metrics(EXPECTED, PREDICTED, ["a", "b", "c"])


def test_labels_are_text_and_come_in_pairs() -> None:
    with pytest.raises(ValueError, match="Mismatch in the number"):
        Classification().compute(predictions=["a"], references=["a", "b"])


OFFLINE = """
import socket
def refuse(*arguments): raise OSError("the network was used")
socket.socket.connect = socket.getaddrinfo = refuse

import evaluate
from ftool.eval.measure.metric import Classification

class Unparsed(evaluate.Metric):
    def _info(self):
        return Classification()._info()
    def _compute(self, predictions, references):
        return {"unparsed": predictions.count(None)}

both = evaluate.combine([Classification(["a", "b"]), Unparsed(keep_in_memory=True)])
values = both.compute(predictions=["a", None, "b"], references=["a", "b", "b"])
assert values["unparsed"] == 1 and values["accuracy"] == 2 / 3, values
assert abs(values["f1_macro"] - 5 / 6) < 1e-12, values
two = evaluate.combine({"x": Classification(), "y": Classification()})
assert two.compute(predictions=["a"], references=["a"])["y_f1_macro"] == 1.0
"""


def test_everything_works_offline_and_stores_nothing(tmp_path: Path) -> None:
    # `Unparsed` is a plain evaluate.Metric, so evaluate makes its folder: only ours is looked for.
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", OFFLINE],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    stored = list(tmp_path.rglob("*"))
    assert not [path for path in stored if path.is_file() or path.name == "classification"]


METRIC_SCRIPT = """
import datasets
import evaluate

class Same(evaluate.Metric):
    def _info(self):
        text = datasets.Value("string")
        return evaluate.MetricInfo(description="", citation="", inputs_description="",
            features=datasets.Features({"predictions": text, "references": text}))
    def _compute(self, predictions, references):
        same = sum(p == r for p, r in zip(predictions, references))
        return {"share": same / len(references), "count": same}
"""


def test_a_metric_of_evaluate_comes_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / "same").mkdir()
    (tmp_path / "same/same.py").write_text(METRIC_SCRIPT)
    metric = load_metric(str(tmp_path / "same"))
    found = metric.compute(predictions=["a", "b"], references=["a", "c"])
    assert found == {"share": 0.5, "count": 1}


def test_an_unknown_metric_of_evaluate_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"evaluate has no .*nothing"):
        load_metric(str(tmp_path / "nothing"))
