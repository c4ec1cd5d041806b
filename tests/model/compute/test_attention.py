import pytest
import torch
from tiny import tiny_model, windowed_model

from ftool.model.compute.attention import Node, Row, attend, use_rows

BRANCHES = {
    "one": [(0, 5, 5)],
    "no prefix": [(0, 2, 2), (2, 6, 6), (6, 7, 7)],
    "one prefix": [(0, 3, 10), (3, 5, 5), (5, 10, 10)],
    "deep": [(0, 2, 12), (2, 5, 9), (5, 6, 6), (6, 9, 9), (9, 12, 12), (12, 14, 14)],
}


def row_of(name):
    return Row(tuple(Node(*node) for node in BRANCHES[name]))


def states(row, dtype=torch.float64):
    torch.manual_seed(0)
    length = row.nodes[-1].last
    query = torch.randn(1, 4, length, 8, dtype=dtype, requires_grad=True)
    key = torch.randn(1, 2, length, 8, dtype=dtype, requires_grad=True)
    value = torch.randn(1, 2, length, 8, dtype=dtype, requires_grad=True)
    return query, key, value


def mask_of(row):
    """Return what tokens see, [row, row], from the definition: their ancestors and themselves."""
    length = row.nodes[-1].last
    sees = torch.zeros(length, length, dtype=torch.bool)
    for start, end, last in row.nodes:
        sees[start:last, start:end] = True
    return sees.tril()[None, None]


def module():
    return tiny_model().model.layers[0].self_attn


def gradients(found, inputs):
    weights = torch.arange(found.numel(), dtype=found.dtype).view(found.shape).cos()
    return torch.autograd.grad((found * weights).sum(), inputs)


def test_a_row_knows_the_ancestors_of_its_nodes():
    row = row_of("deep")
    above = [[row.nodes.index(node) for node in row.above(one)] for one in row.nodes]
    assert above == [[], [0], [0, 1], [0, 1], [0], []]


@pytest.mark.parametrize("name", BRANCHES)
@pytest.mark.parametrize("scaling", [None, 0.3])
def test_attention_and_its_gradients_are_those_of_a_mask(name, scaling):
    row = row_of(name)
    inputs = states(row)
    expected, _ = attend(module(), *inputs, mask_of(row), scaling=scaling)
    found, _ = attend(module(), *inputs, None, row=row, scaling=scaling)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for one, other in zip(gradients(found, inputs), gradients(expected, inputs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", BRANCHES)
def test_other_devices_gather_what_a_node_sees(name, monkeypatch):
    row = row_of(name)
    inputs = states(row)
    expected, _ = attend(module(), *inputs, None, row=row)
    monkeypatch.setattr("ftool.model.compute.attention.IN_SLICES", frozenset())
    found, _ = attend(module(), *inputs, None, row=row)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for one, other in zip(gradients(found, inputs), gradients(expected, inputs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_dropout_of_attention_works_on_a_row():
    row = row_of("deep")
    inputs = states(row)
    found, _ = attend(module(), *inputs, None, row=row, dropout=0.5)
    kept, _ = attend(module(), *inputs, None, row=row, dropout=0.0)
    assert found.isfinite().all() and not torch.allclose(found, kept)


def test_queries_and_keys_wider_than_values_are_narrowed():
    row = row_of("one prefix")
    query, key, value = states(row, torch.float32)
    found, _ = attend(module(), query, key, value.bfloat16(), None, row=row)
    expected, _ = attend(module(), query, key, value, mask_of(row))
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, rtol=3e-2, atol=3e-2)


def test_a_call_without_a_row_stays_as_it_was():
    model, ids = tiny_model(), torch.tensor([[5, 6, 7]])
    mask = torch.tensor([[0, 1, 1]])
    before = model(input_ids=ids, attention_mask=mask).logits
    use_rows(model)
    torch.testing.assert_close(model(input_ids=ids, attention_mask=mask).logits, before)


def test_a_window_is_refused_on_a_row():
    model = windowed_model()
    use_rows(model)
    with pytest.raises(ValueError, match="windows"):
        model(
            input_ids=torch.tensor([[5, 6, 7]]),
            attention_mask=torch.zeros(1, 1, 1, 1),
            row=Row((Node(0, 1, 3), Node(1, 2, 2), Node(2, 3, 3))),
        )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_attention_of_a_mask():
    row = row_of("deep")
    inputs = [one.detach().cuda().requires_grad_() for one in states(row, torch.float32)]
    expected, _ = attend(module(), *inputs, mask_of(row).cuda())
    found, _ = attend(module(), *inputs, None, row=row)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
