from typing import Any

from ftool.example import Example, Message
from ftool.prepare.describe import card, count_labels, count_reasons, notes, too_many
from ftool.prepare.rows import Rejected
from ftool.recipe.schema import Recipe


def example(name: str, label: str | None, group: str | None = None) -> Example:
    messages = (Message("user", name), Message("assistant", label or "free"))
    return Example(id=name, messages=messages, label=label, group=group)


def recipe() -> Recipe:
    data = {"sources": [{"path": "a.csv"}], "max_rejected_ratio": 0.25}
    return Recipe.model_validate({"name": "r", "data": data})


def manifest(splits: dict[str, list[Example]], **changed: Any) -> dict[str, Any]:
    kept = {split: len(examples) for split, examples in splits.items()}
    return {
        "ftool": "1.0",
        "kind": "chat",
        "name": "desk",
        "rows": {"read": sum(kept.values()) + 3, "kept": kept, "rejected": {"empty_row": 3}},
        "inputs": [{"source": "a|b.csv", "bytes": 1234, "sha256": "ab" * 32}],
        "label_names": [],
        "label_counts": count_labels(splits),
        "merged_spellings": {},
        **changed,
    }


def splits() -> dict[str, list[Example]]:
    return {
        "train": [example("1", "a"), example("2", "b")],
        "validation": [],
        "test": [example("3", "a")],
    }


def test_counts() -> None:
    rejected = [Rejected("a", 1, reason, "", "") for reason in ("x", "y", "z", "y")]
    assert list(count_reasons(rejected).items()) == [("y", 2), ("x", 1), ("z", 1)]
    assert count_labels(splits()) == {"train": {"a": 1, "b": 1}, "test": {"a": 1}}
    assert count_labels({"train": [example("1", None)]}) == {}


def test_card() -> None:
    text = card(recipe(), manifest(splits()))
    front, _, body = text.removeprefix("---\n").partition("---\n")
    assert front.splitlines() == [
        "configs:",
        "- config_name: default",
        "  data_files:",
        "  - split: train",
        "    path: train/*.parquet",
        "  - split: test",
        "    path: test/*.parquet",
    ]
    assert "3 conversations, prepared with ftool 1.0 and seed 17" in body
    for line in (
        "| train | 2 |",
        "| rows read | 6 |  |",
        "| empty_row | -3 | the row is blank |",
        "| examples kept | 3 |  |",
        "| a\\|b.csv | 1,234 | `abababababab` |",
        "| label | train | test |",
        "| a | 1 | 1 |",
        "| b | 1 | 0 |",
    ):
        assert line in body.splitlines()


def test_notes() -> None:
    assert notes(manifest(splits()), splits()) == []
    found = splits()
    found["train"] = [example("1", "b", "g"), example("2", None)]
    found["validation"] = [example("3", "a", "g")]
    told = manifest(
        found,
        label_names=["a", "b", "c"],
        merged_spellings={"a": {"A": 2}},
        rows={"kept": {"train": 2, "validation": 1, "test": 1}, "rejected": {"unreadable_rest": 1}},
    )
    assert notes(told, found) == [
        "label spellings merged into `a`: `A` (2)",
        "a JSON file could not be read to its end; see rejected.jsonl",
        "labels in validation that train lacks: `a`",
        "labels in test that train lacks: `a`",
        "declared labels without an example: `c`",
        "1 of 4 examples have no label, so labels are no closed set",
        "groups in train and in an assigned split: `g`",
        "1 examples of validation are in test too; assigned rows stay",
    ]


def test_too_many_rejected() -> None:
    rejected = [Rejected("a.csv", n, "empty_row", "", "") for n in (2, 4, 6, 8)]
    rejected += [Rejected("a.csv", 9, "not_sampled", "", "")] * 50
    assert too_many(recipe(), 16, rejected) is None
    assert too_many(recipe(), 15, rejected) == (
        "4 of 15 rows were rejected; data.max_rejected_ratio allows 0.25\n"
        "        4  empty_row: the row is blank (a.csv:2, a.csv:4, a.csv:6)"
    )
