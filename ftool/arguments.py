"""The words of a command line: which recipe, run, model or file they name."""

from pathlib import Path
from typing import TYPE_CHECKING

from ftool.errors import RecipeError

if TYPE_CHECKING:
    from ftool.artifacts import TrainingRun
    from ftool.console import Screen
    from ftool.recipe.schema import Recipe

RUNS = Path("runs")


def read_recipe(recipe: str | None, overrides: list[str]) -> "tuple[Recipe, Path]":
    """Return the recipe that a word means, with its settings replaced, and its file."""
    from ftool.recipe.file import find_recipe, load_recipe

    file = find_recipe(recipe)
    return load_recipe(file, overrides), file


def again(recipe: str | None, overrides: list[str] | None) -> list[str]:
    """Return the words that make another verb read the same settings."""
    return [*(["--recipe", recipe] if recipe else []), *(overrides or [])]


def only_overrides(words: list[str] | None) -> list[str]:
    """Return words that are all settings.

    Raises:
        RecipeError: one is not written key=value.
    """
    for word in words or []:
        if "=" not in word:
            raise RecipeError(
                f"`{word}` is not a setting; settings are written key=value",
                hint=f"write --recipe {word} if it is a recipe",
            )
    return words or []


def split_words(words: list[str] | None, what: str) -> tuple[str | None, list[str]]:
    """Tell what is named apart from the overrides."""
    overrides = [word for word in words or [] if "=" in word]
    names = [word for word in words or [] if "=" not in word]
    if len(names) > 1:
        raise RecipeError(
            f"only one {what} at a time, not {len(names)}: {', '.join(names)}",
            hint="settings are written key=value",
        )
    return (names[0] if names else None), overrides


def prepare_file(
    file: Path,
    split: str,
    subject: "TrainingRun | str",
    settings: "Recipe | None",
    screen: "Screen",
) -> "tuple[Recipe, Path]":
    """Prepare a raw file for scoring, as the run's own data was prepared."""
    from ftool.prepare.run import prepare as prepare_dataset
    from ftool.recipe.file import recipe_for_file

    labels: list[str] = []
    if not isinstance(subject, str):
        settings = settings or subject.recipe()
        labels = subject.manifest()["dataset"]["label_names"]
    made = recipe_for_file(file, split=split, like=settings, label_names=labels)
    dataset = prepare_dataset(made, on_note=screen.note, on_progress=screen.progress)
    if dataset.rejected:
        reasons = ", ".join(f"{reason} {count}" for reason, count in dataset.rejected.items())
        screen.note(f"not scored of {file}: {reasons}; see {dataset.path}/rejected.jsonl")
    return made, dataset.path


def find_subject(
    name: str | None,
    recipe: str | None,
    overrides: list[str],
    screen: "Screen",
    *,
    needs_recipe: bool,
) -> "tuple[TrainingRun | str, Recipe | None]":
    """Return what to score and the recipe to score it by; None is the run's own."""
    settings = read_recipe(recipe, overrides)[0] if recipe else None
    if name is None and settings is not None:
        name = str(RUNS / settings.name)
    if name is not None and not _is_run(name):
        return name, settings or _recipe_here(overrides, is_needed=needs_recipe)
    run = find_run(name, screen)
    if settings is None and overrides:
        settings = read_recipe(str(run.path / "recipe.yaml"), overrides)[0]
    return run, settings


def _recipe_here(overrides: list[str], *, is_needed: bool) -> "Recipe | None":
    """Return the recipe of this folder; a file to score can do without one."""
    try:
        return read_recipe(None, overrides)[0]
    except RecipeError:
        if is_needed or overrides:
            raise
        return None


def _is_run(name: str) -> bool:
    """Tell a run, finished or not, from a plain model folder and a Hub id."""
    path = Path(name)
    inside = path.parent == RUNS or (RUNS / name).is_dir()
    return inside or any((path / file).is_file() for file in ("manifest.json", "recipe.yaml"))


def find_run(name: str | None, screen: "Screen") -> "TrainingRun":
    """Return the run that a word means; without one the newest finished run.

    Raises:
        RunError: there is none, or it is not finished.
    """
    from ftool.artifacts import TrainingRun, newest_run

    if name is None:
        run = newest_run(RUNS)
        screen.note(f"run: {run.path} (the newest finished one)")
        return run
    path = Path(name)
    run = TrainingRun.open(path if path.is_dir() or path.parent != Path() else RUNS / name)
    screen.note(f"run: {run.path}")
    return run
