import pytest
import torch
from tiny import LABELS, tiny_model, tiny_tokenizer, windowed_model

from ftool.errors import DataError, RecipeError, RunError
from ftool.eval.scorer import Scorer, choose_mode
from ftool.example import Example, Message
from ftool.model.encode import make_encoder


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
    found = made.losses(EXAMPLES)
    assert [tokens for _, tokens in found] == [tokens for _, tokens in expected]
    assert [loss for loss, _ in found] == pytest.approx([loss for loss, _ in expected], abs=1e-5)


def test_ranking_picks_the_label_of_the_lowest_loss():
    made = scorer("rank")
    for item, prediction in zip(EXAMPLES, made.predict(EXAMPLES), strict=True):
        totals = {}
        for label in LABELS:
            loss, tokens = made.losses([example(0, item.messages[0].content, label)])[0]
            totals[label] = loss * tokens
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
    with pytest.raises(DataError, match="e9 is longer than the model's 256 tokens"):
        scorer(mode).predict([example(9, "x" * 400, "refund")])


def test_an_architecture_that_cannot_be_ranked_is_refused():
    with pytest.raises(RecipeError, match="rank gives wrong likelihoods") as caught:
        scorer("rank", windowed_model()).predict(EXAMPLES)
    assert "eval.mode=generate" in caught.value.hint


def test_texts_of_a_corpus_are_scored_by_loss_whatever_their_labels():
    assert choose_mode("auto", LABELS, kind="text") == "loss"
    with pytest.raises(RecipeError, match="needs labels"):
        choose_mode("rank", LABELS, kind="text")
