from typing import Any

import pytest

from ftool.prepare.read.layouts import LAYOUTS, records, split_named, texts


def found(document: Any) -> list[dict[str, Any]] | None:
    rows = records(document)
    return None if rows is None else [record for record, _ in rows]


A, B = {"text": "hi there", "label": "greet"}, {"text": "bye now", "label": "leave"}


@pytest.mark.parametrize(
    "document",
    [
        {
            "intents": [
                {"tag": "greet", "patterns": ["hi there"]},
                {"tag": "leave", "patterns": ["bye now"]},
            ]
        },
        [
            {
                "intents": [
                    {"tag": "greet", "patterns": ["hi there"]},
                    {"tag": "leave", "patterns": ["bye now"]},
                ]
            }
        ],
        [
            {"intent": "greet", "examples": ["hi there"]},
            {"intent": "leave", "examples": ["bye now"]},
        ],
        {"intents": {"greet": {"examples": ["hi there"]}, "leave": {"examples": ["bye now"]}}},
        {
            "nlu": [
                {"intent": "greet", "examples": "- hi there"},
                {"intent": "leave", "examples": "- bye now\n"},
            ]
        },
        {
            "greet": [{"data": [{"text": "hi "}, {"text": "there", "entity": "x"}]}],
            "leave": [{"data": [{"text": "bye now"}]}],
        },
        {"greet": ["hi there"], "leave": ["bye now"]},
        {"text": ["hi there", "bye now"], "label": ["greet", "leave"]},
        {"text": {"0": "hi there", "1": "bye now"}, "label": {"0": "greet", "1": "leave"}},
        {
            "columns": ["text", "label"],
            "index": [0, 1],
            "data": [["hi there", "greet"], ["bye now", "leave"]],
        },
    ],
)
def test_texts_with_labels(document: Any) -> None:
    assert found(document) == [A, B]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (
            {"rasa_nlu_data": {"common_examples": [{"text": "hi", "intent": "greet"}]}},
            [{"text": "hi", "intent": "greet"}],
        ),
        (
            {"categories": ["x"], "conversations": [["hi", "hello"], ["a", "b", "c"]]},
            [{"messages": ["hi", "hello"]}, {"messages": ["a", "b", "c"]}],
        ),
        (
            {
                "version": "2",
                "data": [
                    {
                        "title": "t",
                        "paragraphs": [
                            {
                                "context": "c",
                                "qas": [
                                    {
                                        "id": "1",
                                        "question": "q",
                                        "answers": [{"text": "a", "answer_start": 0}],
                                    },
                                    {
                                        "id": "2",
                                        "question": "r",
                                        "answers": [],
                                        "is_impossible": True,
                                    },
                                ],
                            }
                        ],
                    }
                ],
            },
            [
                {
                    "title": "t",
                    "context": "c",
                    "id": "1",
                    "question": "q",
                    "answers": {"text": ["a"]},
                },
                {
                    "title": "t",
                    "context": "c",
                    "id": "2",
                    "question": "r",
                    "answers": {"text": []},
                    "is_impossible": True,
                },
            ],
        ),
        (
            [
                {
                    "data": {"text": "hi"},
                    "annotations": [{"result": [{"value": {"choices": ["good"]}}]}],
                }
            ],
            [{"text": "hi", "label": ["good"]}],
        ),
        ({"a1": {"question": "q", "answer": "a"}}, [{"key": "a1", "question": "q", "answer": "a"}]),
        (
            {"How are you?": "Fine.", "Where is it?": "In the store.", "When is it?": "At noon."},
            [
                {"prompt": "How are you?", "completion": "Fine."},
                {"prompt": "Where is it?", "completion": "In the store."},
                {"prompt": "When is it?", "completion": "At noon."},
            ],
        ),
        (
            {"faqs": [{"name": "x", "questions": [{"question": "q", "answer": "a"}]}]},
            [{"name": "x", "question": "q", "answer": "a"}],
        ),
        ([[{"role": "user", "content": "q"}]], [{"messages": [{"role": "user", "content": "q"}]}]),
        ({"d1": [{"speaker": "u", "text": "q"}]}, [{"messages": [{"speaker": "u", "text": "q"}]}]),
        (
            {"conversations": [{"messages": [{"sender": "agent", "content": "q"}]}]},
            [{"messages": [{"sender": "agent", "content": "q"}]}],
        ),
        (
            {"utterances": [{"text": "hi", "intent": "greet"}], "entities": [{"name": "x"}]},
            [{"entities": None, "text": "hi", "intent": "greet"}],
        ),
    ],
)
def test_other_documents(document: Any, expected: Any) -> None:
    assert found(document) == expected


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        "text",
        [{"text": "hi", "label": "greet"}],
        {"data": [{"text": "hi", "label": "greet"}]},
        {"messages": [{"role": "user", "content": "q"}]},
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
        {"name": "x", "version": "1.0.0", "license": "MIT"},
        {"model": {"layers": 2}, "train": {"epochs": 3}},
        {"banking": ["freeze_account", "card_lost"], "travel": ["book_flight"]},
        {"id": ["1", "2"], "size": ["3"]},
    ],
)
def test_what_is_no_layout_of_its_own(document: Any) -> None:
    assert found(document) is None


