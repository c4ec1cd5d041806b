from pathlib import Path

import pytest
from huggingface_hub import constants
from tiny_run import write_manifest, write_recipe

from ftool.artifacts import BaseModel, TrainingRun
from ftool.hub.origin import file_name, hub_id, known_license, public_name
from ftool.model.weights import embedded

COMMIT = "c" * 40


def run_on(folder: Path, name: str, revision: str | None, hub: str = "{}") -> TrainingRun:
    folder.mkdir()
    write_recipe(folder, base=name, method="{kind: full}", hub=hub)
    base = {"name": name, "revision": revision, "weights_sha256": "a" * 64}
    write_manifest(folder, method="full", base_model=base)
    return TrainingRun.open(folder)


@pytest.mark.parametrize(
    ("name", "revision", "on_hub", "public"),
    [
        ("org/base", COMMIT, "org/base", "org/base"),
        ("gpt2", COMMIT, "gpt2", "gpt2"),
        ("org/base", None, None, "base"),
        ("../models/base/", None, None, "base"),
        ("/srv/models/base", COMMIT, None, "base"),
        (embedded.NAME, embedded.REVISION, None, embedded.NAME),
    ],
)
def test_who_else_can_load_a_base(
    name: str, revision: str | None, on_hub: str | None, public: str
) -> None:
    base = BaseModel(name, revision, "a" * 64)
    assert hub_id(base) == on_hub
    assert public_name(base) == public


@pytest.mark.parametrize(
    ("path", "last"),
    [("a/b.csv", "b.csv"), ("C:\\data\\b.csv", "b.csv"), ("folder/", "folder"), (".", ".")],
)
def test_file_name(path: str, last: str) -> None:
    assert file_name(path) == last


def test_the_recipe_names_the_license_first(tmp_path: Path) -> None:
    run = run_on(tmp_path / "a", embedded.NAME, embedded.REVISION, "{license: mit}")
    assert known_license(run) == "mit"
    assert known_license(run, "other") == "other"
    assert known_license(run_on(tmp_path / "b", embedded.NAME, embedded.REVISION)) == "apache-2.0"


@pytest.mark.parametrize(
    ("card", "license"),
    [
        ("---\nlicense: gemma\n---\n# Base\n", "gemma"),
        ("---\nlicense: [mit, gemma]\n---\n", None),
        ("---\nlicense: my-own\n---\n", None),
        ("---\nlicense: [\n---\n", None),
        ("# Base\n", None),
        (None, None),
    ],
)
def test_a_local_bases_card_names_the_license(
    tmp_path: Path, card: str | None, license: str | None
) -> None:
    base = tmp_path / "base"
    base.mkdir()
    if card is not None:
        (base / "README.md").write_text(card, encoding="utf-8")
    assert known_license(run_on(tmp_path / "run", "../base", None)) == license


def test_a_card_in_the_hubs_cache_names_the_license(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    run = run_on(tmp_path / "run", "org/base", COMMIT)
    assert known_license(run) is None
    snapshot = tmp_path / "hub" / "models--org--base" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "README.md").write_text("---\nlicense: mit\n---\n", encoding="utf-8")
    assert known_license(run) == "mit"
