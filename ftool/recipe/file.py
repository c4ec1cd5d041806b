"""Recipe files: find, load with overrides, write; every problem is told with its line."""

import os
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML

from ftool.errors import RecipeError, did_you_mean
from ftool.recipe.document import read_document
from ftool.recipe.overrides import apply_overrides
from ftool.recipe.problems import explain, refusal
from ftool.recipe.schema import Recipe

TEXT_TABLES = (".csv", ".tsv", ".tab", ".txt", ".dat", ".data", "")
WORKBOOKS = (".xlsx", ".xlsm")
"""Files that may have no header; those of text may have a delimiter of their own, too."""


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
    document = read_document(text)
    if document.problems:
        raise refusal(file, document.problems)
    apply_overrides(document, overrides)
    try:
        recipe = Recipe.model_validate(document.values)
    except ValidationError as error:
        raise refusal(file, explain(error, document)) from error
    recipe._folder = (folder or file.parent).resolve()
    return recipe


def dump_recipe(recipe: Recipe, *, relative_to: Path | None = None) -> str:
    """Write a recipe with every default explicit; its settings load back equal.

    Args:
        recipe: to write.
        relative_to: the folder that the text will lie in; paths are rewritten for it.
    """
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    text = StringIO()
    values = recipe.model_dump(mode="json", by_alias=True)
    if relative_to is not None:
        _move_paths(values, recipe.folder, relative_to)
    writer.dump(values, text)
    return text.getvalue()


def _move_paths(values: dict[str, Any], old: Path, new: Path) -> None:
    """Rewrite the paths that are relative to one folder for another one."""

    def moved(path: str) -> str:
        return os.path.relpath(old / path, new.resolve())

    for source in values["data"]["sources"]:
        if "://" not in source["path"]:
            source["path"] = moved(source["path"])
    model = values["model"]
    if model["chat_template"]:
        model["chat_template"] = moved(model["chat_template"])
    metric, _, function = values["eval"]["metric"].rpartition(":")
    if metric.endswith(".py") and not metric.startswith("evaluate:"):
        values["eval"]["metric"] = f"{moved(metric)}:{function}"
    if (old / model["base"]).is_dir():
        model["base"] = moved(model["base"])


def recipe_for_file(
    file: Path, *, split: str, like: Recipe | None = None, label_names: Sequence[str] = ()
) -> Recipe:
    """Return the recipe that prepares one file, to be scored as one split.

    Args:
        file: the raw data; its place is part of the name of what is prepared, so that files of
            one name do not replace one another.
        split: what its rows become.
        like: a recipe whose system message, cleaning and evaluation hold, and what its first source
            says of columns, labels and roles; of header, delimiter and encoding where they mean
            something for the file.
        label_names: the closed set of labels; found in the file when empty.
    """
    values: dict[str, Any] = {"name": "scored", "data": {}}
    source: dict[str, Any] = {"path": file.name, "split": split}
    if like is not None:
        values = like.model_dump(mode="json", by_alias=True)
        source |= _settings_for(file, values["data"]["sources"][0])
        _move_paths(values, like.folder, file.parent)
        # What concerns train alone does not concern rows that are scored.
        values["data"]["decontaminate"] = []
        values["data"]["filter"]["max_tokens"] = None
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", file.name.partition(".")[0]).strip("-") or "file"
    values["data"]["split"] = {**values["data"].get("split", {}), "validation": 0, "test": 0}
    place = sha256(str(file.resolve()).encode()).hexdigest()[:6]
    values["data"] |= {"name": f"{stem[:70]}-{place}-{split}", "sources": [source]}
    if label_names:
        values["data"]["label_names"] = list(label_names)
    recipe = Recipe.model_validate(values)
    recipe._folder = file.parent.resolve()
    return recipe


def _settings_for(file: Path, source: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a source that mean something for another file."""
    extension = Path(file.name.lower().removesuffix(".gz")).suffix
    names = ["columns", "labels", "roles"]
    if extension in (*TEXT_TABLES, *WORKBOOKS):
        names.append("header")
    if extension in TEXT_TABLES:
        names.append("delimiter")
    if extension not in (*WORKBOOKS, ".parquet"):
        names.append("encoding")
    return {name: source[name] for name in names}


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
    for candidate in (given, Path(f"{path}.yaml")):
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
