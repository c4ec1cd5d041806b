from pathlib import Path

import numpy as np
import pytest
from prepare_tables import reasons_of, row, table_of

from ftool.prepare.decide.labels import (
    drop_undeclared,
    find_spellings,
    fold,
    label_fault,
    lost_labels,
    name_labels,
    spell,
)
from ftool.prepare.decide.table import Table
from ftool.recipe.blocks.data import Data, Source


def data(label_names: list[str] | str = "auto") -> Data:
    return Data.model_validate({"sources": [Source(path="a.csv")], "label_names": label_names})


def labelled(folder: Path, *labels: str | None) -> Table:
    rows = [row(f"q{number}", label) for number, label in enumerate(labels)]
    return table_of(folder, rows, near=None, shard_rows=3)


def names(table: Table) -> list[str | None]:
    return [table.labels[code] if code >= 0 else None for code in table.label]


@pytest.mark.parametrize(
    "label", ["Card Arrival", "card_arrival", "card-arrival ", "CARD  arrival"]
)
def test_fold(label: str) -> None:
    assert fold(label) == "card_arrival"


def test_most_frequent_spelling_wins_then_the_alphabet() -> None:
    found = find_spellings({"a b": 1, "a_b": 2, "C": 1, "c": 1, "d": 1}, data())
    assert found.chosen == {"a b": "a_b", "c": "C"}
    assert found.merged == {"C": {"c": 1}, "a_b": {"a b": 1}}
    assert list(found.merged) == ["C", "a_b"]


def test_declared_names_win() -> None:
    found = find_spellings({"a_b": 2, "x": 1}, data(["A B", "a-b", "y"]))
    assert found.chosen == {"a_b": "A B"}
    assert find_spellings({"a-b": 1}, data(["A B", "a-b"])).chosen == {}


def test_labels_in_words() -> None:
    words = data("words")
    counts = {"card_arrival": 2, "card-arrival": 1, "_x__y": 1, "z": 1}
    found = find_spellings(counts, words)
    in_words = {"card_arrival": "card arrival", "card-arrival": "card arrival", "_x__y": "x y"}
    assert found.chosen == in_words
    assert found.merged == {"card arrival": {"card-arrival": 1, "card_arrival": 2}}


def test_the_choice_does_not_depend_on_the_order() -> None:
    counts = {"a b": 2, "A B": 2, "a_b": 1, "z": 4}
    backwards = dict(reversed(counts.items()))
    assert find_spellings(counts, data()) == find_spellings(backwards, data())
    assert find_spellings(counts, data()).merged == {"A B": {"a b": 2, "a_b": 1}}


def test_every_row_gets_the_chosen_spelling(tmp_path: Path) -> None:
    table = labelled(tmp_path, "z", "a b", None, "a_b", "Z", "a_b", "z", None)
    found = spell(table, data())
    assert names(table) == ["z", "a_b", None, "a_b", "z", "a_b", "z", None]
    assert table.labels == ["a_b", "z"]
    assert found.merged == {"a_b": {"a b": 1}, "z": {"Z": 1}}


def test_labels_stay_sorted_where_a_declared_name_is_new(tmp_path: Path) -> None:
    table = labelled(tmp_path, "b c", "x", "a")
    spell(table, data(["Z", "X", "a", "b_c"]))
    assert names(table) == ["b_c", "X", "a"]
    assert table.labels == ["X", "a", "b_c"]


def test_nothing_is_merged_where_spellings_differ(tmp_path: Path) -> None:
    table = labelled(tmp_path, "b", "a", None)
    found = spell(table, data())
    assert (found.chosen, found.merged) == ({}, {})
    assert names(table) == ["b", "a", None]


def test_label_fault() -> None:
    declared = data(["a", "b"])
    assert label_fault("a", declared) is None
    unknown, missing = label_fault("c", declared), label_fault(None, declared)
    assert unknown is not None and missing is not None
    assert (unknown.reason, unknown.detail) == ("unknown_label", "`c` is not in `label_names`")
    assert (missing.reason, missing.detail) == ("missing_label", "the label is empty")
    assert label_fault("", declared) == missing
    assert label_fault(None, data()) is None
    assert label_fault("c", data("none")) is None


