"""Whatever stands in a recipe: it loads, or a sentence names the line and the key, at once."""

import os
import re
import sys
from pathlib import Path
from time import process_time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftool.errors import RecipeError
from ftool.recipe.file import dump_recipe, load_recipe
from ftool.recipe.problems import all_keys
from ftool.recipe.schema import Recipe

TEXTS = 10_000 if os.environ.get("FTOOL_LONG") else 300
SECONDS = 1.0
KEYS = sorted(set(all_keys()))
VALUES = (
    *("null", "true", "-1", "-0.5", "0", "1e400", "1e-400", ".nan", "-.inf", "1" * 40),
    *("0x" + "f" * 5000, "9" * 5000, '""', '"\\0"', '"\\ud800"', f'"{"x" * 20_000}"'),
    *("2024-01-31", "1_0", "0.5 parsecs", "-3 steps", "1e999 epochs", "nan epochs", '"\\u202e"'),
    *("[]", "[[1]]", "[null]", "[{}]", "[a, 1, b]", "{}", "{a: 1}", "{kind: full, r: 2}", "word"),
)
PROBLEM = re.compile(r"^  line (\d+) +([^:]+)", re.MULTILINE)


def recipe_text(key: str, value: str) -> tuple[str, list[int]]:
    """Return a recipe that sets one key, and the lines of the key and of the blocks around it."""
    blocks: dict[str, object] = {"name": "fuzz", "data": {"sources": [{"path": "a.csv"}]}}
    *parents, last = key.split(".")
    inner: dict[str, object] = blocks
    for parent in parents:
        found = inner.setdefault(parent, {})
        inner = found[0] if isinstance(found, list) else found  # type: ignore[assignment]
    inner[last] = value
    lines: list[str] = []
    own: list[int] = []
    _write(blocks, key.split("."), "", lines, own)
    return "\n".join(lines) + "\n", own


def _write(
    blocks: dict[str, object], path: list[str], indent: str, lines: list[str], own: list[int]
) -> None:
    for name, value in blocks.items():
        is_own = bool(path) and name == path[0]
        lines.append(f"{indent}{name}: {value if isinstance(value, str) else ''}")
        own += [len(lines)] if is_own else []
        rest = path[1:] if is_own else []
        if isinstance(value, dict):
            _write(value, rest, indent + "  ", lines, own)
        elif isinstance(value, list):
            _write(value[0], rest, indent + "    ", lines, own)
            first = next(i for i, line in enumerate(lines) if line.startswith(indent + "    "))
            lines[first] = f"{indent}  - {lines[first].lstrip()}"


def refused(file: Path, text: str | bytes) -> str:
    """Load a recipe and return what is said against it, nothing where it is taken."""
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    started = process_time()
    said = ""
    try:
        loaded = load_recipe(file)
    except RecipeError as error:
        said = str(error)
    else:
        assert isinstance(loaded, Recipe)
        assert dump_recipe(loaded)
    assert process_time() - started < SECONDS
    return said


