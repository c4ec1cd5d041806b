import json
from dataclasses import replace
from typing import Any

import pytest

from ftool.artifacts import Prediction
from ftool.errors import RecipeError
from ftool.eval.judge.findings import (
    NO_COLUMNS,
    SPLIT_GROUP,
    Columns,
    Rival,
    find,
    groups_by,
    questions_of,
)
from ftool.eval.report import BLOCKS, label_comparison, label_report
from ftool.example import Example, Message
from ftool.recipe.blocks.eval import Eval

NAMES = ("a", "b")


def example(n: int, **about: Any) -> Example:
    label = NAMES[n % 2]
    messages = (Message("user", f"text {n}"), Message("assistant", label))
    extra = {"channel": ["mail", "chat"][n // 2 % 2], "chat": f"chat {n // 2}"}
    return Example(id=f"{n}", messages=messages, label=label, extra=extra, **about)


EXAMPLES = [example(n) for n in range(40)]
ANSWERS = [
    Prediction(
        row.id,
        row.label,
        "a" if n < 4 else row.label,
        "",
        probability=0.9,
        off_label=0.02,
        greedy=None if n == 0 else row.label,
    )
    for n, row in enumerate(EXAMPLES)
]


def rival(name: str, predicted: str, rows: int) -> Rival:
    answers = [Prediction(row.id, row.label, predicted, "") for row in EXAMPLES[:rows]]
    given = [[row.expected for row in answers], [row.predicted for row in answers]]
    return Rival(label_comparison(name, *given, NAMES), answers)


def test_everything_is_found_and_stands_in_the_report() -> None:
    asked = questions_of(Eval(), Columns(["channel"], "chat"), EXAMPLES, NAMES)
    found = find(
        ANSWERS,
        EXAMPLES,
        asked,
        label_names=NAMES,
        rivals={"base": rival("tiny", "a", 20), "floor": None},
        train=[EXAMPLES[7]],
        steps=[{"step": 1, "loss": 2.0, "validation": None}],
    )
    assert found.paired["base"].name == "the base (tiny)"
    assert found.paired["base"].examples == 20
    assert found.paired["base"].p_value is None  # rows are in groups
    assert found.overlap is not None and found.overlap.ids == ("7",)
    assert found.free_answers == pytest.approx({"off_label": 0.02, "named": 0.975, "right": 0.975})
    assert [part.value for part in found.slices["channel"]] == ["chat", "mail"]
    report = label_report(ANSWERS, NAMES, subject="s", split="test", mode="rank", inputs={})
    content = found.added_to(report).as_dict()
    empty = [name for name in BLOCKS if not content[name]]
    assert empty == ["left_out", "gates"], "nothing is left out, and nobody asked for gates"
    assert json.loads(json.dumps(content)) == content
    assert content["paired"]["base"]["fixed"] == 8
    assert content["learning"]["training"] == [[1, 2.0]]


def test_open_answers_have_curves_and_overlap_alone() -> None:
    asked = questions_of(Eval(), NO_COLUMNS, EXAMPLES, ())
    open_rival = rival("tiny", "a", 3)
    found = find(
        ANSWERS,
        EXAMPLES,
        asked,
        label_names=(),
        rivals={"base": open_rival},
        train=None,
        steps=(),
    )
    assert (found.paired, found.calibration, found.overlap, found.learning) == (
        {},
        None,
        None,
        None,
    )


def test_rows_that_the_data_keep_together_are_groups_by_themselves() -> None:
    kept = [example(n, group=f"customer {n // 4}" if n < 8 else None) for n in range(10)]
    asked = questions_of(Eval(), NO_COLUMNS, kept, NAMES)
    assert asked.group == SPLIT_GROUP
    assert asked.groups == groups_by(kept, SPLIT_GROUP)
    assert asked.groups[:4] == ["group customer 0"] * 4
    assert asked.groups[8:] == ["row 8", "row 9"]  # of no group: each alone
    assert (
        questions_of(Eval(), Columns(group="chat"), kept, NAMES).groups[:2] == ["group chat 0"] * 2
    )
    assert questions_of(Eval(), NO_COLUMNS, EXAMPLES, NAMES).groups is None


def test_one_group_alone_is_refused() -> None:
    alike = [replace(row, extra={"chat": "7"}) for row in EXAMPLES]
    with pytest.raises(RecipeError, match="--group chat: all examples have the same value"):
        questions_of(Eval(), Columns(group="chat"), alike, NAMES)


def test_what_is_not_there_is_refused_before_anything_is_scored() -> None:
    with pytest.raises(RecipeError, match=r"eval\.out_of_scope: `A` is not a label"):
        questions_of(Eval(out_of_scope="A"), NO_COLUMNS, EXAMPLES, NAMES)
    with pytest.raises(RecipeError, match="`chan` is not a column that the data keep"):
        questions_of(Eval(), Columns(["chan"]), EXAMPLES, NAMES)
    for settings, columns in (
        (Eval(out_of_scope="a"), NO_COLUMNS),
        (Eval(), Columns(["channel"])),
        (Eval(), Columns(group="chat")),
    ):
        with pytest.raises(RecipeError, match="without labels there are no slices"):
            questions_of(settings, columns, EXAMPLES, ())


def test_without_all_probabilities_nobody_knows_what_free_generation_would_do() -> None:
    rows = [*ANSWERS[:-1], Prediction("39", "b", "b", "")]
    found = find(
        rows,
        EXAMPLES,
        questions_of(Eval(), NO_COLUMNS, EXAMPLES, NAMES),
        label_names=NAMES,
        rivals={},
        train=None,
        steps=(),
    )
    assert (found.free_answers, found.calibration) == (None, None)


def test_mass_off_the_labels_is_told_only_where_it_is_certain() -> None:
    rough = [replace(row, probability_bounds=(0.4, 0.9)) for row in ANSWERS]
    found = find(
        rough,
        EXAMPLES,
        questions_of(Eval(), NO_COLUMNS, EXAMPLES, NAMES),
        label_names=NAMES,
        rivals={},
        train=None,
        steps=(),
    )
    assert found.free_answers == {"off_label": None, "named": 0.975, "right": 0.975}
    assert found.calibration is None
