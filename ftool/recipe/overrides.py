"""`key=value` over the values of a recipe: text as it stands where the key takes text."""

import types
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from ftool.credentials import SETTING, is_secret
from ftool.errors import RecipeError
from ftool.recipe.document import NO_SECRETS, OVERRIDE, Document, KeyPath, read_value
from ftool.recipe.schema import Recipe
from ftool.recipe.types import Span

LONGEST_INDEX = 10
NULL = ("null", "")
"""What takes a text away where a key can go without one."""


def apply_overrides(document: Document, overrides: Sequence[str]) -> None:
    """Put `a.b=value` over the values; the place of such a key is the override itself.

    A value is YAML (`2`, `true`, `null`, `[a, b]`), but for a key of text: that takes all that
    follows the `=` as it stands, quotes, ` #`, colons and all.

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
        for end in range(1, len(path)):
            document.lines.setdefault(path[:end], OVERRIDE)


def _read_override(override: str) -> tuple[KeyPath, Any]:
    name, equals, text = override.partition("=")
    if is_secret(override) or (text.strip() and SETTING.fullmatch(name.rpartition(".")[2])):
        raise RecipeError(f"an override {NO_SECRETS}")
    path = tuple(
        int(part) if part.isdecimal() and len(part) < LONGEST_INDEX else part
        for part in name.split(".")
    )
    if not equals or "" in path:
        raise RecipeError(
            f"override {override}: not of the form key=value", hint="as in train.epochs=1"
        )
    return path, _value(name, path, text)


def _value(name: str, path: KeyPath, text: str) -> Any:
    """Return what a text is by the type of its key; of a key that nobody knows, YAML.

    Raises:
        RecipeError: it is neither.
    """
    kinds = _kinds_at(path)
    value = read_value(text, path)
    if str in kinds:
        if type(None) in kinds and text in NULL:
            return None
        is_other = not value.problems and type(value.values) in kinds - {str, type(None)}
        return value.values if is_other else _whole(name, text)
    if value.problems:
        raise RecipeError(f"override of {name}: {value.problems[0][1]}")
    return value.values


def _whole(name: str, text: str) -> str:
    """Return a text of whole characters: bytes that are none come as halves of them."""
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError as error:
        raise RecipeError(f"override of {name}: half of a character pair stands alone") from error


def _kinds_at(path: KeyPath) -> set[type]:
    """Return the plain types that a key takes; none where there is no such key."""
    kinds: list[Any] = [Recipe]
    for part in path:
        kinds = [inner for kind in kinds for inner in _inside(kind, part)]
    return {_plain(kind) for kind in kinds}


def _inside(kind: Any, part: str | int) -> Iterator[Any]:
    """Yield the types of a part of a value of some type."""
    origin = get_origin(kind)
    if origin is list and isinstance(part, int):
        yield from _alternatives(get_args(kind)[0])
    elif origin is dict:
        yield from _alternatives(get_args(kind)[1])
    elif isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not Span:
        for name, setting in kind.model_fields.items():
            if (setting.alias or name) == part:
                yield from _alternatives(setting.annotation)


def _alternatives(annotation: Any) -> Iterator[Any]:
    """Yield the types of a union, without what is said about them."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _alternatives(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for inner in get_args(annotation):
            yield from _alternatives(inner)
    elif origin is Literal:
        yield from map(type, get_args(annotation))
    else:
        yield annotation


def _plain(kind: Any) -> type:
    """Return what YAML has for a type."""
    origin = get_origin(kind) or kind
    if origin is Path or origin is Span:
        return str
    is_block = isinstance(origin, type) and issubclass(origin, BaseModel)
    return dict if is_block else origin


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
