import ast
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from prepare_tables import row, table_of

from ftool.prepare.decide.table import Table
from ftool.prepare.read import conversation
from ftool.prepare.write import describe
from ftool.prepare.write.describe import REASONS, are_too_many, notes, too_many
from ftool.recipe.blocks.data import Source
from ftool.recipe.schema import Recipe

UNASSIGNED: dict[str, Any] = {"split": None, "labels": {}, "roles": {}}


UNASSIGNED: dict[str, Any] = {"split": None, "labels": {}, "roles": {}}


def recipe(allowed: float = 0.25) -> Recipe:
    data = {"sources": [{"path": "a.csv"}], "max_rejected_ratio": allowed}
    return Recipe.model_validate({"name": "r", "data": data})


def manifest(**changed: Any) -> dict[str, Any]:
    return {
        "rows": {"kept": {"train": 2, "validation": 0, "test": 1}, "rejected": {"empty_row": 3}},
        "label_names": [],
        "label_counts": {"train": {"a": 1, "b": 1}, "test": {"a": 1}},
        "merged_spellings": {},
        "readings": [],
        "repairs": {},
        "lost_labels": {},
        "sampled": [],
        "recipe": {
            "data": {
                "sources": [UNASSIGNED],
                "split": {"validation": 0, "test": 0},
            }
        },
        **changed,
    }


def placed(folder: Path, *rows: tuple[str, str | None, str | None, int]) -> tuple[Table, Any]:
    """Return a table of rows (prompt, label, group, split) and where each is."""
    table = table_of(folder, [row(text, label, group=group) for text, label, group, _ in rows])
    places: NDArray[np.int8] = np.array([split for *_, split in rows], np.int8)
    table.assigned = places
    return table, places


def test_nothing_to_tell(tmp_path: Path) -> None:
    found = placed(tmp_path, ("1", "a", None, 0), ("2", "b", None, 0), ("3", "a", None, 2))
    assert notes(manifest(), *found) == []


def test_notes(tmp_path: Path) -> None:
    found = placed(
        tmp_path,
        *(("1", "b", "g", 0), ("2", None, None, 0)),
        *(("3", "a", "g", 1), ("3", "a", None, 2)),
    )
    told = manifest(
        label_names=["a", "b", "c"],
        label_counts={"train": {"b": 1}, "validation": {"a": 1}, "test": {"a": 1}},
        merged_spellings={"a": {"A": 2}},
        rows={"kept": {"train": 2, "validation": 1, "test": 1}, "rejected": {"unreadable_rest": 1}},
    )
    assert notes(told, *found) == [
        "label spellings merged into `a`: `A` (2)",
        "a JSON file could not be read to its end; see rejected.jsonl",
        "labels in validation that train lacks: `a`",
        "labels in test that train lacks: `a`",
        "declared labels without an example: `c`",
        "1 of 4 examples have no label, so labels are no closed set",
        *class_notes(label_names=told["label_names"], label_counts=told["label_counts"]),
        "1 examples of validation are in test too; assigned rows stay",
    ]


def class_notes(**changed: Any) -> list[str]:
    told = manifest(**changed)
    parts = (told[key] for key in ("label_names", "label_counts", "lost_labels"))
    return describe._class_notes(*parts, is_sample=bool(told["sampled"]))


@pytest.mark.parametrize(
    ("names", "counts", "only"),
    [
        (["a"], {"train": {"a": 9}}, "the data have one label"),
        (["a"], {"test": {"a": 9}}, "the data have one label"),
        (["a", "b"], {"train": {"a": 9}}, "the data have one label"),
        (["a", "b"], {"train": {"a": 9}, "test": {"a": 1, "b": 1}}, "train has one label"),
        (["a", "b"], {"train": {"a": 9, "b": 9}}, ""),
        (["a", "b"], {"train": {"a": 9, "b": 9}, "validation": {}}, ""),
        ([], {"train": {"a": 9}}, ""),  # open answers, of which some have a label
    ],
)
def test_one_label_is_no_task(names: list[str], counts: dict[str, Any], only: str) -> None:
    found = [
        note for note in class_notes(label_names=names, label_counts=counts) if "alone" in note
    ]
    assert len(found) == bool(only) and "".join(found).startswith(only)


