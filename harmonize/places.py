"""Where patches lie, and which of them lie close together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landmark.grid import SIZE_M, south_shift

#: Slack of distance comparisons, m: far below a pixel, far above rounding.
TOLERANCE_M = 0.5


@dataclass(frozen=True)
class Places:
    """Centres of patches, all arrays of length n.

    Attributes:
        epsg: int64, CRS of each frame.
        x: float64, centre in the frame's CRS, m.
        y: float64, centre in the frame's CRS, m.
        lon: float64, centre, degrees.
        lat: float64, centre, degrees.
    """

    epsg: NDArray[np.int64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    lon: NDArray[np.float64]
    lat: NDArray[np.float64]

    def __len__(self) -> int:
        return self.epsg.size

    def take(self, rows: NDArray[np.int64]) -> Places:
        """Return some of the places."""
        return Places(self.epsg[rows], self.x[rows], self.y[rows], self.lon[rows], self.lat[rows])


def block_ids(places: Places, block_km: float) -> NDArray[np.str_]:
    """Return the spatial block of each place as `32632_12_37` (zone, column, row).

    Blocks are squares in the plain 6-degree UTM zone of the centre, counted from the origin of
    the patch lattice. Frames in the CRS of a neighbouring zone (Sentinel-2 tiles overlap) share
    the block of the ground they show.
    """
    zone = np.clip(np.floor((places.lon + 180.0) / 6.0).astype(np.int64) + 1, 1, 60)
    home = np.where(places.lat >= 0, 32600, 32700) + zone
    edge = block_km * 1000.0
    names = np.empty(len(places), dtype=object)
    for epsg in np.unique(home):
        rows = np.flatnonzero(home == epsg)
        x, y = _in_crs(places, rows, int(epsg))
        columns = np.floor(x / edge).astype(np.int64)
        lines = np.floor((y - south_shift(int(epsg))) / edge).astype(np.int64)
        names[rows] = [f"{epsg}_{c}_{r}" for c, r in zip(columns, lines, strict=True)]
    return names.astype(np.str_)


def close_pairs(
    places: Places, first: NDArray[np.int64], second: NDArray[np.int64], buffer_cells: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return all pairs of places of two groups that lie within the buffer of each other.

    Two patches are close when their centres are less than (buffer_cells + 1) x 1200 m apart in x
    and in y: on the lattice, when their cells are at most `buffer_cells` apart (Chebyshev); off
    it, when the gap between the frames is narrower than `buffer_cells` cells. Patches of
    different CRS are compared in the CRS of either.

    Args:
        places: All places.
        first: Rows of one group.
        second: Rows of the other group.
        buffer_cells: Width of the buffer; 0 means that frames may touch but not overlap.

    Returns:
        Row of `first` and row of `second` of every pair, in no fixed order; a pair of different
        CRS may come twice.
    """
    reach = (buffer_cells + 1) * SIZE_M - TOLERANCE_M
    found: tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]] = ([], [])
    for epsg in np.unique(places.epsg[first]):
        native = first[places.epsg[first] == epsg]
        near = _near_zone(places, second, int(epsg), native)
        own, other = _within(places, native, near, int(epsg), reach)
        found[0].append(own)
        found[1].append(other)
    for epsg in np.unique(places.epsg[second]):
        native = second[places.epsg[second] == epsg]
        near = _near_zone(places, first, int(epsg), native)
        near = near[places.epsg[near] != epsg]
        own, other = _within(places, native, near, int(epsg), reach)
        found[0].append(other)
        found[1].append(own)
    empty = np.empty(0, dtype=np.int64)
    return np.concatenate([empty, *found[0]]), np.concatenate([empty, *found[1]])


def _within(
    places: Places, own: NDArray[np.int64], other: NDArray[np.int64], epsg: int, reach: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if not other.size:
        return other, other
    import shapely

    x, y = places.x[own], places.y[own]
    tree = shapely.STRtree(shapely.points(*_in_crs(places, other, epsg)))
    # The tree compares envelopes, which for points and boxes is the exact test.
    pairs = tree.query(shapely.box(x - reach, y - reach, x + reach, y + reach))
    return own[pairs[0]], other[pairs[1]]


def _near_zone(
    places: Places, rows: NDArray[np.int64], epsg: int, native: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the rows that may lie close to places of a CRS: same CRS, or the same latitudes."""
    if not native.size:
        return native
    same = places.epsg[rows] == epsg
    lat = places.lat[native]
    # 0.2 degrees are 22 km: wider than any sensible buffer.
    beside = (places.lat[rows] > lat.min() - 0.2) & (places.lat[rows] < lat.max() + 0.2)
    apart = np.abs((places.lon[rows] - np.median(places.lon[native]) + 180.0) % 360.0 - 180.0)
    return rows[same | (beside & (apart < 12.0))]


def _in_crs(
    places: Places, rows: NDArray[np.int64], epsg: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the centres of rows in a CRS; those already in it keep their exact numbers."""
    x, y = places.x[rows].copy(), places.y[rows].copy()
    foreign = np.flatnonzero(places.epsg[rows] != epsg)
    if foreign.size:
        import pyproj

        project = pyproj.Transformer.from_crs("OGC:CRS84", f"EPSG:{epsg}", always_xy=True)
        x[foreign], y[foreign] = project.transform(
            places.lon[rows[foreign]], places.lat[rows[foreign]]
        )
    return x, y
