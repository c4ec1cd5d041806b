import json
from pathlib import Path

import pytest
from prepare_files import recipe_for, write_csv

from ftool.errors import DataError, RecipeError
from ftool.prepare.run import prepare
from ftool.prepare.write.explain import Explanation, explain
from ftool.recipe.schema import Recipe

ROWS = [
    ("my parcel is late again", "delivery"),
    ("My parcel is  late again", "delivery"),
    ("write to ann@example.com please", "contact"),
    ("x", "contact"),
    *((f"where is order number {n} of mine", "delivery") for n in "abcdefgh"),
]


def outcomes(explanation: Explanation) -> dict[str, tuple[str, bool | None]]:
    return {step.rule: (step.sentence, step.passes) for step in explanation.steps}


@pytest.fixture
def desk(tmp_path: Path) -> Recipe:
    write_csv(tmp_path / "a.csv", ROWS)
    return recipe_for(tmp_path, "a.csv", split={"validation": 0, "test": 0})


def test_before_anything_is_prepared_the_outcome_is_open(desk: Recipe, tmp_path: Path) -> None:
    found = explain(desk, "a.csv:2", output=tmp_path / "data")
    steps = outcomes(found)
    assert found.raw == "my parcel is late again,delivery"
    assert steps["read"] == (
        "user > assistant with the label `delivery` of the columns text, label",
        True,
    )
    assert steps["clean"] == ("nothing to change", None)
    assert steps["personal_data"] == ("none found", None)
    assert steps["too_short"] == ("23 characters; at least 2", True)
    assert steps["outcome"][1] is None and "run ftool prepare" in steps["outcome"][0]


def test_a_kept_row_and_its_repeat(desk: Recipe, tmp_path: Path) -> None:
    prepare(desk, output=tmp_path / "data")
    kept = outcomes(explain(desk, "a.csv:2", output=tmp_path / "data"))
    gone = outcomes(explain(desk, "a.csv:3", output=tmp_path / "data"))
    assert kept["outcome"] == ("kept in train", True)
    assert gone["outcome"] == (
        "exact_duplicate: same as a.csv:2 (value 1, threshold 1)",
        False,
    )


def test_what_was_masked_is_counted_and_shown_masked(desk: Recipe) -> None:
    found = explain(desk, "a.csv:4")
    assert outcomes(found)["personal_data"] == ("masked: 1 EMAIL", None)
    assert found.example is not None
    assert found.example.prompt[-1].content == "write to [EMAIL_1] please"


def test_the_rules_that_change_a_row_are_named(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [("<p>cafÃ© <b>one</b></p>", "a"), ("a plain line", "a")])
    settings = recipe_for(tmp_path, "a.csv")
    steps = [outcomes(explain(settings, f"a.csv:{line}"))["clean"][0] for line in (2, 3)]
    assert steps == ["changed by html, unicode, white_space", "nothing to change"]


def test_rows_of_a_preparation_that_was_refused(tmp_path: Path) -> None:
    """Where too many go, before others are compared and after, and where train stays empty."""
    rows = [("x", "a"), ("where is my parcel", "a"), ("where is  my parcel", "a")]
    write_csv(tmp_path / "a.csv", rows)
    settings = {"split": {"validation": 0, "test": 0}}
    for allowed, lines in ((0.2, (2,)), (0.5, (2, 4))):
        recipe = recipe_for(tmp_path, "a.csv", max_rejected_ratio=allowed, **settings)
        with pytest.raises(DataError, match="rows were rejected"):
            prepare(recipe, output=tmp_path / "data")
        for line in (2, 3, 4):
            found = outcomes(explain(recipe, f"a.csv:{line}", output=tmp_path / "data"))["outcome"]
            assert (found[1] is False) is (line in lines)
    held_out = recipe_for(
        tmp_path, "a.csv", {"path": "a.csv", "split": "test"}, max_rejected_ratio=1, **settings
    )
    with pytest.raises(DataError) as caught:
        prepare(held_out, output=tmp_path / "data")
    assert "2 leaks_into_test" in caught.value.message
    assert "rejected.jsonl" in caught.value.hint


def test_a_preparation_that_is_refused_comes_after_the_one_that_stands(
    desk: Recipe, tmp_path: Path
) -> None:
    def outcome(recipe: Recipe) -> bool | None:
        return outcomes(explain(recipe, "a.csv:2", output=tmp_path / "data"))["outcome"][1]

    prepare(desk, output=tmp_path / "data")
    assert outcome(desk) is True
    strict = recipe_for(tmp_path, "a.csv", max_rejected_ratio=0, split=desk.data.split.model_dump())
    with pytest.raises(DataError):
        prepare(strict, output=tmp_path / "data")
    assert outcome(strict) is None
    notes: list[str] = []
    prepare(desk, output=tmp_path / "data", on_note=notes.append)
    assert notes[-1].endswith("is up to date") and outcome(desk) is True


def test_a_row_that_a_filter_refuses_names_value_and_threshold(desk: Recipe) -> None:
    found = explain(desk, "a.csv:5")
    assert outcomes(found)["too_short"] == ("1 characters; at least 2", False)
    assert found.example is None
    assert outcomes(found)["outcome"] == (
        "refused before it was compared with other rows",
        False,
    )


def test_a_line_inside_a_record_means_that_record(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('text,label\n"two\nlines",b\nnext one,b\n', encoding="utf-8")
    assert explain(recipe_for(tmp_path, "a.csv"), "a.csv:3").place == "a.csv:2"


@pytest.mark.parametrize("place", ["a.csv", ":5", "a.csv:-1", "a.csv:1e3"])
def test_a_place_is_written_as_file_and_line(desk: Recipe, place: str) -> None:
    with pytest.raises(RecipeError, match="is not FILE:LINE"):
        explain(desk, place)


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("b.csv:2", "no source of the recipe is b.csv; did you mean `a.csv`?"),
        ("a.csv:99", "a.csv has no row on line 99"),
        ("a.csv:1", "a.csv has no row on line 1"),
    ],
)
def test_a_wrong_place_is_named(desk: Recipe, place: str, sentence: str) -> None:
    with pytest.raises(DataError) as caught:
        explain(desk, place)
    assert sentence in caught.value.message


def test_a_message_is_explained_by_its_conversation(tmp_path: Path) -> None:
    rows = "".join(
        f"{n % 5},{('customer', 'agent')[n // 5 % 2]},text {n} of some words\n" for n in range(20)
    )
    (tmp_path / "a.csv").write_text(f"thread_id,role,text\n{rows}x\n")
    settings = recipe_for(tmp_path, "a.csv", max_rejected_ratio=1.0)
    told = explain(settings, "a.csv:17", output=tmp_path / "data")
    assert told.place == "a.csv:2" and told.example is not None
    assert [message.content for message in told.example.messages][:2] == [
        *("text 0 of some words", "text 5 of some words"),
    ]
    assert explain(settings, "a.csv:22", output=tmp_path / "data").example is None


def test_rows_that_a_document_holds_out_are_held_to_its_rules(tmp_path: Path) -> None:
    pairs = {
        "train": [["a question of words", "a"], ["another of words", "b"]],
        "test": [["x", "a"]],
    }
    (tmp_path / "a.json").write_text(json.dumps(pairs))
    settings = recipe_for(tmp_path, "a.json", dedup={"near": None})
    prepare(settings, output=tmp_path / "data")
    told = explain(settings, "a.json:3", output=tmp_path / "data")
    assert told.steps[-1].sentence == "kept in test"
