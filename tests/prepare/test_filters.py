import pytest

from ftool.example import Example, Message
from ftool.prepare.filters import FILTERS, rejection
from ftool.prepare.rows import Candidate
from ftool.recipe.schema import Data, Filter, Recipe, Source


def recipe(label_names: list[str] | str = "auto", most: int | None = None) -> Recipe:
    data = {
        "sources": [Source(path="a.csv")],
        "label_names": label_names,
        "filter": Filter(min_characters=3, max_characters=most),
    }
    return Recipe(name="r", data=Data.model_validate(data))


def candidate(
    prompt: str, completion: str, label: str | None = None, assigned: str | None = None
) -> Candidate:
    messages = (
        Message("system", "long system"),
        Message("user", prompt),
        Message("assistant", completion),
    )
    example = Example(id="a:1", messages=messages, label=label, source="a", line=1)
    return Candidate(example, "raw", 0, assigned)


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        (candidate("hello", "x", "x"), "", ""),
        (candidate("", "x", "x"), "empty_prompt", "nothing is left of the prompt"),
        (candidate("hello", "", "x"), "empty_completion", "nothing is left of the completion"),
        (candidate("hello", "x"), "missing_label", "the label is empty"),
        (candidate("hello", "y", "y"), "unknown_label", "`y` is not in `label_names`"),
        (candidate("hi", "x", "x"), "too_short", "2 characters; at least 3"),
        (candidate("h" * 40, "x", "x"), "too_long", "52 characters; at most 50"),
        (candidate("hi", "x", "x", "test"), "", ""),
        (candidate("h" * 40, "x", "x", "validation"), "", ""),
        (candidate("hi", "x", "x", "train"), "too_short", "2 characters; at least 3"),
        (candidate("", "x", "x", "test"), "empty_prompt", "nothing is left of the prompt"),
    ],
)
def test_first_hit_names_the_reason(row: Candidate, reason: str, detail: str) -> None:
    found = rejection(row, recipe(["x"], 50))
    assert (found.reason, found.detail) == (reason, detail) if found else reason == ""


def test_texts() -> None:
    def reason(text: str) -> str | None:
        found = rejection(Candidate(Example(id="a", text=text), text, 0, None), recipe())
        return found.reason if found else None

    assert [reason(""), reason("ab"), reason("abc")] == ["empty_text", "too_short", None]


def test_tool_calls_need_no_content() -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": {}}}
    messages = (Message("user", "hello"), Message("assistant", "", tool_calls=(call,)))
    assert rejection(Candidate(Example(id="a", messages=messages), "", 0, None), recipe()) is None


def test_reasons_are_ordered_from_empty_to_long() -> None:
    assert next(iter(FILTERS)) == "empty_text" and list(FILTERS)[-1] == "too_long"