def test_undeclared_and_missing_labels_go(tmp_path: Path) -> None:
    table = labelled(tmp_path, "a", "c", None, "b", "d", "c")
    table.reject(np.array([5]), "exact_duplicate")
    drop_undeclared(table, data(["b", "a"]))
    assert reasons_of(table) == {
        1: "unknown_label",
        2: "missing_label",
        4: "unknown_label",
        5: "exact_duplicate",
    }


@pytest.mark.parametrize("label_names", ["auto", "none"])
def test_all_labels_are_welcome_where_none_are_declared(tmp_path: Path, label_names: str) -> None:
    table = labelled(tmp_path, "a", None)
    drop_undeclared(table, data(label_names))
    assert reasons_of(table) == {}


def test_undeclared_rows_of_assigned_sources_go_too(tmp_path: Path) -> None:
    table = table_of(tmp_path, [row("q", "z"), row("r", "a")], splits=("test",))
    drop_undeclared(table, data(["a"]))
    assert reasons_of(table) == {0: "unknown_label"}


def test_name_labels(tmp_path: Path) -> None:
    table = labelled(tmp_path / "all", "b", "a", "b")
    assert name_labels(table, data()) == ["a", "b"]
    assert name_labels(table, data(["b", "a", "z"])) == ["b", "a", "z"]
    assert name_labels(table, data("none")) == []
    assert name_labels(labelled(tmp_path / "some", "b", "a", "b", None), data()) == []


def test_labels_of_rows_that_go_are_not_named(tmp_path: Path) -> None:
    table = labelled(tmp_path, "b", "a", "c", None)
    table.reject(np.array([1, 3]), "not_sampled")
    assert name_labels(table, data()) == ["b", "c"]
    table.reject(np.arange(4), "not_sampled")
    assert name_labels(table, data()) == []


def lost(folder: Path, declared: list[str] | str, **reasons: str) -> dict[str, dict[str, int]]:
    """Return the labels lost of rows whose label and number are each key, such as `auto_1`."""
    labels = [key.rpartition("_")[0] for key in reasons]
    table = labelled(folder, *labels)
    for number, reason in enumerate(reasons.values()):
        if reason:
            table.reject(np.array([number]), reason)
    return lost_labels(table, data(declared))


def test_a_label_is_lost_with_its_last_row(tmp_path: Path) -> None:
    rows = {"a_1": "", "b_1": "near_duplicate", "b_2": "near_duplicate", "b_3": "too_long"}
    found = {"b": {"near_duplicate": 2, "too_long": 1}}
    assert lost(tmp_path / "1", "auto", **rows) == found
    assert lost(tmp_path / "2", ["a", "b"], **rows) == found
    # One row that stays is enough; what is not declared, or no closed set, is no loss.
    assert lost(tmp_path / "3", "auto", **rows, b_4="") == {}
    assert lost(tmp_path / "4", ["a"], **rows) == {}
    assert lost(tmp_path / "5", "none", **rows) == {}


def test_another_spelling_that_stays_keeps_the_label(tmp_path: Path) -> None:
    assert lost(tmp_path / "1", "auto", Auto_1="", auto_2="too_long") == {}
    assert lost(tmp_path / "2", "auto", a_1="", AUTO_1="x", auto_2="x") == {"AUTO": {"x": 2}}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("card_arrival", "Card arrival", True),
        ("card-arrival ", "card_arrival", True),
        ("-1", "1", False),
        ("A-", "A", False),
        ("-", "_", False),
        ("a__b", "a b", True),
    ],
)
def test_a_sign_at_an_end_is_a_part_of_a_label(one: str, other: str, same: bool) -> None:
    assert (fold(one) == fold(other)) is same
