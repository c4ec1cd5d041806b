"""Every recipe on disk is one that a user could start from."""

from pathlib import Path

import pytest

from ftool.recipe.file import load_recipe, shipped_recipes

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "recipes").glob("*.yaml"))


def test_the_shipped_recipes_are_those_on_disk() -> None:
    assert shipped_recipes() == {file.stem: file for file in FILES}
    assert "customer_support" in shipped_recipes()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_recipe_validates_and_its_data_are_shipped_or_named_by_the_user(file: Path) -> None:
    recipe = load_recipe(file)
    missing = [
        source.path for source in recipe.data.sources if not list(file.parent.glob(source.path))
    ]
    says_so = "not shipped" in file.read_text(encoding="utf-8")
    assert says_so or not missing, missing


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_recipe_is_commented(file: Path) -> None:
    first, *_ = file.read_text(encoding="utf-8").splitlines()
    assert first.startswith("# ")


def test_the_wheel_takes_the_recipes_along() -> None:
    assert 'recipes = "ftool/recipes"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
