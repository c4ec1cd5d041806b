from typing import Any

import pytest

from ftool.prepare.read.nlu import read_markdown, records, without_entities


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("where is my [lamp](product)", "where is my lamp"),
        ('a [red]{"entity": "colour", "value": "r"} [lamp](product)', "a red lamp"),
        ("[12](n) lamps", "12 lamps"),
        ("see [1] and (2)", "see [1] and (2)"),
    ],
)
def test_marks_of_entities_go(written: str, text: str) -> None:
    assert without_entities(written) == text


def test_markdown() -> None:
    text = "## intent:greet\n- hi\n* hello [Ann](name)\n\n## synonym:x\n- no\n"
    text += "\n## intent: bye\n- bye\n"
    assert list(read_markdown(text) or ()) == [
        (2, {"text": "hi", "label": "greet"}),
        (3, {"text": "hello Ann", "label": "greet"}),
        (9, {"text": "bye", "label": "bye"}),
    ]
    assert read_markdown("# Notes\n\n- one\n## two\n- three\n") is None


def test_yaml() -> None:
    document = {
        "version": "3.1",
        "nlu": [
            {"intent": "greet", "examples": "- hi\n- hello [Ann](name)\n\n"},
            {"lookup": "city", "examples": "- Rome\n"},
            {"intent": "bye", "examples": ["bye", {"text": "see you\n"}]},
            {"intent": "none"},
        ],
    }
    assert list(records(document) or ()) == [
        {"text": "hi", "label": "greet"},
        {"text": "hello Ann", "label": "greet"},
        {"text": "bye", "label": "bye"},
        {"text": "see you", "label": "bye"},
    ]


@pytest.mark.parametrize(
    "document", [None, [], {"nlu": "x"}, {"rules": []}, {"nlu": [{"lookup": "x"}]}]
)
def test_other_documents(document: Any) -> None:
    assert records(document) is None
