from dataclasses import replace

from ftool.artifacts import Prediction
from ftool.eval.measure.overlap import find_overlap
from ftool.example import Example, Message
from ftool.metrics import score_labels

NAMES = ("a", "b")


def ask(key: str, text: str, label: str) -> Example:
    messages = (Message("user", text), Message("assistant", label))
    return Example(id=key, messages=messages, label=label)


SCORED = [ask("1", "Where is it?", "a"), ask("2", "refund me", "b"), ask("3", "hello", "a")]
ANSWERS = [
    Prediction("1", "a", "a", "a"),
    Prediction("2", "b", "a", "a"),
    Prediction("3", "a", "a", "a"),
]


def test_planted_rows_are_found_whatever_their_case_space_and_label() -> None:
    train = [ask("t1", "where  IS it?", "b"), ask("t2", "something else", "a")]
    found = find_overlap(SCORED, ANSWERS, train, NAMES)
    assert (found.ids, found.examples) == (("1",), 3)
    assert found.without == score_labels(["b", "a"], ["a", "a"], NAMES).metrics
    block = found.as_dict()
    assert (block["shared"], block["examples"]) == (1, 3)
    assert block["without"]["accuracy"]["value"] == 0.5
    assert "ids" not in block  # they name files of this machine


def test_nothing_shared_and_nothing_left_have_no_other_metrics() -> None:
    assert find_overlap(SCORED, ANSWERS, [], NAMES).as_dict()["shared"] == 0
    assert find_overlap(SCORED, ANSWERS, [], NAMES).without == {}
    everything = find_overlap(SCORED, ANSWERS, SCORED, NAMES)
    assert (len(everything.ids), everything.without) == (3, {})


def test_open_answers_are_the_same_only_with_the_same_answer() -> None:
    scored = [replace(example, label=None) for example in SCORED]
    train = [replace(ask("t", "where is it?", "another answer"), label=None), scored[1]]
    found = find_overlap(scored, ANSWERS, train, ())
    assert (found.ids, found.without) == (("2",), {})
