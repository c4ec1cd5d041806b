"""Imports go down only, and a few libraries have one place each."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOMES = {
    "transformers": "model/",
    "peft": "model/",
    "rich": "console/",
    "evaluate": "eval/measure/metric.py",
    "typer": ("cli.py", "arguments.py", "__main__.py"),
}


def test_the_layers_hold() -> None:
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def imported(file: Path) -> Iterator[str]:
    """Yield the top-level name of every import, inside functions too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]


@pytest.mark.parametrize(("library", "home"), HOMES.items())
def test_a_library_is_imported_in_its_place_only(library: str, home: str) -> None:
    package = ROOT / "ftool"
    users = {
        file.relative_to(package).as_posix()
        for file in package.rglob("*.py")
        if library in imported(file)
    }
    assert users
    assert all(user.startswith(home) for user in users), users


def test_the_data_stage_never_loads_torch() -> None:
    users = [
        file.name for file in (ROOT / "ftool/prepare").glob("*.py") if "torch" in imported(file)
    ]
    assert users == []
