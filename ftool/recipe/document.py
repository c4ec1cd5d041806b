"""YAML text -> plain values with the line of every key."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.tokens import (
    AliasToken,
    AnchorToken,
    BlockEndToken,
    BlockMappingStartToken,
    BlockSequenceStartToken,
    FlowMappingEndToken,
    FlowMappingStartToken,
    FlowSequenceEndToken,
    FlowSequenceStartToken,
    TagToken,
)

from ftool.credentials import SETTING, WHERE, is_secret

KeyPath = tuple[str | int, ...]
Problem = tuple[int, str]
"""The line, or OVERRIDE, and what is wrong there."""

OVERRIDE = 0
NO_SECRETS = f"looks like a secret; recipes must not hold any: {WHERE}"
DEEPEST = 50
_OPENING = (
    BlockMappingStartToken,
    BlockSequenceStartToken,
    FlowMappingStartToken,
    FlowSequenceStartToken,
)
_CLOSING = (BlockEndToken, FlowMappingEndToken, FlowSequenceEndToken)
LONGEST_NUMBER = 400
"""Digits of a number; the largest float has 309, and Python does not write thousands of them."""
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
    document.problems += [
        (number, NO_SECRETS)
        for number, line in enumerate(text.split("\n"), start=1)
        if is_secret(line)
    ]
    if document.problems:  # what is wrong besides would be told with the secret in it
        return document
    _compose(text, (), document)
    if not document.problems and not isinstance(document.values, dict):
        document.problems.append((1, "a recipe is a mapping of keys such as `name:`"))
    return document


def read_value(text: str, path: KeyPath) -> Document:
    """Read the YAML of one value, which stands at a path."""
    value = Document()
    _compose(text, path, value)
    return value


def _compose(text: str, path: KeyPath, document: Document) -> None:
    """Read the values of a YAML text that stands at a path."""
    try:
        if _is_sober(text, document):
            node = YAML(typ="safe", pure=True).compose(text) if text.strip() else None
            document.values = _plain(node, path, document) if node else None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or str(error).partition("\n")[0]
        place = text.count("\n", 0, getattr(error, "position", 0))
        line = (mark.line if mark else place) + 1
        document.problems.append((line, f"not valid YAML: {what}"))


def _is_sober(text: str, document: Document) -> bool:
    """Tell whether a YAML text is neither deep nor more than it shows, before it is composed."""
    depth = 0
    for token in YAML(typ="safe", pure=True).scan(text):
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        if depth > DEEPEST:
            _refuse(document, token.start_mark, "nested too deeply")
            break
        if isinstance(token, TagToken | AnchorToken | AliasToken):
            _refuse(document, token.start_mark, "tags, anchors and aliases are not allowed")
    return not document.problems


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
    if is_secret(node.value):
        _refuse(document, node.start_mark, NO_SECRETS)
    return _scalar(node, path, document)


def _plain_mapping(node: MappingNode, path: KeyPath, document: Document) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, ScalarNode):
            _refuse(document, key_node.start_mark, "a key is one word, not a list or a mapping")
            continue
        key = str(key_node.value)
        if is_secret(key) or (SETTING.fullmatch(key) and value_node.value):
            _refuse(document, key_node.start_mark, NO_SECRETS)
            continue
        if key in values:
            _refuse(document, key_node.start_mark, f"{dotted((*path, key))}: given twice")
        document.lines[(*path, key)] = key_node.start_mark.line + 1
        values[key] = _plain(value_node, (*path, key), document)
    return values


def _scalar(node: ScalarNode, path: KeyPath, document: Document) -> Any:
    read = _SCALARS.get(str(node.tag))
    if read is None:
        return _text(node, path, document)
    try:
        if len(node.value) > LONGEST_NUMBER:
            raise ValueError
        return read(node.value)
    except ValueError:
        _refuse(document, node.start_mark, "not a number that can be read")
        return None


def _text(node: ScalarNode, path: KeyPath, document: Document) -> str:
    """Return a text in which the two halves that JSON escapes a rare character by are one."""
    text = str(node.value)
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        what = f"{dotted(path)}: half of a character pair stands alone"
        _refuse(document, node.start_mark, what)
        return ""


def dotted(path: KeyPath) -> str:
    """Write a path the way overrides do."""
    return ".".join(map(str, path)) or "recipe"
