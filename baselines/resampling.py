"""Bootstrap over ground and queries: which blocks and which queries stand how often in a draw.

Patches close to each other are alike, so whole blocks of ground are drawn, with all dates and both
sensors; and the queries of a row are drawn too, since another list of queries would have given
another mean. Every draw depends on a fixed seed and on the names of what is drawn, never on a
score: all runs are resampled alike, so that their differences can be paired.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xxhash
from numpy.typing import NDArray
from scipy.sparse import csr_array

from baselines.documents import Documents
from baselines.metrics import discounts
from baselines.queries import Query

#: Edge of a block: that of the default spatial split.
BLOCK_KM = 12.0
#: Resampled galleries, and draws of queries upon each.
REPLICATES = 200
QUERY_DRAWS = 5
#: Ends of the interval, percent.
INTERVAL = (5.0, 95.0)
#: Mean length of a degree of latitude (WGS 84 meridian quadrant of 10,001.966 km / 90).
_KM_PER_DEGREE = 111.133


@dataclass(frozen=True)
class Resampling:
    """Resampled galleries, as how often each block was drawn.

    Attributes:
        blocks: (n,) int32, the block of every document.
        weights: (blocks, B) int32, how often each block stands in each replicate.
        discounts: Sum of the first 0, 1, 2, ... discounts, up to the largest replicate.
        harmonics: Harmonic numbers from H_0 = 0, likewise.
    """

    blocks: NDArray[np.int32]
    weights: NDArray[np.int32]
    discounts: NDArray[np.float64]
    harmonics: NDArray[np.float64]

    def group_counts(self, codes: NDArray[np.int32], groups: int) -> NDArray[np.int64]:
        """Return (groups, B) documents of each group in each replicate.

        Args:
            codes: (n,) group of every document.
            groups: How many groups there are.
        """
        pairs = csr_array(
            (np.ones(codes.size, np.int64), (codes, self.blocks)),
            shape=(groups, self.weights.shape[0]),
        )
        return np.asarray(pairs @ self.weights.astype(np.int64))


def resampling(blocks: NDArray[np.str_], replicates: int = REPLICATES) -> Resampling | None:
    """Return resampled galleries: as many blocks as there are, drawn with replacement.

    Args:
        blocks: (n,) name of every document's block.
        replicates: How many galleries.

    Returns:
        None where all documents lie in one block: there is nothing to draw.
    """
    names, codes = np.unique(blocks, return_inverse=True)
    if names.size < 2:
        return None
    generator = np.random.default_rng(_seed(names.tolist()))
    drawn = generator.multinomial(names.size, np.full(names.size, 1 / names.size), replicates)
    weights = np.ascontiguousarray(drawn.T.astype(np.int32))
    largest = int((np.bincount(codes) @ weights).max())
    sums = np.zeros((2, largest + 1))
    sums[0, 1:] = np.cumsum(discounts(largest))
    sums[1, 1:] = np.cumsum(1.0 / np.arange(1, largest + 1))
    return Resampling(codes.astype(np.int32), weights, sums[0], sums[1])


def ground_blocks(documents: Documents, block_km: float = BLOCK_KM) -> NDArray[np.str_]:
    """Return (n,) name of the block of ground each patch's centre lies in.

    Rows of blocks are equally high; along a row they are as wide as high at its middle latitude.

    Args:
        documents: With columns `lon` and `lat`, degrees.
        block_km: Edge of a block.
    """
    lon, lat = (documents.table[name].to_numpy() for name in ("lon", "lat"))
    height = block_km / _KM_PER_DEGREE
    row = np.floor(lat / height).astype(np.int64)
    width = height / np.maximum(np.cos(np.radians((row + 0.5) * height)), 0.01)
    column = np.floor(lon / width).astype(np.int64)
    return np.char.add(np.char.add(row.astype(np.str_), "_"), column.astype(np.str_))


def interval(
    values: NDArray[np.floating],
    replicates: NDArray[np.floating] | None,
    queries: list[Query],
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return the ends of the 90 % intervals of means over queries.

    Args:
        values: (q, m) values of m measures on the gallery as it is.
        replicates: (q, B, m) the same on resampled galleries, NaN where a query has no relevant
            document; None: the gallery is not resampled.
        queries: The q queries.

    Returns:
        (m,) low and (m,) high, or None where there is nothing to draw: one query and one block.
    """
    if replicates is None:
        if len(queries) < 2:
            return None
        replicates = values[:, None, :]
    count, galleries, measures = replicates.shape
    draws = max(1, REPLICATES * QUERY_DRAWS // galleries) if count > 1 else 1
    if count == 1:
        means = replicates[0].astype(np.float64)
    else:
        generator = np.random.default_rng(_seed([query.id for query in queries]))
        # Draw b uses gallery b, then b + B and so on: each gallery is used `draws` times.
        times = generator.multinomial(count, np.full(count, 1 / count), (draws, galleries))
        known = np.isfinite(replicates)
        filled = np.where(known, replicates, 0.0)
        total = np.einsum("dbq,qbm->dbm", times.astype(np.float64), filled)
        weight = np.einsum("dbq,qbm->dbm", times.astype(np.float64), known.astype(np.float64))
        means = np.divide(total, weight, out=np.full(total.shape, np.nan), where=weight > 0)
        means = means.reshape(-1, measures)
    means = means[np.isfinite(means).any(axis=1)]
    if not means.size:
        return None
    low, high = np.nanpercentile(means, INTERVAL, axis=0)
    return low, high


def _seed(names: list[str]) -> int:
    return xxhash.xxh3_64_intdigest("\n".join(names).encode())
