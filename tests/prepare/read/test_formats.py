import json
from datetime import date
from typing import Any

import pytest

from ftool.example import Example
from ftool.prepare.read.formats import Reader
from ftool.prepare.read.proposal import Problem
from ftool.prepare.read.rows import Row, Unusable
from ftool.prepare.read.shape import Shape, detect
from ftool.prepare.read.survey import survey
from ftool.recipe.schema import Recipe


def reader(columns: dict[str, str] | None = None, **data: Any) -> Reader:
    sources = [{"path": "a.jsonl", "columns": columns or {}}]
    recipe = Recipe.model_validate({"name": "r", "data": {"sources": sources, **data}})
    return Reader("a.jsonl", "", recipe.data.sources[0], recipe.data)


def problem(some: Reader) -> Problem:
    assert some.problem is not None
    return some.problem


def example(values: dict[str, Any], columns: dict[str, str] | None = None, **data: Any) -> Example:
    return reader(columns, **data).example(Row(7, "", values))


def said(found: Example) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in found.messages]


def test_a_completion_that_is_named_is_learned_whatever_else_there_is() -> None:
    values = {"message": "q", "intent": "i", "reply": "a"}
    assert said(example(values, {"completion": "reply"})) == Q_A
    found = example(values, {"completion": "reply", "label": "intent"})
    assert (said(found), found.label) == (Q_A, "i")
    with pytest.raises(Unusable):
        example({"intent": "i", "reply": "a"}, {"completion": "reply"})


def reason(values: dict[str, Any], **data: Any) -> str:
    with pytest.raises(Unusable) as caught:
        example(values, **data)
    return caught.value.reason


Q_A = [("user", "q"), ("assistant", "a")]


@pytest.mark.parametrize(
    "values",
    [
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
        {"messages": '[{"role": "User", "content": "q"}, {"role": "assistant", "content": "a"}]'},
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "q"}], "name": None},
                {"role": "assistant", "content": "a", "tool_calls": None},
            ]
        },
        {"prompt": "q", "completion": "a"},
        {"Prompt": "q", "Response": "a"},
        {"question": "q", "answer": "a"},
        {"instruction": "q", "input": "", "output": "a"},
        {"instruction": "q", "output": "a"},
        {"input": "q", "output": "a"},
    ],
)
def test_conversations(values: dict[str, Any]) -> None:
    found = example(values)
    assert said(found) == Q_A
    assert (found.label, found.id, found.source, found.line) == (None, "a.jsonl:7", "a.jsonl", 7)


@pytest.mark.parametrize("text", ["text", "message", "utterance", "sentence", "query"])
@pytest.mark.parametrize("label", ["label", "category", "intent", "class"])
def test_text_with_label(text: str, label: str) -> None:
    found = example({text: "q", label: " a\n b "})
    assert said(found) == [("user", "q"), ("assistant", "a b")]
    assert found.label == "a b"


def test_alpaca_input_follows_the_instruction() -> None:
    found = example({"instruction": "Add.", "input": "1 2", "output": 3, "system": "Sum."})
    assert said(found) == [("system", "Sum."), ("user", "Add.\n\n1 2"), ("assistant", "3")]


def test_named_columns_go_first() -> None:
    values = {"text": "t", "label": "l", "body": "b", "team": 4, "said": "r", "about": "s"}
    assert said(example(values, {"prompt": "body"})) == [("user", "b"), ("assistant", "l")]
    found = example(values, {"text": "body", "label": "team"})
    assert (said(found), found.label) == ([("user", "b"), ("assistant", "4")], "4")
    columns = {"prompt": "body", "completion": "said", "label": "team", "system": "about"}
    found = example(values, columns)
    assert said(found) == [("system", "s"), ("user", "b"), ("assistant", "r")]
    assert found.label == "4"


def test_a_label_answers_an_open_conversation() -> None:
    asked = [{"role": "user", "content": "q"}]
    found = example({"messages": asked, "intent": "a"}, {"label": "intent"})
    assert (said(found), found.label) == (Q_A, "a")


def test_corpus() -> None:
    assert example({"content": "long", "label": 1}, kind="text") == Example(
        id="a.jsonl:7", text="long", source="a.jsonl", line=7
    )
    assert detect(["prompt", "completion"], {}, "text") is None
    assert detect(["x"], {"text": ("x",)}, "text") == Shape(text=("x",))


def test_recipe_system_message_is_put_where_none_is() -> None:
    values = {"question": "q", "answer": "a"}
    assert said(example(values, system="S"))[0] == ("system", "S")
    own = [{"role": "system", "content": "own"}, {"role": "assistant", "content": "a"}]
    assert said(example({"messages": own}, system="S"))[0] == ("system", "own")


def test_label_names_decide_what_a_label_is() -> None:
    values = {"prompt": "q", "completion": "a"}
    assert example(values, label_names=["a", "b"]).label == "a"
    assert example({"text": "q", "label": "a"}, label_names="none").label is None


