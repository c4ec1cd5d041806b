"""Recipes and raw files for tests of the data stage."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ftool.recipe.schema import Recipe


def recipe_for(folder: Path, *sources: dict[str, Any] | str, **data: Any) -> Recipe:
    """Return a recipe named `desk` over sources in a folder."""
    listed = [{"path": source} if isinstance(source, str) else source for source in sources]
    made = Recipe.model_validate({"name": "desk", "data": {"sources": listed, **data}})
    made._folder = folder
    return made


def write_csv(path: Path, rows: Iterable[tuple[str, ...]], header: str = "text,label") -> None:
    """Write rows whose fields need no quotes."""
    path.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n", encoding="utf-8")
