"""Which patch is drawn when: a pure function of (seed, epoch, step), for both sensors together.

Steps are of equal size up to one patch, so no epoch ends in a tiny batch: the last-partial-batch
rule is that there is none. How many processes train, and how many read, has no say: the order is
of whole steps, and processes share each step. How two sensors are mixed:

- `cycle`: an epoch shows every patch of the larger sensor exactly once; the smaller one cycles
  through fresh permutations of its own. Each step holds as many patches of either.
- `proportional`: an epoch shows every patch of both sensors exactly once, spread evenly over the
  steps. A sensor with fewer patches than steps is left out of some.
- `paired`: the patches of both sensors are pairs (`baselines.loader.pairs`), drawn together.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xxhash
from numpy.typing import NDArray

from landmark.errors import InputError
from landmark.taxonomy import CLASSES

Mixing = Literal["cycle", "proportional", "paired"]

#: Flips and quarter turns of a square.
SYMMETRIES = 8
#: Row groups whose patches are shuffled together where patches are read by row group: 8 x 64
#: patches of 100 KB are 50 MB in memory.
WINDOW = 8


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
        mixing: How the sensors are mixed; see above.
        weights: Sensor -> (count,) how often a patch is drawn, relative to the others. In every
            run of `count` draws a patch is drawn as often as its share says, rounded up or down.
            None or a sensor left out: each patch once.
        groups: Sensor -> (count,) which row group a patch lies in, ascending. Given where patches
            are read by row group (remote files): groups are permuted, and patches only among
            `WINDOW` groups that follow each other. Neither with weights nor `paired`.

    Raises:
        InputError: `paired` with unequal counts; `paired` or weights with groups.
        ValueError: Weights or groups do not fit.
    """

    def __init__(
        self,
        counts: Mapping[str, int],
        batch: int,
        seed: int,
        *,
        mixing: Mixing = "cycle",
        weights: Mapping[str, NDArray[np.floating]] | None = None,
        groups: Mapping[str, NDArray[np.integer]] | None = None,
    ) -> None:
        self._counts = dict(sorted(counts.items()))
        self._seed = seed
        self._mixing = mixing
        self._shares = {s: _shares(w, self._counts[s]) for s, w in (weights or {}).items()}
        self._groups = dict(groups or {})
        if self._groups.keys() & self._shares.keys():
            raise InputError("patches behind a URL, read by row group, cannot be balanced")
        if any(len(ids) != self._counts[s] for s, ids in self._groups.items()):
            raise ValueError("a row group is needed for every patch")
        if mixing == "paired" and self._groups:
            raise InputError(
                "patches behind a URL cannot be drawn as pairs: partners lie in other row groups"
            )
        if mixing == "paired" and len(set(self._counts.values())) > 1:
            raise InputError("mixing `paired` needs one partner for every patch")
        self._length = max(self._counts.values())
        self.steps = -(-self._length // batch)
        # One permutation serves all steps of an epoch; kept for speed only. Four: a step may draw
        # from two cycles of either sensor.
        self._permutation = functools.lru_cache(maxsize=4)(self._permute)

    @property
    def grouped(self) -> frozenset[str]:
        """Sensors whose order keeps row groups together."""
        return frozenset(self._groups)

    @property
    def largest(self) -> dict[str, int]:
        """Sensor -> patches of the largest step."""
        lengths = (
            self._counts
            if self._mixing == "proportional"
            else dict.fromkeys(self._counts, self._length)
        )
        return {sensor: -(-length // self.steps) for sensor, length in lengths.items()}

    def batch(self, epoch: int, step: int) -> dict[str, NDArray[np.intp]]:
        """Return per sensor the positions (0..count-1) drawn in a step, in order."""
        drawn = {}
        for sensor, count in self._counts.items():
            length = count if self._mixing == "proportional" else self._length
            start, stop = (at * length // self.steps for at in (step, step + 1))
            if stop > start:
                drawn[sensor] = self._draw(sensor, epoch, start, stop)
        return drawn

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
        return np.concatenate(parts).astype(np.intp)

    def _permute(self, sensor: str, epoch: int, cycle: int) -> NDArray[np.integer]:
        """Return the patches of one cycle in order, as narrow as they may be: they are kept."""
        return self._ordered(sensor, epoch, cycle).astype(np.min_scalar_type(self._counts[sensor]))

    def _ordered(self, sensor: str, epoch: int, cycle: int) -> NDArray[np.intp]:
        # Ranks of raw draws: numpy keeps raw Philox streams stable, `permutation` it may change.
        stream = "pairs" if self._mixing == "paired" else sensor
        name = f"{stream}/{epoch}/{cycle}"
        raw = _philox(self._seed, f"order/{name}").random_raw(self._counts[sensor])
        if sensor in self._groups:
            return self._by_window(raw, self._groups[sensor], name)
        ranks = np.argsort(raw, kind="stable")
        if sensor in self._shares:
            return self._balanced(self._shares[sensor], name)[ranks]
        return ranks

    def _by_window(
        self, raw: NDArray[np.uint64], groups: NDArray[np.integer], name: str
    ) -> NDArray[np.intp]:
        distinct, place = np.unique(groups, return_inverse=True)
        keys = _philox(self._seed, f"groups/{name}").random_raw(len(distinct))
        rank = np.empty(len(distinct), dtype=np.intp)
        rank[np.argsort(keys, kind="stable")] = np.arange(len(distinct))
        return np.lexsort((raw, rank[place] // WINDOW))

    def _balanced(self, shares: NDArray[np.float64], name: str) -> NDArray[np.intp]:
        # Systematic sampling: equally spaced points on the cumulated shares from a random start.
        start = int(_philox(self._seed, f"start/{name}").random_raw()) >> 11
        points = (np.arange(len(shares)) + start * 2.0**-53) / len(shares)
        edges = np.cumsum(shares)
        return np.searchsorted(edges / edges[-1], points, side="right")


def class_weights(label_mask: NDArray[np.integer], power: float = 0.5) -> NDArray[np.float64]:
    """Return (n,) weights for `Order` that show patches of rare classes more often.

    A patch weighs the mean of `frequency ** -power` over its classes; one without any weighs as
    the least of the others. Power 0.5 is the square-root sampling of Mahajan et al. 2018 (Exploring
    the Limits of Weakly Supervised Pretraining); 1 shows all classes about equally often.

    Args:
        label_mask: (n,) bit = class present.
        power: 0: all alike.
    """
    present = (label_mask[:, None].astype(np.int64) >> np.arange(len(CLASSES))) & 1
    frequency = np.maximum(present.sum(0), 1) / max(1, len(label_mask))
    held = present.sum(1)
    weights = (present @ frequency**-power) / np.maximum(held, 1)
    if held.any():
        weights[held == 0] = weights[held > 0].min()
    else:
        weights[:] = 1.0
    return weights


def draws(seed: int, purpose: str) -> np.random.Generator:
    """Return the generator of one named purpose, independent of all others."""
    return np.random.Generator(_philox(seed, purpose))


def _shares(weights: NDArray[np.floating], count: int) -> NDArray[np.float64]:
    shares = np.asarray(weights, dtype=np.float64)
    if shares.shape != (count,) or not np.isfinite(shares).all() or (shares < 0).any():
        raise ValueError(f"weights must be {count} finite numbers, none below 0")
    if not shares.sum() > 0:
        raise ValueError("one weight at least must be above 0")
    return shares


def _philox(seed: int, purpose: str) -> np.random.Philox:
    return np.random.Philox(key=xxhash.xxh3_128_intdigest(f"{seed}/{purpose}".encode()))
