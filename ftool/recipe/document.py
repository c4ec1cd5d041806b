"""YAML text -> plain values with the line of every key, and key=value overrides over them."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.tokens import AliasToken, AnchorToken, TagToken

from ftool.errors import RecipeError

KeyPath = tuple[str | int, ...]
Problem = tuple[int, str]
"""The line, or OVERRIDE, and what is wrong there."""

OVERRIDE = 0
SECRET = re.compile(r"\bhf_[A-Za-z0-9]{16,}|\bsk-[A-Za-z0-9_-]{20,}|\bAKIA[A-Z0-9]{16}\b")
_SCALARS: dict[str, Callable[[str], Any]] = {
    "tag:yaml.org,2002:null": lambda _: None,
    "tag:yaml.org,2002:bool": lambda text: text.lower() == "true",
    "tag:yaml.org,2002:int": lambda text: int(text, 0 if re.search("[box]", text) else 10),
    "tag:yaml.org,2002:float": lambda text: float(re.sub(r"\.(?=inf|nan)", "", text.lower())),
}


@dataclass(slots=True)
class Document:
    """The plain values of a YAML text, where each key stands, and what is wrong with it."""

    values: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, path: KeyPath) -> int:
        """Return the line of the key, or of the nearest block around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read_document(text: str) -> Document:
    """Read YAML 1.2: `1e-4` is a number, `no` is text; tags, anchors and secrets are refused."""
    document = Document()
    try:
        for token in YAML(typ="safe", pure=True).scan(text):
            if isinstance(token, TagToken | AnchorToken | AliasToken):
                _refuse(document, token.start_mark, "tags, anchors and aliases are not allowed")
        if not document.problems:
            node = YAML(typ="safe", pure=True).compose(text)
            document.values = _plain(node, (), document) if node else None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or str(error).partition("\n")[0]
        document.problems.append((mark.line + 1 if mark else 1, f"not valid YAML: {what}"))
    except RecursionError:
        document.problems.append((1, "nested too deeply"))
    if not document.problems and not isinstance(document.values, dict):
        document.problems.append((1, "a recipe is a mapping of keys such as `name:`"))
    return document


def _refuse(document: Document, mark: Any, what: str) -> None:
    document.problems.append((mark.line + 1, what))


def _plain(node: Node, path: KeyPath, document: Document) -> Any:
    """Turn a YAML node into plain values and remember the line of every key."""
    if isinstance(node, MappingNode):
        return _plain_mapping(node, path, document)
    if isinstance(node, SequenceNode):
        items = []
        for index, item in enumerate(node.value):
            document.lines[(*path, index)] = item.start_mark.line + 1
            items.append(_plain(item, (*path, index), document))
        return items
    assert isinstance(node, ScalarNode)
    if SECRET.search(node.value):
        _refuse(document, node.start_mark, "looks like a secret; recipes must not hold any")
    return _scalar(node, document)


def _plain_mapping(node: MappingNode, path: KeyPath, document: Document) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, ScalarNode):
            _refuse(document, key_node.start_mark, "a key is one word, not a list or a mapping")
            continue
        key = str(key_node.value)
        if key in values:
            _refuse(document, key_node.start_mark, f"{dotted((*path, key))}: given twice")
        document.lines[(*path, key)] = key_node.start_mark.line + 1
        values[key] = _plain(value_node, (*path, key), document)
    return values


def _scalar(node: ScalarNode, document: Document) -> Any:
    read = _SCALARS.get(str(node.tag))
    try:
        return read(node.value) if read else node.value
    except ValueError:
        # Python refuses numbers of thousands of digits.
        _refuse(document, node.start_mark, "not a number that can be read")
        return None


def apply_overrides(document: Document, overrides: Sequence[str]) -> None:
    """Put `a.b=value` over the values; the place of such a key is the override itself.

    Raises:
        RecipeError: an override is not of that form or names an item that is not there.
    """
    for override in overrides:
        path, value = _read_override(override)
        _put(document.values, path, value, override)
        stale = [place for place in document.lines if place[: len(path)] == path]
        for place in stale:
            del document.lines[place]
        document.lines[path] = OVERRIDE


def _read_override(override: str) -> tuple[KeyPath, Any]:
    name, equals, text = override.partition("=")
    path = tuple(int(part) if part.isdecimal() else part for part in name.split("."))
    if not equals or "" in path:
        raise RecipeError(
            f"override {override}: not of the form key=value", hint="as in train.epochs=1"
        )
    value = Document()
    try:
        node = YAML(typ="safe", pure=True).compose(text) if text.strip() else None
        value.values = _plain(node, path, value) if node is not None else None
    except (YAMLError, RecursionError) as error:
        raise RecipeError(f"override {override}: the value is not valid YAML") from error
    if value.problems:
        raise RecipeError(f"override of {name}: {value.problems[0][1]}")
    return path, value.values


def _put(values: Any, path: KeyPath, value: Any, override: str) -> None:
    for part, following in pairwise(path):
        inner = _child(values, part, override)
        if not isinstance(inner, dict | list):
            inner = [] if isinstance(following, int) else {}
            values[part] = inner
        values = inner
    _child(values, path[-1], override)
    values[path[-1]] = value


def _child(values: Any, part: str | int, override: str) -> Any:
    if isinstance(values, dict):
        return values.get(part)
    if not isinstance(part, int) or part >= len(values):
        items = f"the items are 0..{len(values) - 1}" if values else "the list is empty"
        raise RecipeError(f"override {override}: there is no item `{part}`; {items}")
    return values[part]


def dotted(path: KeyPath) -> str:
    """Write a path the way overrides do."""
    return ".".join(map(str, path)) or "recipe"
