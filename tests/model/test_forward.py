import pytest
import torch
from tiny import tiny_model
from transformers import GPT2Config, GPT2LMHeadModel

from ftool.example import EncodedExample
from ftool.model.batch import make_batch
from ftool.model.forward import takes_positions, token_losses

EXAMPLES = [
    EncodedExample("a", (5, 6, 7, 8, 9), (-100, -100, 7, -100, 9)),
    EncodedExample("b", (10, 11, 12), (-100, 11, 12)),
]


def gpt2():
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=300, n_positions=32, n_embd=32, n_layer=2, n_head=2)
    return GPT2LMHeadModel(config).eval()


@pytest.mark.parametrize("make_model", [tiny_model, gpt2])
def test_losses_equal_the_models_own_with_labels(make_model):
    model = make_model()
    losses = token_losses(model, make_batch(EXAMPLES))
    expected = []
    for example in EXAMPLES:
        output = model(
            input_ids=torch.tensor([example.input_ids]), labels=torch.tensor([example.labels])
        )
        expected.append(output.loss * example.learned_tokens)
    assert losses.shape == (4,)
    torch.testing.assert_close(losses.sum(), sum(expected), rtol=1e-5, atol=1e-6)


def test_an_architecture_without_chosen_positions_gives_the_same_losses():
    model = tiny_model()
    plain = model.forward

    class Old(torch.nn.Module):
        def forward(self, input_ids, use_cache=False):
            return plain(input_ids=input_ids, use_cache=use_cache)

    batch = make_batch(EXAMPLES)
    assert takes_positions(model) and not takes_positions(Old())
    torch.testing.assert_close(token_losses(Old(), batch), token_losses(model, batch))
