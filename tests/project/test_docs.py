"""What there is, is documented; what is generated, is fresh."""

import re
import shlex
from pathlib import Path

import pytest

from ftool.__main__ import run
from ftool.cli import app
from ftool.recipe.problems import all_keys
from ftool.recipe.reference import write_reference

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
VERBS = [command.name or command.callback.__name__ for command in app.registered_commands]  # type: ignore[union-attr]


def text() -> str:
    return "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


def commands() -> list[list[str]]:
    """Return every `ftool ...` line of a code block."""
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", text(), re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith("ftool ")]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_documented(verb: str) -> None:
    assert f"ftool {verb.replace('_', '-')}" in text()


def test_every_recipe_key_is_documented() -> None:
    pages = text()
    assert [key for key in all_keys() if f"`{key}`" not in pages] == []


def test_the_reference_is_fresh(tmp_path: Path) -> None:
    write_reference(tmp_path)
    for file in tmp_path.iterdir():
        kept = (ROOT / "docs" / file.name).read_text(encoding="utf-8")
        assert kept == file.read_text(encoding="utf-8"), f"{file.name} is stale; run: make docs"


def test_every_documented_command_exists(capsys: pytest.CaptureFixture[str]) -> None:
    known = {verb.replace("_", "-") for verb in VERBS} | {"--version", "--help"}
    for words in commands():
        assert words[1] in known, words
        options = [word.partition("=")[0] for word in words[2:] if word.startswith("--")]
        assert run([words[1], "--help"]) == 0
        help_text = capsys.readouterr().out
        assert all(option in help_text for option in options), words


def test_no_page_links_to_a_file_that_is_not_there() -> None:
    for page in PAGES:
        links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        missing = [link for link in links if not (page.parent / link).exists()]
        assert missing == [], page