def test_group_and_kept_columns() -> None:
    values = {"question": "q", "answer": "a", "who": 12, "day": date(2025, 3, 1), "n": [1]}
    found = example(values, split={"group": "who"}, keep_columns=["day", "n", "gone"])
    assert found.group == "12"
    assert found.extra == {"day": "2025-03-01", "n": [1]}
    assert example(values | {"who": None}, split={"group": "who"}).group is None


def test_tools() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "ok", "tool_call_id": "1", "name": "f"},
        {"role": "assistant", "content": "a"},
    ]
    found = example({"messages": messages, "tools": json.dumps([{"name": "f"}])})
    assert found.tools == ({"type": "function", "function": {"name": "f"}},)
    one_form = {"id": "1", "type": "function", "function": {"name": "f", "arguments": {}}}
    assert found.messages[1].tool_calls == (one_form,) and found.messages[1].content == ""
    assert (found.messages[2].tool_call_id, found.messages[2].name) == ("1", "f")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"messages": []}, "no_messages"),
        ({"messages": None}, "no_messages"),
        ({"messages": "[broken"}, "broken_json"),
        ({"messages": {"role": "user"}}, "not_messages"),
        ({"messages": ["q"]}, "last_not_assistant"),
        ({"messages": [3]}, "not_messages"),
        ({"messages": [{"role": "boss", "content": "q"}]}, "invalid_role"),
        ({"messages": [{"role": 3, "content": "q"}]}, "invalid_role"),
        ({"messages": [{"role": "user", "content": "q"}]}, "last_not_assistant"),
        ({"messages": [{"role": "user", "content": {"a": 1}}]}, "not_text"),
        ({"messages": [{"role": "assistant", "tool_calls": "x"}]}, "broken_json"),
        ({"messages": [{"role": "assistant", "tool_calls": [1]}]}, "invalid_tool_calls"),
        ({"prompt": "q", "completion": [1, "a"]}, "not_text"),
        ({"prompt": "q", "completion": "a", "tools": 5}, "invalid_tools"),
        ({"text": "q", "label": None}, "missing_label"),
        ({"text": "q", "label": float("nan")}, "missing_label"),
        ({"text": "q"}, "missing_field"),
        ({"other": "q"}, "missing_field"),
    ],
)
def test_rows_that_make_no_example(values: dict[str, Any], expected: str) -> None:
    assert reason(values) == expected


def test_contents_are_written_out() -> None:
    values = {"question": 1.5, "answer": True}
    assert said(example(values)) == [("user", "1.5"), ("assistant", "true")]
    assert said(example({"question": None, "answer": 0})) == [("user", ""), ("assistant", "0")]


def test_unread_rows_keep_their_reason() -> None:
    with pytest.raises(Unusable, match="broken_json"):
        reader().example(Row(1, "{", reason="broken_json"))


def test_named_column_that_is_in_no_row() -> None:
    some = reader({"prompt": "mesage", "label": "intent"})
    with pytest.raises(Unusable, match="missing_field"):
        some.example(Row(1, "", {"message": "q", "intent": "a"}))
    found = problem(some)
    assert found.code == "unknown_column"
    assert "a.jsonl has no column `mesage`; did you mean `message`?" in found.message
    assert "its columns: message, intent" in found.message


def test_named_column_that_is_in_some_rows() -> None:
    some = reader({"prompt": "body", "label": "intent"})
    with pytest.raises(Unusable, match="missing_field"):
        some.example(Row(1, "", {"intent": "a"}))
    some.example(Row(2, "", {"body": "q", "intent": "a"}))
    assert some.problem is None
    assert list(some.columns) == ["intent", "body"]


def test_unknown_shape_says_what_to_write() -> None:
    some = reader()
    with pytest.raises(Unusable, match="missing_field"):
        some.example(Row(1, "", {"ham": "q", "Go until": "a"}))
    assert "its columns ham, Go until" in problem(some).message
    assert problem(some).hint.endswith("columns: {prompt: ham, label: Go until}")
    corpus = reader(kind="text")
    with pytest.raises(Unusable, match="missing_field"):
        corpus.example(Row(1, "", {"page": "q"}))
    assert problem(corpus).hint.endswith("columns: {text: page}")


def test_a_row_that_was_read_as_the_header_is_cut() -> None:
    some = reader()
    with pytest.raises(Unusable):
        some.example(Row(1, "", {"9" * 5000: "q", **{f"c{n}": "x" for n in range(30)}}))
    found = problem(some)
    assert "9999…, c0, c1" in found.message and "and 11 more" in found.message
    assert len(found.message) < 500 and len(found.hint) < 200


def test_text_alone_needs_another_kind() -> None:
    some = reader()
    with pytest.raises(Unusable):
        some.example(Row(1, "", {"text": "q"}))
    assert "needs `data.kind: text`" in problem(some).message


def test_an_input_without_a_row_that_was_read_is_not_blamed_for_its_columns() -> None:
    some = reader({"prompt": "body"})
    with pytest.raises(Unusable):
        some.example(Row(1, "{", reason="broken_json"))
    assert some.problem is None


