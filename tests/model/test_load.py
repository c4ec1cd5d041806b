import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import save_tiny_base

from ftool.errors import HubError, RecipeError
from ftool.model.load import (
    base_model_path,
    choose_device,
    load_base_model,
    weights_sha256,
)
from ftool.recipe.schema import Model


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
