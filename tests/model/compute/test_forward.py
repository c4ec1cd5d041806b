import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tiny_gpt2, tiny_model, windowed_model
from transformers import Qwen3Config, Qwen3ForCausalLM

from ftool.example import EncodedExample
from ftool.model.compute.batch import make_batch, make_row
from ftool.model.compute.forward import enable_rows, takes_positions, token_losses
from ftool.model.compute.prefix import micro_batches

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


def tiny_qwen3():
    torch.manual_seed(0)
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=300,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            pad_token_id=0,
        )
    ).eval()


@functools.cache
def in_rows(make_model):
    """Return a model of float64, norms too, that transformers computes in float32."""
    model = make_model().double()
    for module in model.modules():
        if hasattr(module, "variance_epsilon"):
            shape, epsilon = module.weight.shape, module.variance_epsilon
            module.forward = functools.partial(
                torch.nn.functional.rms_norm,
                normalized_shape=shape,
                weight=module.weight,
                eps=epsilon,
            )
    assert enable_rows(model, EXAMPLES)
    return model


TOKENS = st.integers(3, 299)
SEGMENTS = st.lists(st.lists(TOKENS, min_size=1, max_size=12), min_size=1, max_size=4)


@st.composite
def chats(draw):
    """Draw examples that take the same few segments in turn, so that many begin alike."""
    segments = draw(SEGMENTS)
    examples = []
    for _ in range(draw(st.integers(1, 6))):
        path = draw(st.lists(st.integers(0, len(segments) - 1), min_size=1, max_size=4))
        ids = [token for number in path for token in segments[number]]
        ids += draw(st.lists(TOKENS, max_size=3))
        first = draw(st.integers(1, len(ids)))  # where it begins to be learned; the end: never
        learned = draw(st.lists(st.booleans(), min_size=len(ids), max_size=len(ids)))
        labels = [
            token if place >= first and learned[place] else -100 for place, token in enumerate(ids)
        ]
        examples.append(EncodedExample("x", tuple(ids), tuple(labels)))
    if draw(st.booleans()):
        examples.append(examples[0])
    return examples


@pytest.mark.parametrize("make_model", [tiny_model, tiny_qwen3, tiny_gpt2])
@settings(max_examples=40, deadline=None)
@given(
    examples=chats(),
    size=st.integers(1, 6),
    tokens=st.integers(1, 200),
)
def test_rows_give_the_losses_and_gradients_of_the_padded_batch(make_model, examples, size, tokens):
    model = in_rows(make_model)
    parts = micro_batches(examples, size=size, tokens=tokens, shared=True)
    order = [examples[place] for part in parts for place in part]
    rows = [make_row([examples[place] for place in part]) for part in parts]
    padded = [make_batch(order)]
    close = functools.partial(torch.testing.assert_close, rtol=1e-9, atol=1e-9)
    losses = torch.cat([token_losses(model, row) for row in rows])
    close(losses, token_losses(model, padded[0]))
    close(gradients(model, rows), gradients(model, padded))


SYSTEM = tuple(range(3, 23))


def test_rows_run_what_is_shared_once():
    examples = [
        EncodedExample(str(number), (*SYSTEM, number, 90), (*[-100] * 21, 90))
        for number in range(100, 104)
    ]
    row = make_row(examples)
    assert row.input_ids.shape == (1, 20 + 4 * 2)
    model = in_rows(tiny_model)
    torch.testing.assert_close(
        token_losses(model, row), token_losses(model, make_batch(examples)), rtol=1e-12, atol=1e-12
    )


def test_a_row_is_refused_by_other_attention():
    with pytest.raises(ValueError, match="enable_rows"):
        token_losses(tiny_model(), make_row(EXAMPLES))


@pytest.mark.parametrize(
    "examples",
    [
        [EncodedExample("a", (*SYSTEM, 30, 31, 40), (-100,) * 22 + (40,))],
        [EncodedExample("a", SYSTEM, (-100,) * 20)] * 2,
    ],
)
def test_windowed_attention_has_no_rows(examples):
    model = windowed_model()
    attention = model.config._attn_implementation
    assert not enable_rows(model, examples)
    assert model.config._attn_implementation == attention


def test_a_model_that_has_rows_is_not_tried_again():
    model = tiny_model().train()
    assert enable_rows(model, EXAMPLES) and model.training
    assert enable_rows(model, [])


@torch.no_grad()
def test_another_row_is_not_compiled_anew():
    model, graphs = tiny_model(), []
    assert enable_rows(model, EXAMPLES)

    def compiled(graph, inputs):
        graphs.append(graph)
        return graph.forward

    model.get_decoder().compile(dynamic=True, backend=compiled)
    counts = []
    for times in (2, 3, 4, 5):
        token_losses(model, make_row(EXAMPLES * times))
        counts.append(len(graphs))
    assert counts[0] > 0 and counts == counts[:1] * 4
