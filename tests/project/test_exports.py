"""What the package promises is there, loaded when it is asked for."""

import ast
import importlib
from pathlib import Path

import pytest

import ftool
from ftool.artifacts import ftool_version


@pytest.mark.parametrize("name", ftool.__all__)
def test_a_public_name_is_the_one_of_its_module(name: str) -> None:
    homes = [module for module, names in ftool._HOMES.items() if name in names]
    if name == "__version__":
        assert (homes, ftool.__version__) == ([], ftool_version())
    else:
        (home,) = homes
        assert getattr(ftool, name) is getattr(importlib.import_module(home), name)


def test_public_names_are_sorted_and_listed() -> None:
    assert ftool.__all__ == sorted(ftool.__all__)
    assert set(ftool.__all__) <= set(dir(ftool))
    assert dir(ftool) == sorted(dir(ftool))


def test_the_names_for_type_checkers_are_the_same() -> None:
    tree = ast.parse(Path(ftool.__file__).read_text(encoding="utf-8"))
    imported = {
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ftool.")
        for alias in node.names
    }
    assert imported == {(home, name) for home, names in ftool._HOMES.items() for name in names}


def test_an_unknown_name_is_refused_as_by_any_module() -> None:
    with pytest.raises(AttributeError, match="module 'ftool' has no attribute 'zzz'"):
        _ = ftool.zzz


def test_everything_can_be_imported_at_once() -> None:
    names: dict[str, object] = {}
    exec("from ftool import *", names)
    assert set(ftool.__all__) <= set(names)
