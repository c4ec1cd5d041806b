"""What a message names exists: verbs, flags and keys, so that a hint works as it stands."""

import ast
import re
from collections.abc import Iterator
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import pytest
import typer

import ftool
from ftool.cli import app
from ftool.recipe.file import load_recipe
from ftool.recipe.problems import all_keys

PACKAGE = Path(ftool.__file__).parent
PROGRAM: Any = typer.main.get_command(app)
VERBS = dict(PROGRAM.commands)
FLAGS = {
    flag
    for verb in (PROGRAM, *VERBS.values())
    for option in verb.params
    for flag in (*option.opts, *option.secondary_opts)
} | {"--help"}
OF_OTHERS = {"hf auth login": {"--force"}, "pip install": {"--no-deps"}}
"""Flags of other programs, by the command that a message names with them."""
PROSE = {"process", "reads", "runs", "this"}
"""Words behind `ftool` where it is the subject of a sentence."""
OTHER_WORDS = {
    *("_", "broadcast_buffers", "javascript", "null", "recipe.yaml"),
    *("de", "en", "no", "zh"),  # codes of languages
    *("system", "tab"),  # a speaker, a delimiter
    "other",  # a licence
}
"""Words in backticks that are no keys."""
KEYS = set(all_keys())
BLOCKS = {key.rpartition(".")[0] for key in KEYS}
"""A block is named to be given as a whole."""


def messages() -> Iterator[tuple[str, str]]:
    """Yield every text of more than a word in the package with its file, without docstrings.

    What an f-string fills in stands as `{}`.
    """
    for module in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(module.read_text(encoding="utf-8"))
        statements = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        inside = {
            id(part)
            for node in ast.walk(tree)
            if isinstance(node, ast.JoinedStr)
            for part in node.values
        }
        for node in ast.walk(tree):
            if id(node) in statements | inside:
                continue
            text = _text(node)
            if " " in text:
                yield module.relative_to(PACKAGE).as_posix(), text


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or "{}" for part in node.values)
    return ""


MESSAGES = list(messages())


def named(pattern: str) -> list[tuple[str, str, str]]:
    """Return file, message and name of everything in a message that looks like a name."""
    return [(file, text, found) for file, text in MESSAGES for found in re.findall(pattern, text)]


def test_there_is_something_to_look_at() -> None:
    assert len(MESSAGES) > 500
    assert len(named(r"--[a-z]")) > 20 and len(named(r"\b(?:train|data)\.[a-z]")) > 30


def test_every_flag_exists() -> None:
    unknown = [
        (file, text, flag)
        for file, text, flag in named(r"(?<![\w-])--[a-z][a-z-]*")
        if flag not in FLAGS
        and not any(command in text and flag in own for command, own in OF_OTHERS.items())
    ]
    assert unknown == []


def test_every_verb_exists() -> None:
    verbs = [
        (file, text, verb)
        for file, text, verb in named(r"\bftool ([a-z][a-z-]*)")
        if verb not in VERBS and verb not in PROSE
    ]
    assert verbs == []


def test_every_key_exists() -> None:
    unknown = [
        (file, text, key)
        for file, text, key in named(
            r"(?<![\w./{}])(?:model|data|train|eval|hub)(?:\.[a-z_0-9]+)+(?![\w(/])"
        )
        if re.sub(r"\.\d+", "", key) not in KEYS | BLOCKS
    ]
    assert unknown == []


def test_every_extra_exists() -> None:
    extras = set(metadata("ftool").get_all("Provides-Extra") or ())
    assert [one for one in named(r"ftool\[([a-z]+)\]") if one[2] not in extras] == []


def test_every_word_in_backticks_is_a_key_or_known() -> None:
    leaves = {key.rpartition(".")[2] for key in KEYS}
    known = leaves | KEYS | BLOCKS | set(VERBS) | OTHER_WORDS
    found = named(r"`([a-z_][a-z_.]*)`")
    assert len(found) > 30
    assert [one for one in found if one[2] not in known] == []


SETTINGS = sorted(
    {
        setting
        for _, _, setting in named(r"\b(?:model|data|train|eval|hub)\.[a-z_.]+=[\w.-]+(?![{\w])")
    }
)


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_of_a_message_can_be_given(tmp_path: Path, setting: str) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("name: a\ndata: {sources: [{path: x.csv}]}\n", encoding="utf-8")
    load_recipe(file, [setting])


def test_what_does_not_exist_would_be_found() -> None:
    assert "--merge" not in FLAGS and {"--merged", "--adapter", "--dry-run", "--help"} < FLAGS
    assert "merge" not in VERBS and "hub.licence" not in KEYS | BLOCKS
