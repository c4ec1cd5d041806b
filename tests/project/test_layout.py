"""Small files, short functions, a sentence on top of each, a test beside each."""

import ast
import re
from pathlib import Path

import pytest

import ftool

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "ftool"
MODULES = sorted(PACKAGE.rglob("*.py"))
FILE_LINES = 400
FUNCTION_LINES = 60
FORBIDDEN_NAMES = {"utils", "helpers", "common", "core", "base", "manager", "misc"}


def named(module: Path) -> str:
    return module.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_a_file_is_short_and_says_what_it_is(module: Path) -> None:
    text = module.read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring, "a module begins with one sentence"
    assert docstring.splitlines()[0].endswith(".") or module.name == "__init__.py"
    assert len(text.splitlines()) <= FILE_LINES
    assert module.stem not in FORBIDDEN_NAMES


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_functions_are_short(module: Path) -> None:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    lengths = {
        node.name: (node.end_lineno or 0) - node.lineno + 1
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES} == {}


@pytest.mark.parametrize(
    "module", [module for module in MODULES if not module.stem.startswith("__")], ids=named
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
