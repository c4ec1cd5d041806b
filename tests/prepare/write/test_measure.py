from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prepare_tables import row, table_of, write_shard

from ftool.prepare.decide.near import NO_PAIRS, Pairs
from ftool.prepare.decide.table import Table, count_reasons, read_table
from ftool.prepare.read.rows import Row
from ftool.prepare.refine.shard import Shard, ShardWriter
from ftool.prepare.write import measure as measure_module
from ftool.prepare.write.measure import (
    PERCENTILES,
    count_cleaned,
    count_labels,
    lengths,
    measure,
)
from ftool.recipe.blocks.data import Source
from ftool.recipe.schema import Recipe

TRAIN, VALIDATION, TEST = range(3)


def test_what_cleaning_changed_is_counted_of_the_examples_that_stay(tmp_path: Path) -> None:
    writer = ShardWriter("chat", None)
    rules = (("html", "white_space"), (), ("white_space", "personal_data"), ("unicode",))
    for number, changed in enumerate(rules):
        example, _ = row(f"text {number}", "a")
        writer.keep(number, Row(number, "raw"), example, 0, changed)
    about = {"shown": "0.csv", "suffix": "", "origin": 0, "bytes": 1, "columns": []}
    writer.write(tmp_path / "unit", 4, {**about, "recognised": True, "unused": []})
    table = read_table([Shard.open(tmp_path / "unit")], [Source(path="0.csv")])
    counts = {"html": 1, "unicode": 1, "quoted_replies": 0, "white_space": 2, "personal_data": 1}
    assert count_cleaned(table) == counts
    table.reject(np.array([0, 3]), "too_long")
    assert measured(table)["cleaned"] == {
        **dict.fromkeys(counts, 0),
        "white_space": 1,
        "personal_data": 1,
    }


def recipe(**data: object) -> Recipe:
    return Recipe.model_validate({"name": "r", "data": {"sources": [{"path": "0.csv"}], **data}})


def measured(table: Table, places: list[int] | None = None, **data: object) -> dict[str, Any]:
    put = np.array(places if places is not None else [TRAIN] * len(table), np.int8)
    read = sum(shard.about["rows"] for shard in table.shards)
    return measure(table, put, NO_PAIRS, recipe(**data), read)


@given(st.lists(st.integers(0, 5_000), min_size=1, max_size=60))
def test_lengths_count_every_value_once(values: list[int]) -> None:
    found = lengths(np.array(values, np.uint32))
    assert found["count"] == sum(found["counts"]) == len(values)
    assert found["mean"] == pytest.approx(sum(values) / len(values), abs=0.051)
    assert 1 <= len(found["counts"]) <= 20
    assert len(found["edges"]) == len(found["counts"]) + 1
    widths = set(np.diff(found["edges"]).tolist())
    assert len(widths) == 1 and widths.pop() >= 1
    last = len(found["counts"]) - 1
    for place, count in enumerate(found["counts"]):
        begin, end = found["edges"][place : place + 2]
        inside = [v for v in values if begin <= v and (v < end or place == last)]
        assert count == len(inside)


