import pytest
import torch
from tiny import tiny_gpt2, tiny_model

from ftool.example import NOT_LEARNED, EncodedExample
from ftool.model.compute import forward
from ftool.model.compute.batch import make_batch
from ftool.model.compute.forward import token_losses
from ftool.model.compute.token_scores import token_scores


def example(*tokens, given):
    labels = (*[NOT_LEARNED] * given, *tokens[given:])
    return EncodedExample("x", tokens, labels)


def scaled_model():
    """Return a model that works on its logits after the head."""

    class Scaled(type(tiny_model())):
        def forward(self, *given, **settings):
            output = super().forward(*given, **settings)
            output.logits = output.logits.tanh() * 3
            return output

    torch.manual_seed(0)
    return Scaled(tiny_model().config).eval()


@pytest.mark.parametrize("plain_tokens", [0, 512])
@pytest.mark.parametrize("make_model", [tiny_model, tiny_gpt2, scaled_model])
@torch.inference_mode()
def test_scores_are_those_of_the_plain_logits(make_model, plain_tokens, monkeypatch):
    monkeypatch.setattr(forward, "PLAIN_TOKENS", plain_tokens)
    model = make_model()
    made = [5, 6, 7]
    for _ in range(3):
        made.append(int(model(torch.tensor([made])).logits[0, -1].argmax()))
    batch = make_batch([example(*made, given=3), example(5, 9, 30, 31, 32, given=2)])
    logits = model(batch.input_ids).logits[batch.predicts]
    expected = logits.argmax(-1) == batch.targets
    for _ in range(2):  # the second time it is known that the model works on its logits
        losses, correct = token_scores(model, batch)
        torch.testing.assert_close(losses, token_losses(model, batch))
        torch.testing.assert_close(
            losses, torch.nn.functional.cross_entropy(logits, batch.targets, reduction="none")
        )
        assert correct.tolist() == expected.tolist()
    assert correct[:3].all() and not correct.all()
    assert not model.get_output_embeddings()._forward_hooks


def test_an_architecture_without_chosen_positions_is_scored_too(monkeypatch):
    monkeypatch.setattr(forward, "takes_positions", lambda model: False)
    model = tiny_model()
    batch = make_batch([example(5, 6, 7, 8, given=1), example(9, 10, given=1)])
    losses, correct = token_scores(model, batch)
    with torch.inference_mode():
        expected = model(batch.input_ids).logits[batch.predicts].argmax(-1) == batch.targets
    assert len(losses) == 4 and correct.tolist() == expected.tolist()
