"""A set of 64-bit hashes that takes little more than their bytes."""

from __future__ import annotations

import numpy as np

#: Hashes that wait as Python numbers, some 90 bytes each, before they join the sorted array.
_WAITING = 1 << 14


class Hashes:
    """Distinct numbers of 64 bits; a million of them take 8 MB rather than 90."""

    def __init__(self) -> None:
        """Begin with none."""
        self._sorted = np.empty(0, dtype=np.uint64)
        self._waiting: set[int] = set()

    def __len__(self) -> int:
        return len(self._sorted) + len(self._waiting)

    def __contains__(self, key: int) -> bool:
        if key in self._waiting:
            return True
        place = int(np.searchsorted(self._sorted, np.uint64(key)))
        return place < len(self._sorted) and int(self._sorted[place]) == key

    def add(self, key: int) -> bool:
        """Take a hash; return whether it is new.

        Args:
            key: 0 .. 2**64 - 1.
        """
        if key in self:
            return False
        self._waiting.add(key)
        # Waiting for a share of what is known keeps the work of all sortings in proportion.
        if len(self._waiting) >= max(_WAITING, len(self._sorted) // 16):
            latest = np.fromiter(self._waiting, np.uint64, len(self._waiting))
            self._sorted = np.sort(np.concatenate([self._sorted, latest]))
            self._waiting = set()
        return True
