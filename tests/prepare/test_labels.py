import pytest

from ftool.example import Example, Message
from ftool.prepare.labels import find_spellings, fold, name_labels
from ftool.prepare.rows import Candidate
from ftool.recipe.schema import Data, Source


def data(label_names: list[str] | str = "auto") -> Data:
    return Data.model_validate({"sources": [Source(path="a.csv")], "label_names": label_names})


def example(label: str | None, completion: str | None = None) -> Example:
    messages = (Message("user", "q"), Message("assistant", completion or label or "free"))
    return Example(id="a", messages=messages, label=label)


def candidates(*labels: str | None) -> list[Candidate]:
    return [Candidate(example(label), "", 0, None) for label in labels]


@pytest.mark.parametrize(
    "label", ["Card Arrival", "card_arrival", "card-arrival ", "CARD  arrival"]
)
def test_fold(label: str) -> None:
    assert fold(label) == "card_arrival"


def test_most_frequent_spelling_wins_then_the_alphabet() -> None:
    found = find_spellings(candidates("a b", "a_b", "a_b", "C", "c", "d", None), data())
    assert found.chosen == {"a b": "a_b", "c": "C"}
    assert found.merged == {"C": {"c": 1}, "a_b": {"a b": 1}}


def test_declared_names_win() -> None:
    found = find_spellings(candidates("a_b", "a_b", "x"), data(["A B", "a-b", "y"]))
    assert found.chosen == {"a_b": "A B"}
    assert find_spellings(candidates("a-b"), data(["A B", "a-b"])).chosen == {}


def test_the_completion_follows_where_it_was_the_label() -> None:
    found = find_spellings(candidates("a b", "a_b", "a_b"), data())
    follows = found.apply(example("a b"))
    assert (follows.label, follows.completion) == ("a_b", "a_b")
    stays = found.apply(example("a b", "It is a b."))
    assert (stays.label, stays.completion) == ("a_b", "It is a b.")


def test_name_labels() -> None:
    labelled = [example("b"), example("a"), example("b")]
    assert name_labels(labelled, data()) == ["a", "b"]
    assert name_labels([*labelled, example(None)], data()) == []
    assert name_labels(labelled, data(["b", "a", "z"])) == ["b", "a", "z"]
    assert name_labels(labelled, data("none")) == []
