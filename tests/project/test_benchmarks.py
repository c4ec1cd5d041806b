import ast
import importlib
from pathlib import Path

import pytest

PROGRAMS = sorted((Path(__file__).parents[2] / "benchmarks").glob("*.py"))


def names_of_ftool(program: Path) -> list[tuple[str, str]]:
    """Return the modules of ftool that a program imports from, with each name."""
    tree = ast.parse(program.read_text(encoding="utf-8"))
    return [
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ftool")
        for alias in node.names
    ]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_what_a_benchmark_imports_is_there(program: Path) -> None:
    for module, name in names_of_ftool(program):
        found = importlib.import_module(module)
        if not hasattr(found, name):
            importlib.import_module(f"{module}.{name}")