@pytest.mark.parametrize("key", KEYS)
def test_a_wrong_value_is_told_with_its_line_and_key(key: str, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    refusals = 0
    for value in VALUES:
        text, own = recipe_text(key, value)
        said = refused(file, text)
        if not said:
            continue
        refusals += 1
        assert len(said) < 2_000, said[:200]
        found = PROBLEM.findall(said)
        assert found and len(found) == int(re.findall(r"has (\d+) problem", said)[0]), said
        for line, place in found:
            plain = re.sub(r"\.\d+", "", place)
            assert int(line) in own, (value[:40], said)
            # A value that is no scalar of YAML is told without a key.
            is_named = key.startswith(plain) or plain.startswith(key)
            assert is_named or plain == "not a number that can be read", (value[:40], said)
    assert refusals > len(VALUES) // 4


@pytest.mark.parametrize("key", KEYS)
def test_a_typing_mistake_is_told_with_the_key_that_was_meant(key: str, tmp_path: Path) -> None:
    *parents, last = key.split(".")
    for typed in (last[:-1] + "_" + last[-1], last + last[-1], last.upper()):
        wrong = ".".join([*parents, typed])
        text, own = recipe_text(wrong, "1")
        said = refused(tmp_path / "recipe.yaml", text)
        assert re.search(rf"^  line {own[-1]} +\S*{re.escape(typed)}: ", said, re.MULTILINE), said
        if len(last) > 3 and typed != last.upper():
            assert "did you mean" in said or "in ftool this is" in said, said


TRAPS = {
    "bool": ("seed: no", "line 3"),
    "float": ("train: {learning_rate: 1e-4}", ""),
    "octal": ("seed: 010", ""),
    "sexagesimal": ("seed: 12:30", "line 3"),
    "date": ("seed: 2024-01-31", "line 3"),
    "twice": ("seed: 1\nseed: 2", "line 4"),
    "tag": ("seed: !!python/object/apply:os.system ['touch canary']", "line 3"),
    "own tag": ("seed: !include canary", "line 3"),
    "tag directive": ("%TAG ! tag:x,2002:\n---\nseed: 1", "line 4"),
    "bomb": ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", "line 3"),
    "merge": ("<<: {seed: 1}", "line 3"),
    "tab": ("train:\n\tepochs: 1", "line 4"),
    "key is null": ("~: 1", "line 3"),
    "key is a number": ("1: 1", "line 3"),
    "key is a list": ("? [a]\n: 1", "line 3"),
    "key is empty": ('"": 1', "line 3"),
    "two documents": ("---\nname: b", "line 3"),
    "deep list": ("seed: " + "[" * 20_000, "line 3"),
    "deep map": ("seed: " + "{a: " * 5_000, "line 3"),
    "deep lines": ("\n".join(" " * n + "a:" for n in range(1_000)), "line 53"),
    "long key": (f"{'k' * 5_000}: 1", "line 3"),
    "nul": ("seed: \0", "line 3"),
    "escape in a key": ('"\\e[31mseed": 1', "line 3"),
    "mixed line ends": ("seed: 1\r\ntrain: {epochs: 1}\r", ""),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_a_trap_of_yaml_is_no_surprise(
    trap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text, place = TRAPS[trap]
    head = "name: fuzz\ndata: {sources: [{path: a.csv}]}\n"
    said = refused(tmp_path / "recipe.yaml", head + text)
    assert bool(said) == bool(place), said
    assert place in said
    assert len(said) < 8_000
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "data",
    [b"\xff\xfename: x", b"\xef\xbb\xbfname: [", "name: x\n".encode("utf-16"), b"", b"\0" * 100],
)
def test_bytes_that_are_no_recipe_are_refused(data: bytes, tmp_path: Path) -> None:
    assert refused(tmp_path / "recipe.yaml", data)


FULL = dump_recipe(
    Recipe.model_validate({"name": "fuzz", "data": {"sources": [{"path": "a.csv"}]}})
)
PIECES = st.one_of(
    st.sampled_from([*VALUES, *KEYS, "&a", "*a", "!!x", "---", "\t", "\r\n", "? ", ": ", "#", "|"]),
    st.text(max_size=12),
)


@settings(
    max_examples=TEXTS,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    cuts=st.lists(
        st.tuples(st.integers(0, len(FULL)), st.integers(0, 30), PIECES), min_size=1, max_size=4
    )
)
def test_a_recipe_that_was_damaged_anywhere_is_answered(
    cuts: list[tuple[int, int, str]], tmp_path: Path
) -> None:
    text = FULL
    for start, length, piece in cuts:
        text = text[:start] + piece + text[start + length :]
    modules = set(sys.modules)
    said = refused(tmp_path / "recipe.yaml", text.encode("utf-8", "surrogatepass"))
    assert not said or "recipe.yaml" in said
    assert not {"torch", "transformers"} & (set(sys.modules) - modules)


@settings(
    max_examples=TEXTS,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(key=st.one_of(st.sampled_from(KEYS), st.text(max_size=8)), value=PIECES)
def test_an_override_is_answered(key: str, value: str, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("name: fuzz\ndata: {sources: [{path: a.csv}]}\n", encoding="utf-8")
    try:
        load_recipe(file, [f"{key}={value}"])
    except RecipeError as error:
        assert "override" in str(error)
