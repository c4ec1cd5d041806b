"""What a person sees at the end of a verb: errors, the next command, runs, uploads."""

import json
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text

from ftool.artifacts import TrainingRun
from ftool.console import terminal
from ftool.console.terminal import (
    clean,
    duration,
    escaped,
    one_line,
    size_of,
    table_of,
    title,
)
from ftool.credentials import masked
from ftool.errors import FtoolError
from ftool.wording import counted

if TYPE_CHECKING:
    from ftool.hub.push import Upload


def show_error(error: FtoolError) -> None:
    """Show what was refused and what to do about it, on stderr."""
    message = Text.assemble(("error: ", "bold red"), masked(clean(error.message)))
    terminal.stderr.print(message, soft_wrap=True)
    if error.hint:
        hint = masked(clean(error.hint))
        terminal.stderr.print(Text.assemble(("hint: ", "bold"), hint), soft_wrap=True)


def show_bug(report: str) -> None:
    """Show the traceback of a bug, without secrets, on stderr."""
    terminal.stderr.print(Text(masked(clean(report))), soft_wrap=True)


def show_next(words: Sequence[str]) -> None:
    """Show the command to go on with."""
    command = clean(shlex.join(words))
    terminal.stdout.print(Text.assemble("\nnext: ", (command, "bold")), soft_wrap=True)


def show_json(value: Any) -> None:
    """Print a value as JSON and nothing else; what could steer a terminal is a code in it."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    sys.stdout.write(escaped(text) + "\n")


def show_run(run: TrainingRun) -> None:
    """Show what a training came to."""
    manifest = run.manifest()
    trained, parameters = manifest["trainable_parameters"], manifest["parameters"]
    share = f"{trained:,} of {parameters:,} parameters ({trained / parameters:.1%})"
    best, environment = manifest["best_metric"], manifest["environment"]
    rows = {
        "base model": run.base_model.name,
        "method": f"{manifest['method']}, {share}",
        "steps": f"{run.steps:,} in {duration(manifest['seconds'])} on {environment['device']}",
    }
    if best:
        rows["best"] = f"{best['name']} {best['value']:.4f} at step {run.best_step}"
    left_out = {"longer than train.max_length": manifest["overlong_rejected"]}
    left_out |= {f"({code})": ids for code, ids in manifest.get("left_out", {}).items()}
    if left := [f"{counted(len(ids), 'example')} {why}" for why, ids in left_out.items() if ids]:
        rows["left out"] = ", ".join(left)
    title(f"{run.path}", run.status)
    table = table_of("", "")
    for name, value in rows.items():
        table.add_row(name, one_line(value))
    terminal.stdout.print(table)


def show_upload(upload: "Upload") -> None:
    """Show what was published, or the card and the files that would be."""
    if upload.dry_run:
        terminal.stdout.print(Text(clean(upload.card)), soft_wrap=True)
    visible = "private" if upload.private else "public"
    what = "dry run, nothing was uploaded" if upload.dry_run else "published"
    title(upload.url or upload.repo, f"{visible}; {what}")
    table = table_of("", ">")
    for name, size in upload.files:
        table.add_row(one_line(name), size_of(size))
    table.add_row("together", size_of(sum(size for _, size in upload.files)))
    terminal.stdout.print(table)
