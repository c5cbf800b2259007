"""The inner loops of `landmark.rasters`, compiled by numba; they release the GIL.

Kept apart because importing numba takes longer than `landmark --help` may.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

#: Pixels between two of the three coordinate nodes of an axis. A parabola through three is off by
#: less than 1e-5 px, lines between them by 0.01 px of a fine raster.
STEP = 60
#: GDAL's warper projects the ends of a row and draws a line between them, as long as that is off
#: by no more than this many source pixels in the middle (gdalwarp -et). So do we, to take the
#: same pixels.
TOLERANCE = 0.125
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
    """Count codes of frames whose coordinates are interpolated between 3 x 3 nodes.

    Args:
        block: (rows, columns) integer codes, contiguous, at most 2**31 of them.
        nodes: (frames, 3, 3, 2) column and row in `block` of pixel corners 0, 60 and 120.
        low: Value that `lookup[0]` stands for.
        lookup: Value - low -> column of `counts`, or -1 where the value covers nothing.
        free: (frames, side, side), True where a pixel still wants a code; updated.
        counts: (frames, codes); updated.
        image: (frames, side, side) codes, updated; or (frames, side, 0): no picture is wanted.
    """
    height, width = block.shape
    values = block.ravel()
    side = free.shape[2]
    places = np.empty(side, np.int32)
    corner = np.empty((3, 2), np.float64)
    for i in range(free.shape[0]):
        for r in range(side):
            t = (r + 0.5) / STEP
            for k in range(3):
                for axis in range(2):
                    corner[k, axis] = (
                        nodes[i, 0, k, axis] * (t - 1) * (t - 2) / 2
                        + nodes[i, 1, k, axis] * t * (2 - t)
                        + nodes[i, 2, k, axis] * t * (t - 1) / 2
                    )
            x0, x1, x2 = corner[0, 0], corner[1, 0], corner[2, 0]
            y0, y1, y2 = corner[0, 1], corner[1, 1], corner[2, 1]
            bx, cx = (4 * x1 - 3 * x0 - x2) / 2, (x0 - 2 * x1 + x2) / 2
            by, cy = (4 * y1 - 3 * y0 - y2) / 2, (y0 - 2 * y1 + y2) / 2
            if abs(cx) + abs(cy) <= TOLERANCE:
                first, last = 0.5 / STEP, (side - 0.5) / STEP
                ex, ey = x0 + first * (bx + first * cx), y0 + first * (by + first * cy)
                bx = (x0 + last * (bx + last * cx) - ex) / (last - first)
                by = (y0 + last * (by + last * cy) - ey) / (last - first)
                x0, y0, cx, cy = ex - first * bx, ey - first * by, 0.0, 0.0
            # A run bends by far less than a pixel: with its nodes a pixel inside it is inside, and
            # without checks the loop vectorises.
            inside = min(x0, x1, x2) >= 1 and min(y0, y1, y2) >= 1
            if inside and max(x0, x1, x2) < width - 1 and max(y0, y1, y2) < height - 1:
                for j in range(side):
                    s = (j + 0.5) / STEP
                    x = np.int32(x0 + s * (bx + s * cx) + EDGE)
                    y = np.int32(y0 + s * (by + s * cy) + EDGE)
                    places[j] = y * np.int32(width) + x
            else:
                for j in range(side):
                    s = (j + 0.5) / STEP
                    fx = x0 + s * (bx + s * cx) + EDGE
                    fy = y0 + s * (by + s * cy) + EDGE
                    places[j] = -1
                    if fx >= 0 and fy >= 0 and fx < width and fy < height:
                        places[j] = np.int32(fy) * np.int32(width) + np.int32(fx)
            _count_run(values, places, low, lookup, free[i, r], counts[i], image[i, r])
