"""Patch frames: where a patch lies, and the lattices frames are counted on.

A frame is an explicit value `(name, epsg, x_min, y_max)` of 120 x 120 px at 10 m. Names become
parts of patch ids, so they are validated here.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from landmark.errors import InputError

PIXELS = 120
RESOLUTION_M = 10.0
SIZE_M = PIXELS * RESOLUTION_M
#: Sentinel-2 tiles of the south are laid from N = 10 000 000 m, which is 400 mod 1200.
SOUTH_ORIGIN_M = 400.0

_NAME = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class Frame:
    """A square of ground: 120 x 120 px of 10 m in one projected CRS.

    Attributes:
        name: Stable name, unique within a dataset, of characters `[A-Za-z0-9_.-]`.
        epsg: EPSG code of the projected CRS (metres).
        x_min: Western edge, m.
        y_max: Northern edge, m.
    """

    name: str
    epsg: int
    x_min: float
    y_max: float

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in the frame's CRS, m."""
        return (self.x_min, self.y_max - SIZE_M, self.x_min + SIZE_M, self.y_max)

    def transform(self, resolution: float = RESOLUTION_M) -> tuple[float, ...]:
        """Return the 6-number affine (a, b, c, d, e, f) at a pixel size in m."""
        return (resolution, 0.0, self.x_min, 0.0, -resolution, self.y_max)


def check_name(name: str, origin: str) -> str:
    """Return `name` if it may become part of a patch id.

    Raises:
        InputError: It holds other characters than `[A-Za-z0-9_.-]`, is empty or starts with a dot.
    """
    if not _NAME.fullmatch(name) or name.startswith("."):
        raise InputError(
            f"{origin}: name {name!r} cannot be used for a patch; allowed are letters, digits, "
            "'_', '.' and '-'"
        )
    return name


def utm_epsg(lon: float, lat: float) -> int:
    """Return the EPSG code of the plain 6-degree UTM zone of a point (no Norway or Svalbard)."""
    zone = min(60, max(1, math.floor((lon + 180.0) / 6.0) + 1))
    return (32600 if lat >= 0 else 32700) + zone


def south_shift(epsg: int) -> float:
    """Return N0, the northing the lattice rows of a UTM zone are counted from, m."""
    return SOUTH_ORIGIN_M if 32700 < epsg <= 32760 else 0.0


def utm_frame(epsg: int, column: int, row: int) -> Frame:
    """Return the lattice cell (column, row) of a UTM zone; row counts northwards."""
    return Frame(
        name=f"{epsg}_{column:04d}_{row:04d}",
        epsg=epsg,
        x_min=column * SIZE_M,
        y_max=(row + 1) * SIZE_M + south_shift(epsg),
    )


def utm_cell(epsg: int, x: float, y: float) -> tuple[int, int]:
    """Return (column, row) of the lattice cell that holds a point of a UTM zone."""
    return math.floor(x / SIZE_M), math.floor((y - south_shift(epsg)) / SIZE_M)
