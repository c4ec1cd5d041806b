"""The Typer app: one short function per verb; parse, call one function, show the result."""

from typing import Annotated, Literal

import typer

from ftool.arguments import (
    RUNS,
    BaseFullOption,
    ConfidenceOption,
    DataOption,
    FailUnderOption,
    GroupOption,
    JunitOption,
    MarginOption,
    NoWorseThanOption,
    SliceOption,
    SplitOption,
    again,
    asked_by_flags,
    find_gates,
    find_run,
    find_subject,
    only_overrides,
    prepare_file,
    read_recipe,
    refuse_no_base,
    refuse_unread,
    split_words,
)
from ftool.errors import RecipeError
from ftool.quiet import quiet_libraries

TRIAL_ROWS = 1_000

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
    quiet_libraries()
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
def prepare(
    overrides: Overrides = None,
    recipe: RecipeOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Try 1,000 rows from all over each file.")
    ] = False,
    explain: Annotated[
        str | None,
        typer.Option(metavar="FILE:LINE", help="Tell every decision about one row."),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Forget an earlier preparation and its splits.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Processes; by default as many as help.")
    ] = None,
) -> None:
    """Turn raw sources into clean examples, split three ways.

    KEY=VALUE replaces a setting of the recipe.
    """
    from ftool.console import Screen, show_dataset, show_next

    settings, file = read_recipe(recipe, only_overrides(overrides))
    if explain is not None:
        from ftool.console import show_explanation
        from ftool.prepare.write.explain import explain as explain_row

        show_explanation(explain_row(settings, explain))
        return
    with Screen() as screen:
        screen.note(f"recipe: {file}")
        from ftool.prepare.run import prepare as prepare_dataset

        dataset = prepare_dataset(
            settings,
            workers=workers,
            fresh=fresh,
            trial=TRIAL_ROWS if dry_run else None,
            on_note=screen.note,
            on_progress=screen.progress,
        )
    show_dataset(dataset)
    if dry_run:
        from ftool.console import show_advice
        from ftool.prepare.write.advice import advise

        show_advice(advise(settings, dataset.manifest()), dataset.path)
    show_next(["ftool", "prepare" if dry_run else "train", *again(recipe, overrides)])


@app.command(
    epilog=_examples(
        "ftool show --recipe customer_support",
        "ftool show customer-support --split test --examples 1",
    )
)
def show(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="DATA|KEY=VALUE", hidden=True)
    ] = None,
    recipe: RecipeOption = None,
    split: Annotated[
        Literal["train", "validation", "test"] | None,
        typer.Option(help="Which examples; train by default, with --id any."),
    ] = None,
    examples: Annotated[int, typer.Option(min=1, metavar="N", help="How many to draw.")] = 3,
    only: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Show this example alone.")
    ] = None,
) -> None:
    """Show prepared examples as the model reads them, and what it learns of them.

    DATA is a prepared dataset or its name; the recipe's by default. KEY=VALUE replaces a setting.
    """
    from ftool.console import Screen, show_examples

    name, overrides = split_words(words, "dataset can be shown")
    settings, file = read_recipe(recipe, overrides)
    with Screen() as screen:
        screen.note(f"recipe: {file}")
        from ftool.start.show import show as render

        shown = render(
            settings, data=name, split=split, examples=examples, only=only, on_note=screen.note
        )
    show_examples(shown)


@app.command(
    epilog=_examples(
        "ftool train --recipe customer_support --dry-run",
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
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Try a few steps: time and memory; write nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON and nothing else.")
    ] = False,
) -> None:
    """Fine-tune the base model on the prepared dataset.

    An interrupted run goes on where it stopped. KEY=VALUE replaces a setting of the recipe.
    """
    from ftool.console import Screen, show_dry_run, show_json, show_next, show_run

    settings, file = read_recipe(recipe, only_overrides(overrides))
    with Screen() as screen:
        screen.note(f"recipe: {file}")
        if dry_run:
            from ftool.train.dry_run import dry_run as try_to_train

            tried = try_to_train(settings, on_note=screen.note, on_progress=screen.progress)
        else:
            from ftool.train.run import train as train_model

            finished = train_model(
                settings,
                run=run,
                fresh=fresh,
                on_note=screen.note,
                on_progress=screen.progress,
                on_step=screen.step,
            )
    if as_json:
        show_json(tried.as_dict() if dry_run else finished.manifest())
    elif dry_run:
        show_dry_run(tried)
        named = ["--run", run] if run else []
        show_next(["ftool", "train", *again(recipe, overrides), *named])
    else:
        show_run(finished)
        show_next(["ftool", "eval", str(finished.path)])


