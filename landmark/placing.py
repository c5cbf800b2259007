"""Whether a frame lies on a file's own pixels, and where."""

from __future__ import annotations

import math

from landmark.grid import SIZE_M, Frame

# How far off a file's pixel edges a frame may lie, in pixels: rounding of float64 coordinates
# (1e-9) passes, and any real shift does not.
_ON_GRID = 1e-4
# Square of a pixel's size, metres or degrees: far beyond any image on either side.
_LEAST_AREA, _MOST_AREA = 1e-18, 1e18


def is_usable(transform: tuple[float, ...]) -> bool:
    """Return whether the affine (a, b, c, d, e, f) of a file puts its pixels anywhere.

    Damaged headers hold zero, infinity or NaN where a size or a place should be.
    """
    a, b, _, d, e, _ = transform
    finite = all(map(math.isfinite, transform))
    return finite and _LEAST_AREA < abs(a * e - b * d) < _MOST_AREA


def corner(
    frame: Frame, side: int, epsg: int | None, transform: tuple[float, ...]
) -> tuple[int, int] | None:
    """Return (row, column) of a frame's upper-left pixel if it lies on a file's pixel grid.

    Args:
        frame: Where to cut.
        side: Pixels per side of the cut plane.
        epsg: CRS of the file.
        transform: Affine (a, b, c, d, e, f) of the file.
    """
    size = SIZE_M / side
    a, b, c, d, e, f = transform
    if frame.epsg != epsg or b != 0 or d != 0:
        return None
    if c == frame.x_min and f == frame.y_max and a == size == -e:
        return 0, 0  # a file that is the frame, as most of an archive are
    # Over the whole patch the two grids may not drift apart by more than the tolerance.
    if max(abs(a - size), abs(e + size)) * side > _ON_GRID * size:
        return None
    column, row = (frame.x_min - c) / size, (f - frame.y_max) / size
    if max(abs(column - round(column)), abs(row - round(row))) > _ON_GRID:
        return None
    return round(row), round(column)
