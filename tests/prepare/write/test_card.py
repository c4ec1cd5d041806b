from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ftool.prepare.write.card import card, escaped
from ftool.recipe.schema import Recipe

LENGTHS = {"count": 8, "percentiles": {"1": 5, "50": 52, "95": 140, "100": 1433}}


def recipe(**data: Any) -> Recipe:
    return Recipe.model_validate({"name": "r", "data": {"sources": [{"path": "a.csv"}], **data}})


def manifest(**changed: Any) -> dict[str, Any]:
    return {
        "ftool": "1.0",
        "kind": "chat",
        "name": "desk",
        "rows": {
            "read": 6,
            "kept": {"train": 2, "validation": 0, "test": 1},
            "rejected": {"empty_row": 3},
        },
        "inputs": [{"source": "a|b.csv", "bytes": 1234, "sha256": "ab" * 32}],
        "label_names": ["a", "b"],
        "label_counts": {"train": {"a": 1, "b": 1}, "test": {"a": 1}},
        "merged_spellings": {},
        "assigned": [],
        **changed,
    }


def statistics(**changed: Any) -> dict[str, Any]:
    return {
        "funnel": [["read", 6], ["empty_row", -1], ["near_duplicate", -2], ["kept", 3]],
        "characters": {"train": LENGTHS},
        "tokens": {"tokenizer": "tiny", "rows": 2000, "sampled": True, **LENGTHS},
        "turns": {"2": 3},
        "languages": {"rows": 100, "counts": {"en": 90, "no": 5, "unknown": 4, "fi": 1}},
        "personal_data": {"mode": "mask", "rows": 2, "counts": {"PHONE": 1, "EMAIL": 3}},
        "duplicates": {"exact": 4, "near": 2, "clusters": [{"kept": "a_1.csv:2", "rows": 9}]},
        "contamination": {"rows": 3, "against": ["test", "eval.jsonl"]},
        **changed,
    }


def front(text: str) -> dict[str, Any]:
    found = yaml.safe_load(text.removeprefix("---\n").partition("---\n")[0])
    assert isinstance(found, dict)
    return found


def test_card() -> None:
    text = card(recipe(), manifest())
    assert front(text) == {
        "configs": [
            {
                "config_name": "default",
                "data_files": [
                    {"split": "train", "path": "train/*.parquet"},
                    {"split": "test", "path": "test/*.parquet"},
                ],
            }
        ],
        "task_categories": ["text-classification"],
        "size_categories": ["n<1K"],
    }
    assert "3 conversations, prepared with ftool 1.0 and seed 17" in text
    for line in (
        "| train | 2 |",
        "| rows read | 6 |  |",
        "| `empty_row` | -3 | the row is blank |",
        "| examples kept | 3 |  |",
        "| a\\|b.csv | 1,234 | `abababababab` |",
        "| label | train | test |",
        "| a | 1 | 1 |",
        "| b | 1 | 0 |",
    ):
        assert line in text.splitlines(), line
    assert "## Lengths" not in text and "## Duplicates" not in text


def test_card_with_statistics() -> None:
    text = card(recipe(), manifest(statistics=statistics()))
    assert front(text)["language"] == ["en", "no"], "`no` stays text, rare and unknown ones go"
    for line in (
        "| `near_duplicate` | -2 | the row repeats another row but for a few words |",
        "| at most | 1% | 5% | 25% | half | 75% | 95% | 99% | all |",
        "| characters, train | 5 |  |  | 52 |  | 140 |  | 1,433 |",
        "| tokens of tiny in a sample of 2,000 | 5 |  |  | 52 |  | 140 |  | 1,433 |",
        "2 rows held personal data or secrets; placeholders stand in the texts.",
        "| EMAIL | 3 |",
        "| en | 90 | 90% |",
        "4 exact duplicates were removed. 2 near duplicates (similarity 0.8 and above) were"
        " removed. 3 rows left train because they are in: test, eval.jsonl. Most repeated, with"
        " the rows alike: a\\_1.csv:2 (9).",
    ):
        assert line in text.splitlines(), line
    assert text.index("| EMAIL | 3 |") < text.index("| PHONE | 1 |")


