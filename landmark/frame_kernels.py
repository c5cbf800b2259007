"""Compiled loops over pixels of image frames; they run without the interpreter lock."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from landmark.grid import PIXELS

# Trip counts that the compiler knows leave no rest of a row to a scalar loop: spreading a patch of
# Sentinel-2 takes 0.6 of the time it takes with counts read from arrays.
_HALF = PIXELS // 2


@numba.njit(nogil=True, cache=True)
def spread(flat: NDArray[np.generic], shapes: NDArray[np.intp], out: NDArray[np.generic]) -> None:
    """Fill (bands, 120, 120) from planes lying one after another, replicated and cast.

    Args:
        flat: All values of all planes.
        shapes: (bands, 2) rows and columns of each plane; they divide 120.
        out: (bands, 120, 120), C-contiguous.
    """
    line = np.empty(PIXELS, out.dtype)
    start = 0
    for band in range(out.shape[0]):
        rows, columns = shapes[band]
        plane = flat[start : start + rows * columns]
        pixels = out[band].reshape(-1)
        if rows == PIXELS and columns == PIXELS:
            _cast(plane, pixels)
        elif rows == _HALF and columns == _HALF:
            _double(plane, line, pixels)
        else:
            _replicate(plane, rows, columns, line, pixels)
        start += rows * columns


@numba.njit(nogil=True, cache=True)
def _cast(plane: NDArray[np.generic], pixels: NDArray[np.generic]) -> None:
    for place in range(PIXELS * PIXELS):
        pixels[place] = plane[place]


@numba.njit(nogil=True, cache=True)
def _double(
    plane: NDArray[np.generic], line: NDArray[np.generic], pixels: NDArray[np.generic]
) -> None:
    for row in range(_HALF):
        for column in range(_HALF):
            value = plane[row * _HALF + column]
            line[2 * column] = value
            line[2 * column + 1] = value
        for lower in range(2):
            start = (2 * row + lower) * PIXELS
            for column in range(PIXELS):
                pixels[start + column] = line[column]


@numba.njit(nogil=True, cache=True)
def _replicate(
    plane: NDArray[np.generic],
    rows: int,
    columns: int,
    line: NDArray[np.generic],
    pixels: NDArray[np.generic],
) -> None:
    tall, wide = PIXELS // rows, PIXELS // columns
    for row in range(rows):
        for column in range(columns):
            line[column * wide : (column + 1) * wide] = plane[row * columns + column]
        for lower in range(tall):
            start = (tall * row + lower) * PIXELS
            for column in range(PIXELS):
                pixels[start + column] = line[column]


@numba.njit(nogil=True, cache=True)
def dequantise(
    stored: NDArray[np.int16], step: float, missing: int, out: NDArray[np.generic]
) -> None:
    """Fill flat float32 `out` with stored x step, NaN where `missing` is stored."""
    for place in range(stored.size):
        value = stored[place]
        out[place] = np.float32(value * step) if value != missing else np.float32(np.nan)
