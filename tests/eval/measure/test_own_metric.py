import pytest

from ftool.errors import RecipeError
from ftool.eval.measure.own_metric import make_metric
from ftool.metrics import label_metrics

LABELS = ("a", "b")
SCRIPT = """
def share(predictions, references):
    return sum(p == r for p, r in zip(predictions, references)) / len(references)

def counted_none(predictions, references):
    return predictions.count(None)

def broken(predictions, references):
    raise KeyError("why")

def endless(predictions, references):
    return float("inf")

def text(predictions, references):
    return "good"

def leaves(predictions, references):
    raise SystemExit(0)

def talks(predictions, references):
    print("hello")
    return 1

constant = 3
"""


def test_a_metric_of_labels_is_that_of_the_report(tmp_path):
    metric = make_metric("f1_macro", LABELS, folder=tmp_path)
    expected, predicted = ["a", "b", "a"], ["a", None, "b"]
    assert metric(expected, predicted) == label_metrics(expected, predicted, LABELS)["f1_macro"]


def test_a_function_in_a_file_gets_predictions_and_references(tmp_path):
    (tmp_path / "mine.py").write_text(SCRIPT)
    assert make_metric("mine.py:share", LABELS, folder=tmp_path)(["a", "b"], ["a", None]) == 0.5
    assert make_metric("mine.py:counted_none", LABELS, folder=tmp_path)(["a"] * 3, [None] * 3) == 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("other.py:share", r"there is no file .*other\.py"),
        ("mine.py:shares", r"mine\.py has no function `shares`; did you mean `share`"),
        ("mine.py:constant", "no function `constant`"),
        ("mine.py:broken", r"mine\.py:broken failed \(KeyError: 'why'\)"),
        ("mine.py:leaves", r"mine\.py:leaves failed \(SystemExit: 0"),
        ("gone.py:share", r"gone\.py cannot be run \(SystemExit: 0"),
        ("mine.py:endless", r"mine\.py:endless is inf"),
        ("mine.py:text", r"mine\.py:text failed \(ValueError"),
        ("worse.py:share", r"worse\.py cannot be run \(SyntaxError"),
    ],
)
def test_what_cannot_be_computed_is_told_at_once(tmp_path, name, message):
    (tmp_path / "mine.py").write_text(SCRIPT)
    (tmp_path / "worse.py").write_text("def (")
    (tmp_path / "gone.py").write_text("raise SystemExit(0)")
    with pytest.raises(RecipeError, match=message):
        make_metric(name, LABELS, folder=tmp_path)


def test_what_a_metric_prints_is_not_the_reports(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(SCRIPT)
    assert make_metric("mine.py:talks", LABELS, folder=tmp_path)(["a"], ["a"]) == 1
    assert capsys.readouterr() == ("", "hello\nhello\n")


class Loaded:
    def __init__(self, values):
        self.values, self.given = values, []

    def compute(self, *, predictions, references):
        self.given.append((predictions, references))
        return self.values


@pytest.mark.parametrize(
    ("name", "values", "value"),
    [
        ("evaluate:one", {"else": 0.25}, 0.25),
        ("evaluate:org/two", {"two": 0.5, "more": 1}, 0.5),
        ("evaluate:two:more", {"two": 0.5, "more": 1}, 1),
    ],
)
def test_a_metric_of_evaluate_gives_one_of_its_values(tmp_path, monkeypatch, name, values, value):
    loaded = Loaded(values)
    monkeypatch.setattr("ftool.eval.measure.metric.load_metric", lambda name: loaded)
    assert make_metric(name, (), folder=tmp_path)(["x", "y"], ["x", None]) == value
    assert loaded.given[-1] == (["x", ""], ["x", "y"])


def test_a_value_that_has_to_be_chosen_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "ftool.eval.measure.metric.load_metric", lambda name: Loaded({"p": 1, "r": 2})
    )
    with pytest.raises(RecipeError, match=r"it has p, r; write evaluate:two:KEY"):
        make_metric("evaluate:two", (), folder=tmp_path)