def test_what_was_not_looked_for_is_said() -> None:
    data = {"dedup": {"exact": False, "near": None}, "clean": {"personal_data": "keep"}}
    kept = {"mode": "keep", "rows": 0, "counts": {}}
    found = statistics(personal_data=kept, contamination={"rows": 0, "against": []})
    text = card(recipe(**data), manifest(statistics=found))
    assert "Exact duplicates were not removed. Near duplicates were not looked for. Most" in text
    assert "## Personal data\n\nIt was not looked for." in text
    assert "- Personal data may be in it." in text
    assert "- Rows that are nearly alike may be in several splits." in text


def test_personal_data_dropped_or_not_there() -> None:
    dropped = {"mode": "drop", "rows": 2, "counts": {"EMAIL": 3}}
    text = card(recipe(), manifest(statistics=statistics(personal_data=dropped)))
    assert "2 rows held personal data or secrets; they were dropped." in text
    none = {"mode": "mask", "rows": 0, "counts": {}}
    text = card(recipe(), manifest(statistics=statistics(personal_data=none)))
    assert "## Personal data\n\nNone was found." in text


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (
            {},
            "Shares drawn by the seed, within every label: 0.1 for validation, 0.1 for test.",
        ),
        (
            {"split": {"stratify": None, "group": "who"}},
            "Shares drawn by the seed: 0.1 for validation, 0.1 for test."
            " Rows with one value of `who` are in one split.",
        ),
        (
            {"sources": [{"path": "a"}, {"path": "b", "split": "test"}]},
            "The examples of test come from sources of their own."
            " Shares drawn by the seed, within every label: 0.1 for validation.",
        ),
        ({"split": {"validation": 0, "test": 0}}, "Nothing was held out."),
    ],
    ids=["shares", "groups", "assigned", "none"],
)
def test_how_it_was_split(data: dict[str, Any], told: str) -> None:
    assigned = [source["split"] for source in data.get("sources", ()) if "split" in source]
    assert told in card(recipe(**data), manifest(assigned=assigned)).splitlines()


@pytest.mark.parametrize(
    ("kept", "size"),
    [(999, ["n<1K"]), (1000, ["1K<n<10K"]), (123_456, ["100K<n<1M"]), (10**9, None)],
)
def test_size_is_said_where_the_hub_has_a_word(kept: int, size: list[str] | None) -> None:
    rows = {"read": kept, "kept": {"train": kept, "validation": 0, "test": 0}, "rejected": {}}
    found = front(card(recipe(), manifest(kind="text", label_names=[], rows=rows, label_counts={})))
    assert found.get("size_categories") == size
    assert found["task_categories"] == ["text-generation"]


def test_known_limits() -> None:
    text = card(recipe(), manifest())
    assert "- Labels are those of the sources; nobody checked them again." in text
    assert "Names of people and places were not looked for." in text
    named = recipe(clean={"names": True})
    text = card(named, manifest(label_names=[], label_counts={}))
    assert "nobody checked" not in text and "Names of people" not in text


@given(st.text())
def test_a_name_never_becomes_markup(name: str) -> None:
    shown = escaped(name)
    assert shown and "\n" not in shown and "\r" not in shown
    for index, letter in enumerate(shown):
        if letter in "|<`*_[$":
            before = shown[:index]
            assert (len(before) - len(before.rstrip("\\"))) % 2 == 1


def test_a_label_stays_in_its_cell() -> None:
    nasty = "<img src=x> | **b** \n\x00\u202e# `c`"
    text = card(recipe(), manifest(label_counts={"train": {nasty: 1}}))
    line = "| \\<img src=x\\> \\| \\*\\*b\\*\\* \\# \\`c\\` | 1 | 0 |"
    assert line in text.splitlines()
