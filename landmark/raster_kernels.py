"""The inner loops of `landmark.rasters`, compiled by numba; they release the GIL.

Kept apart because importing numba takes longer than `landmark --help` may.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

#: Pixels between two coordinate nodes; 60 gave the same accuracy as 20 at a ninth of the points.
STEP = 60
#: GDAL adds this before it floors a source coordinate (gdalwarpkernel.cpp), so that a pixel
#: centre on a source edge falls on the same side here as there.
EDGE = 1e-10


@njit(nogil=True, cache=True)
def seen_codes(block: NDArray[Any], low: int, seen: NDArray[np.bool_]) -> None:
    """Mark in `seen` (one flag per value from `low` on) which values a block holds."""
    for r in range(block.shape[0]):
        for c in range(block.shape[1]):
            seen[block[r, c] - low] = True


@njit(nogil=True, cache=True)
def _count_run(
    values: NDArray[Any],
    places: NDArray[np.int32],
    low: int,
    lookup: NDArray[np.int32],
    free: NDArray[np.bool_],
    counts: NDArray[np.int32],
    image: NDArray[np.int32],
) -> None:
    """Count the codes at some places of a flat block (-1: outside) for pixels side by side."""
    # Neighbours mostly hold the same code: count runs in a register, because adding one by one
    # to the same address waits for the write before.
    last = -1
    run = 0
    for j in range(places.shape[0]):
        if places[j] < 0 or not free[j]:
            continue
        value = values[np.uint32(places[j])]
        k = lookup[np.uint32(value - low)]
        if k < 0:
            continue
        free[j] = False
        if k != last:
            if run > 0:
                counts[last] += run
            last = k
            run = 0
        run += 1
        if image.shape[0] > 0:
            image[j] = value
    if run > 0:
        counts[last] += run


@njit(nogil=True, cache=True)
def take_nodes(
    block: NDArray[Any],
    nodes: NDArray[np.float64],
    low: int,
    lookup: NDArray[np.int32],
    free: NDArray[np.bool_],
    counts: NDArray[np.int32],
    image: NDArray[np.int32],
) -> None:
    """Count codes of frames whose coordinates are interpolated between nodes.

    Args:
        block: (rows, columns) integer codes, contiguous, at most 2**31 of them.
        nodes: (frames, k, k, 2) column and row in `block` of every 60th pixel corner.
        low: Value that `lookup[0]` stands for.
        lookup: Value - low -> column of `counts`, or -1 where the value covers nothing.
        free: (frames, side, side), True where a pixel still wants a code; updated.
        counts: (frames, codes); updated.
        image: (frames, side, side) codes, updated; or (frames, side, 0): no picture is wanted.
    """
    height, width = block.shape
    values = block.ravel()
    places = np.empty(STEP, np.int32)
    for i in range(free.shape[0]):
        for r in range(free.shape[1]):
            kr = r // STEP
            t = (r + 0.5 - kr * STEP) / STEP
            for kc in range(free.shape[2] // STEP):
                x0 = nodes[i, kr, kc, 0] * (1 - t) + nodes[i, kr + 1, kc, 0] * t
                y0 = nodes[i, kr, kc, 1] * (1 - t) + nodes[i, kr + 1, kc, 1] * t
                x1 = nodes[i, kr, kc + 1, 0] * (1 - t) + nodes[i, kr + 1, kc + 1, 0] * t
                y1 = nodes[i, kr, kc + 1, 1] * (1 - t) + nodes[i, kr + 1, kc + 1, 1] * t
                dx = (x1 - x0) / STEP
                dy = (y1 - y0) / STEP
                # A straight run whose ends are inside is inside: no checks, so this vectorises.
                ends = min(x0, x1) >= 0 and min(y0, y1) >= 0
                if ends and max(x0, x1) < width - EDGE and max(y0, y1) < height - EDGE:
                    for j in range(STEP):
                        x = np.int32(x0 + (j + 0.5) * dx + EDGE)
                        y = np.int32(y0 + (j + 0.5) * dy + EDGE)
                        places[j] = y * np.int32(width) + x
                else:
                    for j in range(STEP):
                        fx = x0 + (j + 0.5) * dx + EDGE
                        fy = y0 + (j + 0.5) * dy + EDGE
                        places[j] = -1
                        if fx >= 0 and fy >= 0 and fx < width and fy < height:
                            places[j] = np.int32(fy) * np.int32(width) + np.int32(fx)
                start, stop = kc * STEP, (kc + 1) * STEP
                _count_run(
                    values,
                    places,
                    low,
                    lookup,
                    free[i, r, start:stop],
                    counts[i],
                    image[i, r, start:stop],
                )


@njit(nogil=True, cache=True)
def take_points(
    block: NDArray[Any],
    points: NDArray[np.float64],
    low: int,
    lookup: NDArray[np.int32],
    free: NDArray[np.bool_],
    counts: NDArray[np.int32],
    image: NDArray[np.int32],
) -> None:
    """Count codes of frames whose every pixel centre was projected by itself.

    `points` is (frames, side, side, 2): column and row in `block`; the rest as `take_nodes`.
    """
    height, width = block.shape
    values = block.ravel()
    places = np.empty(free.shape[2], np.int32)
    for i in range(free.shape[0]):
        for r in range(free.shape[1]):
            for c in range(free.shape[2]):
                x = points[i, r, c, 0] + EDGE
                y = points[i, r, c, 1] + EDGE
                places[c] = -1
                if x >= 0 and y >= 0 and x < width and y < height:
                    places[c] = np.int32(y) * np.int32(width) + np.int32(x)
            _count_run(values, places, low, lookup, free[i, r], counts[i], image[i, r])
