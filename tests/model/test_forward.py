import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tiny_gpt2, tiny_model, windowed_model

from ftool.example import EncodedExample
from ftool.model.batch import make_batch, make_shared_batch, shared_prefix
from ftool.model.forward import enable_shared_prefix, takes_positions, token_losses

EXAMPLES = [
    EncodedExample("a", (5, 6, 7, 8, 9), (-100, -100, 7, -100, 9)),
    EncodedExample("b", (10, 11, 12), (-100, 11, 12)),
]


@pytest.mark.parametrize("make_model", [tiny_model, tiny_gpt2])
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


def gradients(model, batches):
    model.zero_grad()
    torch.cat([token_losses(model, batch) for batch in batches]).sum().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])


@pytest.mark.parametrize("make_model", [tiny_model, tiny_gpt2])
@settings(max_examples=15, deadline=None)
@given(
    prefix=st.lists(st.integers(3, 299), min_size=1, max_size=6),
    rests=st.lists(
        st.tuples(
            st.lists(st.integers(3, 299), min_size=1, max_size=5),
            st.lists(st.integers(3, 299), min_size=1, max_size=4),
        ),
        min_size=2,
        max_size=5,
    ),
)
def test_a_shared_prefix_gives_the_losses_and_gradients_of_the_plain_batch(
    make_model, prefix, rests
):
    model = make_model()
    examples = []
    for before, learned in rests:
        ids = (*prefix, *before, *learned)
        labels = (-100,) * (len(ids) - len(learned)) + tuple(learned)
        examples.append(EncodedExample("x", ids, labels))
    assert enable_shared_prefix(model, examples)
    shared = make_shared_batch(examples, prefix=shared_prefix(examples))
    plain = [make_batch([example]) for example in examples]
    expected = torch.cat([token_losses(model, batch) for batch in plain])
    torch.testing.assert_close(token_losses(model, shared), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        gradients(model, [shared]), gradients(model, plain), rtol=1e-4, atol=1e-5
    )


def test_a_row_is_refused_by_other_attention():
    batch = make_shared_batch(EXAMPLES, prefix=0)
    with pytest.raises(ValueError, match="enable_shared_prefix"):
        token_losses(tiny_model(), batch)


def test_windowed_attention_cannot_share_a_prefix():
    model = windowed_model()
    ids = tuple(range(3, 23))
    examples = [
        EncodedExample("a", (*ids, 30, 31, 40), (-100,) * 22 + (40,)),
        EncodedExample("b", (*ids, 32, 33, 41), (-100,) * 22 + (41,)),
    ]
    attention = model.config._attn_implementation
    assert not enable_shared_prefix(model, examples)
    assert model.config._attn_implementation == attention
