from pathlib import Path

import numpy as np
import pytest
from prepare_tables import reasons_of, row, table_of, write_shard

from ftool.example import SPLITS
from ftool.prepare.decide.table import LOOSE, Table, mixed, read_table
from ftool.prepare.refine.words import word_hashes
from ftool.recipe.blocks.data import Source

PROMPTS = ["one two three", "four", "...", "five six seven eight", "nine ten eleven"]


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Five rows in shards of two, of two sources; the second is assigned to test."""
    rows = [row(prompt, "babca"[n], source=n // 3) for n, prompt in enumerate(PROMPTS)]
    return table_of(tmp_path, rows, splits=(None, "test"), shard_rows=2)


def test_columns_are_put_together(table: Table) -> None:
    assert len(table.shards) == 4
    assert table.starts.tolist() == [0, 2, 3, 4]
    assert table.labels == ["a", "b", "c"]
    assert [table.labels[code] for code in table.label] == ["b", "a", "b", "c", "a"]
    assert table.origin.tolist() == [0, 0, 0, 1, 1]
    assert table.assigned.tolist() == [LOOSE] * 3 + [SPLITS.index("test")] * 2
    assert table.held_out.tolist() == [False] * 3 + [True] * 2
    assert table.earlier.tolist() == [LOOSE] * 5
    assert table.numbers("tokens").tolist() == [1, 2, 3, 4, 5]
    assert table.stays.all()


def test_a_missing_label_has_no_number(tmp_path: Path) -> None:
    made = table_of(tmp_path, [row("q"), row("r", "z"), row("s"), row("t", "a")], shard_rows=2)
    assert made.label.tolist() == [-1, 1, -1, 0]


def test_rows_assigned_to_train_are_not_held_out(tmp_path: Path) -> None:
    rows = [row(str(source), source=source) for source in range(4)]
    made = table_of(tmp_path, rows, splits=(None, "train", "validation", "test"))
    assert made.assigned.tolist() == [LOOSE, 0, 1, 2]
    assert made.held_out.tolist() == [False, False, True, True]


@pytest.mark.parametrize("rows", [[0, 1, 2, 3, 4], [1, 4], [2], [0, 3], []])
def test_words_and_examples_of_rows(table: Table, rows: list[int]) -> None:
    wanted = np.array(rows, np.int64)
    words, lengths = table.take_words(wanted)
    expected = [word_hashes(PROMPTS[number]).tolist() for number in rows]
    assert words.tolist() == [word for text in expected for word in text]
    assert lengths.tolist() == [len(text) for text in expected]
    examples = table.read_examples(wanted)
    assert [example.messages[0].content for example in examples] == [PROMPTS[n] for n in rows]
    assert [example.id for example in examples] == table.ids_of(wanted)


def test_names_of_rows(table: Table) -> None:
    table.against = ["eval.csv", "more.jsonl"]
    rows = np.array([4, -1, -3, 0, -2, 2])
    expected = ["1.csv:5", None, "more.jsonl", "0.csv:1", "eval.csv", "0.csv:3"]
    assert table.ids_of(rows) == expected


def test_rows_of_shards(table: Table) -> None:
    slices = [table.shard_rows(number) for number in range(4)]
    assert slices == [slice(0, 2), slice(2, 3), slice(3, 4), slice(4, 5)]


def test_bands_of_unused_rows_are_zero(table: Table) -> None:
    used = np.array([True, True, True, False, True])
    keys = list(table.band_keys(used))
    assert len(keys) == 16
    # Rows 1 and 2 have fewer than three words.
    assert [(key != 0).tolist() for key in keys] == [[True, False, False, False, True]] * 16


def test_no_bands_where_nobody_asks(tmp_path: Path) -> None:
    made = table_of(tmp_path, [row("one two three")], near=None)
    assert list(made.band_keys(made.stays)) == []


def test_reject(table: Table) -> None:
    table.reject(np.array([], np.int64), "never")
    table.reject(np.array([1, 3]), "near_duplicate", twin=np.array([0, 2]), value=0.5)
    table.reject(np.array([4]), "not_sampled")
    assert table.reasons == ["", "near_duplicate", "not_sampled"]
    assert reasons_of(table) == {1: "near_duplicate", 3: "near_duplicate", 4: "not_sampled"}
    assert table.stays.tolist() == [True, False, True, False, False]
    assert table.twin.tolist() == [-1, 0, -1, 2, -1]
    assert np.isnan(table.value).tolist() == [True, False, True, False, True]


def test_shards_of_nothing_change_nothing(tmp_path: Path) -> None:
    paths = [tmp_path / f"unit-{number}" for number in range(5)]
    full = {1: [row("one two three", "b")], 3: [row("four", "a"), row("five", "b")]}
    shards = []
    line = 0
    for number, path in enumerate(paths):
        examples = []
        for example, _ in full.get(number, []):
            line += 1
            examples.append((line, example))
        shards.append(write_shard(path, examples, refused=["empty"]))
    made = read_table(shards, [Source(path="0.csv")])
    rows = np.arange(3)
    assert made.ids_of(rows) == ["0.csv:1", "0.csv:2", "0.csv:3"]
    assert [example.label for example in made.read_examples(np.arange(3))] == ["b", "a", "b"]
    assert made.take_words(rows)[1].tolist() == [3, 1, 1]
    assert [made.labels[code] for code in made.label] == ["b", "a", "b"]


def test_a_table_of_nothing(tmp_path: Path) -> None:
    nothing = np.zeros(0, np.int64)
    for shards in ([], [write_shard(tmp_path / "unit-0", [], refused=["empty"])]):
        made = read_table(shards, [Source(path="0.csv")])
        assert len(made) == 0
        assert made.ids_of(nothing) == []
        assert made.read_examples(nothing) == []
        assert [part.tolist() for part in made.take_words(nothing)] == [[], []]
        assert all(len(keys) == 0 for keys in made.band_keys(made.stays))


def test_mixed_is_seeded_and_the_same_on_every_machine() -> None:
    keys = np.array([[1, 2], [2, 1], [1, 2], [0, 0]], np.uint64)
    first, second = mixed(keys, 17).tolist(), mixed(keys, 18).tolist()
    assert first[0] == first[2]
    assert len({*first, *second}) == 6
    assert first == [
        16312908901713405192,
        6969651558516219218,
        16312908901713405192,
        14109521515791744902,
    ]


def test_mixed_shuffles_evenly() -> None:
    keys = np.stack([np.arange(4_000, dtype=np.uint64)] * 2, axis=1)
    shares = mixed(keys, 3) / 2**64
    counts, _ = np.histogram(shares, bins=8, range=(0, 1))
    # 500 each are expected, with a standard deviation of 21.
    assert np.abs(counts - 500).max() < 85
    assert abs(np.corrcoef(shares[1:], shares[:-1])[0, 1]) < 0.05