def test_a_suffix_tells_the_ids_of_an_input_that_is_read_twice_apart() -> None:
    data = Recipe.model_validate({"name": "r", "data": {"sources": [{"path": "a"}]}}).data
    some = Reader("a.csv", "#2", data.sources[0], data)
    found = some.example(Row(7, "", {"text": "q", "label": "a"}))
    assert (found.id, found.source) == ("a.csv:7#2", "a.csv")


NESTED = "[" * 60 + "{}" + "]" * 60


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[{"n": "\\ud800"}]', "lone_surrogate"),
        ('[{"\\udfff": 1}]', "lone_surrogate"),
        (f'[{{"n": {NESTED.replace("{}", NESTED)}}}]', "too_deep"),
        ("[" * 100_000, "too_deep"),
        ("[" * 2_000, "too_deep"),
        ('[{"n": "' + "[" * 200, "broken_json"),
        ("[" + '"]' * 200, "broken_json"),
    ],
)
def test_json_text_in_a_row_has_to_be_as_sound_as_the_row(text: str, expected: str) -> None:
    asked = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    assert reason({"messages": asked, "tools": text}) == expected
    assert reason({"messages": text}) == expected


def test_json_text_in_a_row_may_have_pairs_and_some_depth() -> None:
    asked = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    assert example({"messages": asked, "tools": json.dumps([{"n": '"[{' * 200}])}).tools
    tools = [{"n": "\\ud83d\\ude00", "deep": json.loads(NESTED)}]
    found = example({"messages": asked, "tools": json.dumps(tools).replace("\\\\", "\\")})
    assert found.tools == ({"n": "😀", "deep": json.loads(NESTED)},)


def test_a_last_answer_that_is_not_learned_is_cut() -> None:
    turns = [("user", "q"), ("assistant", "a"), ("user", "r"), ("assistant", "b")]
    messages: list[dict[str, Any]] = [{"role": role, "content": text} for role, text in turns]
    messages[3]["weight"] = 0
    assert said(example({"messages": messages})) == turns[:2]
    messages[1]["weight"] = 0
    assert reason({"messages": messages}) == "unwanted_answer"
    greeted = [{"role": "assistant", "content": "hi"}, messages[0], {**messages[1], "weight": 0}]
    assert reason({"messages": greeted}) == "unwanted_answer"


def test_a_history_is_brought_into_order() -> None:
    history = [{"role": "user", "content": "p"}, {"role": "system", "content": "joined"}]
    history += [{"role": "assistant", "content": "o"}]
    found = example({"prompt": "q", "completion": "a", "history": history})
    assert said(found) == [("user", "p"), ("assistant", "o"), *Q_A]


def test_the_first_content_that_is_there_is_read() -> None:
    messages = [{"role": "user", "content": None, "text": "q"}, {"role": "assistant", "text": "a"}]
    assert said(example({"messages": messages})) == Q_A


def test_missing_columns_are_named_in_their_order() -> None:
    columns = {"prompt": ["w", "z", "r"], "completion": "c"}
    with pytest.raises(Unusable, match="it has no w, z, r"):
        example({"c": "a"}, columns)  # type: ignore[arg-type]


@pytest.mark.parametrize("label", ["['a', 'b']", '["b"]', "['a']"])
def test_a_list_of_labels_as_text_is_no_label(label: str) -> None:
    assert reason({"text": "q", "label": label}) == "several_labels"
    assert example({"text": "q", "label": "[a]"}).label == "[a]"


def test_whole_numbers_have_the_names_of_theirs() -> None:
    source = {"path": "a", "labels": {"0": "bad"}}
    data = Recipe.model_validate({"name": "r", "data": {"sources": [source]}}).data
    some = Reader("a", "", data.sources[0], data)
    assert some.example(Row(1, "", {"text": "q", "label": 0.0})).label == "bad"
    assert some.example(Row(2, "", {"text": "q", "label": "2.0"})).label == "2.0"


def test_an_image_that_a_text_points_to_is_not_dropped() -> None:
    pair = {"prompt": "<image> what is it?", "completion": "a", "image": "a.jpg"}
    assert reason(pair) == "media"
    assert said(example({**pair, "prompt": "q"})) == Q_A


@pytest.mark.parametrize(
    "columns", [{"prompt": "text", "label": 1}, {"prompt": ["said", 1], "completion": "text"}]
)
def test_one_column_is_not_both_given_and_learned(columns: dict[str, Any]) -> None:
    some = reader(columns)
    some.columns.update(dict.fromkeys(("text", "said")))
    assert problem(some).code == "same_column"


def test_turns_in_the_cells_of_a_table_are_read() -> None:
    values = {
        "prompt": json.dumps([{"role": "user", "content": "q"}]),
        "completion": json.dumps([{"role": "assistant", "content": "a"}]),
    }
    data = Recipe.model_validate({"name": "r", "data": {"sources": [{"path": "a"}]}}).data
    some = Reader("a", "", data.sources[0], data, survey([values]))
    assert said(some.example(Row(1, "", values))) == Q_A
