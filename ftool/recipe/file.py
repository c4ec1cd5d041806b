"""YAML -> Recipe: line numbers, duplicate keys, did-you-mean, renamed keys, key=value overrides."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.tokens import AliasToken, AnchorToken, TagToken

from ftool.errors import RecipeError, did_you_mean
from ftool.recipe.schema import Recipe

KeyPath = tuple[str | int, ...]

OTHER_TOOLS = {
    "lr": "train.learning_rate",
    "num_epochs": "train.epochs",
    "num_train_epochs": "train.epochs",
    "num_steps": "train.max_steps",
    "lr_scheduler": "train.schedule",
    "lr_scheduler_type": "train.schedule",
    "warmup_steps": "train.warmup_ratio",
    "max_seq_length": "train.max_length",
    "max_seq_len": "train.max_length",
    "sequence_len": "train.max_length",
    "cutoff_len": "train.max_length",
    "block_size": "train.max_length",
    "batch_size": "train.global_batch_size",
    "micro_batch_size": "train.batch_size_per_device",
    "per_device_train_batch_size": "train.batch_size_per_device",
    "gradient_accumulation_steps": "train.global_batch_size",
    "gradient_clipping": "train.max_grad_norm",
    "lora_r": "train.method.r",
    "lora_rank": "train.method.r",
    "rank": "train.method.r",
    "lora_alpha": "train.method.alpha",
    "lora_dropout": "train.method.dropout",
    "lora_target_modules": "train.method.target_modules",
    "finetuning_type": "train.method.kind",
    "adapter": "train.method.kind",
    "save_steps": "train.checkpoint.every",
    "save_total_limit": "train.checkpoint.keep",
    "eval_steps": "train.validate.every",
    "early_stopping_patience": "train.validate.patience",
    "report_to": "train.tracking",
    "val_set_size": "data.split.validation",
    "val_size": "data.split.validation",
    "test_size": "data.split.test",
    "dataset": "data.sources",
    "datasets": "data.sources",
    "dataset_path": "data.sources",
    "system_prompt": "data.system",
    "base_model": "model.base",
    "model_name_or_path": "model.base",
    "model_id": "model.base",
    "torch_dtype": "model.dtype",
    "attn_implementation": "model.attention",
    "hub_model_id": "hub.repo",
    "hub_private_repo": "hub.private",
}
"""Keys of other trainers -> where the setting is here."""

SECRET = re.compile(r"\bhf_[A-Za-z0-9]{16,}|\bsk-[A-Za-z0-9_-]{20,}|\bAKIA[A-Z0-9]{16}\b")
_SCALARS: dict[str, Callable[[str], Any]] = {
    "tag:yaml.org,2002:null": lambda _: None,
    "tag:yaml.org,2002:bool": lambda text: text.lower() == "true",
    "tag:yaml.org,2002:int": lambda text: int(text.replace("_", ""), 0 if "x" in text else 10),
    "tag:yaml.org,2002:float": lambda text: float(
        text.replace(".inf", "inf").replace(".nan", "nan")
    ),
}


@dataclass(slots=True)
class _Document:
    """The plain values of a YAML text, where each key stands, and what is wrong with it."""

    values: Any = None
    places: dict[KeyPath, str] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)

    def place(self, path: KeyPath) -> str:
        """Return `line N` of the key, or of the nearest block around it."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, "line 1")


