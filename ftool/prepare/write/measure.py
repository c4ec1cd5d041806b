"""What is in the data, measured: the funnel, lengths, labels, duplicates, personal data."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ftool.example import SPLITS, Example
from ftool.keys import compared_text
from ftool.prepare.decide.near import Pairs
from ftool.prepare.decide.table import Table, count_reasons, mixed
from ftool.prepare.refine.language import detect_language
from ftool.prepare.refine.shard import CLEANING
from ftool.prepare.refine.tokens import TokenCounter, tokenizer_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ftool.recipe.blocks.data import Data
    from ftool.recipe.schema import Recipe

PERCENTILES = (1, 5, 25, 50, 75, 95, 99, 100)
SAMPLE_ROWS = 2_000
"""Rows whose tokens are counted where no rule needs those of all."""
_BINS = 20
_SIMILARITIES = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0)
_CLUSTERS = 20


def count_labels(table: Table, places: "NDArray[np.int8]") -> dict[str, dict[str, int]]:
    """Return the number of examples per label for each split that has labels."""
    found = {}
    for index, split in enumerate(SPLITS):
        rows = table.stays & (places == index) & (table.label >= 0)
        codes, times = np.unique(table.label[rows], return_counts=True)
        if len(codes):
            pairs = zip(codes.tolist(), times.tolist(), strict=True)
            found[split] = {table.labels[code]: count for code, count in pairs}
    return found


def measure(
    table: Table, places: "NDArray[np.int8]", pairs: Pairs, recipe: "Recipe", read: int
) -> dict[str, Any]:
    """Return the `statistics` of a manifest: numbers alone, nothing of what a row says."""
    data = recipe.data
    counter = tokenizer_of(recipe)
    sample = _sample(table, recipe.seed) if counter or data.filter.languages else []
    rejected = count_reasons(table)
    kept = int(table.stays.sum())
    characters = table.numbers("characters")
    return {
        "funnel": [["read", read], *([name, -n] for name, n in rejected.items()), ["kept", kept]],
        "characters": {
            split: lengths(characters[table.stays & (places == index)])
            for index, split in enumerate(SPLITS)
            if (table.stays & (places == index)).any()
        },
        "tokens": _tokens(table, sample, recipe, counter),
        "languages": _languages(sample) if data.filter.languages else None,
        "turns": _turns(table) if data.kind == "chat" else {},
        "cleaned": count_cleaned(table),
        "personal_data": _personal_data(table, data),
        "duplicates": _duplicates(table, pairs, rejected),
        "contamination": {
            "rows": rejected.get("contaminated", 0),
            "against": ["validation", "test", *table.against],
        },
    }


def lengths(values: "NDArray[Any]") -> dict[str, Any]:
    """Return mean, percentiles and a histogram of lengths."""
    most = int(np.percentile(values, 99, method="higher"))
    width = max(1, -(-most // _BINS))
    edges = [width * step for step in range(min(_BINS, most // width + 1) + 1)]
    counts, _ = np.histogram(np.minimum(values, edges[-1]), bins=edges)
    percentiles = np.percentile(values, PERCENTILES, method="higher")
    return {
        "count": len(values),
        "mean": round(float(values.mean()), 1),
        "percentiles": {
            str(share): int(value) for share, value in zip(PERCENTILES, percentiles, strict=True)
        },
        "edges": edges,
        "counts": counts.tolist(),
    }


def _sample(table: Table, seed: int) -> list[Example]:
    """Return a seeded sample of the examples that stay, in their order."""
    rows = np.flatnonzero(table.stays)
    drawn = np.argsort(mixed(table.numbers("content")[rows], seed), kind="stable")[:SAMPLE_ROWS]
    return table.read_examples(np.sort(rows[drawn]))


def _tokens(
    table: Table, sample: Sequence[Example], recipe: "Recipe", counter: TokenCounter | None
) -> dict[str, Any] | None:
    """Return lengths in tokens: of all rows where they were counted, else of the sample."""
    if counter is None or not sample:
        return None
    every = recipe.data.filter.max_tokens is not None
    counts = (
        table.numbers("tokens")[table.stays] if every else np.array([counter(e) for e in sample])
    )
    about = {"tokenizer": Path(recipe.model.base).name, "rows": len(counts), "sampled": not every}
    return about | lengths(counts)


def _languages(sample: Sequence[Example]) -> dict[str, Any]:
    codes = Counter(detect_language(compared_text(example))[0] for example in sample)
    return {"rows": len(sample), "counts": dict(sorted(codes.items()))}


def _turns(table: Table) -> dict[str, int]:
    if not table.shards:
        return {}
    turns, counts = np.unique(table.numbers("turns")[table.stays], return_counts=True)
    return {str(turn): int(count) for turn, count in zip(turns, counts, strict=True)}


def count_cleaned(table: Table) -> dict[str, int]:
    """Return how many of the examples that stay each rule of cleaning has changed."""
    bits = table.numbers("cleaned")[table.stays].astype(np.int64)
    return {rule: int((bits >> bit & 1).sum()) for bit, rule in enumerate(CLEANING)}


def _personal_data(table: Table, data: "Data") -> dict[str, Any]:
    counts: Counter[str] = Counter()
    for shard in table.shards:
        counts.update(shard.about["personal_data"])
    return {
        "mode": data.clean.personal_data,
        "rows": sum(shard.about["redacted_rows"] for shard in table.shards),
        "counts": dict(sorted(counts.items())),
    }


def _duplicates(table: Table, pairs: Pairs, rejected: Mapping[str, int]) -> dict[str, Any]:
    near = "near_duplicate"
    least = min(_SIMILARITIES[0] if table.near is None else table.near, _SIMILARITIES[-2])
    used = [least, *(edge for edge in _SIMILARITIES if edge > least)]
    values = table.value[table.reason == table.reasons.index(near)] if near in rejected else []
    # Values are kept in 32 bits, where 0.7 is less than 0.7.
    similarity = np.clip(np.asarray(values, np.float64).round(6), least, 1.0)
    counts, _ = np.histogram(similarity, bins=used)
    return {
        "exact": rejected.get("exact_duplicate", 0),
        near.removesuffix("_duplicate"): rejected.get(near, 0),
        "pairs": len(pairs.first),
        "clusters": _clusters(table),
        "similarity": {"edges": used, "counts": counts.tolist()},
    }


def _clusters(table: Table) -> list[dict[str, Any]]:
    """Return the rows that were repeated most, each with how many rows went for it."""
    twins, counts = np.unique(table.twin[table.twin >= 0], return_counts=True)
    order = np.lexsort((twins, -counts))[:_CLUSTERS]
    names = table.ids_of(twins[order])
    return [
        {"kept": name, "rows": int(count) + 1}
        for name, count in zip(names, counts[order], strict=True)
    ]
