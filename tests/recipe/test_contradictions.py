import pytest

from ftool.recipe.blocks.data import Columns, Data, Source
from ftool.recipe.contradictions import all_read, apart, distinct
from ftool.recipe.schema import Recipe


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"messages": "m", "completion": "c"}, "nothing reads `completion` then"),
        ({"messages": "m", "text": "t"}, "nothing reads `text` then"),
        ({"prompt": "p", "text": "t"}, "name one"),
        ({"prompt": "p", "completion": "p"}, "`p` cannot be both"),
        ({"text": "t", "completion": "t"}, "`t` cannot be both"),
    ],
)
def test_columns_that_nothing_would_read_are_refused(parts, says):
    with pytest.raises(ValueError, match=says):
        Source.model_validate({"path": "a", "columns": parts})


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"messages": "m", "system": "s", "label": "l"},
        {"text": "t", "label": "l"},
        {"prompt": "p", "completion": "c", "label": "c", "system": "s"},
    ],
)
def test_others_are_kept(parts):
    columns = Columns(**parts)
    assert apart(columns) is columns


@pytest.mark.parametrize("names", [["a", ""], ["a", " b"], ["a", "b", "a"]])
def test_labels_that_no_answer_could_be_are_refused(names):
    with pytest.raises(ValueError, match="the label"):
        Data.model_validate({"sources": [{"path": "a"}], "label_names": names})
    assert distinct(["a", "A"]) == ["a", "A"]


@pytest.mark.parametrize("part", ["messages", "system", "prompt", "completion"])
def test_parts_of_conversations_are_no_parts_of_texts(part):
    source = {"path": "a", "columns": {part: "x"}}
    with pytest.raises(ValueError, match=rf"sources\.0\.columns\.{part}: nothing reads it"):
        Recipe.model_validate({"name": "a", "data": {"kind": "text", "sources": [source]}})
    data = Data.model_validate({"sources": [source]})
    assert all_read(data) is data
