import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest

from ftool.model.weights.place import (
    EMBEDDED,
    GGUF_SHA256,
    cache_folder,
    embedded_folder,
    local_folder,
    tokenizer_file,
)
from ftool.recipe.blocks.model import Model


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    return path


def test_the_cache_is_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FTOOL_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == Path.home() / ".cache/ftool"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "ftool"
    monkeypatch.setenv("FTOOL_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    assert embedded_folder() == tmp_path / "own" / f"{EMBEDDED}-{GGUF_SHA256[:8]}"


def test_local_folders(tmp_path: Path) -> None:
    touch(tmp_path / "base/config.json")
    touch(tmp_path / "adapter/adapter_config.json")
    touch(tmp_path / "runs/one/manifest.json")
    (tmp_path / "runs/one/model").mkdir()
    touch(tmp_path / "runs/half/manifest.json")
    (tmp_path / "other").mkdir()
    assert local_folder("base", tmp_path) == tmp_path / "base"
    assert local_folder(str(tmp_path / "base"), Path("/nowhere")) == tmp_path / "base"
    assert local_folder("adapter", tmp_path) == tmp_path / "adapter"
    assert local_folder("runs/one", tmp_path) == tmp_path / "runs/one/model"
    for name in ("runs/half", "other", "gone", "org/name"):
        assert local_folder(name, tmp_path) is None


def test_a_folder_beside_the_recipe_goes_before_one_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "work/base/config.json")
    monkeypatch.chdir(tmp_path / "work")
    assert local_folder("base", tmp_path / "recipes") == Path("base")
    touch(tmp_path / "recipes/base/config.json")
    assert local_folder("base", tmp_path / "recipes") == tmp_path / "recipes/base"


def test_the_tokenizer_of_a_local_folder(tmp_path: Path) -> None:
    touch(tmp_path / "base/config.json")
    assert tokenizer_file(Model(base="base"), tmp_path) is None
    file = touch(tmp_path / "base/tokenizer.json")
    assert tokenizer_file(Model(base="base"), tmp_path) == file


def test_the_tokenizer_of_the_embedded_base_is_never_the_hubs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the Hub's cache was asked")

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", refuse)
    monkeypatch.setenv("FTOOL_CACHE", str(tmp_path))
    assert tokenizer_file(Model(), tmp_path) is None
    file = touch(embedded_folder() / "tokenizer.json")
    assert tokenizer_file(Model(), tmp_path) == file


def test_the_tokenizer_in_the_hubs_cache_is_that_of_the_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--org--name"
    main, other = "a" * 40, "b" * 40
    file = touch(repository / "snapshots" / main / "tokenizer.json")
    touch(repository / "snapshots" / other / "config.json")
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(main)
    assert tokenizer_file(Model(base="org/name"), tmp_path) == file
    assert tokenizer_file(Model(base="org/name", revision=main), tmp_path) == file
    assert tokenizer_file(Model(base="org/name", revision=other), tmp_path) is None
    assert tokenizer_file(Model(base="org/gone"), tmp_path) is None


def test_finding_a_place_loads_no_model_library() -> None:
    code = (
        "import sys, ftool.model.weights.place\n"
        "print(sorted({'torch', 'transformers', 'peft', 'huggingface_hub'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
