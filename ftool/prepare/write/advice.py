"""What a person may want to change in a recipe, as lines to write into it."""

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ftool.recipe.schema import Recipe

FEW_PER_LABEL = 8
LISTED = 20
MANY = 0.05
"""Share of the rows from which a reason is worth a word."""
LOOSER = {
    "too_short": "data.filter.min_characters=1",
    "too_long": "data.filter.max_characters=null",
    "too_many_tokens": "data.filter.max_tokens=null",
    "repetitive": "data.filter.repetition=null",
    "boilerplate": "data.filter.boilerplate=false",
    "refusal": "data.filter.refusals=false",
    "near_duplicate": "data.dedup.near=0.9",
    "exact_duplicate": "data.dedup.exact=false",
    "personal_data": "data.clean.personal_data=mask",
    "language": "data.filter.languages=null",
}
"""Reason -> the setting that keeps more of these rows."""


def advise(recipe: "Recipe", manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return sentences about a prepared dataset, each with the setting that would change it.

    Of a sample nothing is said that depends on rare rows: which labels there are, and how many rows
    the rarest has.
    """
    labels = () if manifest["sampled"] else _labels(recipe, manifest)
    return [*_lost(manifest), *labels, *_lengths(recipe, manifest)]


def _lost(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    rows = manifest["rows"]
    for reason, count in rows["rejected"].items():
        if reason in LOOSER and count > MANY * rows["read"]:
            share = f"{count / rows['read']:.0%}"
            yield f"{share} of the rows go as {reason}; look at some with --explain", LOOSER[reason]


def _labels(recipe: "Recipe", manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    counts = manifest["label_counts"].get("train", {})
    rare = sorted((count, label) for label, count in counts.items() if count < FEW_PER_LABEL)
    if rare:
        count, label = rare[0]
        yield (
            f"{len(rare)} labels have fewer than {FEW_PER_LABEL} train examples, `{label}` {count}",
            "data.split.validation=0.05",
        )
    names = manifest["label_names"]
    if 0 < len(names) <= LISTED and recipe.data.label_names == "auto":
        listed = json.dumps(list(names), ensure_ascii=False)
        yield (
            f"the {len(names)} labels are those found; a list refuses new ones",
            f"data.label_names={listed}",
        )


def _lengths(recipe: "Recipe", manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    train = manifest["statistics"]["characters"].get("train")
    if train is None or recipe.data.filter.max_characters is not None:
        return
    usual, longest = train["percentiles"]["99"], train["percentiles"]["100"]
    if longest > 4 * usual:
        yield (
            f"the longest example has {longest:,} characters, 99 % have at most {usual:,}",
            f"data.filter.max_characters={2 * usual}",
        )
