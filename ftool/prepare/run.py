"""The pipeline of `ftool prepare`, in order."""

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftool.artifacts import (
    MANIFEST,
    SCHEMA,
    OnNote,
    OnProgress,
    PreparedDataset,
    data_settings,
    file_sha256,
    fingerprint,
    ftool_version,
    ignore_note,
    ignore_progress,
    write_json,
    write_text,
)
from ftool.errors import DataError, did_you_mean
from ftool.lock import locked
from ftool.prepare.decide.decisions import Decisions, decide
from ftool.prepare.decide.earlier import Earlier, read_earlier
from ftool.prepare.decide.labels import lost_labels, name_labels
from ftool.prepare.decide.table import Table, count_reasons, read_table
from ftool.prepare.read.proposal import Problem
from ftool.prepare.read.readers import DELIMITED
from ftool.prepare.read.sources import Input, describe_input, find_inputs
from ftool.prepare.read.units import divide
from ftool.prepare.refine.gather import Refining, gather, processors
from ftool.prepare.refine.html import html_reader
from ftool.prepare.refine.language import wanted_languages
from ftool.prepare.refine.minhash import shape
from ftool.prepare.refine.shard import Shard
from ftool.prepare.refine.tokens import token_counter
from ftool.prepare.write import describe, folder
from ftool.prepare.write.card import card
from ftool.prepare.write.measure import count_labels, measure
from ftool.prepare.write.report import write_report
from ftool.shortage import shortages_told

if TYPE_CHECKING:
    from ftool.recipe.blocks.data import Data
    from ftool.recipe.schema import Recipe

BYTES_FOR_PROCESSES = 16 * 2**20
"""Raw data below this is done before other processes have started."""
BYTES_FOR_MEMORY = 2**30
"""Raw data above this needs the memory of this process for what is decided of all rows."""
MEMORY_HINT = "what is done stays; one process takes least: --workers 1"
LATER = {
    "data": {"name", "decontaminate", "max_rejected_ratio"},
    "source": {"path", "limit", "per_label"},
    "dedup": {"exact", "near"},
    "split": {"validation", "test", "stratify"},
}
"""Settings that no shard depends on, so that shards outlive a change of them."""


@shortages_told(memory_hint=MEMORY_HINT)
def prepare(
    recipe: "Recipe",
    *,
    output: Path = Path("data"),
    workers: int | None = 1,
    fresh: bool = False,
    trial: int | None = None,
    on_progress: OnProgress = ignore_progress,
    on_note: OnNote = ignore_note,
) -> PreparedDataset:
    """Make a prepared dataset of the sources of a recipe, in `output/<data name>`.

    Every row that is read ends in a split or in rejected.jsonl. Where the same inputs, settings
    and version gave the dataset that stands there, it stays as it is. What a killed call had done
    is not done again, nor what a changed setting leaves alone. Rows stay in the split that an
    earlier preparation put them in.

    Args:
        recipe: what to read and what to do with it.
        output: the folder of prepared datasets.
        workers: processes; None is one per processor where there is enough to do, for programs
            that may be started anew (`if __name__ == "__main__"`).
        fresh: forget an earlier preparation.
        trial: read only that many rows from all over each input, into `output/.<data name>.trial`.
        on_progress: told how many rows are read and written.
        on_note: told what a person should know.

    Raises:
        DataError: a source cannot be used, too many rows are rejected, nothing is left to train
            on, or the folder is not ftool's.
        HubError: a Hub data set cannot be loaded.
        RunError: another process prepares the same dataset, or a process of this one was ended.
        DeviceError: memory or disk is not enough.
    """
    target = output / recipe.data_name
    if trial is not None:
        target = folder.sibling(target, "trial")
    folder.refuse_foreign(target)
    inputs = _find(recipe, on_note)
    with locked(target.with_name(f".{target.name.strip('.')}.lock")):
        folder.put_back(target)
        task = _describe(recipe, inputs)
        if not fresh and trial is None and folder.is_current(target, task.inputs_fingerprint):
            folder.forget_refused(target)
            on_note(f"{target} is up to date")
            return PreparedDataset.open(target)
        is_new = fresh or trial is not None
        before = None if is_new else read_earlier(target, recipe, on_note)
        work = folder.work_folder(target, task.work_key, fresh=is_new)
        told = Watchers(on_progress, on_note)
        workers = _processes(workers, task, trial, on_note)
        try:
            shards = _gather(recipe, task, work, workers, trial, told)
            _decide_and_write(recipe, task, shards, before, workers, target, told)
        finally:
            if trial is not None:
                shutil.rmtree(work)  # of no use to another call, and as private as the raw data
    return PreparedDataset.open(target)


