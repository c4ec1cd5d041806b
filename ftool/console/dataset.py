"""What a person sees of prepared data: the funnel, examples, one row explained, advice."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from ftool.artifacts import PreparedDataset
from ftool.console import terminal
from ftool.console.terminal import clean, one_line, table_of, title
from ftool.example import SPLITS
from ftool.wording import counted

if TYPE_CHECKING:
    from ftool.prepare.write.explain import Explanation
    from ftool.start.show import ShownExample

LABELS_SHOWN = 12
RAW_CHARACTERS = 400
LEARNED_STYLE = "bold green"


def show_dataset(dataset: PreparedDataset) -> None:
    """Show where the rows went, split by split and label by label."""
    title(f"{dataset.path}", f"{dataset.kind}, {counted(len(dataset.label_names), 'label')}")
    funnel = table_of("", ">")
    funnel.add_row("read", f"{dataset.rows['read']:,}")
    funnel.add_row("rejected", f"{sum(dataset.rejected.values()):,}")
    for reason, count in sorted(dataset.rejected.items(), key=lambda item: -item[1]):
        funnel.add_row(f"  {one_line(reason)}", f"{count:,}")
    funnel.add_row("kept", f"{sum(dataset.rows['kept'].values()):,}")
    for split in SPLITS:
        funnel.add_row(f"  {split}", f"{dataset.count(split):,}")
    cleaned = (dataset.manifest().get("statistics") or {}).get("cleaned") or {}
    for rule, count in cleaned.items():
        if count:
            funnel.add_row(f"changed by {one_line(rule)}", f"{count:,}")
    terminal.stdout.print(funnel)
    if dataset.label_names:
        _show_labels(dataset.manifest()["label_counts"])


def _show_labels(counts: Mapping[str, Mapping[str, int]]) -> None:
    totals: dict[str, int] = {}
    for split in SPLITS:
        for label, count in counts.get(split, {}).items():
            totals[label] = totals.get(label, 0) + count
    frequent = sorted(totals, key=lambda label: (-totals[label], label))
    table = table_of("label", *(f">{split}" for split in SPLITS))
    for label in frequent[:LABELS_SHOWN]:
        table.add_row(
            one_line(label), *(f"{counts.get(split, {}).get(label, 0):,}" for split in SPLITS)
        )
    terminal.stdout.print()
    terminal.stdout.print(table)
    if len(frequent) > LABELS_SHOWN:
        rest, rarest = len(frequent) - LABELS_SHOWN, frequent[-1]
        few = counted(totals[rarest], "example")
        terminal.stdout.print(Text(f"and {rest} more; the rarest is {one_line(rarest)} with {few}"))


def show_examples(examples: "Sequence[ShownExample]") -> None:
    """Show examples as the model reads them; without colours, brackets mark what is learned."""
    terminal.stdout.print(
        Text.assemble("legend: ", _learned("learned"), ", the rest is only given")
    )
    for example in examples:
        words = [example.split, *([one_line(example.label)] if example.label else [])]
        counts = f"{counted(example.tokens, 'token')}, {example.learned_tokens:,} learned"
        parts: list[str | tuple[str, str]] = [
            (f"\n{one_line(example.id)}\n", "bold"),
            (", ".join([*words, counts]) + "\n", "dim"),
        ]
        parts += [(_learned if p.learned else clean)(p.text) for p in example.pieces]
        for note in example.notes:
            parts += [("\nnote: ", "bold yellow"), one_line(note)]
        # A terminal breaks lines between words, a pipe gets them as they are.
        terminal.stdout.print(Text.assemble(*parts), soft_wrap=not terminal.stdout.is_terminal)


def _learned(text: str) -> tuple[str, str]:
    has_colours = terminal.stdout.color_system is not None and not terminal.stdout.no_color
    return (clean(text) if has_colours else f"⟦{clean(text)}⟧", LEARNED_STYLE)


def show_explanation(explanation: "Explanation") -> None:
    """Show a row as it was, what every rule says about it, and where it ended."""
    title(explanation.place, "as it was")
    raw = clean(explanation.raw)
    terminal.stdout.print(Text(raw[:RAW_CHARACTERS] + ("..." if len(raw) > RAW_CHARACTERS else "")))
    marks = {True: ("passes", "green"), False: ("goes", "bold red"), None: ("", "")}
    width = max(len(step.rule) for step in explanation.steps)
    terminal.stdout.print()
    for step in explanation.steps:
        word, style = marks[step.passes]
        line = Text.assemble(f"{step.rule:<{width}}  ", (f"{word:<6}", style))
        terminal.stdout.print(line.append(f"  {one_line(step.sentence)}"), soft_wrap=True)
    if explanation.example is not None:
        _show_texts(explanation)


def _show_texts(explanation: "Explanation") -> None:
    assert explanation.example is not None
    example = explanation.example
    terminal.stdout.print(Text("\nas it is prepared (ftool show: as it is learned)", style="bold"))
    if example.text is not None:
        terminal.stdout.print(Text(clean(example.text)))
    for message in example.messages:
        terminal.stdout.print(Text(f"{message.role}: {clean(message.content)}"))


def show_advice(advice: Sequence[tuple[str, str]], folder: Path) -> None:
    """Show what may be changed in the recipe, each with the setting, and where the report is."""
    for sentence, setting in advice:
        line = Text.assemble("\nadvice: ", one_line(sentence), "\n  ", (one_line(setting), "bold"))
        terminal.stdout.print(line, soft_wrap=True)
    terminal.stdout.print(Text(f"\nreport of this trial: {folder}/report.html"), soft_wrap=True)
