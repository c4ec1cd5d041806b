import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import make_project, save_tiny_base, tiny_of, tiny_tokenizer
from transformers import AutoModelForCausalLM, PhimoeConfig

from ftool.errors import RecipeError, RunError
from ftool.model.weights.adapter import (
    attach_adapter,
    load_run_model,
    read_back,
    save_merged,
    save_model,
)
from ftool.model.weights.load import load_base_model
from ftool.recipe.blocks.model import Model
from ftool.recipe.blocks.train import Lora
from ftool.train.run import train


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return train(make_project(tmp_path))


def logits(model):
    with torch.inference_mode():
        return model.eval()(torch.tensor([[5, 6, 7, 8]])).logits


def test_the_start_is_the_base_model_and_the_seed_decides_the_rest(tmp_path):
    save_tiny_base(tmp_path / "base")

    def attached(seed):
        model = load_base_model(Model(base="base"), folder=tmp_path, dtype=torch.float32).model
        before = logits(model)
        adapted = attach_adapter(model, Lora(r=4), seed=seed)
        assert torch.equal(logits(adapted), before)
        return {n: p for n, p in adapted.named_parameters() if p.requires_grad}

    one, same, other = attached(1), attached(1), attached(2)
    assert all("lora_" in name for name in one)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_merged_weights_say_what_adapter_and_base_say(run, tmp_path):
    save_merged(run, tmp_path / "merged")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    loaded = load_run_model(run, dtype=torch.float32)
    torch.testing.assert_close(logits(merged), logits(loaded.model), rtol=1e-5, atol=1e-6)
    assert 2 in merged.generation_config.eos_token_id


def test_an_adapter_on_other_weights_is_refused_with_both_values(run, tmp_path):
    save_tiny_base(tmp_path / "base", seed=3)
    with pytest.raises(RunError, match=run.base_model.weights_sha256[:12]):
        load_run_model(run, dtype=torch.float32)


def adapted(tmp_path, method):
    save_tiny_base(tmp_path / "base")
    base = load_base_model(Model(base="base"), folder=tmp_path, dtype=torch.float32)
    return attach_adapter(base.model, method, seed=0)


def learned(model):
    return {name for name, value in model.named_parameters() if value.requires_grad}


@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "down_proj"]])
def test_adapters_in_chosen_blocks_are_those_of_all_blocks_there(tmp_path, targets):
    every = learned(adapted(tmp_path, Lora(r=4, target_modules=targets)))
    upper = adapted(tmp_path, Lora(r=4, target_modules=targets, layers="1-1"))
    assert learned(upper) == {name for name in every if ".layers.1." in name}
    below = []
    first = upper.get_base_model().model.layers[0]
    first.register_forward_hook(lambda module, given, made: below.append(made.requires_grad))
    logits_sum = upper(torch.tensor([[5, 6, 7, 8]])).logits.sum()
    assert logits_sum.requires_grad and below == [False]


@pytest.mark.parametrize("layers", [None, "1-1"])
def test_routers_of_experts_get_no_adapter(layers):
    base = tiny_of(PhimoeConfig, num_local_experts=4)
    with pytest.raises(RecipeError, match="no linear layer `router`"):
        attach_adapter(base, Lora(target_modules=["router"]), seed=0)
    model = attach_adapter(base, Lora(r=4, layers=layers), seed=0)
    ends = {name.split(".lora_")[0].rpartition(".")[2] for name in learned(model)}
    assert ends == {"q_proj", "k_proj", "v_proj", "o_proj"}
    assert logits(model).isfinite().all()


@pytest.mark.parametrize("layers", ["0-2", "1-0"])
def test_blocks_that_the_model_does_not_have_are_refused(tmp_path, layers):
    with pytest.raises(RecipeError, match=rf"layers: {layers} are not blocks .* 0-1"):
        adapted(tmp_path, Lora(layers=layers))


def test_a_target_outside_of_the_blocks_is_refused_with_them(tmp_path):
    with pytest.raises(RecipeError, match="no linear layer `lm_head`"):
        adapted(tmp_path, Lora(target_modules=["q_proj", "lm_head"], layers="0-1"))
    outside = ["layers.0.self_attn.q_proj"]
    with pytest.raises(RecipeError, match=r"blocks 1-1 have no linear layer `layers\.0"):
        adapted(tmp_path, Lora(target_modules=outside, layers="1-1"))


def test_dora_starts_at_the_base_learns_norms_and_merges(tmp_path):
    model = adapted(tmp_path, Lora(r=4, variant="dora"))
    norms = [name for name in learned(model) if "lora_magnitude_vector" in name]
    assert len(norms) == 14
    with model.disable_adapter():
        base = logits(model)
    torch.testing.assert_close(logits(model), base, rtol=1e-5, atol=1e-6)
    for name, value in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value, std=0.1)
    before = logits(model)
    assert not torch.allclose(before, base, atol=1e-3)
    merged = model.merge_and_unload(safe_merge=True)
    torch.testing.assert_close(logits(merged), before, rtol=1e-5, atol=1e-6)


def test_merging_takes_the_whole_base_of_a_quantized_run(run, tmp_path, monkeypatch):
    path = run.path / "recipe.yaml"
    path.write_text(path.read_text().replace("quantization: none", "quantization: 4bit"))
    assert run.recipe().model.quantization == "4bit"
    save_merged(run, tmp_path / "merged")
    assert (tmp_path / "merged/model.safetensors").is_file()


@pytest.mark.parametrize("method", ["lora", "full"])
def test_what_was_saved_is_read_back(tmp_path, method):
    model = adapted(tmp_path, Lora(r=4))
    if method == "full":
        model = model.unload()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.01
    before = logits(model)
    save_model(model, tiny_tokenizer(), tmp_path / "saved", end_of_turn_id=2)
    if method == "lora":
        named = json.loads((tmp_path / "saved/adapter_config.json").read_text())["target_modules"]
        assert named == sorted(named)
    learned_by = [p for n, p in model.named_parameters() if method == "full" or "lora_" in n]
    with torch.no_grad():
        for parameter in learned_by:
            parameter.zero_()
    assert not torch.equal(logits(model), before)
    assert torch.equal(logits(read_back(model, tmp_path / "saved")), before)


def test_an_adapter_that_lost_a_weight_is_refused(tmp_path):
    model = adapted(tmp_path, Lora(r=4))
    save_model(model, tiny_tokenizer(), tmp_path / "saved", end_of_turn_id=2)
    file = tmp_path / "saved/adapter_model.safetensors"
    weights = load_file(file)
    weights.pop(min(weights))
    save_file(weights, file)
    with pytest.raises(RunError, match=r"differ in .*lora_"):
        read_back(model, tmp_path / "saved")