def test_labels_that_a_split_lacks_are_named() -> None:
    counts = {"train": {"a": 9, "b": 9}, "validation": {"a": 1, "b": 1}, "test": {"a": 1}}
    assert class_notes(label_names=["a", "b"], label_counts=counts) == [
        "labels in train that test lacks: `b`"
    ]
    assert class_notes(label_names=[], label_counts=counts) == []


def test_lost_labels_are_named_with_the_reasons() -> None:
    lost = {"auto": {"boilerplate": 2, "too_short": 1}}
    assert class_notes(lost_labels=lost) == [
        "labels of which every row was rejected: `auto` (2 boilerplate, 1 too_short)"
    ]


def test_of_a_sample_only_what_was_tried_is_told() -> None:
    counts, lost = {"train": {"a": 9}}, {"b": {"too_long": 1}}
    told = class_notes(label_names=["a"], label_counts=counts, lost_labels=lost, sampled=["a.csv"])
    assert [note.partition(":")[0] for note in told] == [
        "labels of which every row that was tried was rejected",
        "the rows that were tried have one label alone, `a`",
    ]


def test_rows_that_went_are_not_told_of(tmp_path: Path) -> None:
    table, places = placed(tmp_path, ("3", "a", None, 1), ("3", "a", None, 2), ("4", "a", None, 0))
    assert notes(manifest(), table, places) == [
        "1 examples of validation are in test too; assigned rows stay"
    ]
    table.reject(np.array([0]), "too_long")
    assert notes(manifest(), table, places) == []


@pytest.mark.parametrize(
    ("read", "rejected", "allowed", "expected"),
    [
        (16, {"empty_row": 4, "not_sampled": 50}, 0.25, False),
        (15, {"empty_row": 4, "not_sampled": 50}, 0.25, True),
        (4, {"empty_row": 1, "too_long": 2}, 1, False),
        (4, {"empty_row": 4}, 1, True),
        (4, {}, 0, False),
        (4, {"empty_row": 1}, 0, True),
    ],
)
def test_what_is_too_many(
    read: int, rejected: dict[str, int], allowed: float, expected: bool
) -> None:
    assert are_too_many(recipe(allowed), read, rejected) is expected


def test_too_many_are_told_with_some_places(tmp_path: Path) -> None:
    row = {"source": "a.csv", "detail": ""}
    records = [{**row, "line": n, "reason": "invalid_role"} for n in (2, 4, 6, 8)]
    records[0]["detail"] = "message 2: 'note' spoke"
    records += [{**row, "line": 9, "reason": "not_sampled"}] * 50
    file = tmp_path / "rejected.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    rejected = {"not_sampled": 50, "invalid_role": 4}
    assert too_many(recipe(), 15, rejected, file) == (
        "4 of 15 rows were rejected; data.max_rejected_ratio allows 0.25\n"
        "        4  invalid_role: the row has a message by an unknown role (a.csv:2, a.csv:4, "
        "a.csv:6)\n           such as message 2: 'note' spoke"
    )
    assert too_many(recipe(1), 4, rejected, file).startswith(
        "4 of 4 rows were rejected; none is left\n"
    )


def constants(module: Path) -> set[str]:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return {node.value for node in nodes if isinstance(node.value, str)}


