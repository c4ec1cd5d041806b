from pathlib import Path

from ftool.artifacts import Prediction, PreparedDataset, read_jsonl
from ftool.eval.show.mistakes import write_mistakes
from ftool.example import Example, Message
from ftool.prepare.run import prepare
from ftool.recipe.file import load_recipe

SYSTEM = Message("system", "Name the intent.")


def example(key: str, *turns: str, label: str) -> Example:
    roles = ("user", "assistant")
    said = tuple(Message(roles[n % 2], text) for n, text in enumerate(turns))  # type: ignore[arg-type]
    messages = (SYSTEM, *said, Message("assistant", label))
    return Example(id=key, messages=messages, label=label, extra={"channel": "mail"})


EXAMPLES = [
    example("f.csv:1", "where is my card", label="card"),
    example("f.csv:2", "refund me please", label="refund"),
    example("f.csv:3", "hello there", "How can I help?", "i want my money", label="refund"),
]
ANSWERS = [
    Prediction("f.csv:1", "card", "refund", "refund", probability=0.75),
    Prediction("f.csv:2", "refund", "refund", "refund"),
    Prediction("f.csv:3", "refund", None, "no idea"),
]


def test_wrong_rows_alone_are_written_with_label_and_prediction(tmp_path: Path) -> None:
    write_mistakes(tmp_path / "errors.jsonl", EXAMPLES, ANSWERS)
    first, second = read_jsonl(tmp_path / "errors.jsonl")
    assert first == {
        "label": "card",
        "prediction": "refund",
        "output": "refund",
        "probability": 0.75,
        "id": "f.csv:1",
        "channel": "mail",
        "system": "Name the intent.",
        "prompt": "where is my card",
    }
    assert second["prediction"] is None and second["label"] == "refund"
    assert [message["role"] for message in second["messages"]] == [
        *("system", "user", "assistant", "user", "assistant")
    ]


def test_prepare_takes_them_back_as_they_were(tmp_path: Path) -> None:
    write_mistakes(tmp_path / "errors.jsonl", EXAMPLES, ANSWERS)
    (tmp_path / "recipe.yaml").write_text(
        "name: again\n"
        "data:\n"
        "  sources: [{path: errors.jsonl, columns: {label: label}, split: train}]\n"
        "  keep_columns: [channel, prediction]\n"
    )
    prepare(load_recipe(tmp_path / "recipe.yaml"), output=tmp_path / "data")
    found = PreparedDataset.open(tmp_path / "data/again").examples("train")
    by_label = {example.label: example for example in found}
    assert by_label["card"].messages == EXAMPLES[0].messages
    assert by_label["refund"].messages == EXAMPLES[2].messages
    assert by_label["card"].extra == {"channel": "mail", "prediction": "refund"}
