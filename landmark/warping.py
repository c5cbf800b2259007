"""Resampling onto a frame that does not lie on a file's own pixel grid.

The work is GDAL's (`rasterio.warp.reproject`, its default transformer: within 1/8 source pixel
of the exact one); this module finds the part of the file a frame needs and keeps nodata out of
the interpolation. Values come as float64 with NaN as nodata, because a numeric nodata value
would be nudged by GDAL where interpolation happens to hit it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pyproj
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.warp import Resampling, reproject
from rasterio.windows import Window

from landmark.errors import LandmarkError
from landmark.grid import SIZE_M, Frame

#: Points per frame edge whose place in the file is computed; edges bend far less between them
#: than the margin of the window.
_EDGE_POINTS = 9
#: Source pixels read around a frame beyond the reach of the interpolation.
_MARGIN = 2


@dataclass(frozen=True)
class Source:
    """The grid of one file as `rasterio` states it."""

    crs: CRS
    transform: Affine
    width: int
    height: int


class Transformers:
    """The coordinate operations of one reading job: making one costs more than using it."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, str], pyproj.Transformer] = {}

    def get(self, epsg: int, crs: CRS) -> pyproj.Transformer:
        """Return the operation from an EPSG code to a file's CRS, x before y.

        Raises:
            LandmarkError: There is none.
        """
        key = (epsg, crs.to_wkt())
        if key not in self._made:
            try:
                self._made[key] = pyproj.Transformer.from_crs(epsg, key[1], always_xy=True)
            except pyproj.exceptions.ProjError as error:
                reason = str(error).splitlines()[0]
                raise LandmarkError(
                    f"no way from EPSG:{epsg} to the file's CRS: {reason}"
                ) from None
        return self._made[key]


def source_window(
    frame: Frame, side: int, source: Source, transformers: Transformers
) -> Window | None:
    """Return the part of a file that a frame of side x side pixels is interpolated from.

    None where the frame lies outside the file.
    """
    steps = np.linspace(0.0, SIZE_M, _EDGE_POINTS)
    zero, full = np.zeros_like(steps), np.full_like(steps, SIZE_M)
    x = frame.x_min + np.concatenate([steps, steps, zero, full])
    y = frame.y_max - np.concatenate([zero, full, steps, steps])
    x, y = map(np.asarray, transformers.get(frame.epsg, source.crs).transform(x, y))
    a, b, c, d, e, f = (~source.transform)[:6]
    columns, rows = a * x + b * y + c, d * x + e * y + f
    if not (np.isfinite(columns).all() and np.isfinite(rows).all()):
        return None
    left, right = _reach(columns, side, source.width)
    top, bottom = _reach(rows, side, source.height)
    if left >= right or top >= bottom:
        return None
    return Window(left, top, right - left, bottom - top)


def shifted(transform: Affine, column: int, row: int) -> Affine:
    """Return the affine of a part of a file that starts at (column, row)."""
    a, b, c, d, e, f = transform[:6]
    return Affine(a, b, c + a * column + b * row, d, e, f + d * column + e * row)


def warp(
    values: NDArray[np.float64], transform: Affine, crs: CRS, frame: Frame, side: int
) -> NDArray[np.float64]:
    """Return values (rows, columns; NaN = nodata) on a frame, bilinear, (side, side) float64.

    Nodata does not spread: a pixel is made of the valid neighbours it has. What lies outside is
    NaN.
    """
    target = np.full((side, side), np.nan)
    reproject(
        values,
        target,
        src_transform=transform,
        src_crs=crs,
        src_nodata=math.nan,
        dst_transform=Affine(*frame.transform(SIZE_M / side)),
        dst_crs=CRS.from_epsg(frame.epsg),
        dst_nodata=math.nan,
        resampling=Resampling.bilinear,
    )
    return target


def warp_classes(
    classes: NDArray[np.uint8], transform: Affine, crs: CRS, frame: Frame, side: int
) -> NDArray[np.uint8]:
    """Return classes (rows, columns) on a frame, nearest neighbour; 0 outside."""
    target = np.zeros((side, side), dtype=np.uint8)
    reproject(
        classes,
        target,
        src_transform=transform,
        src_crs=crs,
        dst_transform=Affine(*frame.transform(SIZE_M / side)),
        dst_crs=CRS.from_epsg(frame.epsg),
        dst_nodata=0,
        resampling=Resampling.nearest,
    )
    return target


def _reach(positions: NDArray[np.float64], side: int, size: int) -> tuple[int, int]:
    """Return the pixels from..to that a frame's extent along one axis draws on, clipped."""
    low, high = float(positions.min()), float(positions.max())
    # Where the file is finer than the target, GDAL widens its kernel by the ratio.
    kernel = 2 * max(1, math.ceil((high - low) / side)) + _MARGIN
    start = max(0, math.floor(low) - kernel)
    if start >= size or high + kernel <= 0:
        return start, start
    # GDAL takes that ratio from the source pixels it could reach. Keeping the part as long as the
    # frame's extent, also where the file's edge cuts it, gives what warping the whole file gives.
    stop = max(math.ceil(high), start + math.ceil(high - low)) + kernel
    return start, min(size, stop)
