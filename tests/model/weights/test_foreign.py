import json
from pathlib import Path

import pytest

from ftool.errors import RecipeError
from ftool.model.weights.foreign import check_folder, check_settings


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    (folder / "model.safetensors").write_bytes(b"")
    return folder


def test_safetensors_with_pickles_beside_them_pass(model: Path) -> None:
    (model / "pytorch_model.bin").write_bytes(b"")
    check_folder(model, "model.base: x")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "a.pt", "a.pth", "a.ckpt", "tf_model.h5"])
def test_pickles_alone_are_refused(model: Path, name: str) -> None:
    (model / "model.safetensors").rename(model / name)
    with pytest.raises(RecipeError, match=f"^model.base: x: its weights are pickles \\({name}\\)"):
        check_folder(model, "model.base: x")


def test_an_adapter_needs_safetensors_of_its_own(model: Path) -> None:
    (model / "adapter_config.json").write_text("{}", encoding="utf-8")
    (model / "adapter_model.bin").write_bytes(b"")
    with pytest.raises(RecipeError, match=r"adapter_model\.bin"):
        check_folder(model, "x")
    (model / "adapter_model.safetensors").write_bytes(b"")
    check_folder(model, "x")


@pytest.mark.parametrize("content", ["", "[]", "{", '{"weight_map": 1}', "[" * 5000])
def test_what_is_broken_is_told_where_it_is_loaded(model: Path, content: str) -> None:
    for name in ("config.json", "model.safetensors.index.json", "adapter_config.json"):
        (model / name).write_text(content, encoding="utf-8")
    (model / "adapter_model.safetensors").write_bytes(b"")
    check_folder(model, "x")


def test_links_may_stay_within_and_weights_may_lie_elsewhere(model: Path, tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"")
    (model / "more.safetensors").symlink_to("../weights")
    (model / "tokenizer.json").symlink_to("config.json")
    check_folder(model, "x")
    (model / "vocab.json").symlink_to("../weights")
    with pytest.raises(RecipeError, match=r"vocab.json is a link that leads out"):
        check_folder(model, "x")


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"trust_remote_code": True}, "trust_remote_code"),
        ({"vision_config": {"attn_implementation": "a/b"}}, "attn_implementation"),
        ({"layers": [{"use_kernels": True}]}, "use_kernels"),
        ({"_experts_implementation": {"": "a/b"}}, "_experts_implementation"),
    ],
)
def test_settings_that_bring_code_are_refused(settings: object, key: str) -> None:
    with pytest.raises(RecipeError, match=f"asks for code of others \\(`{key}`\\)"):
        check_settings(json.loads(json.dumps(settings)), "x")


@pytest.mark.parametrize(
    "settings",
    [
        {"attn_implementation": "sdpa", "trust_remote_code": False, "auto_mapping": None},
        {"auto_map": {"AutoConfig": "own.Own"}, "use_kernels": False},
        *(None, [], "text", 1),
    ],
)
def test_settings_that_bring_none_pass(settings: object) -> None:
    check_settings(settings, "x")
