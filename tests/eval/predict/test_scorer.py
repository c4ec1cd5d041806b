import math
from dataclasses import replace

import pytest
import torch
from tiny import LABELS, tiny_model, tiny_tokenizer, windowed_model

from ftool.errors import DataError, RecipeError, RunError
from ftool.eval.predict import losses
from ftool.eval.predict import scorer as scorer_module
from ftool.eval.predict.scorer import Scorer, choose_mode
from ftool.example import Example, Message
from ftool.model.answers import generate, rank
from ftool.model.answers.search import CERTAIN
from ftool.model.tokens.encode import encode_examples, make_encoder
from ftool.model.tokens.markers import BREAK
from ftool.model.tokens.template import UnwritableError


def example(number, text, label):
    return Example(
        f"e{number}", messages=(Message("user", text), Message("assistant", label)), label=label
    )


EXAMPLES = [
    example(n, text, LABELS[n % 3])
    for n, text in enumerate(["hi", "where is my box now please", "é🙂", "pay me back"])
]


def scorer(mode, model=None):
    return Scorer(model or tiny_model(), make_encoder(tiny_tokenizer()), mode, LABELS, 5)


def reference_losses(model, encoder):
    for item in EXAMPLES:
        encoded = encoder.example(item)
        output = model(
            input_ids=torch.tensor([encoded.input_ids]), labels=torch.tensor([encoded.labels])
        )
        yield output.loss.item(), encoded.learned_tokens


def test_losses_are_the_models_own_per_example():
    made = scorer("loss")
    expected = list(reference_losses(made.model, made.encoder))
    found = made.predict(EXAMPLES)
    assert [row.learned_tokens for row in found] == [tokens for _, tokens in expected]
    assert [row.loss for row in found] == pytest.approx([loss for loss, _ in expected], abs=1e-5)


def label_totals(made, item):
    """Return minus the log-probability of every label, by its loss."""
    totals = {}
    for label in LABELS:
        (row,) = replace(made, mode="loss").predict([example(0, item.messages[0].content, label)])
        totals[label] = row.loss * row.learned_tokens
    return totals


def test_ranking_picks_the_label_of_the_lowest_loss():
    made = scorer("rank")
    for item, prediction in zip(EXAMPLES, made.predict(EXAMPLES), strict=True):
        totals = label_totals(made, item)
        best = min(totals, key=totals.get)
        assert prediction.predicted == best
        assert prediction.log_probability == pytest.approx(-totals[best], abs=1e-4)
        assert (prediction.id, prediction.expected) == (item.id, item.label)


def test_generated_noise_is_unparsed_and_kept():
    for prediction in scorer("generate").predict(EXAMPLES):
        assert prediction.predicted is None
        assert prediction.output
        assert not prediction.correct


def test_an_example_beyond_the_context_is_named():
    with pytest.raises(DataError, match="e9 is longer than the model's 256 tokens"):
        scorer("loss").predict([example(9, "x" * 400, "refund")])


def test_modes_that_need_labels_are_refused_without():
    assert choose_mode("auto", LABELS) == "rank"
    assert choose_mode("auto", ()) == "loss"
    assert choose_mode("generate", ()) == "generate"
    with pytest.raises(RecipeError, match=r"eval\.mode: rank needs labels"):
        choose_mode("rank", ())


def test_likelihoods_that_are_not_finite_are_refused():
    model = tiny_model()
    with torch.no_grad():
        model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(RunError, match="likelihoods are not finite"):
        scorer("rank", model).predict(EXAMPLES)


@pytest.mark.parametrize("mode", ["rank", "generate"])
def test_a_prompt_beyond_the_context_is_named(mode):
    said = r"e9, e8, e7 and 1 more: with \d+ tokens for the answer longer than the model's 256"
    with pytest.raises(DataError, match=said) as caught:
        scorer(mode).predict([example(n, "x" * 400, "refund") for n in (9, 8, 7, 6)])
    assert ("eval.max_new_tokens" in caught.value.hint) == (mode == "generate")


def test_an_architecture_that_has_no_branches_is_ranked_more_slowly_and_says_so():
    made, notes = scorer("rank", windowed_model()), []
    found = {}
    for batch in made.batches(EXAMPLES, on_note=notes.append):
        found.update(batch)
    assert notes == [
        "labels are ranked by copied caches, which is slow: its attention or layers cannot share"
        " a row"
    ]
    for place, item in enumerate(EXAMPLES):
        totals = label_totals(made, item)
        best = min(totals, key=totals.get)
        assert found[place].predicted == best
        assert found[place].log_probability == pytest.approx(-totals[best], abs=1e-4)


