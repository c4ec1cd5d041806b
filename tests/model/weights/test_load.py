import shlex
import subprocess
import sys

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny import save_tiny_base

from ftool.errors import DeviceError, HubError, RecipeError
from ftool.example import EncodedExample
from ftool.model.compute.batch import make_batch
from ftool.model.compute.forward import token_losses
from ftool.model.weights import load
from ftool.model.weights.adapter import attach_adapter
from ftool.model.weights.load import (
    base_model_path,
    choose_device,
    load_base_model,
    weights_sha256,
)
from ftool.recipe.blocks.model import Model
from ftool.recipe.blocks.train import Lora

WITHOUT_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def test_the_device_comes_with_its_reason():
    device = choose_device()
    if not torch.cuda.is_available():
        assert (device.device.type, device.dtype_name) == ("cpu", "float32")
        assert "no GPU was found" in device.reason
    assert choose_device("bfloat16").dtype == torch.bfloat16


def test_a_local_base_is_loaded_with_its_fingerprint(tmp_path):
    save_tiny_base(tmp_path / "base")
    loaded = load_base_model(Model(base="base"), folder=tmp_path, dtype=torch.float32)
    assert (loaded.base.name, loaded.base.revision) == ("base", None)
    assert loaded.base.weights_sha256 == weights_sha256(tmp_path / "base")
    assert loaded.tokenizer.pad_token_id is not None


def test_the_fingerprint_is_of_names_and_values_not_of_files(tmp_path):
    folder = save_tiny_base(tmp_path / "base")
    before = weights_sha256(folder)
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    (folder / "model.safetensors").unlink()
    for number, part in enumerate((names[1::2], names[::2])):
        save_file({n: tensors[n] for n in part}, folder / f"model-{number}.safetensors")
    assert weights_sha256(folder) == before
    tensors[names[0]].view(-1)[0] += 1e-3
    save_file({n: tensors[n] for n in names[::2]}, folder / "model-1.safetensors")
    assert weights_sha256(folder) != before


@pytest.mark.parametrize(
    ("base", "error", "message"),
    [
        ("./nothing", RecipeError, "not a folder with a model"),
        ("/no/such/folder", RecipeError, "not a folder with a model"),
        ("nobody/nothing", HubError, "the Hub did not give it"),
        ("smollm2-135m-instuct", HubError, "did you mean `smollm2-135m-instruct`"),
        ("what is this?", RecipeError, "neither a folder nor a Hub id"),
    ],
)
def test_a_base_that_does_not_exist_is_a_sentence(tmp_path, base, error, message):
    with pytest.raises(error, match=message.replace("?", r"\?")):
        load_base_model(Model(base=base), folder=tmp_path, dtype=torch.float32)


def test_an_adapter_is_no_base(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(RecipeError, match="holds an adapter"):
        load_base_model(Model(base="."), folder=tmp_path, dtype=torch.float32)


def test_the_hint_of_an_adapter_makes_a_base_of_it(tmp_path):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    save_tiny_base(tmp_path / "base")
    adapter = tmp_path / "my adapter"
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32)
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    model = get_peft_model(base, config)
    model.save_pretrained(adapter)
    AutoTokenizer.from_pretrained(tmp_path / "base").save_pretrained(adapter)
    with pytest.raises(RecipeError) as refused:
        load_base_model(Model(base="my adapter"), folder=tmp_path, dtype=torch.float32)
    words = shlex.split(refused.value.hint.partition(" python ")[2])
    subprocess.run([sys.executable, *words], cwd=tmp_path, check=True, timeout=120)
    loaded = load_base_model(Model(base="merged"), folder=tmp_path, dtype=torch.float32)
    ids = torch.tensor([[5, 6, 7]])
    torch.testing.assert_close(loaded.model(ids).logits, model(ids).logits)


def test_the_template_of_the_recipe_replaces_the_tokenizers(tmp_path):
    save_tiny_base(tmp_path / "base")
    (tmp_path / "plain.jinja").write_text("{{ messages }}")
    loaded = load_base_model(
        Model(base="base", chat_template="plain.jinja"), folder=tmp_path, dtype=torch.float32
    )
    assert loaded.tokenizer.chat_template == "{{ messages }}"
    with pytest.raises(RecipeError, match=r"model\.chat_template: .*missing\.jinja"):
        load_base_model(
            Model(base="base", chat_template="missing.jinja"), folder=tmp_path, dtype=torch.float32
        )


