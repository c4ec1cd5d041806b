from pathlib import Path

import pytest
from tiny import make_project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a tiny base, prepared tickets and a recipe, in which the test runs."""
    monkeypatch.chdir(tmp_path)
    make_project(tmp_path)
    return tmp_path
