"""What stays, and in which split: every decision that looks at more than one row, in order."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ftool.artifacts import OnProgress, ignore_note
from ftool.prepare.decide.decontaminate import OWN_SHARE, ROWS_AT_ONCE, shared_runs
from ftool.prepare.decide.dedup import drop_exact, drop_near, find_near
from ftool.prepare.decide.earlier import Earlier
from ftool.prepare.decide.labels import Spellings, drop_undeclared, spell
from ftool.prepare.decide.likeness import NO_LIKENESS
from ftool.prepare.decide.near import Pairs
from ftool.prepare.decide.sample import draw_samples
from ftool.prepare.decide.split import TRAIN, divide, refuse_empty_train
from ftool.prepare.decide.table import LOOSE, Table
from ftool.prepare.read.plan import is_foreign, plan_input
from ftool.prepare.read.sources import Input, input_encoding, read_rows
from ftool.prepare.refine.words import flat_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ftool.prepare.decide.decontaminate import Block, Blocks
    from ftool.recipe.schema import Recipe


@dataclass(frozen=True, slots=True)
class Decisions:
    """The split of every row that stays, and what was found on the way."""

    places: "NDArray[np.int8]"
    spellings: Spellings
    pairs: Pairs
    continues: str | None


def decide(
    table: Table,
    recipe: "Recipe",
    against: Sequence[Input],
    before: Earlier | None,
    *,
    workers: int,
    on_progress: OnProgress,
) -> Decisions:
    """Decide about every row of a table.

    Args:
        table: rows that go are marked in it.
        recipe: the rules.
        against: files whose rows must not be in train.
        before: where an earlier preparation put rows.
        workers: threads.
        on_progress: told how far it is.

    Raises:
        DataError: `per_label` without labels, or nothing is left for train.
    """
    data = recipe.data
    table.near = data.dedup.near
    if before is not None:
        table.earlier = before.of(table.numbers("unit")[:, 0])
    spellings = spell(table, data)
    drop_undeclared(table, data)
    drop_exact(table, wanted=data.dedup.exact)
    alike = NO_LIKENESS
    if data.dedup.near is not None:
        alike = find_near(table, data.dedup.near, workers=workers, on_progress=on_progress)
        drop_near(table, alike.repeats, exact=data.dedup.exact)
    files = _file_words(against, table)
    decontaminate = partial(_decontaminate, table, workers=workers, on_progress=on_progress)
    decontaminate(table.assigned, files, share=0.0)
    draw_samples(table, data.sources, seed=recipe.seed)
    places = divide(table, alike.together, recipe)
    if (table.stays & (table.assigned == LOOSE)).any():
        by_chance = np.where(table.assigned == LOOSE, places, TRAIN)
        decontaminate(by_chance, [], share=OWN_SHARE)
    refuse_empty_train(table, places, recipe)
    return Decisions(places, spellings, alike.repeats, before.fingerprint if before else None)


def _decontaminate(
    table: Table,
    places: "NDArray[np.int8]",
    files: "Sequence[Block]",
    *,
    share: float,
    workers: int,
    on_progress: OnProgress,
) -> None:
    """Reject rows that share runs of words with rows held out, or with files."""
    stays = table.stays
    held_out = np.flatnonzero(stays & (places > TRAIN))
    if not len(held_out) and not files:
        return
    loose = np.flatnonzero(stays & ~table.held_out & (places <= TRAIN))
    total = sum(int(lengths.sum()) for _, _, lengths in files)
    total += int(table.numbers("lengths")[held_out].sum())

    def of_held_out() -> "Iterator[Block]":
        yield from _blocks(table, held_out)
        yield from files

    shared = shared_runs(
        _told("finding common phrases", of_held_out, len(held_out), on_progress),
        _told("decontaminating", partial(_blocks, table, loose), len(loose), on_progress),
        total=total,
        share=share,
        workers=workers,
    )
    table.reject(shared.rows, "contaminated", twin=shared.twins, value=shared.runs)


def _told(
    what: str, read: "Callable[[], Iterator[Block]]", rows: int, on_progress: OnProgress
) -> "Blocks":
    """Return what reads blocks and tells how many of their rows are looked at."""
    done = 0

    def told(readings: int) -> "Iterator[Block]":
        nonlocal done
        for block in read():
            done += len(block[0])
            on_progress(what, done, readings * rows)
            yield block

    return told


def _blocks(table: Table, rows: "NDArray[np.int64]") -> "Iterator[Block]":
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        yield part, *table.take_words(part)


def _file_words(against: Sequence[Input], table: Table) -> "list[Block]":
    """Return the words of every text in files of any shape; a file's number is below -1."""
    found: list[Block] = []
    for number, file in enumerate(against):
        table.against.append(file.shown)
        encoding = input_encoding(file, ignore_note)
        is_read = not is_foreign(file, plan_input(file, encoding))
        rows = read_rows(file, encoding) if is_read else iter(())
        words, lengths = flat_words(text for row in rows for text in _texts(row.values))
        # A file counts as one row: none of its phrases is too common to matter.
        owners = np.full(len(lengths), -2 - number, np.int64)
        found.append((owners, words, lengths))
    return found


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in a raw value, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
