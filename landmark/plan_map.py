"""A small map of a plan for the terminal: where patches lie, in characters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: From few to many patches in a character cell.
_SHADES = "·░▒▓█"
#: A character is about twice as high as it is wide.
_ASPECT = 2.0
#: Degrees of latitude a patch is high: no character shows less than that.
_PATCH_DEGREES = 0.011


def text_map(
    lon: NDArray[np.float64], lat: NDArray[np.float64], width: int = 56, height: int = 16
) -> tuple[str, ...]:
    """Return lines that show where points lie: north up, shades by count.

    An area around the 180th meridian is drawn in one piece.

    Args:
        lon: Longitudes, degrees.
        lat: Latitudes, degrees.
        width: Columns at most.
        height: Lines at most.

    Returns:
        The lines, the last one saying what the edges are; empty for no points.
    """
    if not len(lon):
        return ()
    east = _unwrapped(lon)
    west_edge, east_edge = float(east.min()), float(east.max())
    south, north = float(lat.min()), float(lat.max())
    squeeze = max(0.1, float(np.cos(np.radians((south + north) / 2))))
    across, down = (east_edge - west_edge) * squeeze, north - south
    step = max(across / width, down / (height * _ASPECT), _PATCH_DEGREES)
    columns = max(1, min(width, int(np.ceil(across / step))))
    lines = max(1, min(height, int(np.ceil(down / (step * _ASPECT)))))
    x = np.clip(((east - west_edge) * squeeze / step).astype(int), 0, columns - 1)
    y = np.clip(((north - lat) / (step * _ASPECT)).astype(int), 0, lines - 1)
    counts = np.bincount(y * columns + x, minlength=lines * columns).reshape(lines, columns)
    top = counts.max()
    rank = np.ceil(np.sqrt(counts / top) * len(_SHADES)).astype(int)
    drawn = ["".join((" " + _SHADES)[n] for n in row) for row in rank.tolist()]
    frame = f"{_degrees(west_edge)}..{_degrees(east_edge)} E, {south:.2f}..{north:.2f} N"
    return (*(f"|{line}|" for line in drawn), f"{frame}; {_SHADES[-1]} = {top} patches")


def _unwrapped(lon: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return longitudes counted on past 180 where that makes the area narrower."""
    turned = np.where(lon < 0, lon + 360.0, lon)
    return turned if np.ptp(turned) < np.ptp(lon) else lon


def _degrees(lon: float) -> str:
    return f"{lon - 360 if lon > 180 else lon:.2f}"
