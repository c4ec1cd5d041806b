import json
from pathlib import Path
from typing import Any

import pytest
from prepare_files import recipe_for

from ftool.artifacts import ignore_note
from ftool.errors import DataError
from ftool.prepare.read.plan import Plan, is_foreign, plan_input, planned_rows
from ftool.prepare.read.sources import Input, find_inputs

PAIR = json.dumps({"prompt": "q", "completion": "a"}) + "\n"


def inputs(folder: Path, *sources: Any, kind: str = "chat") -> list[Input]:
    return find_inputs(folder, recipe_for(folder, *sources).data.sources, ignore_note, kind=kind)


def test_columns_are_looked_at_and_messages_become_conversations(tmp_path: Path) -> None:
    rows = "".join(f"{n // 2},{('customer', 'agent')[n % 2]},text {n} is here\n" for n in range(20))
    (tmp_path / "a.csv").write_text(f"thread_id,role,text\n{rows}")
    (found,) = inputs(tmp_path, "a.csv")
    plan = plan_input(found, "utf-8")
    assert plan.survey.look("role") == "label" and plan.threads is not None
    assert len(list(planned_rows(found, "utf-8", plan))) == 10
    corpus = plan_input(inputs(tmp_path, "a.csv", kind="text")[0], "utf-8")
    assert corpus.threads is None


def test_what_stands_in_a_folder_by_chance_is_foreign(tmp_path: Path) -> None:
    for name, text in {
        "in/a.jsonl": PAIR,
        "in/b.jsonl": "",
        "in/README.md": "# notes\n",
        "in/info.json": '{"version": "1"}',
        "in/c.csv": "x,y\n1,2\n3,4\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = {one.shown: one for one in inputs(tmp_path, "in")}
    plans = {name: plan_input(one, "utf-8") for name, one in found.items()}
    foreign = {name for name, one in found.items() if is_foreign(one, plans[name])}
    assert foreign == {"in/b.jsonl", "in/README.md", "in/info.json"}


def test_what_is_named_alone_is_never_foreign(tmp_path: Path) -> None:
    (tmp_path / "info.json").write_text('{"version": "1"}')
    (tmp_path / "b.jsonl").write_text("")
    one, empty = inputs(tmp_path, "info.json", "b.jsonl")
    assert not is_foreign(one, plan_input(one, "utf-8"))
    assert not is_foreign(one, Plan(is_empty=True))
    with pytest.raises(DataError, match="has no rows"):
        plan_input(empty, "utf-8")


def test_named_columns_are_looked_for_in_a_file_of_one_row(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("q,z\nhow much,three\n")
    named = {"path": "*.csv", "columns": {"prompt": "q", "completion": "z"}}
    found, _ = inputs(tmp_path, named)
    assert not is_foreign(found, plan_input(found, "utf-8"))
    (tmp_path / "b.csv").write_text("x\n" + '"open\n' * 9)
    _, broken = inputs(tmp_path, "*.csv")
    assert not is_foreign(broken, plan_input(broken, "utf-8"))


def test_a_file_about_the_texts_of_a_corpus_is_none_of_them(tmp_path: Path) -> None:
    for name in ("README.md", "one.md", "LICENSE.txt"):
        (tmp_path / name).write_text("Some words.\n")
    found = [*inputs(tmp_path, "*.md", kind="text"), *inputs(tmp_path, "LICENSE.txt", kind="text")]
    assert [is_foreign(one, plan_input(one, "utf-8")) for one in found] == [True, False, False]
