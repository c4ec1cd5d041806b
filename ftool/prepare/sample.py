"""The seeded sample of a source: `limit` and `per_label`."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ftool.errors import DataError
from ftool.example import example_to_record
from ftool.prepare.rows import Candidate, Rejected

if TYPE_CHECKING:
    from ftool.recipe.schema import Recipe


def quotas(counts: Mapping[str, int], limit: int) -> dict[str, int]:
    """Share a limit among labels in proportion to their counts, by the largest remainders.

    Every label gets at least one where the limit allows it.
    """
    total = sum(counts.values())
    if limit >= total:
        return dict(counts)
    least = 1 if limit >= len(counts) else 0
    shares = {name: max(least, limit * n // total) for name, n in sorted(counts.items())}

    def lacking(name: str) -> int:
        return limit * counts[name] - shares[name] * total

    while sum(shares.values()) < limit:
        shares[max((n for n in shares if shares[n] < counts[n]), key=lacking)] += 1
    while sum(shares.values()) > limit:
        shares[min((n for n in shares if shares[n] > least), key=lacking)] -= 1
    return shares


def draw_samples(
    candidates: Sequence[Candidate], recipe: "Recipe"
) -> tuple[list[Candidate], list[Rejected]]:
    """Apply `limit` and `per_label` of every source.

    The order of the draw is a hash of seed and content, so it depends on neither file names nor
    the order of rows.

    Raises:
        DataError: `per_label` where there are no labels.
    """
    taken: set[int] = set()
    for origin, source in enumerate(recipe.data.sources):
        indices = [i for i, candidate in enumerate(candidates) if candidate.origin == origin]
        if source.limit is not None or source.per_label is not None:
            indices.sort(key=lambda i: (_rank(candidates[i], recipe.seed), i))
        if source.per_label is not None:
            if any(candidates[i].example.label is None for i in indices):
                raise DataError(f"{source.path}: `per_label` needs a label on every row")
            indices = _take(candidates, indices, per_label=source.per_label)
        if source.limit is not None:
            shares = quotas(Counter(_label(candidates[i]) for i in indices), source.limit)
            indices = _take(candidates, indices, shares=shares)
        taken.update(indices)
    kept = [candidate for i, candidate in enumerate(candidates) if i in taken]
    left = (candidate for i, candidate in enumerate(candidates) if i not in taken)
    return kept, [candidate.rejected("not_sampled") for candidate in left]


def _take(
    candidates: Sequence[Candidate],
    indices: Sequence[int],
    *,
    per_label: int = 0,
    shares: Mapping[str, int] | None = None,
) -> list[int]:
    counts: dict[str, int] = defaultdict(int)
    taken = []
    for index in indices:
        label = _label(candidates[index])
        if counts[label] < (per_label if shares is None else shares[label]):
            counts[label] += 1
            taken.append(index)
    return taken


def _label(candidate: Candidate) -> str:
    return candidate.example.label or ""


def _rank(candidate: Candidate, seed: int) -> bytes:
    record = example_to_record(candidate.example)
    content = [record.get(name) for name in ("messages", "tools", "text", "label")]
    text = json.dumps([seed, content], ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