@app.command(
    name="eval",
    epilog=_examples(
        "ftool eval --split test",
        "ftool eval smollm2-135m-instruct --recipe customer_support --json",
    ),
)
def evaluate(  # noqa: PLR0913 - an argument for every option
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN|MODEL_FOLDER|HUB_ID|KEY=VALUE", hidden=True),
    ] = None,
    recipe: RecipeOption = None,
    data: DataOption = None,
    split: SplitOption = "validation",
    slices: SliceOption = None,
    group: GroupOption = None,
    confidence: ConfidenceOption = False,
    base_full: BaseFullOption = False,
    fail_under: FailUnderOption = None,
    no_worse_than: NoWorseThanOption = None,
    margin: MarginOption = 0.0,
    junit: JunitOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON and nothing else.")
    ] = False,
) -> None:
    """Score a run or any model on held-out examples.

    Without a name it is the newest finished run. KEY=VALUE replaces a setting of the recipe.
    """
    from ftool.console import Screen, show_json, show_next, show_report

    name, overrides = split_words(words, "model can be scored")
    refuse_unread("eval --data" if data is not None else "eval", overrides)
    scored_by = [*overrides, *asked_by_flags(confidence=confidence, base_full=base_full)]
    with Screen() as screen:
        subject, settings = find_subject(name, recipe, scored_by, screen, needs_recipe=data is None)
        refuse_no_base(settings, base_full=base_full)
        gates = find_gates(fail_under, no_worse_than, margin, junit, screen)
        if data is not None and not (data / "manifest.json").is_file():
            settings, data = prepare_file(data, split, subject, settings, screen)
        from ftool.eval.judge.findings import Columns
        from ftool.eval.judge.gate import hold_to_gates
        from ftool.eval.run import evaluate as evaluate_model

        report = evaluate_model(
            subject,
            recipe=settings,
            data=data,
            split=split,
            columns=Columns(slices or (), group),
            gates=gates,
            on_note=screen.note,
            on_progress=screen.progress,
        )
    if as_json:
        show_json(report.as_dict())
    else:
        show_report(report)
    hold_to_gates(report, junit)
    if isinstance(subject, str):
        words = ["train", *again(recipe, overrides)]
    else:
        words = ["push-to-hub", str(subject.path), "--repo", "OWNER/NAME", "--dry-run"]
    if not as_json and not report.loses_to_floor:  # which is not to be published
        show_next(["ftool", *words])


@app.command(
    epilog=_examples(
        "ftool compare runs/support runs/rank8 --split test",
        "ftool compare runs/production runs/rank8 runs/rank64 --json",
    )
)
def compare(
    runs: Annotated[list[str] | None, typer.Argument(metavar="RUN", hidden=True)] = None,
    split: Annotated[
        Literal["validation", "test", "train"], typer.Option(help="Which reports to compare.")
    ] = "validation",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the comparison as JSON and nothing else.")
    ] = False,
) -> None:
    """Compare runs that were scored on the same rows, each with the first.

    RUN RUN ... are two runs or more.
    """
    from ftool.console import Screen, show_comparison, show_json

    with Screen() as screen:
        found = [find_run(run, screen) for run in runs or []]
        from ftool.eval.judge.compare import compare as compare_runs

        compared = compare_runs(found, split=split)
    if as_json:
        show_json(compared.as_dict())
    else:
        show_comparison(compared)


@app.command(
    epilog=_examples(
        "ftool push-to-hub --repo me/support-router --dry-run",
        "ftool push-to-hub runs/rank8 --repo me/support-router hub.license=mit",
    )
)
def push_to_hub(
    words: Annotated[list[str] | None, typer.Argument(metavar="RUN|KEY=VALUE", hidden=True)] = None,
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

    Without a name it is the newest finished run. KEY=VALUE replaces a setting of `hub`.
    """
    from ftool.console import Screen, show_next, show_upload

    name, overrides = split_words(words, "run can be published")
    refuse_unread("push-to-hub", overrides)
    with Screen() as screen:
        settings = read_recipe(recipe, overrides)[0] if recipe else None
        if name is None and settings is not None:
            name = str(RUNS / settings.name)
        subject = find_run(name, screen)
        hub = (settings or read_recipe(str(subject.path / "recipe.yaml"), overrides)[0]).hub
        repository = repo or hub.repo
        if repository is None:
            raise RecipeError("hub.repo: no repository is named", hint="add --repo OWNER/NAME")
        from ftool.hub.push import push

        upload = push(
            subject,
            repo=repository,
            private=hub.private and not public,
            merged=hub.merged if merged is None else merged,
            license=hub.license,
            dry_run=dry_run,
            on_note=screen.note,
        )
    show_upload(upload)
    if dry_run:
        flags = {"--public": public, "--merged": merged is True, "--adapter": merged is False}
        given = [flag for flag, is_given in flags.items() if is_given]
        named = [str(subject.path), "--repo", repository]
        show_next(["ftool", "push-to-hub", *named, *given, *again(recipe, overrides)])
    else:
        show_next(["hf", "download", upload.repo])
