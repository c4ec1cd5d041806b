import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from peft.tuners.lora.layer import Linear
from tiny import tiny_gpt2, tiny_model

from ftool.model.weights.low_rank import JoinedLinear, join_adapters


def adapted(make_model=tiny_model, **settings):
    config = LoraConfig(r=3, target_modules="all-linear", init_lora_weights=False, **settings)
    torch.manual_seed(1)
    return get_peft_model(make_model(), config).double()


def outputs_and_gradients(model, ids):
    model.zero_grad()
    logits = model(ids).logits
    (logits * torch.linspace(-1, 1, logits.numel()).view_as(logits)).sum().backward()
    return logits.detach(), {n: p.grad for n, p in model.named_parameters() if p.requires_grad}


@settings(max_examples=10, deadline=None)
@given(
    ids=st.lists(st.lists(st.integers(0, 299), min_size=4, max_size=4), min_size=1, max_size=3),
    bias=st.booleans(),
)
def test_joined_layers_give_the_outputs_and_gradients_of_pefts_own(ids, bias):
    plain = adapted(lambda: tiny_model(attention_bias=bias, mlp_bias=bias))
    joined = copy.deepcopy(plain)
    join_adapters(joined)
    assert sum(isinstance(layer, JoinedLinear) for layer in joined.modules()) == 14
    expected, wanted = outputs_and_gradients(plain, torch.tensor(ids))
    found, gradients = outputs_and_gradients(joined, torch.tensor(ids))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert gradients.keys() == wanted.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, wanted[name], rtol=1e-11, atol=1e-11)


def test_names_files_copies_and_merging_stay_pefts(tmp_path):
    plain = adapted()
    joined = copy.deepcopy(plain)
    join_adapters(joined)
    assert list(joined.state_dict()) == list(plain.state_dict())
    again = copy.deepcopy(joined)
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(again(ids).logits, joined(ids).logits)
    with joined.disable_adapter(), plain.disable_adapter():
        assert torch.equal(joined(ids).logits, plain(ids).logits)
    merged = again.merge_and_unload(safe_merge=True)
    torch.testing.assert_close(merged(ids).logits, joined(ids).logits, rtol=1e-10, atol=1e-10)


def test_layers_called_with_different_inputs_share_nothing():
    model = adapted()
    expected = copy.deepcopy(model)
    join_adapters(model)
    one, other = model.get_base_model().model.layers[0].mlp, expected.get_base_model()
    mlp = other.model.layers[0].mlp
    first, second = torch.randn(2, 32, dtype=torch.float64), torch.randn(3, 32, dtype=torch.float64)
    for x in (first, second, first):
        torch.testing.assert_close(one.gate_proj(x), mlp.gate_proj(x))
    torch.testing.assert_close(one.up_proj(second), mlp.up_proj(second))


def test_an_output_may_be_changed_in_place():
    model = adapted()
    gradients = []
    for one in (model, copy.deepcopy(model)):
        if gradients:
            join_adapters(one)
        layer = one.get_base_model().model.layers[0].mlp.down_proj
        hidden = torch.ones(1, 3, layer.in_features, dtype=torch.float64)
        layer(hidden).mul_(2).sum().backward()
        gradients.append(layer.lora_A["default"].weight.grad)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("settings", [{"lora_dropout": 0.1}, {"use_dora": True}])
def test_dropout_and_variants_stay_pefts(settings):
    model = adapted(**settings)
    join_adapters(model)
    assert not any(isinstance(layer, JoinedLinear) for layer in model.modules())


def test_layers_that_are_no_plain_linear_stay_pefts():
    model = adapted(tiny_gpt2, fan_in_fan_out=True)
    join_adapters(model)
    assert {type(layer) for layer in model.modules() if isinstance(layer, Linear)} == {Linear}


def test_mixed_precision_is_pefts():
    plain = adapted().float()
    joined = copy.deepcopy(plain)
    join_adapters(joined)
    ids = torch.tensor([[5, 6, 7]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(joined(ids).logits, plain(ids).logits)
