"""A sentence on top of each file, a test beside each."""

import ast
import re
from pathlib import Path

import pytest

import ftool

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "ftool"
BLOCKS = PACKAGE / "recipe" / "blocks"  # declarations; tests/recipe/test_schema.py reads them
MODULES = sorted(PACKAGE.rglob("*.py"))
FORBIDDEN_NAMES = {"utils", "helpers", "common", "core", "base", "manager", "misc"}


def named(module: Path) -> str:
    return module.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_a_file_says_what_it_is(module: Path) -> None:
    text = module.read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring, "a module begins with one sentence"
    assert docstring.splitlines()[0].endswith(".") or module.name == "__init__.py"
    assert module.stem not in FORBIDDEN_NAMES


@pytest.mark.parametrize(
    "module",
    [module for module in MODULES if not module.stem.startswith("__") and module.parent != BLOCKS],
    ids=named,
)
def test_a_module_has_its_test_at_the_same_place(module: Path) -> None:
    place = module.relative_to(PACKAGE)
    assert (ROOT / "tests" / place.with_name(f"test_{place.name}")).is_file()


def test_a_test_has_its_module() -> None:
    tests = ROOT / "tests"
    stages = [folder.name for folder in PACKAGE.iterdir() if (folder / "__init__.py").is_file()]
    places = [
        test.relative_to(tests) for stage in stages for test in (tests / stage).rglob("test_*.py")
    ]
    orphans = [
        place.as_posix()
        for place in places
        if not (PACKAGE / place.with_name(place.name.removeprefix("test_"))).is_file()
    ]
    assert orphans == []


def test_the_map_names_every_module_once_and_nothing_else() -> None:
    drawn: list[str] = []
    folders: list[str] = []
    for indent, name in re.findall(r"^( *)(\w+(?:\.py|/)) ", ftool.__doc__ or "", re.MULTILINE):
        folders = folders[: len(indent) // 2]
        drawn.append("".join((*folders, name)))
        if name.endswith("/"):
            folders.append(name)
    rooms = {f"{named(module.parent)}/" for module in MODULES if module.name == "__init__.py"}
    there = {named(module) for module in MODULES if module.name != "__init__.py"}
    assert sorted(drawn) == sorted(there | rooms - {"./"})
