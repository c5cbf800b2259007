"""Maps of class probabilities on patch frames: mean over several maps, then the likeliest class.

A pixel of a map counts where its bands are not all 0 or NaN, and neither nodata nor masked. The
mean is taken per class over the maps that count there; averaging before choosing is less biased
than choosing before (the mode of labels breaks ties towards class 0).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from landmark.errors import InputError
from landmark.grid import PIXELS, Frame
from landmark.raster_files import NOTHING, RasterLibrary
from landmark.raster_opening import opened_raster
from landmark.rasters import frame_blocks, frame_positions
from landmark.signing import NO_ACCESS, Access

#: Frames taken together: 9 classes of 14,400 pixels as float32 are 0.5 MB a frame.
_TOGETHER = 32
#: Rounding of exports; larger values are no probabilities.
_MOST = 1.001


def composite(
    paths: Sequence[str], frames: Sequence[Frame], classes: int, access: Access = NO_ACCESS
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the likeliest class of each pixel of frames, and its mean probability.

    Args:
        paths: Rasters with one band per class, in order; further bands are not read. The order of
            the paths does not matter beyond rounding.
        frames: Where; any mix of projected CRSs.
        classes: Number of classes.
        access: How rasters behind URLs are signed.

    Returns:
        (frames, 120, 120) int32, `NOTHING` where no map counts; and float32, 0 there.

    Raises:
        InputError: A raster holds values that are no probabilities.
    """
    codes = np.full((len(frames), PIXELS, PIXELS), NOTHING, np.int32)
    top = np.zeros((len(frames), PIXELS, PIXELS), np.float32)
    with RasterLibrary(paths, bands=classes, access=access) as library:
        for block in frame_blocks(frames):
            for start in range(0, block.size, _TOGETHER):
                members = block[start : start + _TOGETHER]
                total, maps = _summed(library, [frames[i] for i in members], classes)
                known = maps > 0
                mean = total / np.maximum(maps, 1)[:, None]
                codes[members] = np.where(known, mean.argmax(axis=1), NOTHING)
                top[members] = np.where(known, mean.max(axis=1), 0.0)
    return codes, top


def _summed(
    library: RasterLibrary, frames: list[Frame], classes: int
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Return (frames, classes, 120, 120) sums of probabilities, and how many maps count."""
    total = np.zeros((len(frames), classes, PIXELS, PIXELS), np.float32)
    maps = np.zeros((len(frames), PIXELS, PIXELS), np.int32)
    for header in library.headers:
        for rows, window, columns, lines in frame_positions(library, header, frames):
            planes = library.read_bands(header, window, classes)
            if np.nanmax(planes, initial=0.0) > _MOST or np.nanmin(planes, initial=0.0) < 0:
                raise InputError(
                    f"{header.path}: holds values outside 0..1; bands 1 to {classes} must be the "
                    "probabilities of the classes in order"
                )
            for row, column, line in zip(rows, columns, lines, strict=True):
                inside = (column >= 0) & (line >= 0)
                inside &= (column < window[2]) & (line < window[3])
                values = planes[:, np.where(inside, line, 0), np.where(inside, column, 0)]
                counts = inside & np.isfinite(values).all(axis=0) & (values > 0).any(axis=0)
                total[row] += np.where(counts, values, 0)
                maps[row] += counts
    return total, maps


def band_count(path: str, access: Access = NO_ACCESS) -> int:
    """Return how many bands a raster has.

    Raises:
        InputError: It cannot be read.
        LandmarkError: A URL cannot be opened.
    """
    with opened_raster(path, access) as dataset:
        return int(dataset.count)
