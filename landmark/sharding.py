"""Which patch goes to which shard, and in what order: neighbours of a scene stay together."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Cells per side of the squares that patches of a scene are ordered by.
SUPERBLOCK = 8


@dataclass(frozen=True)
class Places:
    """Where patches go; one entry a patch.

    Attributes:
        shard: Number of the shard, from 0.
        row: Position in the shard.
    """

    shard: NDArray[np.int32]
    row: NDArray[np.int32]


def reading_order(
    epsg: NDArray[np.integer], column: NDArray[np.integer], row: NDArray[np.integer]
) -> NDArray[np.int64]:
    """Return the order of one scene's patches: by 8 x 8 superblocks, then row and column.

    Args:
        epsg: CRS of the frame.
        column: Column in the grid.
        row: Row in the grid, counted southwards.
    """
    return np.lexsort((column, row, column // SUPERBLOCK, row // SUPERBLOCK, epsg))


def fill_shards(counts: Iterable[int], limit: int) -> Places:
    """Return the shard and row of each patch, patches being in reading order.

    A scene of at least `limit` patches gets shards of its own, evenly filled; smaller scenes are
    packed together in scene order. A scene is only cut if it does not fit into one shard.

    Args:
        counts: Patches of each scene, in scene order.
        limit: Patches per shard at most.
    """
    shards: list[NDArray[np.int32]] = []
    rows: list[NDArray[np.int32]] = []
    number, filled = 0, limit  # shards so far; rows of the open packed shard
    packed = -1
    for count in counts:
        if count >= limit:
            parts = math.ceil(count / limit)
            edges = [count * part // parts for part in range(parts + 1)]
            for start, stop in itertools.pairwise(edges):
                shards.append(np.full(stop - start, number, dtype=np.int32))
                rows.append(np.arange(stop - start, dtype=np.int32))
                number += 1
            continue
        if filled + count > limit:
            packed, filled, number = number, 0, number + 1
        shards.append(np.full(count, packed, dtype=np.int32))
        rows.append(np.arange(filled, filled + count, dtype=np.int32))
        filled += count
    if not shards:
        return Places(np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int32))
    return Places(np.concatenate(shards), np.concatenate(rows))
