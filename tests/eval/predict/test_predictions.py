import json
from dataclasses import replace

import pytest
from tiny import LABELS, tiny_model, tiny_tokenizer

from ftool.artifacts import Prediction
from ftool.errors import DataError
from ftool.eval.predict.predictions import predict_resumably
from ftool.eval.predict.scorer import Scorer
from ftool.example import Example, Message
from ftool.model.answers import rank
from ftool.model.tokens.encode import make_encoder

EXAMPLES = [
    Example(
        f"e{n}",
        (Message("user", "x" * (1 + n % 5)), Message("assistant", "refund")),
        label="refund",
    )
    for n in range(12)
]
INPUTS = {"dataset": "one"}


@pytest.fixture
def asked(monkeypatch):
    """Count the prompts that a model was asked, three at a time."""
    counts = []

    def counted(model, prompts, labels, **settings):
        counts.append(0)
        for batch in ranked(model, prompts, labels, **settings, batch_size=3):
            counts[-1] += len(batch)
            yield batch

    ranked = rank.ranked_batches
    monkeypatch.setattr("ftool.eval.predict.scorer.ranked_batches", counted)
    return counts


def scorer():
    return Scorer(tiny_model(), make_encoder(tiny_tokenizer()), "rank", LABELS)


def predict(file, *, inputs=INPUTS, examples=EXAMPLES, **told):
    return predict_resumably(scorer(), examples, file=file, inputs=inputs, **told)


def labels_of(predictions):
    return [(row.id, row.predicted, row.greedy) for row in predictions]


def lines_of(file):
    return [Prediction.from_dict(json.loads(line)) for line in file.read_text().splitlines()]


def test_predictions_are_those_of_the_scorer_and_written(tmp_path, asked):
    file = tmp_path / "test" / "predictions.jsonl"
    found = predict(file)
    assert found == scorer().predict(EXAMPLES)
    assert sorted(lines_of(file), key=lambda row: row.id) == sorted(found, key=lambda row: row.id)


def test_a_killed_run_goes_on_where_it_was(tmp_path, asked):
    file, whole = tmp_path / "predictions.jsonl", predict(tmp_path / "whole.jsonl")

    def killed(stage, done, total):
        if done >= 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(file, on_progress=killed)
    assert len(lines_of(file)) == 3
    with file.open("a") as torn:
        torn.write('{"id": "e7", "expec')
    notes, told = [], []
    resumed = predict(file, on_note=notes.append, on_progress=lambda *step: told.append(step))
    assert resumed == whole, "to the last bit"
    assert notes == ["3 of 12 predictions were there already"]
    assert asked[-1] == 9
    assert told[0] == ("ranking labels", 6, 12) and told[-1] == ("ranking labels", 12, 12)
    assert predict(file) == resumed
    assert len(asked) == 3


def test_a_batch_that_was_half_written_is_made_again_as_it_was(tmp_path, asked):
    file, whole = tmp_path / "predictions.jsonl", predict(tmp_path / "whole.jsonl")
    predict(file)
    lines = file.read_text().splitlines(keepends=True)
    for kept in (1, 4, 5, 11):
        file.write_text("".join(lines[:kept]))
        assert predict(file) == whole
        assert asked[-1] == 12 - kept // 3 * 3
        assert len(lines_of(file)) == 12


def test_other_inputs_are_predicted_anew(tmp_path, asked):
    file = tmp_path / "predictions.jsonl"
    predict(file)
    predict(file, inputs={"dataset": "other"})
    assert asked == [12, 12]
    assert len(lines_of(file)) == 12


def test_more_examples_of_the_same_inputs_are_added(tmp_path, asked):
    file = tmp_path / "predictions.jsonl"
    first = predict(file, examples=EXAMPLES[:5])
    assert labels_of(predict(file))[:5] == labels_of(first)
    whole = sorted(range(12), key=lambda n: n % 5)
    batches = [set(whole[start : start + 3]) for start in range(0, 12, 3)]
    made_again = sum(3 for batch in batches if not batch <= set(range(5)))
    assert asked == [5, made_again]


def test_a_batch_of_which_something_is_missing_is_asked_whole(tmp_path, asked):
    file = tmp_path / "predictions.jsonl"
    whole = predict(file)
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:4]))
    told = []
    assert predict(file, on_progress=lambda *step: told.append(step[1])) == whole
    assert asked == [12, 9] and told == [6, 9, 12]
    assert len(lines_of(file)) == 12


def test_a_report_of_other_predictions_goes(tmp_path, asked):
    file, report = tmp_path / "predictions.jsonl", tmp_path / "metrics.json"
    predict(file)
    report.write_text("{}")
    predict(file)
    assert report.exists()
    predict(file, inputs={"dataset": "other"})
    assert not report.exists()


def test_what_cannot_be_answered_leaves_the_last_report(tmp_path, asked):
    file, report = tmp_path / "predictions.jsonl", tmp_path / "metrics.json"
    predict(file)
    report.write_text("{}")
    before = file.read_bytes()
    long = replace(EXAMPLES[0], messages=(Message("user", "x" * 400), EXAMPLES[0].messages[-1]))
    with pytest.raises(DataError, match="longer than the model's"):
        predict(file, inputs={"dataset": "other"}, examples=[long])
    assert report.exists() and file.read_bytes() == before


def test_a_file_of_anything_else_is_not_trusted(tmp_path, asked):
    file = tmp_path / "predictions.jsonl"
    expected = labels_of(predict(file))
    for line in ("[1]", '{"id": "e0"}', '{"id": "e0", "unknown": 1}', "\0"):
        file.write_text(line + "\n")
        assert labels_of(predict(file)) == expected
    file.unlink()
    assert labels_of(predict(file)) == expected
    (tmp_path / "predictions.inputs.json").write_text("{")
    assert labels_of(predict(file)) == expected
    assert asked == [12] * 7
