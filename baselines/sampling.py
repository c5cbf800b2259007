"""Which patch is drawn when: a pure function of (seed, epoch, step), for both sensors together.

An epoch shows every patch of the larger sensor exactly once; the smaller sensor cycles through
fresh permutations of its own. Steps are of equal size up to one patch, so no epoch ends in a
tiny batch: the last-partial-batch rule is that there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xxhash
from numpy.typing import NDArray

#: Flips and quarter turns of a square.
SYMMETRIES = 8


@dataclass(frozen=True)
class Position:
    """Where a run stands: the next batch is step `step` of epoch `epoch` under `seed`."""

    seed: int
    epoch: int
    step: int


class Order:
    """The order of patches of a run.

    Args:
        counts: Usable patches per sensor, each at least 1.
        batch: Patches per sensor and step at most.
        seed: Of the run.
    """

    def __init__(self, counts: Mapping[str, int], batch: int, seed: int) -> None:
        self._counts = dict(sorted(counts.items()))
        self._seed = seed
        self._length = max(self._counts.values())
        self.steps = -(-self._length // batch)

    def batch(self, epoch: int, step: int) -> dict[str, NDArray[np.intp]]:
        """Return per sensor the positions (0..count-1) drawn in a step, in order."""
        start = step * self._length // self.steps
        stop = (step + 1) * self._length // self.steps
        return {sensor: self._draw(sensor, epoch, start, stop) for sensor in self._counts}

    def symmetries(self, epoch: int, step: int, sensor: str, count: int) -> NDArray[np.intp]:
        """Return which of the 8 symmetries of the square each patch of a step is shown in."""
        raw = _philox(self._seed, f"symmetry/{sensor}/{epoch}/{step}").random_raw(count)
        return (raw % SYMMETRIES).astype(np.intp)

    def _draw(self, sensor: str, epoch: int, start: int, stop: int) -> NDArray[np.intp]:
        count = self._counts[sensor]
        parts = []
        while start < stop:
            cycle, offset = divmod(start, count)
            end = min(count, offset + stop - start)
            parts.append(self._permutation(sensor, epoch, cycle)[offset:end])
            start += end - offset
        return np.concatenate(parts)

    def _permutation(self, sensor: str, epoch: int, cycle: int) -> NDArray[np.intp]:
        # Ranks of raw draws: numpy keeps raw Philox streams stable, `permutation` it may change.
        raw = _philox(self._seed, f"order/{sensor}/{epoch}/{cycle}").random_raw(
            self._counts[sensor]
        )
        return np.argsort(raw, kind="stable")


def draws(seed: int, purpose: str) -> np.random.Generator:
    """Return the generator of one named purpose, independent of all others."""
    return np.random.Generator(_philox(seed, purpose))


def _philox(seed: int, purpose: str) -> np.random.Philox:
    return np.random.Philox(key=xxhash.xxh3_128_intdigest(f"{seed}/{purpose}".encode()))
