import shutil
from pathlib import Path
from random import Random

import numpy as np
import pytest
from prepare_files import recipe_for, write_csv

from ftool.artifacts import (
    MANIFEST,
    PreparedDataset,
    ignore_note,
    read_json,
    read_jsonl,
    write_json,
)
from ftool.example import SPLITS
from ftool.keys import keys_of
from ftool.prepare.decide import dedup
from ftool.prepare.decide.earlier import Earlier, read_earlier
from ftool.prepare.decide.table import LOOSE
from ftool.prepare.run import prepare
from ftool.recipe.schema import Recipe

Rows = list[tuple[str, ...]]


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes most of the time and decides nothing."""
    monkeypatch.setattr("ftool.prepare.run.write_report", lambda _, path: path.write_text(""))


def sentence(start: int, count: int = 20) -> list[str]:
    """Return words that no other sentence has in this order."""
    random = Random(start)
    return [f"word{random.randrange(10_000)}" for _ in range(count)]


def rows(first: int, count: int) -> Rows:
    return [(" ".join(sentence(n)), "ab"[n % 2]) for n in range(first, first + count)]


def made_of(folder: Path, given: Rows, **data: object) -> PreparedDataset:
    write_csv(folder / "a.csv", given)
    return prepare(recipe_for(folder, "a.csv", **data), output=folder / "data")


def places(made: PreparedDataset) -> dict[str, str]:
    """Return the split of every prompt."""
    return {
        example.messages[0].content: split
        for split in SPLITS
        if made.count(split)
        for example in made.examples(split)
    }


def reasons(made: PreparedDataset) -> dict[str, str]:
    """Return why each prompt went, by its text."""
    return {
        record["raw"].split(",")[0]: record["reason"]
        for record in read_jsonl(made.path / "rejected.jsonl")
    }


@pytest.mark.parametrize("where", ["behind", "before", "between"])
def test_added_rows_move_none(tmp_path: Path, where: str) -> None:
    old, new = rows(0, 60), rows(1_000, 60)
    before = places(made_of(tmp_path, old))
    mixed = Random(5).sample(old + new, 120)
    order = {"behind": old + new, "before": new + old, "between": mixed}[where]
    made = made_of(tmp_path, order)
    after = places(made)
    assert {prompt: after[prompt] for prompt in before} == before
    assert made.rejected == {}
    assert [made.count(split) for split in SPLITS] == [96, 12, 12]
    assert made.manifest()["continues"]


def test_rows_that_disappear_move_none(tmp_path: Path) -> None:
    old = rows(0, 60)
    before = places(made_of(tmp_path, old))
    after = places(made_of(tmp_path, old[10:]))
    assert after == {prompt: before[prompt] for prompt, _ in old[10:]}


def test_repeats_of_what_was_in_a_split_are_the_ones_that_go(tmp_path: Path) -> None:
    old = rows(0, 60)
    before = places(made_of(tmp_path, old))
    exact = [(prompt.upper(), label) for prompt, label in old]
    near = [(" ".join([*prompt.split()[:-1], "other"]), label) for prompt, label in old]
    made = made_of(tmp_path, [*near, *old, *exact], max_rejected_ratio=1)
    assert places(made) == before
    assert made.rejected == {"exact_duplicate": 60, "near_duplicate": 60}


def test_a_row_that_is_like_train_and_like_test_sends_the_train_row_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dedup, "RELATED", 1.0)  # else the two are of one passage from the start
    words = sentence(7_777, 60)
    bridge = " ".join(words)
    one = " ".join([*words[:20], "here", *words[21:]])
    other = " ".join([*words[:40], "there", *words[41:]])
    split = {"validation": 0, "test": 0.4}
    for number in range(30):
        folder = tmp_path / str(number)
        folder.mkdir()
        old = [*rows(10 * number, 8), (one, "a"), (other, "a")]
        before = places(made_of(folder, old, split=split))
        if before[one] != before[other]:
            break
    train, test = (one, other) if before[one] == "train" else (other, one)
    for added in ([*old, (bridge, "a")], [(bridge, "a"), *old]):
        again = folder.with_name(f"{added[0][0] == bridge}")
        shutil.copytree(folder, again)
        made = made_of(again, added, split=split)
        assert reasons(made) == {bridge: "near_duplicate", train: "leaks_across_splits"}
        expected = {prompt: split for prompt, split in before.items() if prompt != train}
        assert places(made) == expected
        assert expected[test] == "test"


def test_a_group_stays_where_it_was(tmp_path: Path) -> None:
    def grouped(first: int, count: int) -> Rows:
        return [(*row, f"customer{n % 20}") for n, row in enumerate(rows(first, count))]

    def made(given: Rows) -> PreparedDataset:
        write_csv(tmp_path / "a.csv", given, header="text,label,customer")
        split = {"validation": 0.2, "test": 0.2, "group": "customer"}
        return prepare(recipe_for(tmp_path, "a.csv", split=split), output=tmp_path / "data")

    def homes(of: PreparedDataset) -> dict[str | None, set[str]]:
        found: dict[str | None, set[str]] = {}
        for split in SPLITS:
            for example in of.examples(split):
                found.setdefault(example.group, set()).add(split)
        return found

    before = homes(made(grouped(0, 60)))
    assert len(before) == 20
    assert all(len(splits) == 1 for splits in before.values())
    assert homes(made(grouped(500, 60) + grouped(0, 60))) == before


def opened(folder: Path, **data: object) -> tuple[PreparedDataset, Recipe]:
    made = made_of(folder, rows(0, 30), **data)
    return made, recipe_for(folder, "a.csv", **data)


def test_every_row_is_known_again(tmp_path: Path) -> None:
    made, recipe = opened(tmp_path)
    found = read_earlier(made.path, recipe, ignore_note)
    assert found is not None
    assert found.fingerprint == made.fingerprint
    for number, split in enumerate(SPLITS):
        units = [keys_of(example).unit[:8] for example in made.examples(split)]
        assert len(units) == made.count(split)
        assert set(found.of(np.frombuffer(b"".join(units), np.uint64)).tolist()) == {number}
    assert found.of(np.array([0, 5, 2**64 - 1], np.uint64)).tolist() == [LOOSE] * 3


def test_other_settings_than_those_of_the_split_do_not_matter(tmp_path: Path) -> None:
    made, _ = opened(tmp_path)
    same = recipe_for(tmp_path, "a.csv", "b.csv", dedup={"near": None}, keep_columns=["text"])
    assert read_earlier(made.path, same, ignore_note) is not None


@pytest.mark.parametrize(
    "split", [{"test": 0.2}, {"validation": 0}, {"stratify": None}, {"group": "label"}]
)
def test_other_rules_begin_anew(tmp_path: Path, split: dict[str, object]) -> None:
    made, _ = opened(tmp_path)
    assert read_earlier(made.path, recipe_for(tmp_path, "a.csv", split=split), ignore_note) is None


def test_another_seed_begins_anew(tmp_path: Path) -> None:
    made, recipe = opened(tmp_path)
    assert read_earlier(made.path, recipe.model_copy(update={"seed": 99}), ignore_note) is None


def test_fresh_forgets(tmp_path: Path) -> None:
    before = places(made_of(tmp_path, rows(0, 60)))
    write_csv(tmp_path / "a.csv", rows(0, 60) + rows(1_000, 60))
    recipe = recipe_for(tmp_path, "a.csv")
    made = prepare(recipe, output=tmp_path / "data", fresh=True)
    assert made.manifest()["continues"] is None
    after = places(made)
    assert {prompt: after[prompt] for prompt in before} != before


def test_no_dataset_or_one_that_cannot_be_read(tmp_path: Path) -> None:
    made, recipe = opened(tmp_path)
    assert read_earlier(tmp_path / "data" / "nothing", recipe, ignore_note) is None
    manifest = read_json(made.path / MANIFEST)
    for broken in ({}, {**manifest, "recipe": {}}, {**manifest, "recipe": {"seed": 17}}):
        write_json(made.path / MANIFEST, broken)
        assert read_earlier(made.path, recipe, ignore_note) is None
    write_json(made.path / MANIFEST, manifest)
    assert read_earlier(made.path, recipe, ignore_note) is not None
    next((made.path / "train").glob("*.parquet")).write_bytes(b"PAR1 no more")
    assert read_earlier(made.path, recipe, ignore_note) is None


def test_of_a_unit_in_several_splits_the_last_counts() -> None:
    from ftool.prepare.decide.earlier import _latest

    keys = np.array([5, 3, 5, 9, 3, 5], np.uint64)
    splits = np.array([0, 1, 2, 0, 0, 1], np.int8)
    found = _latest("f", keys, splits)
    assert found.keys.tolist() == [3, 5, 9]
    assert found.splits.tolist() == [1, 2, 0]
    assert found.of(np.array([9, 5, 4, 10, 0, 3], np.uint64)).tolist() == [0, 2, -1, -1, -1, 1]
    assert isinstance(found, Earlier)
