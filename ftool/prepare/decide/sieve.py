"""A set of hashes as bits: one of them is surely not in it, or perhaps."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ftool.prepare.refine.words import Hashes

_BITS_A_HASH = 16
_LEAST_BITS = 16
_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Sieve:
    """Bits by the upper bits of hashes, 16 to 32 for each: about one other in twenty passes."""

    bits: "NDArray[np.uint8]"

    @classmethod
    def of(cls, hashes: "Hashes") -> "Sieve":
        """Flag hashes."""
        size = 1 << max(_LEAST_BITS, (_BITS_A_HASH * len(hashes)).bit_length()) >> 3
        sieve = cls(np.zeros(size, np.uint8))
        for part in np.array_split(hashes, 1 + len(hashes) // _AT_ONCE):
            places = sieve._places(part)
            np.bitwise_or.at(sieve.bits, places >> np.uint64(3), _bit(places))
        return sieve

    def may_hold(self, hashes: "Hashes") -> "NDArray[np.bool_]":
        """Tell which hashes may be in the set."""
        places = self._places(hashes)
        found: NDArray[np.bool_] = self.bits[places >> np.uint64(3)] & _bit(places) != 0
        return found

    def _places(self, hashes: "Hashes") -> "Hashes":
        return hashes >> np.uint64(64 - (8 * len(self.bits)).bit_length() + 1)


def _bit(places: "Hashes") -> "NDArray[np.uint8]":
    flags: NDArray[np.uint8] = np.uint8(1) << (places & np.uint64(7)).astype(np.uint8)
    return flags