def test_a_run_folder_can_be_a_base(tmp_path):
    save_tiny_base(tmp_path / "run/model")
    (tmp_path / "run/manifest.json").write_text("{}")
    assert base_model_path("run", tmp_path) == tmp_path / "run/model"


@pytest.mark.parametrize(
    ("setting", "off"),
    [
        ({"attention": "flash_attention_2"}, "auto"),
        ({"quantization": "4bit"}, "none"),
        ({"quantization": "8bit"}, "none"),
    ],
)
def test_what_needs_a_gpu_is_refused_by_name_without_one(tmp_path, monkeypatch, setting, off):
    save_tiny_base(tmp_path / "base")
    cpu = (torch.device("cpu"), "no GPU was found")
    monkeypatch.setattr(load, "_first_device", lambda: cpu)
    ((key, value),) = setting.items()
    with pytest.raises(DeviceError, match=f"model.{key}={value} needs a GPU") as refused:
        load_base_model(Model(base="base", **setting), folder=tmp_path, dtype=torch.float32)
    assert refused.value.hint == f"use model.{key}={off}"


@pytest.mark.parametrize(
    ("setting", "extra"),
    [({"attention": "flash_attention_2"}, "gpu"), ({"quantization": "4bit"}, "quantization")],
)
def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch, setting, extra):
    save_tiny_base(tmp_path / "base")
    gpu = (torch.device("cuda"), "cuda is available")
    monkeypatch.setattr(load, "_first_device", lambda: gpu)
    monkeypatch.setattr(load, "find_spec", lambda name: None)
    with pytest.raises(RecipeError, match="package that is not installed") as refused:
        load_base_model(Model(base="base", **setting), folder=tmp_path, dtype=torch.float32)
    assert refused.value.hint == f"pip install 'ftool[{extra}]'"


@pytest.mark.parametrize(
    ("setting", "passed"),
    [
        ({"quantization": "8bit"}, {"load_in_8bit": True}),
        (
            {"quantization": "4bit"},
            {
                "load_in_4bit": True,
                "bnb_4bit_quant_type": "nf4",
                "bnb_4bit_use_double_quant": True,
                "bnb_4bit_compute_dtype": "bfloat16",
            },
        ),
    ],
)
def test_the_base_is_quantized_while_it_is_loaded(tmp_path, monkeypatch, setting, passed):
    save_tiny_base(tmp_path / "base")
    gpu = (torch.device("cuda"), "cuda is available")
    monkeypatch.setattr(load, "_first_device", lambda: gpu)
    monkeypatch.setattr(load, "find_spec", lambda name: name)
    seen = {}

    def from_pretrained(name, **settings):
        seen.update(settings)
        return "model"

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", from_pretrained)
    model = Model(base="base", **setting)
    assert load_base_model(model, folder=tmp_path, dtype=torch.bfloat16).model == "model"
    quantized = seen["quantization_config"].to_dict()
    assert {key: quantized[key] for key in passed} == passed
    assert seen["dtype"] == torch.bfloat16


@pytest.mark.gpu
@WITHOUT_GPU
@pytest.mark.parametrize("setting", [{"quantization": "4bit"}, {"quantization": "8bit"}])
def test_a_quantized_base_learns_through_adapters_alone(tmp_path, setting):
    save_tiny_base(tmp_path / "base")
    loaded = load_base_model(Model(base="base", **setting), folder=tmp_path, dtype=torch.bfloat16)
    model = attach_adapter(loaded.model.to("cuda"), Lora(r=4), seed=0)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        batch = make_batch([EncodedExample("a", (5, 6, 7), (-100, 6, 7))]).to(model.device)
        token_losses(model, batch).sum().backward()
    learned = [name for name, value in model.named_parameters() if value.grad is not None]
    assert learned and all("lora_" in name for name in learned)


@pytest.mark.gpu
@WITHOUT_GPU
def test_flash_attention_gives_the_losses_of_plain_attention(tmp_path):
    save_tiny_base(tmp_path / "base")
    batch = make_batch([EncodedExample("a", (5, 6, 7, 8), (-100, 6, 7, 8))]).to("cuda")
    found = []
    for attention in ("sdpa", "flash_attention_2"):
        recipe = Model(base="base", attention=attention)
        loaded = load_base_model(recipe, folder=tmp_path, dtype=torch.bfloat16)
        found.append(token_losses(loaded.model.to("cuda"), batch))
    torch.testing.assert_close(found[0], found[1], rtol=5e-2, atol=5e-2)
