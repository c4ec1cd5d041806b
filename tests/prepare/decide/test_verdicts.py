from pathlib import Path

import numpy as np
import pytest
from prepare_tables import row, table_of

from ftool.prepare.decide.table import Table
from ftool.prepare.decide.verdicts import LIKE, finding_of
from ftool.prepare.read.rows import Finding


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Four rows labelled a, b, a and not at all."""
    return table_of(tmp_path, [row("q", "a"), row("r", "b"), row("s", "a"), row("t")], near=0.8)


def verdict(table: Table, reason: str, number: int, twin: int, value: float = np.nan) -> Finding:
    table.reject(np.array([number]), reason, twin=twin, value=value)
    return finding_of(table, number, table.ids_of(table.twin)[number])


@pytest.mark.parametrize("reason", sorted(LIKE))
def test_the_same_as_a_row_that_stays(table: Table, reason: str) -> None:
    found = verdict(table, reason, 2, 0, 1.0)
    assert found == Finding(reason, "same as 0.csv:1", 1.0, 1.0)


@pytest.mark.parametrize("reason", sorted(LIKE))
def test_like_a_row_that_stays(table: Table, reason: str) -> None:
    found = verdict(table, reason, 2, 0, 0.87654321)
    assert found == Finding(reason, "0.88 like 0.csv:1", 0.8765, 0.8)


def test_another_label_is_told(table: Table) -> None:
    conflicting = verdict(table, "conflicting_label", 1, 0, 1.0)
    assert conflicting.detail == "same as 0.csv:1, labelled `a`"
    assert verdict(table, "near_duplicate", 2, 1, 0.9).detail == "0.90 like 0.csv:2, labelled `b`"
    assert verdict(table, "near_duplicate", 3, 1, 0.9).detail == "0.90 like 0.csv:2, labelled `b`"
    assert verdict(table, "near_duplicate", 0, 3, 0.9).detail == "0.90 like 0.csv:4"


def test_the_threshold_itself_is_told_as_it_was_set(table: Table) -> None:
    found = verdict(table, "near_duplicate", 2, 0, 0.8)
    assert (found.value, found.threshold) == (0.8, 0.8)


@pytest.mark.parametrize(
    ("runs", "detail"),
    [(1, "a run of 13 words stands in 0.csv:2"), (42, "42 runs of 13 words stand in 0.csv:2")],
)
def test_runs_of_words(table: Table, runs: int, detail: str) -> None:
    assert verdict(table, "contaminated", 0, 1, runs) == Finding("contaminated", detail, runs)


def test_runs_of_words_in_a_file(table: Table) -> None:
    table.against = ["bench.jsonl", "eval.csv"]
    found = verdict(table, "contaminated", 0, -3, 2)
    assert found.detail == "2 runs of 13 words stand in eval.csv"


@pytest.mark.parametrize(
    ("reason", "number", "detail"),
    [
        ("unknown_label", 1, "`b` is not in `label_names`"),
        ("missing_label", 3, "the label is empty"),
        ("leaks_across_splits", 0, "of one group, prompt or likeness with a row that is held out"),
        ("not_sampled", 0, ""),
    ],
)
def test_reasons_without_a_twin(table: Table, reason: str, number: int, detail: str) -> None:
    assert verdict(table, reason, number, -1) == Finding(reason, detail)