def given_reasons(module: Path) -> set[str]:
    """Return the reasons that a module gives in plain sight."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    found: list[ast.expr] = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if name in {"Unusable", "Finding"}:
            found += node.args[:1]
        if name == "reject":
            found += node.args[1:2]
        found += [word.value for word in node.keywords if word.arg == "reason"]
    return {
        node.value for node in found if isinstance(node, ast.Constant) and type(node.value) is str
    }


def test_how_columns_were_read_is_told(tmp_path: Path) -> None:
    table = table_of(tmp_path, [row("1", "a"), row("2", "a")], shard_rows=1)
    reading = {"parts": {"prompt": ["subject", "body"], "label": ["team"]}, "unread": ["id"]}
    for shard in table.shards:
        shard.about["readings"].append(reading)  # type: ignore[union-attr]
        shard.about["repairs"]["tail_cut"] = 2  # type: ignore[index]
    found = describe.readings(table.shards, [Source(path=str(tmp_path / "a.csv"))])
    assert found == [{"source": "a.csv", "readings": [{"file": "0.csv", **reading}]}]
    expected = "a.csv: prompt <- subject, body; label <- team; not read: id"
    assert describe.reading_line("a.csv", reading) == expected
    assert describe.repairs(table) == {"tail_cut": 4}
    assert list(describe.reading_lines(found)) == [expected]
    told = manifest(readings=found, repairs={"tail_cut": 4})
    assert notes(told, table, np.zeros(2, np.int8))[:1] == [
        "4 conversations: what follows the last answer cut (tail_cut)",
    ]


def test_every_repair_has_words() -> None:
    assert set(describe.REPAIRS) >= set(conversation.REPAIRS.values())


def test_names_of_labels_and_speakers_that_no_row_has_are_told(tmp_path: Path) -> None:
    table = table_of(tmp_path, [row("1", "a")])
    table.shards[0].about["matched"].append("0")  # type: ignore[union-attr]
    sources = [{"labels": {"0": "bad", "2": "odd"}, "roles": {"user": ["caller_*"]}}]
    assert describe.unmatched(table, sources) == [
        "data.sources.0.labels: no row has `2`",
        "data.sources.0.roles: no row has `caller_*`",
    ]


def test_reasons_and_their_words_agree() -> None:
    modules = [file for file in Path(describe.__file__).parents[1].rglob("*.py")]
    given = set().union(*(given_reasons(module) for module in modules))
    assert len(given) > 10 and given <= set(REASONS)
    others = (module for module in modules if module.stem not in {"describe", "advice"})
    written = set().union(*(constants(module) for module in others))
    composed = {"invalid_tools"}
    assert {reason for reason in REASONS if reason not in written} == composed
    assert list(REASONS) == sorted(REASONS)


def test_an_empty_split_says_how_many_rows_went_and_why(tmp_path: Path) -> None:
    table, places = placed(tmp_path, *((str(n), "a", None, 0) for n in range(5)))
    table.reject(np.array([0, 1, 2]), "near_duplicate")
    kept = {"train": 2, "validation": 0, "test": 0}
    asked = {"data": {"sources": [UNASSIGNED], "split": {"validation": 0.1, "test": 0}}}
    lost = {"kept": kept, "rejected": {"near_duplicate": 3, "too_short": 1}}
    (told,) = notes(manifest(recipe=asked, rows=lost), table, places)
    assert told == (
        "validation is empty, though data.split.validation asks for 0.1: 4 of 6 rows were rejected"
        " (3 near_duplicate, 1 too_short), 2 are left"
    )
    few = {"kept": {**kept, "train": 9}, "rejected": {"too_short": 1}}
    *_, told = notes(manifest(recipe=asked, rows=few), table, places)
    assert "too few rows of a label" in told and told.endswith(
        "1 of 10 rows were rejected (1 too_short)"
    )
    sources = [{**UNASSIGNED, "split": "test"}]
    own = {"data": {"sources": sources, "split": {"validation": 0, "test": 0}}}
    *_, told = notes(manifest(recipe=own, rows=lost), table, places)
    assert told == ("test is empty: all rows of its sources went (3 near_duplicate)")


def test_a_split_that_stayed_empty_and_labels_that_are_personal_are_told(tmp_path: Path) -> None:
    found = placed(tmp_path, ("1", "a", None, 0))
    asked = {
        "data": {
            "sources": [UNASSIGNED],
            "split": {"validation": 0.1, "test": 0.1},
        }
    }
    told = notes(manifest(recipe=asked, label_names=["ann@example.com", "a"]), *found)
    assert told[-2].startswith("validation is empty, though data.split.validation asks for 0.1")
    assert told[-1] == "1 labels look like personal data; labels are not masked"