@dataclass(frozen=True, slots=True)
class Watchers:
    """Who is told what."""

    on_progress: OnProgress
    on_note: OnNote


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is read, and the files that train must not repeat."""

    sources: list[Input]
    against: list[Input]


@dataclass(frozen=True, slots=True)
class Task:
    """Inputs with their hashes, and the fingerprints of all that decides the outcome."""

    inputs: Inputs
    described: list[dict[str, Any]]
    inputs_fingerprint: str
    work_key: str

    @property
    def bytes(self) -> int:
        """Size of all inputs."""
        return sum(found["bytes"] for found in self.described)


def _processes(wanted: int | None, task: Task, trial: int | None, on_note: OnNote) -> int:
    """Return on how many processors to work."""
    if wanted is None:
        return processors() if task.bytes >= BYTES_FOR_PROCESSES and trial is None else 1
    if wanted > processors():
        on_note(f"{processors()} processes instead of {wanted}: one per processor")
    return min(wanted, processors())


def _find(recipe: "Recipe", on_note: OnNote) -> Inputs:
    from ftool.recipe.blocks.data import Source

    if recipe.data.filter.languages:
        wanted_languages(tuple(recipe.data.filter.languages))  # a wrong code fails before any work
    against = [Source(path=path) for path in recipe.data.decontaminate]
    kind = recipe.data.kind
    return Inputs(
        find_inputs(recipe.folder, recipe.data.sources, on_note, kind=kind),
        find_inputs(recipe.folder, against, on_note, kind=kind),
    )


def _describe(recipe: "Recipe", inputs: Inputs) -> Task:
    described = [describe_input(found) for found in inputs.sources]
    against = [describe_input(found) for found in inputs.against]
    settings = data_settings(recipe)
    settings["data"]["sources"] = _without(settings["data"]["sources"], {"path"})
    del settings["data"]["decontaminate"]  # what is in the files counts, not where they lie
    origins = [found.origin for found in inputs.sources]
    reader = None if recipe.data.clean.html == "keep" else html_reader()
    about = [origins, described, _tokenizer(recipe), reader, SCHEMA, ftool_version()]
    return Task(
        inputs,
        described,
        inputs_fingerprint=fingerprint([settings, against, *about]),
        work_key=fingerprint([_settings_of_shards(recipe.data), _code(), *about]),
    )


def _tokenizer(recipe: "Recipe") -> str | None:
    """Return the hash of the tokenizer where its counts decide about rows."""
    counter = token_counter(recipe)
    return None if counter is None else file_sha256(counter.file)


def _settings_of_shards(data: "Data") -> dict[str, Any]:
    settings = data.model_dump(mode="json", exclude=LATER["data"])
    settings["sources"] = _without(settings["sources"], LATER["source"])
    for block in ("dedup", "split"):
        settings[block] = {k: v for k, v in settings[block].items() if k not in LATER[block]}
    settings["bands"] = None if data.dedup.near is None else shape(data.dedup.near)
    return settings


def _without(blocks: Sequence[dict[str, Any]], keys: set[str]) -> list[dict[str, Any]]:
    return [{key: value for key, value in block.items() if key not in keys} for block in blocks]


def _code() -> str:
    """Return the hash of this stage's own code: shards of other code are not taken up."""
    return fingerprint([file_sha256(file) for file in sorted(Path(__file__).parent.rglob("*.py"))])


