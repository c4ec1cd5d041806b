import json
from pathlib import Path

from ftool.recipe.problems import all_keys
from ftool.recipe.reference import json_schema, page, write_reference


def test_the_page_explains_every_key() -> None:
    text = page()
    for key in all_keys():
        assert f"| `{key}` |" in text


def test_a_row_holds_type_default_bounds_and_meaning() -> None:
    rows = page().splitlines()
    assert (
        "| `train.warmup_ratio` | number | `0.03` | ≥ 0, ≤ 1 |"
        " Share of the steps in which the learning rate rises. |"
    ) in rows
    assert any(row.startswith("| `name` | text | required | at most 100 char") for row in rows)
    assert any(
        row.startswith(
            '| `train.batch_size_per_device` | whole number or `auto` | `"auto"` | > 0 |'
        )
        for row in rows
    )
    assert any(
        row.startswith('| `train.checkpoint.every` | span | `"0.5 epochs"` |') for row in rows
    )
    assert any(row.startswith("| `train.validate` | block or null | below |") for row in rows)


def test_every_table_row_has_five_cells() -> None:
    rows = [line for line in page().splitlines() if line.startswith("| `")]
    assert {row.replace("\\|", "").count("|") for row in rows} == {6}


def test_the_schema_accepts_recipes_as_they_are_written(tmp_path: Path) -> None:
    write_reference(tmp_path)
    schema = json.loads((tmp_path / "recipe.schema.json").read_text())
    assert schema == json_schema()
    assert schema["required"] == ["name", "data"]
    every = schema["$defs"]["Validate"]["properties"]["every"]
    assert (every["type"], every["default"]) == ("string", "0.5 epochs")
    assert "validate" in schema["$defs"]["Train"]["properties"]
    assert schema["additionalProperties"] is False
    assert (tmp_path / "recipe.md").read_text() == page()
