"""What a person sees of a training that was only tried."""

from typing import TYPE_CHECKING

from rich.text import Text

from ftool.console import terminal
from ftool.console.terminal import duration, one_line, table_of, title
from ftool.wording import counted

if TYPE_CHECKING:
    from ftool.train.dry_run import DryRun


def show_dry_run(tried: "DryRun") -> None:
    """Show what a training will take of time and memory."""
    title(f"{tried.base_model}, {tried.method}", "dry run, nothing was written")
    table = table_of("", "")
    for name, value in _rows(tried).items():
        table.add_row(name, one_line(value))
    terminal.stdout.print(table)
    if tried.available_memory_gib is not None and (
        tried.measured_memory_gib > tried.available_memory_gib
    ):
        terminal.stdout.print(Text("memory is short; lower train.batch_size_per_device"))


def _rows(tried: "DryRun") -> dict[str, str]:
    share = tried.learned_tokens / tried.tokens
    looked = tried.steps_looked_at
    where = "an epoch" if looked >= tried.steps_per_epoch else f"{looked:,} steps"
    size = counted(tried.largest_examples, "example")
    rows = {
        "device": tried.device,
        "examples": f"{tried.examples:,}",
        "tokens": f"{tried.tokens:,} in {where}, {share:.1%} of them learned",
        "tokens run": f"{tried.run_tokens:,}, {tried.padding_ratio:.1%} of them padding",
        "shared prefixes": _gain(tried.saved_ratio),
        "largest micro-batch": f"{size}, {tried.largest_tokens:,} tokens; a step of it was run",
        "memory": _memory(tried),
        "checkpointing": "activations are computed twice"
        if tried.activation_checkpointing
        else "off, activations are kept",
        "disk": f"{tried.disk_gib:.2g} GiB of checkpoints and model at most;"
        f" {tried.free_disk_gib:,.1f} are free",
        "steps": f"{tried.steps:,} of {counted(tried.global_batch_size, 'example')},"
        f" {tried.steps_per_epoch:,} an epoch",
        "time": f"{duration(tried.seconds)}, {tried.seconds_per_step:.3g} s a step; without"
        " validation",
        "speed": f"{tried.tokens_per_second:,.0f} tokens/s",
    }
    before = tried.seconds - tried.seconds_per_step * tried.steps
    if before >= 1:
        rows["frozen blocks"] = f"{duration(before)} of this time, before the first step"
    if tried.overlong:
        rows["left out"] = f"{counted(tried.overlong, 'example')} longer than train.max_length"
    return rows


def _gain(saved_ratio: float) -> str:
    if round(saved_ratio, 2) == 0:
        return "none to gain by; the examples do not begin alike"
    return f"{saved_ratio:.0%} of the prompt tokens are not run again"


def _memory(tried: "DryRun") -> str:
    expected, available = tried.expected_memory_gib, tried.available_memory_gib
    words = f"{tried.measured_memory_gib:.1f} GiB measured"
    words += "" if expected is None else f", {expected:.1f} foreseen"
    return words + ("" if available is None else f"; {available:.1f} are free")