def _gather(
    recipe: "Recipe",
    task: Task,
    work: Path,
    workers: int,
    trial: int | None,
    told: Watchers,
) -> list[Shard]:
    """Return the shards of all inputs.

    Raises:
        DataError: a source cannot be used as the recipe says.
    """
    units = divide(task.inputs.sources, told.on_note, trial=trial)
    alone = {found.origin for found in task.inputs.sources if found.is_alone}
    tell = _telling(told.on_progress, task.bytes if trial is None else 0)

    def settle(shard: Shard) -> None:
        is_table = Path(shard.about["shown"]).suffix.lower() in DELIMITED
        if is_table and shard.about["origin"] in alone:  # whose rows all have its columns
            _refuse_unreadable([shard])
        tell(shard)

    shards = gather(
        units,
        work,
        Refining(recipe.data, token_counter(recipe)),
        workers=workers,
        on_shard=settle,
        helps=task.bytes <= BYTES_FOR_MEMORY,
    )
    if not shards:
        raise DataError("no file of the sources holds examples", hint="name other files")
    _check(recipe, task.inputs.sources, shards, told.on_note)
    for sentence in describe.reading_lines(describe.readings(shards, recipe.data.sources)):
        told.on_note(sentence)
    return shards


def _telling(on_progress: OnProgress, total_bytes: int) -> Callable[[Shard], None]:
    """Return what tells how many rows are read, and how many there will be about."""
    rows = size = 0

    def tell(shard: Shard) -> None:
        nonlocal rows, size
        rows += shard.about["rows"]
        size += shard.about["bytes"]
        about = rows * total_bytes // size if 0 < size <= total_bytes else None
        on_progress("reading", rows, about)

    return tell


def _check(
    recipe: "Recipe", inputs: Sequence[Input], shards: Sequence[Shard], on_note: OnNote
) -> None:
    """Refuse columns that the recipe names and no row has.

    Raises:
        DataError: with the nearest name.
    """
    for sentence in _refuse_unreadable(shards):
        on_note(sentence)
    columns: dict[tuple[int, str], dict[str, None]] = {}
    for shard in shards:
        place = (shard.about["origin"], shard.about["shown"])
        columns.setdefault(place, {}).update(dict.fromkeys(shard.about["columns"]))
    known = sorted({name for names in columns.values() for name in names})
    for name in recipe.data.keep_columns:
        if known and name not in known:
            raise DataError(
                f"data.keep_columns: no source has a column `{name}`{did_you_mean(name, known)}\n"
                f"  their columns: {', '.join(known)}"
            )
    group = recipe.data.split.group
    for found in inputs if group else ():
        names = columns.get((found.origin, found.shown), {})
        if names and group not in names and found.source.split is None:
            raise DataError(
                f"data.split.group: {found.shown} has no column `{group}`"
                f"{did_you_mean(str(group), sorted(names))}\n"
                f"  its columns: {', '.join(sorted(names))}"
            )


def _refuse_unreadable(shards: Sequence[Shard]) -> list[str]:
    """Refuse a source of which no row could be read as the recipe says.

    Where other files of the source can be read, the rows of one that cannot are rejected: return
    what to tell of it.

    Raises:
        DataError: with what to write into the recipe.
    """
    problems: dict[tuple[int, str], Problem] = {}
    readable: set[tuple[int, str]] = set()
    for shard in shards:
        place = (shard.about["origin"], shard.about["shown"])
        if shard.about["problem"] is None:
            readable |= {place} if shard.about["columns"] else set()
        else:
            problems[place] = Problem(**shard.about["problem"])
    sources = {origin for origin, _ in readable}
    found = [(place, problem) for place, problem in problems.items() if place not in readable]
    for (origin, _), problem in found:
        if origin not in sources:
            raise DataError(problem.message, hint=problem.hint)
    return [f"{problem.message}; its rows are rejected" for _, problem in found]


