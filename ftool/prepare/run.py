"""The pipeline of `ftool prepare`, in order."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftool.artifacts import (
    MANIFEST,
    SCHEMA,
    OnNote,
    OnProgress,
    PreparedDataset,
    data_settings,
    fingerprint,
    ftool_version,
    ignore_note,
    ignore_progress,
    locked,
    write_json,
    write_text,
)
from ftool.errors import DataError, did_you_mean
from ftool.example import Example
from ftool.prepare import describe, folder
from ftool.prepare.clean import clean
from ftool.prepare.dedup import drop_duplicates
from ftool.prepare.filters import rejection
from ftool.prepare.formats import Reader
from ftool.prepare.labels import Spellings, find_spellings, name_labels
from ftool.prepare.rows import Candidate, Rejected, Unusable
from ftool.prepare.sample import draw_samples
from ftool.prepare.sources import Input, describe_input, find_inputs, read_rows
from ftool.prepare.split import split_examples

if TYPE_CHECKING:
    from ftool.recipe.schema import Recipe


@dataclass(frozen=True, slots=True)
class Refined:
    """What became of the rows that were read."""

    read: int
    kept: list[Candidate]
    rejected: list[Rejected]
    spellings: Spellings


def prepare(
    recipe: "Recipe",
    *,
    output: Path = Path("data"),
    on_progress: OnProgress = ignore_progress,
    on_note: OnNote = ignore_note,
) -> PreparedDataset:
    """Make a prepared dataset of the sources of a recipe, in `output/<data name>`.

    Every row that is read ends in a split or in rejected.jsonl. Where the same inputs, settings
    and version gave the dataset that stands there, it stays as it is.

    Args:
        recipe: what to read and what to do with it.
        output: the folder of prepared datasets.
        on_progress: told how many rows are read and written.
        on_note: told what a person should know.

    Raises:
        DataError: a source cannot be used, too many rows are rejected, nothing is left to train
            on, or the folder is not ftool's.
        HubError: a Hub data set cannot be loaded.
        RunError: another process prepares the same dataset.
    """
    target = output / recipe.data_name
    folder.refuse_foreign(target)
    inputs = find_inputs(recipe, on_note)
    with locked(target.with_name(f".{target.name}.lock")):
        described = [describe_input(found) for found in inputs]
        inputs_fingerprint = _fingerprint_inputs(recipe, inputs, described)
        if folder.is_current(target, inputs_fingerprint):
            on_note(f"{target} is up to date")
            return PreparedDataset.open(target)
        partial = folder.fresh_partial(target)
        refined = refine(recipe, inputs, on_progress, on_note)
        rejected_file = folder.write_rejected(partial, refined.rejected)
        problem = describe.too_many(recipe, refined.read, refined.rejected)
        if problem:
            raise DataError(problem, hint=f"the rejected rows are in {rejected_file}")
        splits = split_examples(refined.kept, recipe)
        content = folder.write_splits(partial, splits, recipe.data.kind, on_progress)
        manifest = _manifest(recipe, refined, splits)
        manifest["inputs"] = described
        manifest["inputs_fingerprint"] = inputs_fingerprint
        manifest["fingerprint"] = fingerprint([recipe.data.kind, manifest["label_names"], content])
        write_text(partial / "README.md", describe.card(recipe, manifest))
        manifest["outputs"] = folder.outputs_of(partial)
        write_json(partial / MANIFEST, manifest)
        folder.put_in_place(partial, target)
    for sentence in describe.notes(manifest, splits):
        on_note(sentence)
    return PreparedDataset.open(target)


def refine(
    recipe: "Recipe", inputs: Sequence[Input], on_progress: OnProgress, on_note: OnNote
) -> Refined:
    """Turn rows into examples and keep the good ones; each step adds to the rejected rows.

    Raises:
        DataError: a source cannot be used as the recipe says.
    """
    read, candidates, rejected = _read(recipe, inputs, on_progress, on_note)

    spellings = find_spellings(candidates, recipe.data)
    if spellings.chosen:
        candidates = [c.with_example(spellings.apply(c.example)) for c in candidates]

    outcomes = [(candidate, rejection(candidate, recipe)) for candidate in candidates]
    candidates = [candidate for candidate, refused in outcomes if refused is None]
    rejected += [refused for _, refused in outcomes if refused is not None]

    candidates, repeats = drop_duplicates(candidates, exact=recipe.data.dedup.exact)
    rejected += repeats

    candidates, left_out = draw_samples(candidates, recipe)
    rejected += left_out

    assert read == len(candidates) + len(rejected), "a row is neither kept nor rejected"
    return Refined(read, candidates, rejected, spellings)


def _read(
    recipe: "Recipe", inputs: Sequence[Input], on_progress: OnProgress, on_note: OnNote
) -> tuple[int, list[Candidate], list[Rejected]]:
    """Read, convert and clean all rows."""
    read = 0
    candidates: list[Candidate] = []
    rejected: list[Rejected] = []
    columns: list[set[str]] = []
    times: Counter[str] = Counter()
    for found in inputs:
        reader = Reader(found, recipe)
        for row in read_rows(found, on_note):
            read += 1
            if read % 1_000 == 0:
                on_progress("reading", read, None)
            try:
                example = clean(reader.example(row), recipe.data.clean)
            except Unusable as why:
                rejected.append(Rejected(found.shown, row.line, why.reason, why.detail, row.raw))
                continue
            times[example.id] += 1
            if times[example.id] > 1:
                example = replace(example, id=f"{example.id}#{times[example.id]}")
            candidates.append(Candidate(example, row.raw, found.origin, found.source.split))
        columns.append(reader.finish())
    on_progress("reading", read, read)
    _check_columns(recipe, inputs, columns)
    return read, candidates, rejected


def _check_columns(recipe: "Recipe", inputs: Sequence[Input], columns: list[set[str]]) -> None:
    known = sorted(set().union(*columns))
    for name in recipe.data.keep_columns:
        if known and name not in known:
            raise DataError(
                f"data.keep_columns: no source has a column `{name}`{did_you_mean(name, known)}\n"
                f"  their columns: {', '.join(known)}"
            )
    group = recipe.data.split.group
    for found, names in zip(inputs, columns, strict=True):
        if group and names and group not in names and found.source.split is None:
            raise DataError(
                f"data.split.group: {found.shown} has no column `{group}`"
                f"{did_you_mean(group, sorted(names))}\n  its columns: {', '.join(sorted(names))}"
            )


def _fingerprint_inputs(
    recipe: "Recipe", inputs: Sequence[Input], described: Sequence[dict[str, Any]]
) -> str:
    """Return the fingerprint of all that decides the outcome, but not where the files lie."""
    settings = data_settings(recipe)
    settings["data"]["sources"] = [
        {key: value for key, value in source.items() if key != "path"}
        for source in settings["data"]["sources"]
    ]
    origins = [found.origin for found in inputs]
    return fingerprint([settings, origins, list(described), SCHEMA, ftool_version()])


def _manifest(
    recipe: "Recipe", refined: Refined, splits: dict[str, list[Example]]
) -> dict[str, Any]:
    examples = [candidate.example for candidate in refined.kept]
    return {
        "schema": SCHEMA,
        "ftool": ftool_version(),
        "kind": recipe.data.kind,
        "name": recipe.data_name,
        "recipe": data_settings(recipe),
        "rows": {
            "read": refined.read,
            "kept": {split: len(found) for split, found in splits.items()},
            "rejected": describe.count_reasons(refined.rejected),
        },
        "label_names": name_labels(examples, recipe.data),
        "label_counts": describe.count_labels(splits),
        "merged_spellings": refined.spellings.merged,
    }
