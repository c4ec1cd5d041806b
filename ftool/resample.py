"""Bootstrap of counted things: whole rows, or groups of rows, drawn again with replacement."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]

CONFIDENCE = 0.95
DRAWS = 10_000

_BLOCK_BYTES = 32 * 2**20


def resampled_sums(
    kinds: "Counts",
    features: "Floats",
    *,
    groups: Sequence[str] | None = None,
    draws: int = DRAWS,
    seed: int = 17,
) -> Iterator["Floats"]:
    """Draw the rows again and yield the sums of their features, a block of draws at a time.

    Rows of one kind count alike, so instead of rows the numbers of each kind are drawn from their
    multinomial: the same law, far fewer random numbers. With groups whole groups are drawn, and
    those made of the same kinds are one kind. The order of the rows does not matter.

    Args:
        kinds: the kind of each row, an index into `features`; every kind occurs, [rows].
        features: what a row of each kind adds up to, [kinds, features].
        groups: what each row belongs to, where rows of one group are not independent, [rows].
        draws: how often.
        seed: of the draws.

    Returns:
        Blocks [draws of the block, features].

    Source:
        Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapters 6 and 13; groups:
        Davison and Hinkley (1997), Bootstrap Methods and their Application, section 3.8.
    """
    import numpy as np
    from scipy.sparse import csr_array

    if groups is None:
        number, sums = np.bincount(kinds, minlength=len(features)), features
    else:
        number, sums = _grouped(kinds, features, groups)
    total = int(number.sum())
    sparse = csr_array(sums)  # a row adds to a few of its features
    generator = np.random.default_rng(seed)
    for size in blocks(draws, 16 * len(number) + 32 * features.shape[1]):
        yield generator.multinomial(total, number / total, size=size) @ sparse


def _grouped(
    kinds: "Counts", features: "Floats", groups: Sequence[str]
) -> tuple["Counts", "Floats"]:
    """Return how often each kind of group occurs, and the sums of its rows."""
    import numpy as np

    rows: defaultdict[str, list[int]] = defaultdict(list)
    for kind, group in zip(kinds.tolist(), groups, strict=True):
        rows[group].append(kind)
    found = sorted(Counter(tuple(sorted(of_group)) for of_group in rows.values()).items())
    sums = np.stack([features[list(of_group)].sum(0) for of_group, _ in found])
    return np.array([number for _, number in found]), sums


def middle(drawn: "Floats") -> "Floats":
    """Return the bounds of the middle 95 % of draws along the first axis, [2, ...].

    Draws that are not a number are left out; of none at all nothing is known: 0 to 1.
    """
    import numpy as np

    tails = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    missing = np.isnan(drawn)
    if not missing.any():
        return np.asarray(np.quantile(drawn, tails, axis=0))
    unknown = missing.all(0)
    bounds = np.nanquantile(np.where(unknown, 0.0, drawn), tails, axis=0)
    return np.where(unknown, np.expand_dims([0.0, 1.0], tuple(range(1, bounds.ndim))), bounds)


def blocks(draws: int, bytes_per_draw: int) -> list[int]:
    """Divide draws so that the arrays of one block stay small, whatever the data."""
    size = max(1, _BLOCK_BYTES // bytes_per_draw)
    return [min(size, draws - start) for start in range(0, draws, size)]
