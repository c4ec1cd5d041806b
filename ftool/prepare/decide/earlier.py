"""Where an earlier preparation put rows, so that added rows move none of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pyarrow import ArrowException, parquet

from ftool.artifacts import MANIFEST, OnNote, PreparedDataset, data_settings
from ftool.errors import FtoolError
from ftool.example import SPLITS, example_from_record
from ftool.keys import keys_of
from ftool.prepare.decide.table import LOOSE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ftool.prepare.refine.words import Hashes
    from ftool.recipe.schema import Recipe


@dataclass(frozen=True, slots=True)
class Earlier:
    """Keys of units, sorted, and the split of each (an index of SPLITS), in one dataset."""

    fingerprint: str
    keys: "Hashes"
    splits: "NDArray[np.int8]"

    def of(self, keys: "Hashes") -> "NDArray[np.int8]":
        """Return the earlier split of each key, LOOSE for new ones."""
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[places] == keys, self.splits[places], LOOSE).astype(np.int8)


def read_earlier(target: Path, recipe: "Recipe", on_note: OnNote) -> Earlier | None:
    """Return where the dataset at a place put its rows; None where there is none to continue.

    Args:
        target: the place of the dataset.
        recipe: of what is prepared now.
        on_note: told why rows are divided anew.
    """
    if not (target / MANIFEST).is_file():
        return None
    try:
        dataset = PreparedDataset.open(target)
        if _rules(dataset.manifest()["recipe"]) != _rules(data_settings(recipe)):
            on_note(f"rows are divided anew: seed, data.kind or data.split of {target} are others")
            return None
        units = [
            np.frombuffer(b"".join(_units(target, split)), np.uint64)
            for split in range(len(SPLITS))
        ]
    except (FtoolError, ArrowException, OSError, KeyError, ValueError):
        on_note(f"rows are divided anew: {target} cannot be read")
        return None
    splits = np.repeat(np.arange(len(SPLITS), dtype=np.int8), [len(found) for found in units])
    return _latest(dataset.fingerprint, np.concatenate(units), splits) if len(splits) else None


def _latest(fingerprint: str, keys: "Hashes", splits: "NDArray[np.int8]") -> Earlier:
    """Keep one split for each key: of several the last of SPLITS, which must not move."""
    order = np.lexsort((-splits, keys))
    keys, splits = keys[order], splits[order]
    is_first = np.ones(len(keys), bool)
    is_first[1:] = keys[1:] != keys[:-1]
    return Earlier(fingerprint, keys[is_first], splits[is_first])


def _rules(settings: dict[str, Any]) -> list[Any]:
    return [settings["seed"], settings["data"]["split"], settings["data"]["kind"]]


def _units(target: Path, split: int) -> Iterator[bytes]:
    for file in sorted((target / SPLITS[split]).glob("*.parquet")):
        for batch in parquet.ParquetFile(file).iter_batches(batch_size=10_000):
            for record in batch.to_pylist():
                yield keys_of(example_from_record(record)).unit[:8]
