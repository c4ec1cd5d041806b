"""The words of a command line: which recipe, run, model or file they name."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ftool.errors import RecipeError, RunError, did_you_mean

if TYPE_CHECKING:
    from ftool.artifacts import TrainingRun
    from ftool.console import Screen
    from ftool.eval.judge.gate import Gates
    from ftool.recipe.schema import Recipe

RUNS = Path("runs")
READ_BY_EVAL = ("eval.", "hub.", "name=", "seed=", "data.name=", "model.dtype=")
READ = {
    "eval": READ_BY_EVAL,
    "eval --data": (*READ_BY_EVAL, "data."),  # a raw file is prepared to be scored
    "push-to-hub": ("hub.",),
}
"""Verb -> what the settings begin with that it reads."""
WHAT_IT_READS = {
    "eval": "it scores what was prepared and trained: change eval.*, or prepare anew",
    "push-to-hub": "it publishes what was trained: change hub.*, or train anew",
}

DataOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE|FOLDER", help="Score on this file or prepared dataset."),
]
SplitOption = Annotated[
    Literal["validation", "test", "train"], typer.Option(help="Which examples to score.")
]
SliceOption = Annotated[
    list[str] | None,
    typer.Option("--slice", metavar="COLUMN", help="Score the values of this column apart."),
]
GroupOption = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="Rows of one value are not independent.")
]
ConfidenceOption = Annotated[
    bool, typer.Option("--confidence", help="Make probabilities certain to 0.01; slower.")
]
BaseFullOption = Annotated[
    bool, typer.Option("--base-full", help="Score the base model on every example too.")
]
FailUnderOption = Annotated[
    list[str] | None,
    typer.Option(metavar="METRIC=BOUND", help="End with 4 below: f1_macro=0.9, recall[a]=0.95"),
]
NoWorseThanOption = Annotated[
    str | None, typer.Option(metavar="RUN", help="End with 4 where this run is better.")
]
MarginOption = Annotated[
    float, typer.Option(min=0, max=1, help="By how much it may be better, in macro F1.")
]
JunitOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write the gates as JUnit XML.")
]


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


def refuse_unread(verb: str, overrides: list[str]) -> None:
    """Refuse settings that a verb does not read, such as those of a training that is done.

    Args:
        verb: a key of READ.
        overrides: as they were given.

    Raises:
        RecipeError: with all of them.
    """
    if unread := [word for word in overrides if not word.startswith(READ[verb])]:
        name = verb.partition(" ")[0]
        raise RecipeError(
            f"ftool {name} does not read {', '.join(unread)}", hint=WHAT_IT_READS[name]
        )


def asked_by_flags(*, confidence: bool, base_full: bool) -> list[str]:
    """Return the settings that flags of `ftool eval` stand for."""
    asked = {"eval.confidence=true": confidence, "eval.base_examples=null": base_full}
    return [setting for setting, is_asked in asked.items() if is_asked]


def refuse_no_base(settings: "Recipe | None", *, base_full: bool) -> None:
    """Refuse to score the whole of a base that the recipe leaves out."""
    if base_full and settings is not None and not settings.eval.base:
        raise RecipeError("--base-full: eval.base is false, so no base model is scored")


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
        if not Path(name).exists() and (near := did_you_mean(name, _runs())):
            screen.note(f"{name} is no run here{near} It is looked up as a model")
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


def _refuse_unwritable(file: Path) -> None:
    """Refuse a place in which no file can be written, before any work is done for it."""
    parents = file.absolute().parents
    folder = next(parent for parent in parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise RecipeError(f"--junit: nothing can be written in `{folder}`")


def _runs() -> list[str]:
    return sorted(path.name for path in RUNS.glob("[!.]*") if path.is_dir())


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
    path = path if path.is_dir() or path.parent != Path() else RUNS / name
    if not path.exists() and (near := did_you_mean(path.name, _runs())):
        raise RunError(f"there is no run {path}{near}", hint=f"the runs here are in {RUNS}/")
    run = TrainingRun.open(path)
    screen.note(f"run: {run.path}")
    return run


def find_gates(
    fail_under: list[str] | None,
    no_worse_than: str | None,
    margin: float,
    junit: Path | None,
    screen: "Screen",
) -> "Gates":
    """Return what a report is held to.

    Raises:
        RecipeError: a margin or a file without a gate.
        RunError: there is no such run.
    """
    from ftool.eval.judge.gate import Gates

    if margin and no_worse_than is None:
        raise RecipeError("--margin belongs to --no-worse-than RUN, which is missing")
    if junit is not None and not fail_under and no_worse_than is None:
        raise RecipeError("--junit: there is no gate", hint="add --fail-under f1_macro=0.9")
    if junit is not None and (not junit.name or junit.is_dir()):
        raise RecipeError(f"--junit: `{junit}` is a folder", hint="name a file: --junit gates.xml")
    if junit is not None:
        _refuse_unwritable(junit)
    other = find_run(no_worse_than, screen) if no_worse_than is not None else None
    return Gates(fail_under or (), other, margin)