@given(st.lists(st.integers(0, 5_000), min_size=1, max_size=60))
def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed(values: list[int]) -> None:
    found = lengths(np.array(values))["percentiles"]
    assert list(found) == [str(share) for share in PERCENTILES]
    ordered = sorted(values)
    for share in PERCENTILES:
        place = -(-share * (len(values) - 1) // 100)
        assert found[str(share)] == ordered[place]


def test_lengths_of_known_values() -> None:
    found = lengths(np.arange(1, 101))
    assert found["mean"] == 50.5
    assert found["percentiles"] == {
        "1": 2, "5": 6, "25": 26, "50": 51, "75": 76, "95": 96, "99": 100, "100": 100,
    }  # fmt: skip
    assert found["edges"] == list(range(0, 101, 5))
    assert found["counts"] == [4, *[5] * 18, 6]
    assert lengths(np.array([0, 0]))["counts"] == [2]


def test_one_long_text_does_not_stretch_the_histogram() -> None:
    found = lengths(np.array([10] * 500 + [100_000]))
    assert found["edges"] == list(range(12))
    assert found["counts"] == [*[0] * 10, 501]
    assert found["percentiles"]["100"] == 100_000


def refusing(folder: Path) -> Table:
    """Return five rows in two shards that refused four more."""
    examples = [row("short", "a"), row("a longer one", "b"), row("third", "a"), row("fourth")]
    first = [(n + 1, example) for n, (example, _) in enumerate(examples)]
    last = [(5, row("last of all", "a")[0])]
    found = {"email": 2, "phone": 1}
    shards = [
        write_shard(folder / "0", first, refused=["empty", "empty"], personal_data=found),
        write_shard(folder / "1", last, refused=["too_short", "empty"], personal_data={"email": 3}),
    ]
    return read_table(shards, [Source(path="0.csv")])


def test_the_funnel_adds_up_to_the_rows_kept(tmp_path: Path) -> None:
    table = refusing(tmp_path)
    table.reject(np.array([1]), "near_duplicate", twin=0, value=0.9)
    table.reject(np.array([4]), "empty")
    assert count_reasons(table) == {"empty": 4, "near_duplicate": 1, "too_short": 1}
    assert list(count_reasons(table)) == ["empty", "near_duplicate", "too_short"]
    funnel = measured(table)["funnel"]
    assert funnel == [
        ["read", 9], ["empty", -4], ["near_duplicate", -1], ["too_short", -1], ["kept", 3],
    ]  # fmt: skip
    assert sum(number for _, number in funnel[:-1]) == funnel[-1][1] == table.stays.sum()


def test_labels_of_each_split(tmp_path: Path) -> None:
    table = refusing(tmp_path)
    table.reject(np.array([2]), "not_sampled")
    places = np.array([TRAIN, TEST, TRAIN, VALIDATION, TRAIN], np.int8)
    assert count_labels(table, places) == {"train": {"a": 2}, "test": {"b": 1}}


def test_characters_turns_and_personal_data(tmp_path: Path) -> None:
    table = refusing(tmp_path)
    table.reject(np.array([2]), "not_sampled")
    found = measured(table, [TRAIN, TEST, TRAIN, TRAIN, TRAIN])
    assert set(found["characters"]) == {"train", "test"}
    assert found["characters"]["train"]["percentiles"]["100"] == len("last of all") + 1
    assert found["characters"]["train"]["count"] == 3
    assert found["characters"]["test"]["mean"] == len("a longer one") + 1
    assert found["turns"] == {"2": 4}
    assert found["personal_data"]["rows"] == 3
    assert found["personal_data"]["counts"] == {"email": 5, "phone": 1}
    assert found["languages"] is None


@pytest.mark.parametrize("near", [None, 0.5, 0.7, 0.82, 0.8, 0.97, 1.0])
def test_the_similarity_of_every_near_duplicate_is_in_the_histogram(
    tmp_path: Path, near: float | None
) -> None:
    table = table_of(tmp_path, [row(f"q{n}", "a") for n in range(8)], near=near)
    least = near or 0.5
    values = np.linspace(least, 1.0, 7)
    table.reject(np.arange(1, 8), "near_duplicate", twin=0, value=values)
    found = measured(table)["duplicates"]
    edges, counts = found["similarity"]["edges"], found["similarity"]["counts"]
    assert sum(counts) == found["near"] == 7
    assert len(counts) == len(edges) - 1
    assert edges == sorted(set(edges)) and edges[0] <= least and edges[-1] == 1.0
    assert near is None or near > 0.95 or edges[0] == near


def test_duplicates(tmp_path: Path) -> None:
    table = table_of(tmp_path, [row(f"q{n}", "a") for n in range(8)])
    table.reject(np.array([1, 2]), "exact_duplicate", twin=0, value=1.0)
    table.reject(np.array([4]), "near_duplicate", twin=3, value=0.83)
    table.reject(np.array([5, 6]), "near_duplicate", twin=np.array([3, 3]), value=0.96)
    table.reject(np.array([7]), "leaks_into_test", twin=3, value=1.0)
    some = np.array([0, 1]), np.array([2, 3]), np.array([0.9, 0.9])
    found = measure(table, np.zeros(8, np.int8), Pairs(*some), recipe(), 8)["duplicates"]
    assert found == {
        "exact": 2,
        "near": 3,
        "pairs": 2,
        "clusters": [{"kept": "0.csv:4", "rows": 5}, {"kept": "0.csv:1", "rows": 3}],
        "similarity": {"edges": [0.8, 0.85, 0.9, 0.95, 1.0], "counts": [1, 0, 0, 2]},
    }


def test_contamination_names_what_it_was_compared_with(tmp_path: Path) -> None:
    table = table_of(tmp_path, [row("q", "a"), row("r", "a")])
    table.against = ["eval.csv"]
    table.reject(np.array([1]), "contaminated", twin=-2, value=3)
    found = measured(table)
    assert found["contamination"] == {"rows": 1, "against": ["validation", "test", "eval.csv"]}
    assert found["duplicates"]["clusters"] == []


def test_languages_of_a_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure_module, "detect_language", lambda text: (text[:2], 0.9))
    monkeypatch.setattr(measure_module, "SAMPLE_ROWS", 5)
    table = table_of(tmp_path, [row(f"{'en de'[n % 2 * 3 :]} {n}", "a") for n in range(40)])
    table.reject(np.arange(0, 38, 2), "not_sampled")
    found = measured(table, filter={"languages": ["en"]})["languages"]
    assert found["rows"] == sum(found["counts"].values()) == 5
    assert set(found["counts"]) <= {"en", "de"} and found["counts"]["de"] >= 3


def test_nothing_is_measured_of_nothing(tmp_path: Path) -> None:
    table = read_table([], [Source(path="0.csv")])
    found = measured(table)
    assert found["funnel"] == [["read", 0], ["kept", 0]]
    assert found["characters"] == {} and found["turns"] == {}
    assert found["tokens"] is None
    empty = read_table([write_shard(tmp_path / "0", [], refused=["empty"])], [Source(path="0.csv")])
    assert measured(empty)["funnel"] == [["read", 1], ["empty", -1], ["kept", 0]]
