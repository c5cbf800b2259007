"""Dealing groups of blocks to splits, so that far-away ground has no say.

Groups are dealt within dealing areas: a 6-degree zone and a strip of it 900 km high, laid on the
Earth once and for all. Each area is dealt by itself, from its own groups and the seed, so that
patches added in another area change nothing. An area of few groups cannot hold the shares; a
seeded draw then decides which way it rounds, and over many areas the shares come out right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harmonize.hashing import draws
from harmonize.stratify import deal_groups, fill_empty

#: Height of a dealing area, m: about eight degrees, as a UTM grid zone has.
AREA_M = 900_000.0
#: Areas with fewer groups are dealt by rounded quotas: the shares themselves would give every
#: area of one group to the largest split.
_FEW_GROUPS = 10
#: From so many groups on, an area fills every split, so that a corpus of one area has all of them.
_ENOUGH_FOR_ALL = 5


def area_of(block: str, block_km: float) -> str:
    """Return the dealing area a block (`32632_12_37`) lies in."""
    zone, _, row = block.split("_")
    return f"{zone}_{math.floor(int(row) * block_km * 1000.0 / AREA_M)}"


def deal(
    names: Sequence[str],
    areas: Sequence[str],
    counts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    shares: NDArray[np.float64],
    seed: int,
) -> NDArray[np.int64]:
    """Return the split of each group.

    A split with a share that no area filled is given one group in the end, where there is one to
    spare: the only case in which areas depend on each other, and only where every area has few
    groups.

    Args:
        names: (groups,) stable names.
        areas: (groups,) dealing area of each.
        counts: (groups, labels) patches that carry a label.
        sizes: (groups,) patches.
        shares: (splits,) wanted shares, summing to 1.
        seed: The manifest's seed.
    """
    ties = draws(names, seed, "split-group")
    labels = np.asarray(areas, dtype=np.str_)
    dealt = np.empty(sizes.size, dtype=np.int64)
    for area in np.unique(labels):
        rows = np.flatnonzero(labels == area)
        wanted = shares
        if rows.size < _FEW_GROUPS:
            wanted = quotas(rows.size, shares, str(area), seed) / rows.size
        dealt[rows] = deal_groups(counts[rows], sizes[rows], wanted, ties[rows])
    order = np.argsort(ties, kind="stable")
    dealt[order] = fill_empty(dealt[order], sizes[order], shares)
    return dealt


def quotas(groups: int, shares: NDArray[np.float64], area: str, seed: int) -> NDArray[np.int64]:
    """Return how many groups of an area each split gets.

    Systematic rounding, within one group of the share and right on average: one draw per area
    moves the edges of all splits together. From five groups on each split with a share gets one
    at least, from the split that is farthest above its share.
    """
    phase = float(draws([area], seed, "split-area")[0]) / 2.0**64
    edges = np.floor(np.cumsum(shares) * groups + phase + 1e-9).astype(np.int64)
    edges[-1] = groups
    result = np.diff(np.concatenate([[0], np.minimum(edges, groups)]))
    if groups >= _ENOUGH_FOR_ALL:
        for empty in np.flatnonzero((result == 0) & (shares > 0)):
            giver = int(np.argmax(np.where(result > 1, result - shares * groups, -np.inf)))
            result[giver] -= 1
            result[empty] += 1
    return result
