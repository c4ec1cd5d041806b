from pathlib import Path
from typing import Any

import pytest
from prepare_files import recipe_for, write_csv

from ftool.prepare.run import prepare
from ftool.prepare.write.advice import LOOSER, advise
from ftool.recipe.file import load_recipe
from ftool.recipe.schema import Recipe

LONG = {"percentiles": {"99": 100, "100": 1000}}


def manifest(**changes: Any) -> dict[str, Any]:
    return {
        "rows": {"read": 100, "rejected": {}},
        "label_counts": {"train": {"a": 50, "b": 50}},
        "label_names": ["a", "b"],
        "sampled": [],
        "statistics": {"characters": {"train": {"percentiles": {"99": 100, "100": 110}}}},
    } | changes


def settings(advice: list[tuple[str, str]]) -> list[str]:
    return [setting for _, setting in advice]


def test_a_reason_that_costs_many_rows_names_the_setting_that_keeps_them(tmp_path: Path) -> None:
    declared = recipe_for(tmp_path, "a.csv", label_names=["a", "b"])
    lost = {"read": 100, "rejected": {"near_duplicate": 20, "too_short": 2, "broken_json": 50}}
    assert advise(declared, manifest(rows=lost)) == [
        ("20% of the rows go as near_duplicate; look at some with --explain", "data.dedup.near=0.9")
    ]


def test_found_labels_rare_labels_and_long_tails(tmp_path: Path) -> None:
    found = advise(
        recipe_for(tmp_path, "a.csv"),
        manifest(
            label_counts={"train": {"a": 50, "b": 3}},
            statistics={"characters": {"train": LONG}},
        ),
    )
    assert [setting.partition("=")[0] for setting in settings(found)] == [
        "data.split.validation",
        "data.label_names",
        "data.filter.max_characters",
    ]
    assert found[0][0] == "1 labels have fewer than 8 train examples, `b` 3"


def test_of_a_sample_nothing_is_advised_that_depends_on_rare_rows(tmp_path: Path) -> None:
    counts = {"train": {"a": 50, "b": 3}}
    rows = {"read": 100, "rejected": {"too_short": 20}}
    made = manifest(label_counts=counts, rows=rows, sampled=["a.csv"])
    assert settings(advise(recipe_for(tmp_path, "a.csv"), made)) == [LOOSER["too_short"]]


@pytest.mark.parametrize("setting", sorted(set(LOOSER.values())))
def test_every_setting_that_is_advised_is_one(tmp_path: Path, setting: str) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("name: r\ndata: {sources: [{path: a.csv}]}\n", encoding="utf-8")
    assert isinstance(load_recipe(file, [setting]), Recipe)


def test_a_real_manifest_has_all_that_advice_needs(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [(f"ticket number {n} here", "ab"[n % 2]) for n in range(40)])
    recipe = recipe_for(tmp_path, "a.csv")
    advise(recipe, prepare(recipe, output=tmp_path / "data").manifest())