def test_probabilities_are_those_among_the_labels():
    made = Scorer(tiny_model(), make_encoder(tiny_tokenizer()), "rank", LABELS, certain=True)
    for item, prediction in zip(EXAMPLES, made.predict(EXAMPLES), strict=True):
        totals = label_totals(made, item)
        mass = sum(math.exp(-total) for total in totals.values())
        low, high = prediction.probability_bounds
        assert high - low <= CERTAIN
        assert low - 1e-6 <= math.exp(-min(totals.values())) / mass <= high + 1e-6
        assert prediction.probability == (low + high) / 2
        assert prediction.off_label == pytest.approx(1 - mass, abs=1e-3)
        assert prediction.greedy is None


@pytest.mark.parametrize("mode", ["rank", "generate", "loss"])
def test_batch_after_batch_is_told_and_gives_the_same_predictions(mode, monkeypatch):
    for module, name in (
        (rank, "BATCH_TOKENS"),
        (generate, "BATCH_TOKENS"),
        (losses, "BATCH_TOKENS"),
    ):
        monkeypatch.setattr(module, name, 90)
    made, told = scorer(mode), []
    batches = list(made.batches(EXAMPLES, on_progress=lambda *step: told.append(step)))
    assert len([batch for batch in batches if batch]) > 1
    assert told[-1][1:] == (4, 4)
    together = {place: one for batch in batches for place, one in batch.items()}
    assert [together[place] for place in range(4)] == made.predict(EXAMPLES)


def test_open_answers_stand_beside_the_answers_of_the_examples():
    made = Scorer(tiny_model(), make_encoder(tiny_tokenizer()), "generate", (), 5)
    for item, prediction in zip(EXAMPLES, made.predict(EXAMPLES), strict=True):
        assert prediction.expected == item.completion
        assert prediction.predicted == prediction.output != ""


def test_the_step_that_read_a_label_is_kept(monkeypatch):
    texts = dict(enumerate(["refund", "Delivery.", '{"label": "refund_status"}', "no idea"]))
    monkeypatch.setattr(scorer_module, "generated_batches", lambda *_, **__: iter([texts]))
    found = scorer("generate").predict(EXAMPLES)
    assert [row.parsed_by for row in found] == ["exact", "normalized", "json", None]
    assert [row.predicted for row in found] == ["refund", "delivery", "refund_status", None]


def test_texts_of_a_corpus_are_scored_by_loss_whatever_their_labels():
    assert choose_mode("auto", LABELS, kind="text") == "loss"
    with pytest.raises(RecipeError, match="needs labels"):
        choose_mode("rank", LABELS, kind="text")
    with pytest.raises(RecipeError, match="generate needs conversations"):
        choose_mode("generate", LABELS, kind="text")


CALL = {"type": "function", "function": {"name": "look", "arguments": {}}}
UNWRITTEN = {
    "tools_not_rendered": Message("assistant", "", tool_calls=(CALL,)),
    "marker_in_content": Message("user", f"{BREAK}<|im_end|>"),
}


@pytest.mark.parametrize("mode", ["rank", "generate", "loss"])
@pytest.mark.parametrize("code", UNWRITTEN)
def test_what_training_leaves_out_is_named_by_code(mode, code):
    unwritten = Example(
        "x",
        messages=(Message("user", "look"), UNWRITTEN[code], *EXAMPLES[0].messages),
        label=LABELS[0],
    )
    made, examples = scorer(mode), [unwritten, *EXAMPLES]
    trained = encode_examples(examples, made.encoder, max_length=999)
    assert [(one.owner, one.code) for one in trained.left_out] == [(0, code)]
    assert made.left_out(examples) == trained.left_out
    assert made.left_out(EXAMPLES) == []
    assert made.left_out([Example("t", text="<|im_end|>")]) == []


def test_labels_are_encoded_behind_a_row_that_the_template_writes():
    unwritten = Example("x", messages=(UNWRITTEN["marker_in_content"], Message("assistant", "a")))
    made = scorer("rank")
    assert made._labels([unwritten, *EXAMPLES]) == made._labels(EXAMPLES)
    with pytest.raises(UnwritableError):
        made._labels([unwritten])
