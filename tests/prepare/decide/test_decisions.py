import json
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from prepare_files import recipe_for, write_csv

from ftool.artifacts import PreparedDataset, read_jsonl
from ftool.example import SPLITS
from ftool.prepare.run import prepare

# fmt: off
WORDS = [
    "amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "haven", "inlet", "jetty",
    "knoll", "larch", "marsh", "north", "ocean", "prism", "quartz", "river", "slate", "thorn",
    "umber", "vapor", "willow", "xenon", "yonder", "zephyr", "anvil", "brook", "cliff", "dune",
]
# fmt: on


def text(*numbers: int) -> str:
    """Write numbers as words of two parts, so that different ones are different words."""
    size = len(WORDS)
    return " ".join(WORDS[number % size] + WORDS[number // size % size] for number in numbers)


def run_of(start: int, count: int) -> list[int]:
    return Random(start).sample(range(len(WORDS) ** 2), count)


def reasons(made: PreparedDataset) -> dict[str, str]:
    return {
        f"{record['source']}:{record['line']}": record["reason"]
        for record in read_jsonl(made.path / "rejected.jsonl")
    }


def ids(made: PreparedDataset, split: str) -> Sequence[str]:
    return [example.id for example in made.examples(split)] if made.count(split) else []


def test_decisions_come_in_their_order(tmp_path: Path) -> None:
    base = run_of(1, 20)
    near = [*base[:-1], 29]
    rows = [
        (text(*base), "a"),
        (text(*base), "a"),  # exact
        (text(*base), "b"),  # exact with another label
        (text(*near), "a"),  # near
        ("zero", "c"),  # not declared
        *((text(*run_of(n, 15)), "ab"[n % 2]) for n in range(2, 12)),
    ]
    write_csv(tmp_path / "a.csv", rows)
    declared = recipe_for(
        tmp_path, "a.csv", label_names=["a", "b"], split={"validation": 0, "test": 0}
    )
    made = prepare(declared, output=tmp_path / "data")
    assert reasons(made) == {
        "a.csv:3": "exact_duplicate",
        "a.csv:4": "conflicting_label",
        "a.csv:5": "near_duplicate",
        "a.csv:6": "unknown_label",
    }
    near_record = list(read_jsonl(made.path / "rejected.jsonl"))[2]
    assert (near_record["twin"], near_record["threshold"]) == ("a.csv:2", 0.8)
    assert 0.8 <= near_record["value"] < 1
    assert near_record["detail"] == f"{near_record['value']:.2f} like a.csv:2"


def test_near_switched_off_keeps_what_differs(tmp_path: Path) -> None:
    base = run_of(1, 20)
    write_csv(tmp_path / "a.csv", [(text(*base), "a"), (text(*base[:-1], 29), "a")])
    one_split = {"validation": 0, "test": 0}
    kept = recipe_for(tmp_path, "a.csv", dedup={"near": None}, split=one_split)
    assert prepare(kept, output=tmp_path / "data").count("train") == 2


def test_exact_repeats_stay_where_they_are_wanted(tmp_path: Path) -> None:
    base = run_of(1, 20)
    write_csv(tmp_path / "a.csv", [(text(*base), "a")] * 2 + [(text(*base[:-1], 29), "a")])
    wanted = recipe_for(
        tmp_path, "a.csv", dedup={"exact": False}, split={"validation": 0, "test": 0}
    )
    made = prepare(wanted, output=tmp_path / "data")
    assert reasons(made) == {"a.csv:4": "near_duplicate"}


@pytest.mark.parametrize("shape", ["csv", "jsonl", "txt"])
def test_files_that_train_must_not_repeat(tmp_path: Path, shape: str) -> None:
    leaked = run_of(3, 14)
    write_csv(
        tmp_path / "a.csv",
        [(f"please {text(*leaked)} thanks", "a")]
        + [(text(*run_of(n, 15)), "a") for n in range(5, 12)],
    )
    content = {
        "csv": f"question\n{text(*leaked)}\n",
        "jsonl": json.dumps({"messages": [{"role": "user", "content": text(*leaked)}]}) + "\n",
        "txt": text(*leaked),
    }
    (tmp_path / f"eval.{shape}").write_text(content[shape], encoding="utf-8")
    recipe = recipe_for(
        tmp_path, "a.csv", decontaminate=[f"eval.{shape}"], split={"validation": 0, "test": 0}
    )
    made = prepare(recipe, output=tmp_path / "data")
    assert made.rows["read"] == 8
    assert reasons(made) == {"a.csv:2": "contaminated"}
    (record,) = read_jsonl(made.path / "rejected.jsonl")
    assert record["twin"] == f"eval.{shape}" and record["value"] == 2


def test_one_canned_sentence_does_not_empty_train_but_most_of_a_test_row_does(
    tmp_path: Path,
) -> None:
    canned = text(*run_of(4, 14))
    rows = [(f"{canned} {text(*run_of(n, 40))}", "ab"[n % 2]) for n in range(6, 46)]
    write_csv(tmp_path / "a.csv", rows)
    made = prepare(recipe_for(tmp_path, "a.csv"), output=tmp_path / "data")
    assert "contaminated" not in made.rejected
    held_out = next(iter(made.examples("test")))
    quoted = f"{held_out.prompt[-1].content} {text(*run_of(60, 90))}"
    write_csv(tmp_path / "a.csv", [*rows, (quoted, "a")])
    again = prepare(recipe_for(tmp_path, "a.csv"), output=tmp_path / "data")
    assert reasons(again).get("a.csv:42") == "contaminated"
    assert ids(again, "test")[: made.count("test")] == ids(made, "test")


def test_rows_of_assigned_sources_are_never_removed_for_likeness(tmp_path: Path) -> None:
    base = run_of(1, 20)
    write_csv(tmp_path / "test.csv", [(text(*base), "a")] * 2 + [(text(*base[:-1], 29), "a")])
    write_csv(
        tmp_path / "train.csv",
        [(text(*base[:-1], 31), "a")] + [(text(*run_of(n, 15)), "a") for n in range(5, 9)],
    )
    made = prepare(
        recipe_for(
            tmp_path, "train.csv", {"path": "test.csv", "split": "test"}, split={"validation": 0}
        ),
        output=tmp_path / "data",
    )
    assert made.rows["kept"] == dict(zip(SPLITS, (4, 0, 3), strict=True))
    assert reasons(made) == {"train.csv:2": "leaks_into_test"}
