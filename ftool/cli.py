"""The Typer app: one short function per verb; parse, call one function, show the result."""

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ftool.errors import RecipeError

if TYPE_CHECKING:
    from ftool.artifacts import TrainingRun
    from ftool.console import Screen
    from ftool.recipe.schema import Recipe

RUNS = Path("runs")
QUIET = {
    "DATASETS_VERBOSITY": "error",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}
FOREIGN = ("accelerate", "datasets", "evaluate", "huggingface_hub", "peft", "torch", "transformers")

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich help costs half as much again in start-up time
)


def _examples(first: str, second: str) -> str:
    return f"\b\nExamples:\n  {first}\n  {second}"


RecipeOption = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="FILE|NAME",
        help="A recipe file or the name of a shipped recipe; the only one here by default.",
    ),
]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", hidden=True)]


@app.callback(
    invoke_without_command=True,
    epilog=_examples("ftool prepare --recipe customer_support", "ftool train train.epochs=1"),
)
def ftool(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Take raw data to an evaluated, published, usable fine-tuned language model."""
    _quiet_libraries()
    if version:
        from ftool.artifacts import ftool_version

        typer.echo(f"ftool {ftool_version()}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(
    epilog=_examples(
        "ftool prepare --recipe customer_support",
        "ftool prepare --recipe tickets.yaml data.split.test=0.2",
    )
)
def prepare(overrides: Overrides = None, recipe: RecipeOption = None) -> None:
    """Turn raw sources into clean examples, split three ways.

    KEY=VALUE replaces a setting of the recipe.
    """
    from ftool.console import Screen, show_dataset, show_next

    settings, file = _load(recipe, _only_overrides(overrides))
    with Screen() as screen:
        screen.note(f"recipe: {file}")
        from ftool.prepare.run import prepare as prepare_dataset

        dataset = prepare_dataset(settings, on_note=screen.note, on_progress=screen.progress)
    show_dataset(dataset)
    show_next(["ftool", "train", *_again(recipe, overrides)])


@app.command(
    epilog=_examples(
        "ftool train --recipe customer_support",
        "ftool train --recipe tickets.yaml --run rank8 train.method.r=8",
    )
)
def train(
    overrides: Overrides = None,
    recipe: RecipeOption = None,
    run: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name of the run; the recipe's name by default."),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Move an older run of this name aside, start anew.")
    ] = False,
) -> None:
    """Fine-tune the base model on the prepared dataset.

    An interrupted run goes on where it stopped. KEY=VALUE replaces a setting of the recipe.
    """
    from ftool.console import Screen, show_next, show_run

    settings, file = _load(recipe, _only_overrides(overrides))
    with Screen() as screen:
        screen.note(f"recipe: {file}")
        from ftool.train.run import train as train_model

        finished = train_model(
            settings,
            run=run,
            fresh=fresh,
            on_note=screen.note,
            on_progress=screen.progress,
            on_step=screen.step,
        )
    show_run(finished)
    show_next(["ftool", "eval", str(finished.path)])


@app.command(
    name="eval",
    epilog=_examples(
        "ftool eval --split test",
        "ftool eval smollm2-135m-instruct --recipe customer_support --json",
    ),
)
def evaluate(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN|MODEL_FOLDER|HUB_ID|KEY=VALUE", hidden=True),
    ] = None,
    recipe: RecipeOption = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="FILE|FOLDER", help="Score on this file or prepared dataset."),
    ] = None,
    split: Annotated[
        Literal["validation", "test", "train"], typer.Option(help="Which examples to score.")
    ] = "validation",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON and nothing else.")
    ] = False,
) -> None:
    """Score a run or any model on held-out examples.

    Without a name it is the newest finished run. KEY=VALUE replaces a setting of the recipe.
    """
    from ftool.console import Screen, show_json, show_next, show_report

    name, overrides = _split_words(words)
    with Screen() as screen:
        subject, settings = _subject(name, recipe, overrides, screen, needs_recipe=data is None)
        if data is not None and not (data / "manifest.json").is_file():
            settings, data = _prepare_file(data, split, subject, settings, screen)
        from ftool.eval.run import evaluate as evaluate_model

        report = evaluate_model(
            subject,
            recipe=settings,
            data=data,
            split=split,
            on_note=screen.note,
            on_progress=screen.progress,
        )
    if as_json:
        show_json(report.as_dict())
        return
    show_report(report)
    if isinstance(subject, str):
        show_next(["ftool", "train", *_again(recipe, overrides)])
    else:
        words = ["push-to-hub", str(subject.path), "--repo", "OWNER/NAME", "--dry-run"]
        show_next(["ftool", *words])


@app.command(
    epilog=_examples(
        "ftool push-to-hub --repo me/support-router --dry-run",
        "ftool push-to-hub runs/rank8 --repo me/support-router --public",
    )
)
def push_to_hub(
    run: Annotated[str | None, typer.Argument(metavar="RUN", hidden=True)] = None,
    recipe: RecipeOption = None,
    repo: Annotated[
        str | None,
        typer.Option(metavar="OWNER/NAME", help="The Hub repository; `hub.repo` by default."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show files and card, upload nothing.")
    ] = False,
    public: Annotated[
        bool, typer.Option("--public", help="Everybody may see a new repository.")
    ] = False,
    merged: Annotated[
        bool | None,
        typer.Option("--merged/--adapter", help="Push merged weights or the adapter alone."),
    ] = None,
) -> None:
    """Publish a run with its model card on the Hub.

    Without a name it is the newest finished run.
    """
    from ftool.console import Screen, show_next, show_upload

    with Screen() as screen:
        settings = _load(recipe, [])[0] if recipe else None
        if run is None and settings is not None:
            run = str(RUNS / settings.name)
        subject = _find_run(run, screen)
        hub = (settings or subject.recipe()).hub
        repository = repo or hub.repo
        if repository is None:
            raise RecipeError("hub.repo: no repository is named", hint="add --repo OWNER/NAME")
        from ftool.hub.push import push

        upload = push(
            subject,
            repo=repository,
            private=hub.private and not public,
            merged=merged,
            dry_run=dry_run,
            on_note=screen.note,
        )
    show_upload(upload)
    if dry_run:
        flags = {"--public": public, "--merged": merged is True, "--adapter": merged is False}
        given = [flag for flag, is_given in flags.items() if is_given]
        show_next(["ftool", "push-to-hub", str(subject.path), "--repo", repository, *given])
    else:
        show_next(["hf", "download", upload.repo])


def _load(recipe: str | None, overrides: list[str]) -> "tuple[Recipe, Path]":
    from ftool.recipe.file import find_recipe, load_recipe

    file = find_recipe(recipe)
    return load_recipe(file, overrides), file


def _again(recipe: str | None, overrides: list[str] | None) -> list[str]:
    """Return the words that make another verb read the same settings."""
    return [*(["--recipe", recipe] if recipe else []), *(overrides or [])]


def _only_overrides(words: list[str] | None) -> list[str]:
    for word in words or []:
        if "=" not in word:
            raise RecipeError(
                f"`{word}` is not a setting; settings are written key=value",
                hint=f"write --recipe {word} if it is a recipe",
            )
    return words or []


def _split_words(words: list[str] | None) -> tuple[str | None, list[str]]:
    """Tell the model that is named apart from the overrides."""
    overrides = [word for word in words or [] if "=" in word]
    names = [word for word in words or [] if "=" not in word]
    if len(names) > 1:
        raise RecipeError(
            f"only one model can be scored at a time, not {len(names)}: {', '.join(names)}",
            hint="settings are written key=value",
        )
    return (names[0] if names else None), overrides


def _prepare_file(
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


def _subject(
    name: str | None,
    recipe: str | None,
    overrides: list[str],
    screen: "Screen",
    *,
    needs_recipe: bool,
) -> "tuple[TrainingRun | str, Recipe | None]":
    """Return what to score and the recipe to score it by; None is the run's own."""
    settings = _load(recipe, overrides)[0] if recipe else None
    if name is None and settings is not None:
        name = str(RUNS / settings.name)
    if name is not None and not _is_run(name):
        return name, settings or _recipe_here(overrides, is_needed=needs_recipe)
    run = _find_run(name, screen)
    if settings is None and overrides:
        settings = _load(str(run.path / "recipe.yaml"), overrides)[0]
    return run, settings


def _recipe_here(overrides: list[str], *, is_needed: bool) -> "Recipe | None":
    """Return the recipe of this folder; a file to score can do without one."""
    try:
        return _load(None, overrides)[0]
    except RecipeError:
        if is_needed or overrides:
            raise
        return None


def _is_run(name: str) -> bool:
    """Tell a run, finished or not, from a plain model folder and a Hub id."""
    path = Path(name)
    inside = path.parent == RUNS or (RUNS / name).is_dir()
    return inside or any((path / file).is_file() for file in ("manifest.json", "recipe.yaml"))


def _find_run(name: str | None, screen: "Screen") -> "TrainingRun":
    from ftool.artifacts import TrainingRun, newest_run

    if name is None:
        run = newest_run(RUNS)
        screen.note(f"run: {run.path} (the newest finished one)")
        return run
    path = Path(name)
    run = TrainingRun.open(path if path.is_dir() or path.parent != Path() else RUNS / name)
    screen.note(f"run: {run.path}")
    return run


def _quiet_libraries() -> None:
    """Leave the terminal to the console: no foreign progress bars, advice or warnings.

    Set before the libraries are imported, for they read their environment only then; a variable
    that the user has set stays. Warnings of ftool itself are untouched.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", module=rf"({'|'.join(FOREIGN)})(\.|$)")
