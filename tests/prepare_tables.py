"""Tables of a few examples for tests of the data stage, made of real shards."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from ftool.example import Example, Message
from ftool.prepare.decide.table import Table, read_table
from ftool.prepare.read.rows import Finding, Row
from ftool.prepare.refine.shard import Shard, ShardWriter
from ftool.recipe.blocks.data import Source

Given = tuple[Example, int]
"""An example and the index of its source."""


def row(
    prompt: str,
    label: str | None = None,
    *,
    answer: str | None = None,
    group: str | None = None,
    source: int = 0,
) -> Given:
    """Return an example that is labelled, or answered freely where there is no label."""
    messages = (Message("user", prompt), Message("assistant", answer or label or "fine"))
    return Example(id="", messages=messages, label=label, group=group), source


def table_of(
    folder: Path,
    rows: Sequence[Given],
    *,
    splits: Sequence[str | None] = (None,),
    near: float | None = 0.8,
    kind: str = "chat",
    shard_rows: int = 1_000,
) -> Table:
    """Write the shards of some rows into a folder and read them as a table.

    Rows keep their order; a row's id is `SOURCE.csv:NUMBER`, with its number in the table from 1.

    Args:
        folder: where the shards go.
        rows: examples with the index of their source.
        splits: the split that each source is assigned to.
        near: the similarity from which rows are alike.
        kind: chat or text.
        shard_rows: rows of a shard, at most.
    """
    numbered = enumerate(rows)
    stretches = groupby(numbered, key=lambda item: (item[1][1], item[0] // shard_rows))
    shards = [
        write_shard(
            folder / f"unit-{number:06d}",
            [(place + 1, example) for place, (example, _) in stretch],
            source=source,
            near=near,
            kind=kind,
        )
        for number, ((source, _), stretch) in enumerate(stretches)
    ]
    sources = [
        Source.model_validate({"path": f"{number}.csv", "split": split})
        for number, split in enumerate(splits)
    ]
    table = read_table(shards, sources)
    table.near = near
    return table


def write_shard(
    path: Path,
    examples: Iterable[tuple[int, Example]],
    *,
    source: int = 0,
    near: float | None = 0.8,
    kind: str = "chat",
    refused: Sequence[str] = (),
    personal_data: Mapping[str, int] | None = None,
) -> Shard:
    """Write a shard of examples with their lines, and of rows refused for some reasons."""
    shown = f"{source}.csv"
    writer = ShardWriter(kind, near)
    for place, (line, example) in enumerate(examples):
        named = Example(
            id=f"{shown}:{line}",
            messages=example.messages,
            text=example.text,
            tools=example.tools,
            label=example.label,
            group=example.group,
            source=shown,
            line=line,
        )
        writer.keep(place, Row(line, f"row {line}"), named, tokens=line)
    for place, reason in enumerate(refused, start=len(writer.examples)):
        writer.reject(place, Row(place + 1, "raw"), shown, Finding(reason))
    writer.personal_data.update(personal_data or {})
    writer.redacted_rows = len(personal_data or {})
    about = {"shown": shown, "suffix": "", "origin": source, "bytes": 1, "columns": []}
    rows = len(writer.examples) + len(refused)
    read = {"recognised": True, "problem": None, "readings": [], "repairs": {}}
    writer.write(path, rows, {**about, **read, "unused": [], "matched": []})
    return Shard.open(path)


def reasons_of(table: Table) -> dict[int, str]:
    """Return the index of every row that goes, with its reason."""
    return {
        number: table.reasons[code] for number, code in enumerate(table.reason.tolist()) if code
    }
