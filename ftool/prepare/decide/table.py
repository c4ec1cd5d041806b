"""All examples as columns of numbers, and what is decided about each of them."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ftool.example import SPLITS, Example, example_from_record
from ftool.prepare.refine.shard import Shard
from ftool.prepare.refine.words import starts, take_parts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ftool.prepare.refine.words import Counts, Hashes
    from ftool.recipe.blocks.data import Source

    Flags = NDArray[np.bool_]

PAIRS = ("content", "unit")
"""Keys of two halves."""
LOOSE = -1
"""The split of an example whose source is assigned to none."""


@dataclass(slots=True)
class Table:
    """Examples in the order of the sources.

    What many rows have is read from the shards where it is needed, and not kept: see `numbers`.
    `label` is an index of `labels`, which are sorted; -1 where there is none.
    `assigned` is an index of SPLITS, or LOOSE; `earlier` is where an earlier preparation put the
    row. A row that goes has a `reason`, an index of `reasons`; 0 means that it stays. `near` is the
    similarity from which rows are alike, `against` names the files that train must not repeat.
    """

    shards: Sequence[Shard]
    starts: "Counts"
    line: "NDArray[np.int32]"
    label: "NDArray[np.int32]"
    labels: list[str]
    origin: "NDArray[np.int16]"
    assigned: "NDArray[np.int8]"
    earlier: "NDArray[np.int8]" = field(default_factory=lambda: np.zeros(0, np.int8))
    near: float | None = None
    against: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=lambda: [""])
    reason: "NDArray[np.uint8]" = field(default_factory=lambda: np.zeros(0, np.uint8))
    twin: "NDArray[np.int32]" = field(default_factory=lambda: np.zeros(0, np.int32))
    value: "NDArray[np.float32]" = field(default_factory=lambda: np.zeros(0, np.float32))

    def __post_init__(self) -> None:
        """Begin with every row new and staying."""
        self.earlier = np.full(len(self), LOOSE, np.int8)
        self.reason = np.zeros(len(self), np.uint8)
        self.twin = np.full(len(self), -1, np.int32)
        self.value = np.full(len(self), np.nan, np.float32)

    def __len__(self) -> int:
        return len(self.label)

    @property
    def stays(self) -> "Flags":
        """Which rows nothing has been decided against."""
        stays: Flags = self.reason == 0
        return stays

    @property
    def held_out(self) -> "Flags":
        """Which rows come from a source that is assigned to validation or test."""
        held_out: Flags = self.assigned > SPLITS.index("train")
        return held_out

    def assigned_splits(self) -> list[str]:
        """Return the splits to which sources, or documents of several splits, assign rows."""
        return [SPLITS[split] for split in np.unique(self.assigned) if split != LOOSE]

    def reject(
        self,
        rows: "Counts",
        reason: str,
        *,
        twin: "Counts | int" = -1,
        value: "NDArray[Any] | float" = np.nan,
    ) -> None:
        """Decide that rows go.

        Args:
            rows: their indices.
            reason: as in describe.REASONS.
            twin: index of the row that each repeats.
            value: what was measured.
        """
        if not len(rows):
            return
        if reason not in self.reasons:
            self.reasons.append(reason)
        self.reason[rows] = self.reasons.index(reason)
        self.twin[rows] = twin
        self.value[rows] = value

    def numbers(self, name: str) -> "NDArray[Any]":
        """Return one number per example, or the two halves of a key, from the shards.

        `content` is equal for exact duplicates, `prompt` where the same is asked, `unit` for what
        must not straddle splits.
        """
        if not self.shards:
            return np.zeros((0, 2), np.uint64) if name in PAIRS else np.zeros(0, np.int64)
        parts = (shard.numbers(name)[0] for shard in self.shards)
        first = next(parts)
        found = np.empty((len(self), *first.shape[1:]), first.dtype)  # never there twice
        for start, part in zip(self.starts, chain([first], parts), strict=True):
            found[start : start + len(part)] = part
        return found

    def band_keys(self, used: "Flags") -> "Iterator[Hashes]":
        """Yield band after band the keys of the rows; 0 where a row is not to be used."""
        for band in range(self.shards[0].about["bands"] if self.shards else 0):
            keys = self.numbers(f"band_{band}")
            keys[~used] = 0
            yield keys

    def take_words(self, rows: "Counts") -> "tuple[NDArray[np.uint32], Counts]":
        """Return the words of some rows (ascending), one after the other, and their numbers."""
        words, lengths = [np.zeros(0, np.uint32)], [np.zeros(0, np.int64)]
        cuts = np.append(np.searchsorted(rows, self.starts), len(rows))
        for shard, start, (first, last) in zip(
            self.shards, self.starts, pairwise(cuts), strict=True
        ):
            if first < last:
                (counts,) = shard.numbers("lengths")
                wanted = rows[first:last] - start
                words.append(shard.words()[take_parts(counts, wanted)])
                lengths.append(counts[wanted])
        return np.concatenate(words), np.concatenate(lengths)

    def shard_rows(self, number: int) -> slice:
        """Return which rows a shard holds."""
        start = int(self.starts[number])
        return slice(start, start + int(self.shards[number].about["kept"]))

    def read_examples(self, rows: "Counts") -> list[Example]:
        """Read some examples (ascending)."""
        found: list[Example] = []
        cuts = np.append(np.searchsorted(rows, self.starts), len(rows))
        for number, (first, last) in enumerate(pairwise(cuts)):
            if first < last:
                stored = self.shards[number].examples()
                own = stored.take(rows[first:last] - self.starts[number])
                found += [example_from_record(record) for record in own.to_pylist()]
        return found

    def ids_of(self, rows: "NDArray[np.signedinteger]") -> list[str | None]:
        """Return the ids of rows; of a number below -1 the name of a file in `against`."""
        numbers = np.searchsorted(self.starts, np.maximum(rows, 0), side="right") - 1
        lines = self.line[np.maximum(rows, 0)] if len(rows) else rows
        found: list[str | None] = []
        for row, number, line in zip(rows.tolist(), numbers, lines, strict=True):
            if row < 0:
                found.append(self.against[-2 - row] if row < -1 else None)
            else:
                about = self.shards[number].about
                found.append(f"{about['shown']}:{line}{about['suffix']}")
        return found


def count_reasons(table: Table, origins: Collection[int] | None = None) -> dict[str, int]:
    """Return how many rows each reason removed, most first.

    Args:
        table: of all rows.
        origins: the sources whose rows count; all where None.
    """
    counts: Counter[str] = Counter()
    for shard in table.shards:
        if origins is None or shard.about["origin"] in origins:
            counts.update(shard.about["refused"])
    counted = table.reason if origins is None else table.reason[np.isin(table.origin, [*origins])]
    for reason, times in zip(*np.unique(counted, return_counts=True), strict=True):
        if reason:
            counts[table.reasons[reason]] += int(times)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def in_reasons(counts: Mapping[str, int]) -> str:
    """Return counts of reasons in words: `3 near_duplicate, 1 too_short`."""
    return ", ".join(f"{count:,} {reason}" for reason, count in counts.items())


def read_table(shards: Sequence[Shard], sources: "Sequence[Source]") -> Table:
    """Put the numbers of all shards together."""
    counts = np.array([shard.about["kept"] for shard in shards], np.int64)
    labels = sorted({label for shard in shards for label in shard.about["labels"]})
    codes = {label: code for code, label in enumerate(labels)}
    label = [np.zeros(0, np.int32)]
    for shard in shards:
        # The last place stands for no label: -1 finds it.
        own = np.array([*(codes[name] for name in shard.about["labels"]), -1], np.int32)
        label.append(own[shard.numbers("label")[0]])
    origins = np.array([shard.about["origin"] for shard in shards], np.int16)
    splits = np.array(
        [LOOSE if source.split is None else SPLITS.index(source.split) for source in sources],
        np.int8,
    )
    origin = np.repeat(origins, counts)
    placed = [np.zeros(0, np.int8), *(shard.numbers("split")[0] for shard in shards)]
    assigned = splits[origin]
    assigned = np.where(assigned == LOOSE, np.concatenate(placed), assigned)
    lines = [shard.numbers("line")[0].astype(np.int32) for shard in shards]
    return Table(
        shards=shards,
        starts=starts(counts),
        line=np.concatenate([np.zeros(0, np.int32), *lines]),
        label=np.concatenate(label),
        labels=labels,
        origin=origin,
        assigned=assigned,
    )


def mixed(keys: "Hashes", seed: int) -> "Hashes":
    """Return one seeded number per key, which decides the order of draws.

    Source:
        splitmix64, Steele, Lea and Flood (2014), Fast splittable pseudorandom number generators.
    """
    state: Hashes
    with np.errstate(over="ignore"):
        state = keys[:, 1] * np.uint64(0x9E3779B97F4A7C15)
        state ^= keys[:, 0]
        state += np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
