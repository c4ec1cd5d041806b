import os
from pathlib import Path

import pytest

from ftool.seal import damages, sealed_files, sync


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    (made / "inner").mkdir(parents=True)
    (made / "weights").write_bytes(bytes(range(256)))
    (made / "inner/config").write_text("{}")
    return made


def test_a_seal_has_name_size_and_digest_of_every_file(folder: Path) -> None:
    assert sealed_files(folder) == {
        "inner/config": {"bytes": 2, "xxh3_128": "dc7048f8f8747f561349cde127705c16"},
        "weights": {"bytes": 256, "xxh3_128": "f1f8a93f50849ac39408a4433b952d71"},
    }
    assert damages(folder, sealed_files(folder)) == []


def test_every_kind_of_damage_is_named(folder: Path) -> None:
    files = sealed_files(folder)
    (folder / "inner/config").unlink()
    (folder / "weights").write_bytes(bytes(256))
    (folder / "added.bin").write_text("x")
    (folder / ".DS_Store").write_text("x")
    assert damages(folder, files) == [
        "inner/config is missing",
        "added.bin was not there",
        "weights has other bytes",
    ]
    assert damages(folder, files, besides=frozenset({"added.bin"}))[1:] == [
        "weights has other bytes"
    ]


@pytest.mark.parametrize("broken", [None, {}, {"bytes": 256}, {"bytes": "256"}, 7])
def test_a_seal_that_makes_no_sense_fits_nothing(folder: Path, broken: object) -> None:
    files = {**sealed_files(folder), "weights": broken}
    assert damages(folder, files) == ["weights has other bytes"]


def test_a_folder_that_is_gone_misses_every_file(tmp_path: Path) -> None:
    assert damages(tmp_path / "gone", {"weights": {}}) == ["weights is missing"]


def test_files_and_folders_are_brought_to_the_disk(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[tuple[int, int]] = set()

    def note(descriptor: int) -> None:
        found = os.fstat(descriptor)
        synced.add((found.st_dev, found.st_ino))

    monkeypatch.setattr(os, "fsync", note)
    sealed_files(folder)
    expected = [folder.parent, folder, *folder.rglob("*")]
    assert synced == {(path.stat().st_dev, path.stat().st_ino) for path in expected}


def test_what_is_not_there_cannot_be_synced(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sync(tmp_path / "gone")
