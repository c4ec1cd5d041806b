import pytest
import torch
from tiny import make_project, save_tiny_base
from transformers import AutoModelForCausalLM

from ftool.errors import RunError
from ftool.model.adapter import attach_adapter, load_run_model, save_merged
from ftool.model.load import load_base_model
from ftool.recipe.schema import Lora, Model
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
