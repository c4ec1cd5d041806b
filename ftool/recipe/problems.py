"""What is wrong with a recipe, in sentences: place, value, what is allowed, the nearest name."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from ftool.errors import RecipeError, did_you_mean
from ftool.recipe.blocks.eval import METRIC_PATTERN
from ftool.recipe.blocks.model import SETTING_PATTERN
from ftool.recipe.blocks.train import BLOCKS_PATTERN
from ftool.recipe.document import OVERRIDE, Document, KeyPath, Problem, dotted
from ftool.recipe.schema import Recipe
from ftool.recipe.types import NAME_PATTERN, Span
from ftool.wording import counted

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

NAME = "a name of letters, digits, `.`, `_` and `-` that begins with a letter or a digit"
PATTERNS = {
    NAME_PATTERN: NAME,
    BLOCKS_PATTERN: "two block numbers such as `15-29`",
    SETTING_PATTERN: "a name that a chat template can read: letters, digits and underscores",
    METRIC_PATTERN: "evaluate:NAME, file.py:function",
}
"""What a text is not, by the pattern that it has to match."""
ALLOWED = {
    "bool_parsing": "true|false",
    "bool_type": "true|false",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "float_type": "a number",
    "greater_than": "greater than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of fewer digits",
    "int_type": "a whole number",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "list_type": "a list",
    "model_attributes_type": "a block of settings",
    "model_type": "a block of settings",
    "path_type": "a path",
    "string_too_long": "at most {max_length} characters long",
    "string_type": "text",
    "too_short": "a list of at least {min_length} item",
}
"""What a value is not, by pydantic's name of the error; `|` stands between alternatives."""

SHOWN_CHARACTERS = 60


def refusal(file: Path, problems: Sequence[Problem]) -> RecipeError:
    """Return the error that lists every problem: overrides first, then line by line."""
    count = counted(len(problems), "problem")
    placed = [
        ("override" if line == OVERRIDE else f"line {line}", text)
        for line, text in sorted(problems, key=lambda problem: problem[0])
    ]
    width = max(len(place) for place, _ in placed)
    lines = [f"  {place:<{width}}  {text}" for place, text in placed]
    return RecipeError("\n".join([f"{file} has {count}:", *lines]))


def explain(error: ValidationError, document: Document) -> list[Problem]:
    """Say each mistake that pydantic found once, alternatives of one value together."""
    found: dict[KeyPath, list[Mapping[str, Any]]] = {}
    for detail in error.errors(include_url=False):
        found.setdefault(_real_path(detail, document.values), []).append(detail)
    deepest = [path for path in found if not any(_is_inside(other, path) for other in found)]
    return [
        (document.line(path), f"{dotted(path)}: {_sentence(found[path], path)}") for path in deepest
    ]


def _is_inside(path: KeyPath, block: KeyPath) -> bool:
    return len(path) > len(block) and path[: len(block)] == block


def _real_path(detail: Mapping[str, Any], values: Any) -> KeyPath:
    """Drop the union branches that pydantic puts between the keys of a location."""
    path: list[str | int] = []
    for part in detail["loc"]:
        is_key = isinstance(values, dict) and part in values
        is_item = isinstance(values, list) and isinstance(part, int) and part < len(values)
        if is_key or is_item:
            values = values[part]
            path.append(part)
    if detail["type"] == "missing":
        path.append(detail["loc"][-1])
    return (*path, "kind") if detail["type"] == "union_tag_invalid" else tuple(path)


def _sentence(details: Sequence[Mapping[str, Any]], path: KeyPath) -> str:
    """Say what is wrong with one value and what is allowed there."""
    first, value = details[0], details[0]["input"]
    match first["type"]:
        case "extra_forbidden":
            return _unknown_key(path)
        case "missing":
            return "must be given"
        case "value_error":
            return f"{_shown(value)}: {first['ctx']['error']}"
        case "union_tag_invalid":
            value = value["kind"]
    allowed = [phrase for detail in details for phrase in _allowed(detail)]
    names = [phrase[1:-1] for phrase in allowed if phrase.startswith("'")]
    near = did_you_mean(value, names) if isinstance(value, str) else ""
    if "text" in allowed and isinstance(value, int | float):
        near = "; put it in quotes"
    return f"{_shown(value)} is not {_alternatives(allowed)}{near}"


def _allowed(detail: Mapping[str, Any]) -> list[str]:
    context = detail.get("ctx", {})
    named = context.get("expected") or context.get("expected_tags")
    if named:
        return re.findall(r"'[^']*'", named)
    if detail["type"] == "string_pattern_mismatch":
        return [PATTERNS[context["pattern"]]]
    if detail["type"] in ALLOWED:
        return ALLOWED[detail["type"]].format_map(context).split("|")
    return [f"allowed ({detail['msg'][0].lower()}{detail['msg'][1:]})"]


def _alternatives(phrases: Sequence[str]) -> str:
    unique = list(dict.fromkeys(phrases))
    return " or ".join([part for part in (", ".join(unique[:-1]), unique[-1]) if part])


def _shown(value: Any) -> str:
    """Write a value as a recipe would, but never long."""
    if isinstance(value, str):
        text = f"'{value}'"
    else:
        text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


def _unknown_key(path: KeyPath) -> str:
    key = str(path[-1])
    if key in OTHER_TOOLS and OTHER_TOOLS[key] != dotted(path):
        return f"unknown key; in ftool this is `{OTHER_TOOLS[key]}`"
    siblings = _keys_at(path[:-1])
    if key in siblings:
        return "not a setting of this `kind`"
    near = did_you_mean(key, siblings)
    if near:
        return f"unknown key{near}"
    elsewhere = [name for name in all_keys() if name.rpartition(".")[2] == key]
    if elsewhere:
        return f"unknown key here; it belongs to `{elsewhere[0]}`"
    return f"unknown key; allowed here: {', '.join(siblings)}"


def all_keys(block: type[BaseModel] = Recipe, prefix: str = "") -> Iterator[str]:
    """Yield the dotted name of every setting, list items without their index."""
    for name, setting in block.model_fields.items():
        key = f"{prefix}{setting.alias or name}"
        yield key
        for inner in _blocks(setting.annotation):
            yield from all_keys(inner, f"{key}.")


def _keys_at(path: KeyPath) -> list[str]:
    blocks: list[type[BaseModel]] = [Recipe]
    for part in path:
        if isinstance(part, str):
            blocks = [
                inner
                for block in blocks
                for name, setting in block.model_fields.items()
                if (setting.alias or name) == part
                for inner in _blocks(setting.annotation)
            ]
    keys = (
        setting.alias or name for block in blocks for name, setting in block.model_fields.items()
    )
    return list(dict.fromkeys(keys))


def _blocks(annotation: Any) -> list[type[BaseModel]]:
    """Return the settings blocks inside an annotation such as `list[Source] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [] if annotation is Span else [annotation]
    return [block for inner in get_args(annotation) for block in _blocks(inner)]
