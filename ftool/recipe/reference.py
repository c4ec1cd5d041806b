"""The reference of every setting, page and JSON schema, written from the schema itself."""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ftool.recipe.schema import Recipe

PAGE = "recipe.md"
SCHEMA = "recipe.schema.json"
HEAD = """\
# The recipe

One YAML file drives every verb. This page is written from `ftool/recipe/blocks/` by `make docs`.

- Every verb takes `--recipe FILE`, or the name of a shipped recipe. Without it the verb takes
  `recipe.yaml`, or the only recipe in the folder.
- `key=value` behind a verb replaces a setting: `ftool train train.epochs=1 train.method.r=8`.
  Items of a list are counted from 0: `data.sources.0.limit=100`. A key of text takes all behind the
  `=` as it stands, quotes and ` #` too; where it may be `null`, that word or nothing takes it away.
- A span is written `0.25 epochs` or `200 steps`. `null` switches off what may be `null`.
- Paths of sources are relative to the recipe; `data/` and `runs/` are made in the working folder.
- The text is YAML 1.2: `1e-4` is a number and `no` is text. A name made of digits needs quotes.
- Unknown keys, wrong values and keys given twice are refused together, each with its line.

Editors check and complete a recipe that begins with
`# yaml-language-server: $schema=recipe.schema.json`.
"""

Node = Mapping[str, Any]
TEXT: Node = {"type": "string"}


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a recipe."""
    return Recipe.model_json_schema(by_alias=True)


def page() -> str:
    """Return the reference page: one table for each block of settings."""
    schema = json_schema()
    return "\n".join([HEAD, *_sections("", schema, schema["$defs"])])


def _sections(name: str, block: Node, blocks: Node) -> Iterator[str]:
    """Yield the section of a block and then those of the blocks inside."""
    if name:
        kind = block["properties"].get("kind", {}).get("const")
        yield f"## `{name}`{f' of kind {kind}' if kind else ''}\n\n{block['description']}\n"
    yield "| key | type | default | bounds | meaning |\n|---|---|---|---|---|"
    required = block.get("required", ())
    inner = []
    for key, setting in block["properties"].items():
        dotted = f"{name}.{key}".lstrip(".")
        nested = [
            blocks[part["$ref"].rpartition("/")[2]] for part in _parts(setting) if "$ref" in part
        ]
        inner += [(dotted, part) for part in nested]
        cells = (
            f"`{dotted}`",
            " or ".join(dict.fromkeys(_type(part) for part in _parts(setting))),
            "required" if key in required else _default(setting, is_block=bool(nested)),
            ", ".join(bound for part in _parts(setting) for bound in _bounds(part)),
            setting.get("description") or nested[0]["description"],
        )
        yield f"| {' | '.join(_escaped(cell) for cell in cells)} |"
    yield ""
    for dotted, part in inner:
        yield from _sections(dotted, part, blocks)


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")


def _parts(setting: Node) -> list[Node]:
    """Return the alternatives of a setting; a list of blocks stands as the block."""
    alternatives = setting.get("anyOf") or setting.get("oneOf") or [setting]
    return [part["items"] if "$ref" in part.get("items", ()) else part for part in alternatives]


def _type(part: Node) -> str:
    if "$ref" in part:
        return "block"
    if "const" in part:
        return f"`{part['const']}`"
    if "enum" in part:
        return ", ".join(f"`{choice}`" for choice in part["enum"])
    if "anyOf" in part:
        return " or ".join(_type(inner) for inner in part["anyOf"])
    if part["type"] == "array":
        items = _type(part["items"])
        return f"list of ({items})" if " or " in items else f"list of {items}"
    if part["type"] == "object":
        of_names = part.get("patternProperties", {"": part.get("additionalProperties")})
        return f"{_type(part.get('propertyNames', TEXT))}: {_type(*of_names.values())}"
    if "epochs" in part.get("pattern", ""):
        return "span"
    words = {"integer": "whole number", "string": "text", "boolean": "true or false"}
    return words.get(part["type"], str(part["type"]))


def _default(setting: Node, *, is_block: bool) -> str:
    if is_block:
        return "below"
    return f"`{json.dumps(setting['default'])}`" if "default" in setting else "below"


def _bounds(part: Node) -> Iterator[str]:
    words = {
        "exclusiveMinimum": "> {}",
        "minimum": "≥ {}",
        "exclusiveMaximum": "< {}",
        "maximum": "≤ {}",
        "minItems": "at least {} item",
        "maxLength": "at most {} characters",
    }
    for bound, sentence in words.items():
        if bound in part:
            yield sentence.format(part[bound])


def write_reference(folder: Path) -> None:
    """Write the page and the JSON schema into a folder."""
    schema = json.dumps(json_schema(), indent=2, ensure_ascii=False)
    (folder / PAGE).write_text(page(), encoding="utf-8")
    (folder / SCHEMA).write_text(f"{schema}\n", encoding="utf-8")


if __name__ == "__main__":
    write_reference(Path(sys.argv[1]))