def load_recipe(
    path: str | Path | None = None, overrides: Sequence[str] = (), *, folder: Path | None = None
) -> Recipe:
    """Read a recipe file and put the `key=value` overrides over it.

    Args:
        path: a file, or the name of a shipped recipe; None finds the only one here.
        overrides: such as `train.epochs=1`, applied in order.
        folder: what source paths are relative to; the recipe's own folder by default.

    Raises:
        RecipeError: with every problem of the file and the overrides, each with its place.
    """
    file = find_recipe(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{file}: cannot be read as UTF-8 text ({error})") from error
    document = _read_yaml(text, file)
    _apply(document, overrides)
    recipe = _validate(document, file)
    recipe._folder = (folder or file.parent).resolve()
    return recipe


def dump_recipe(recipe: Recipe) -> str:
    """Write a recipe with every default explicit; it loads back equal."""
    from io import StringIO

    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False
    text = StringIO()
    writer.dump(recipe.model_dump(mode="json", by_alias=True), text)
    return text.getvalue()


def shipped_recipes() -> dict[str, Path]:
    """Return the recipes that come with ftool, by name, in wheel and editable installs."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "recipes", package.parent / "recipes"):
        if folder.is_dir():
            return {file.stem: file for file in sorted(folder.glob("*.yaml"))}
    return {}


def find_recipe(path: str | Path | None) -> Path:
    """Return the recipe file that a name means: here first, then the shipped ones.

    Raises:
        RecipeError: there is none, or more than one could be meant.
    """
    if path is None:
        return _only_recipe_here()
    given = Path(path)
    for candidate in (given, given.with_name(given.name + ".yaml")):
        if candidate.is_file():
            return candidate
    shipped = shipped_recipes()
    name = given.name.removesuffix(".yaml").removesuffix(".yml")
    if given.parent == Path() and name in shipped:
        return shipped[name]
    raise RecipeError(
        f"no recipe {path}{did_you_mean(name, list(shipped))}",
        hint=f"give a file, or one of the shipped recipes: {', '.join(shipped)}",
    )


def _only_recipe_here() -> Path:
    named = Path("recipe.yaml")
    files = [named] if named.is_file() else sorted(Path().glob("*.yaml"))
    if len(files) == 1:
        return files[0]
    found = f"several could be meant: {', '.join(map(str, files))}" if files else "there is none"
    raise RecipeError(
        f"no --recipe given and no recipe.yaml in this folder; {found}",
        hint=f"name one: --recipe {files[0] if files else 'customer_support'}",
    )


def _read_yaml(text: str, file: Path) -> _Document:
    document = _Document()
    yaml = YAML(typ="safe", pure=True)
    try:
        for token in yaml.scan(text):  # type: ignore[no-untyped-call]
            if isinstance(token, TagToken | AnchorToken | AliasToken):
                _refuse(document, token.start_mark, "tags, anchors and aliases are not allowed")
        node = YAML(typ="safe", pure=True).compose(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or str(error)
        where = f"line {mark.line + 1}" if mark else "line 1"
        raise RecipeError(f"{file} is not valid YAML:\n  {where}  {what}") from error
    if not document.problems and node is not None:
        document.values = _plain(node, (), document)
    if not document.problems and not isinstance(document.values, dict):
        document.problems.append(("line 1", "a recipe is a mapping of keys such as `name:`"))
    if document.problems:
        raise _problems(file, document.problems)
    return document


def _refuse(document: _Document, mark: Any, what: str) -> None:
    document.problems.append((f"line {mark.line + 1}", what))


def _plain(node: Node, path: KeyPath, document: _Document) -> Any:
    """Turn a YAML node into plain values and remember the line of every key."""
    if isinstance(node, MappingNode):
        return _plain_mapping(node, path, document)
    if isinstance(node, SequenceNode):
        items = []
        for index, item in enumerate(node.value):
            document.places[(*path, index)] = f"line {item.start_mark.line + 1}"
            items.append(_plain(item, (*path, index), document))
        return items
    assert isinstance(node, ScalarNode)
    if SECRET.search(node.value):
        _refuse(document, node.start_mark, "looks like a secret; recipes must not hold any")
    return _scalar(node)


def _plain_mapping(node: MappingNode, path: KeyPath, document: _Document) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(key_node.value)
        if key in values:
            _refuse(document, key_node.start_mark, f"{_dotted((*path, key))}: given twice")
        document.places[(*path, key)] = f"line {key_node.start_mark.line + 1}"
        values[key] = _plain(value_node, (*path, key), document)
    return values


def _scalar(node: ScalarNode) -> Any:
    read = _SCALARS.get(str(node.tag))
    return read(node.value) if read else node.value


def _apply(document: _Document, overrides: Sequence[str]) -> None:
    """Put `a.b=value` over the values; the place of such a key is the override itself."""
    for override in overrides:
        dotted, equals, text = override.partition("=")
        if not equals or not dotted:
            raise RecipeError(f"{override}: an override is written key=value, as train.epochs=1")
        path = tuple(int(part) if part.isdigit() else part for part in dotted.split("."))
        try:
            node = YAML(typ="safe", pure=True).compose(text) if text else None
        except YAMLError as error:
            raise RecipeError(f"override {override}: the value is not valid YAML") from error
        value = _plain(node, path, _Document()) if node is not None else None
        _put(document.values, path, value, override)
        document.places[path] = "override"


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
    if isinstance(values, list):
        if not isinstance(part, int) or part >= len(values):
            last = len(values) - 1
            raise RecipeError(f"override {override}: `{part}` is not one of the items 0..{last}")
        return values[part]
    return values.get(part)


def _validate(document: _Document, file: Path) -> Recipe:
    try:
        return Recipe.model_validate(document.values)
    except ValidationError as error:
        problems: dict[tuple[str, str], list[str]] = {}
        for detail in error.errors(include_url=False):
            path = _real_path(detail["loc"], document.values)
            where = (document.place(path), _dotted(path))
            problems.setdefault(where, []).append(_sentence(dict(detail), path))
        listed = [
            (place, f"{dotted}: {' or '.join(dict.fromkeys(texts))}")
            for (place, dotted), texts in problems.items()
        ]
        raise _problems(file, listed) from error


def _real_path(location: tuple[str | int, ...], values: Any) -> KeyPath:
    """Drop the union branches that pydantic puts between the keys of a location."""
    path: list[str | int] = []
    for index, part in enumerate(location):
        is_key = isinstance(values, dict) and part in values
        is_item = isinstance(values, list) and isinstance(part, int) and part < len(values)
        if is_key or is_item:
            values = values[part]
            path.append(part)
        elif isinstance(values, dict) and index == len(location) - 1:
            path.append(part)
    return tuple(path)


def _sentence(detail: dict[str, Any], path: KeyPath) -> str:
    """Say what is wrong with one value and what is allowed there."""
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(path)
    if kind == "missing":
        return "must be given"
    if kind in {"greater_than", "greater_than_equal", "less_than", "less_than_equal"}:
        return f"{value} is not {kind.replace('_', ' ')} {next(iter(context.values()))}"
    if kind == "literal_error":
        near = did_you_mean(str(value), re.findall(r"'([^']+)'", context["expected"]))
        return f"{value!r} is not {context['expected']}{near}"
    if kind == "value_error":
        return f"{value!r}: {context['error']}"
    return f"{value!r}: {detail['msg'][0].lower()}{detail['msg'][1:]}"


def _unknown_key(path: KeyPath) -> str:
    key = str(path[-1])
    if key in OTHER_TOOLS and OTHER_TOOLS[key] != _dotted(path):
        return f"unknown key; in ftool this is `{OTHER_TOOLS[key]}`"
    siblings = _keys_at(path[:-1])
    near = did_you_mean(key, siblings)
    if near:
        return f"unknown key{near}"
    elsewhere = [dotted for dotted in all_keys() if dotted.rpartition(".")[2] == key]
    if elsewhere:
        return f"unknown key here; it belongs to `{elsewhere[0]}`"
    return f"unknown key; allowed here: {', '.join(siblings)}"


def all_keys(block: type[BaseModel] = Recipe, prefix: str = "") -> Iterator[str]:
    """Yield the dotted name of every setting, list items without their index."""
    for name, setting in block.model_fields.items():
        dotted = f"{prefix}{setting.alias or name}"
        yield dotted
        for inner in _blocks(setting.annotation):
            yield from all_keys(inner, f"{dotted}.")


def _keys_at(path: KeyPath) -> list[str]:
    blocks: list[type[BaseModel]] = [Recipe]
    for part in path:
        if isinstance(part, str):
            fields = [
                setting.annotation
                for block in blocks
                for name, setting in block.model_fields.items()
                if (setting.alias or name) == part
            ]
            blocks = [inner for annotation in fields for inner in _blocks(annotation)]
    keys = (
        setting.alias or name for block in blocks for name, setting in block.model_fields.items()
    )
    return list(dict.fromkeys(keys))


def _blocks(annotation: Any) -> list[type[BaseModel]]:
    """Return the settings blocks inside an annotation such as `list[Source] | None`."""
    from typing import get_args

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [] if annotation.__name__ == "Span" else [annotation]
    return [block for inner in get_args(annotation) for block in _blocks(inner)]


def _dotted(path: KeyPath) -> str:
    return ".".join(map(str, path)) or "recipe"


def _problems(file: Path, problems: list[tuple[str, str]]) -> RecipeError:
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    width = max(len(place) for place, _ in problems)
    lines = [f"  {place:<{width}}  {text}" for place, text in problems]
    return RecipeError("\n".join([f"{file} has {count}:", *lines]))