def _count_read(table: Table) -> int:
    return sum(shard.about["rows"] for shard in table.shards)


def _refuse_rejected(recipe: "Recipe", table: Table, target: Path) -> None:
    """Refuse data of which too many rows are rejected so far, and keep those to read.

    Raises:
        DataError: with the reasons and some places.
    """
    read, rejected = _count_read(table), count_reasons(table)
    if describe.are_too_many(recipe, read, rejected):
        file = folder.write_rejected(folder.fresh_partial(target), table)
        raise DataError(
            describe.too_many(recipe, read, rejected, file),
            hint=f"the rejected rows are in {file}",
        )


def _decide_and_write(
    recipe: "Recipe",
    task: Task,
    shards: Sequence[Shard],
    before: Earlier | None,
    workers: int,
    target: Path,
    told: Watchers,
) -> None:
    table = read_table(shards, recipe.data.sources)
    _refuse_rejected(recipe, table, target)
    try:
        decisions = decide(
            table,
            recipe,
            task.inputs.against,
            before,
            workers=workers,
            on_progress=told.on_progress,
        )
    except DataError as error:
        file = folder.write_rejected(folder.fresh_partial(target), table)
        hint = f"{error.hint}; the rejected rows are in {file}"
        raise DataError(error.message, hint=hint.removeprefix("; ")) from error
    manifest = _write(recipe, task, table, decisions, target, told.on_progress)
    for sentence in describe.notes(manifest, table, decisions.places):
        told.on_note(sentence)


def _write(
    recipe: "Recipe",
    task: Task,
    table: Table,
    decisions: Decisions,
    target: Path,
    on_progress: OnProgress,
) -> dict[str, Any]:
    """Write the dataset beside its place, then swap it in; the manifest is written last.

    Raises:
        DataError: more rows are rejected than the recipe allows.
    """
    _refuse_rejected(recipe, table, target)
    partial = folder.fresh_partial(target)
    kind, spelled = recipe.data.kind, decisions.spellings.chosen
    with ThreadPoolExecutor(1) as beside:  # compressing and hashing leave the interpreter free
        content = beside.submit(
            folder.write_splits, partial, table, decisions.places, spelled, kind, on_progress
        )
        folder.write_rejected(partial, table)
        manifest = _manifest(recipe, task, table, decisions)
        write_text(partial / "README.md", card(recipe, manifest))
        write_report(manifest, partial / "report.html")
    manifest["fingerprint"] = fingerprint([kind, manifest["label_names"], content.result()])
    manifest["outputs"] = folder.outputs_of(partial)
    write_json(partial / MANIFEST, manifest)
    folder.put_in_place(partial, target)
    return manifest


def _manifest(recipe: "Recipe", task: Task, table: Table, decisions: Decisions) -> dict[str, Any]:
    """Return what is told of a dataset; fingerprint and outputs come when they are written."""
    read, rejected = _count_read(table), count_reasons(table)
    kept = folder.count_kept(table, decisions.places)
    assert read == sum(kept.values()) + sum(rejected.values()), "a row is neither kept nor rejected"
    return {
        "schema": SCHEMA,
        "ftool": ftool_version(),
        "kind": recipe.data.kind,
        "name": recipe.data_name,
        "recipe": data_settings(recipe),
        "readings": describe.readings(table.shards, recipe.data.sources),
        "repairs": describe.repairs(table),
        "assigned": table.assigned_splits(),
        "rows": {"read": read, "kept": kept, "rejected": rejected},
        "label_names": name_labels(table, recipe.data),
        "label_counts": count_labels(table, decisions.places),
        "lost_labels": lost_labels(table, recipe.data),
        "merged_spellings": decisions.spellings.merged,
        "continues": decisions.continues,
        "statistics": measure(table, decisions.places, decisions.pairs, recipe, read),
        "inputs": task.described,
        "sampled": sorted({s.about["shown"] for s in table.shards if s.about["is_sample"]}),
        "inputs_fingerprint": task.inputs_fingerprint,
    }
