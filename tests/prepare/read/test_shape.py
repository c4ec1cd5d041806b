from typing import Any

import pytest
from prepare_columns import LABELS, TEXTS, table

from ftool.prepare.read.shape import AmbiguousLabel, Shape, detect
from ftool.prepare.read.survey import survey


def parts(rows: list[dict[str, Any]], **given: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    found = detect(list(rows[0]), given, "chat", survey(rows))
    assert isinstance(found, Shape)
    return found.parts()


def doubt(rows: list[dict[str, Any]]) -> tuple[str, ...]:
    found = detect(list(rows[0]), {}, "chat", survey(rows))
    assert isinstance(found, AmbiguousLabel)
    return found.columns


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"prompt": TEXTS, "completion": TEXTS}, {"prompt": ("prompt",)}),
        (
            {"instruction": TEXTS, "context": TEXTS, "response": TEXTS},
            {"prompt": ("instruction", "context"), "completion": ("response",)},
        ),
        (
            {"context": TEXTS, "question": TEXTS, "answer": TEXTS},
            {"prompt": ("context", "question")},
        ),
        (
            {"instruction": TEXTS, "input": [""], "output": TEXTS},
            {"prompt": ("instruction", "input")},
        ),
        (
            {"instruction": ["Do."], "question": TEXTS, "answer": TEXTS},
            {"prompt": ("instruction", "question")},
        ),
        (
            {"system_prompt": ["Be brief."], "prompt": TEXTS, "completion": TEXTS},
            {"system": ("system_prompt",)},
        ),
        ({"prompt": TEXTS, "chosen": TEXTS, "rejected": TEXTS}, {"completion": ("chosen",)}),
        (
            {"article": TEXTS, "highlights": TEXTS},
            {"prompt": ("article",), "completion": ("highlights",)},
        ),
        ({"q": TEXTS, "a": TEXTS}, {"prompt": ("q",), "completion": ("a",)}),
        ({"a": TEXTS, "q": TEXTS}, {"prompt": ("q",), "completion": ("a",)}),
        ({"User_Question": TEXTS, "Bot_Response": TEXTS}, {"completion": ("Bot_Response",)}),
        (
            {"question": TEXTS, "choices": [["x", "y"]], "answerKey": ["A", "B"]},
            {"prompt": ("question",), "choices": ("choices",), "completion": ("answerKey",)},
        ),
        ({"pregunta": TEXTS, "respuesta": TEXTS}, {"prompt": ("pregunta",)}),
        ({"prompt": TEXTS, "completion": TEXTS, "label": [True, False]}, {"wanted": ("label",)}),
        (
            {"text": TEXTS, "label": LABELS, "answer": ["accept", "reject"]},
            {"verdict": ("answer",)},
        ),
        ({"question": TEXTS, "answer": ["accept", "reject"]}, {"completion": ("answer",)}),
        ({"text": TEXTS, "label": [True, False]}, {"prompt": ("text",), "label": ("label",)}),
        ({"text": TEXTS, "label": [0, 1], "label_text": LABELS}, {"label": ("label_text",)}),
        ({"text": TEXTS, "label": [0, 1, 2], "topic": LABELS}, {"label": ("label",)}),
        ({"subject": TEXTS, "body": TEXTS, "category": LABELS}, {"prompt": ("subject", "body")}),
        (
            {"premise": TEXTS, "hypothesis": TEXTS, "label": [0, 1]},
            {"prompt": ("premise", "hypothesis")},
        ),
        ({"v1": LABELS, "v2": TEXTS, "column_3": [""]}, {"prompt": ("v2",), "label": ("v1",)}),
        (
            {"id": range(13), "when": ["2026-01-02"], "words": TEXTS, "kind": LABELS},
            {"label": ("kind",)},
        ),
        ({"messages": [[{"role": "user"}]], "label": LABELS}, {"messages": ("messages",)}),
        ({"dialog_turns": [[{"speaker": "a"}]]}, {"messages": ("dialog_turns",)}),
    ],
)
def test_what_columns_mean(columns: dict[str, Any], expected: dict[str, Any]) -> None:
    found = parts(table(**columns))
    assert {part: found.get(part) for part in expected} == expected


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"text": TEXTS, "category": LABELS, "intent": ["a", "b", "c"]}, ("intent", "category")),
        ({"text": TEXTS, "label-coarse": LABELS, "label-fine": ["a", "b", "c"]}, None),
        ({"words": TEXTS, "kind": LABELS, "language": ["en", "de", "fr"]}, ("kind", "language")),
        ({"text": LABELS, "label": TEXTS}, ("text", "label")),
    ],
)
def test_two_that_could_be_the_label_are_a_question(
    columns: dict[str, Any], expected: tuple[str, ...] | None
) -> None:
    found = doubt(table(**columns))
    assert expected is None or found == expected


@pytest.mark.parametrize(
    "columns",
    [
        {"words": TEXTS, "other": TEXTS},
        {"words": TEXTS, "score": [1, 2]},
        {"words": TEXTS, "client": ["10.0.0.1", "10.0.0.2"]},
        {"words": TEXTS, "predicted_top": LABELS},
        {"words": TEXTS, "_view_id": ["ner_manual"]},
        {"request": ["Yes", "No"], "team": LABELS},
        {"question": TEXTS, "officer": ["Ann", "Bob"], "ai_response": ["none yet"]},
        {"prompt": TEXTS, "topic": LABELS, "response one": TEXTS, "response two": TEXTS},
        {"history": [[{"role": "user"}]], "x": TEXTS},
        {"WIN a phone now, click here to get it!": TEXTS, "bill": LABELS},
        {"0": [0, 1], "1": TEXTS},
    ],
)
def test_columns_that_mean_nothing_by_themselves(columns: dict[str, Any]) -> None:
    rows = table(**columns)
    assert detect(list(rows[0]), {}, "chat", survey(rows)) is None


def test_what_the_recipe_names_goes_first() -> None:
    rows = table(text=TEXTS, label=LABELS, body=TEXTS, team=LABELS)
    assert parts(rows, prompt=("text", "body"), label=("team",)) == {
        "prompt": ("text", "body"),
        "label": ("team",),
    }
    assert parts(rows, messages=("body",))["messages"] == ("body",)


def test_a_product_that_is_called_system_is_no_system_message() -> None:
    rows = table(text=TEXTS, label=LABELS, system=["SAP", "CRM"])
    assert "system" not in parts(rows)
    rows = table(prompt=TEXTS, completion=TEXTS, system=["Be brief.", "Be kind."])
    assert parts(rows)["system"] == ("system",)


def test_a_corpus() -> None:
    assert detect(["title", "content"], {}, "text") == Shape(text=("content",))
    assert detect(["prompt", "completion"], {}, "text") is None


@pytest.mark.parametrize(
    "columns",
    [
        {"Ticket #": range(13), "Customer wrote": TEXTS, "Routing queue": LABELS},
        {"case_no": [f"C-{n // 3}" for n in range(13)], "body": TEXTS, "sent": ["2026-01-02"]},
    ],
)
def test_numbers_and_ids_are_neither_prompt_nor_label(columns: dict[str, Any]) -> None:
    rows = table(**columns)
    found = detect(list(rows[0]), {}, "chat", survey(rows))
    used = found.parts() if isinstance(found, Shape) else {}
    assert not {"Ticket #", "case_no"} & {name for names in used.values() for name in names}