def test_every_layout_passes_over_what_is_not_its_own() -> None:
    for layout in LAYOUTS:
        for document in (None, 3, "x", [1], {"a": 1}, {"a": [1]}, [["a"]], {"a": {"b": 1}}):
            assert layout(document) is None, (layout.__name__, document)


@pytest.mark.parametrize(
    ("key", "split"),
    [
        ("train", ""),
        ("oos_train", ""),
        ("val", "validation"),
        ("Dev", "validation"),
        ("oos-test", "test"),
        ("greet", None),
    ],
)
def test_what_splits_are_called(key: str, split: str | None) -> None:
    assert split_named(key) == split


def test_splits_of_pairs_and_of_objects() -> None:
    pairs = {
        "train": [["hi there", "greet"], ["hello you", "greet"]],
        "val": [["bye now", "leave"]],
    }
    assert [tuple(placed) for placed in records(pairs) or ()] == [
        ({"text": "hi there", "label": "greet"}, None),
        ({"text": "hello you", "label": "greet"}, None),
        ({"text": "bye now", "label": "leave"}, "validation"),
    ]
    objects = {"train": [A], "test": [B]}
    assert [tuple(placed) for placed in records(objects) or ()] == [(A, None), (B, "test")]


def test_pairs_name_their_label_by_what_repeats() -> None:
    swapped = [["greet", "hi there"], ["greet", "hello you"], ["leave", "bye now"]]
    assert found(swapped) == [{"label": label, "text": text} for label, text in swapped]
    asked = [["where is it", "in the store"], ["when is it", "at noon today"]]
    assert found(asked) == [{"prompt": q, "completion": a} for q, a in asked]


def test_a_corpus_in_a_list() -> None:
    assert [record for record, _ in texts(["a b", "c d"]) or ()] == [
        {"text": "a b"},
        {"text": "c d"},
    ]
    assert texts([{"text": "a"}]) is None


def test_intents_with_no_pattern_and_odd_ones() -> None:
    intents = [{"tag": "none", "patterns": []}, {"tag": "greet", "patterns": ["hi there", "hello"]}]
    assert found({"intents": intents}) == [
        {"text": "hi there", "label": "greet"},
        {"text": "hello", "label": "greet"},
    ]
    assert found({"intents": [*intents, {"tag": "odd", "patterns": [3]}]}) is None
    assert found({"intents": intents[:1]}) is None


@pytest.mark.parametrize(
    "document",
    [
        {"data": [{"title": "T", "paragraphs": ["just text"]}]},
        [{"title": "T one", "paragraphs": "abc def", "label": "x"}],
        {"data": [{"paragraphs": [{"context": "c", "qas": {"question": "q"}}]}]},
        [{"topic": "T", "items": [{"question": "q", "answer": "a"}]}, {"topic": "U", "items": 3}],
        {"columns": ["text", "label"], "data": 5},
        {"columns": ["text", "label"], "data": [{"text": "a b", "label": "x"}]},
        {"columns": ["text", "label"], "data": [["a b", "x", "more"]]},
        [["user", "hello there"], ["assistant", "hi you"]],
        [{"category": "ship", "questions": ["when?"], "answer": "tomorrow"}],
        {"include": ["src", "tests"], "exclude": ["build", "dist"]},
    ],
)
def test_near_misses_are_no_layouts(document: Any) -> None:
    assert found(document) is None


def test_what_an_entry_lacks_is_rejected_and_not_passed_over() -> None:
    articles = {"data": [{"title": "T"}, {"paragraphs": [{"context": "c", "qas": []}]}]}
    assert found(articles) == [{"title": "T"}, {"context": "c"}]
    odd = {"intents": [{"tag": "greet", "patterns": ["hi there", "hello", None]}]}
    assert found(odd) == [{"text": text, "label": "greet"} for text in ("hi there", "hello", None)]
    task = {"data": {"text": "hi"}, "annotations": 3}
    assert found(
        [task, {**task, "annotations": [{"result": [{"value": {"choices": "abc"}}]}]}]
    ) == [
        {"text": "hi", "label": []},
        {"text": "hi", "label": ["abc"]},
    ]
