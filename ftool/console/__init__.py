"""All a person sees in a terminal: tables, progress, live loss, the error panel."""

from ftool.console.dataset import show_advice, show_dataset, show_examples, show_explanation
from ftool.console.dry_run import show_dry_run
from ftool.console.report import show_comparison, show_report
from ftool.console.screen import Screen
from ftool.console.summary import (
    show_bug,
    show_error,
    show_json,
    show_next,
    show_run,
    show_upload,
)

__all__ = [
    "Screen",
    "show_advice",
    "show_bug",
    "show_comparison",
    "show_dataset",
    "show_dry_run",
    "show_error",
    "show_examples",
    "show_explanation",
    "show_json",
    "show_next",
    "show_report",
    "show_run",
    "show_upload",
]
