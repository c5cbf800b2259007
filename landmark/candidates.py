"""All candidate patches of a plan as arrays: the frames of every scene inside the area."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from landmark.grid import SIZE_M, Frame
from landmark.manifest import Manifest
from landmark.sampling import (
    NO_CELLS,
    WHOLE,
    Cells,
    from_degrees,
    scene_cells,
    source_cell,
    to_degrees,
    utm_cells,
)
from landmark.scenes import Scene
from landmark.stac_items import AreaShape

#: Decimals of degrees in the plan: 1e-8 is a millimetre.
_DECIMALS = 8
_AREA_MARGIN_M = 3 * SIZE_M
#: Where UTM ends and the polar grids of MGRS begin, degrees.
UTM_NORTH, UTM_SOUTH = 84.0, -80.0


@dataclass(frozen=True)
class Candidates:
    """Candidate patches; arrays with one entry a patch, unless a line says otherwise.

    Attributes:
        scene: Position of the scene, int32.
        epsg: CRS of the frame, int32.
        column: Column in the grid, int32.
        row: Row in the grid, counted southwards, int32.
        x_min: Western edge, m.
        y_max: Northern edge, m.
        whole: Whether the frame is cut without resampling.
        place: Position in `lon`, `lat`, `geometry`.
        frame: Position in `names`.
        lon: Centre of each place, degrees.
        lat: Centre of each place, degrees.
        geometry: Outline of each place, WKB in longitude, latitude.
        names: Frame names.
        dropped: Cells at scene edges that are covered in part only.
        at_meridian: Cells left out because the 180th meridian cuts them.
        polar: Cells left out because UTM ends at 84 degrees north and 80 degrees south.
    """

    scene: NDArray[np.int32]
    epsg: NDArray[np.int32]
    column: NDArray[np.int32]
    row: NDArray[np.int32]
    x_min: NDArray[np.float64]
    y_max: NDArray[np.float64]
    whole: NDArray[np.bool_]
    place: NDArray[np.int64]
    frame: NDArray[np.int64]
    lon: NDArray[np.float64]
    lat: NDArray[np.float64]
    geometry: pa.Array
    names: list[str]
    dropped: int
    at_meridian: int
    polar: int


def gather(
    scenes: Sequence[Scene],
    frames: Sequence[Frame | None] | None,
    manifest: Manifest,
    area: AreaShape | None,
) -> Candidates:
    """Return the candidate frames of all scenes whose centre lies in the area.

    Args:
        scenes: In plan order.
        frames: Grid `source`: the frame of each scene, or None where patches are cut from its
            corner on; on other grids None.
        manifest: Says which grid.
        area: Where, or None for everywhere.
    """
    parts = []
    dropped = 0
    windows = _AreaWindows(area)
    for index, cells in enumerate(_cells(scenes, frames, manifest)):
        dropped += cells.dropped
        near = windows.near(cells)
        parts.append((np.full(int(near.sum()), index, dtype=np.int32), cells, near))
    scene = np.concatenate([index for index, _, _ in parts])
    epsg, column, row, x_min, y_max, whole = (
        np.concatenate([getattr(cells, name)[near] for _, cells, near in parts])
        for name in ("epsg", "column", "row", "x_min", "y_max", "whole")
    )
    place, first = number(epsg, x_min, y_max)
    lon, lat, rings = _on_earth(epsg[first], x_min[first], y_max[first])
    inside = np.ones(len(lon), dtype=bool) if area is None else area.contains(lon, lat)
    cut = np.ptp(rings[:, :, 0], axis=1) > 180 if len(lon) else np.zeros(0, dtype=bool)
    at_meridian = int((inside & cut)[place].sum())
    beyond = (lat > UTM_NORTH) | (lat < UTM_SOUTH)
    polar = int((inside & ~cut & beyond)[place].sum())
    kept = (inside & ~cut & ~beyond)[place]
    frame, names = _names(
        manifest, [c for _, c, _ in parts], scene, epsg, column, row, place, first
    )
    return Candidates(
        scene=scene[kept],
        epsg=epsg[kept],
        column=column[kept],
        row=(-row if manifest.grid == "utm" else row)[kept],
        x_min=x_min[kept],
        y_max=y_max[kept],
        whole=whole[kept],
        place=place[kept],
        frame=frame[kept],
        lon=lon,
        lat=lat,
        geometry=pa.array(shapely.to_wkb(shapely.polygons(rings), byte_order=1), pa.binary()),
        names=names,
        dropped=dropped,
        at_meridian=at_meridian,
        polar=polar,
    )


def number(*keys: NDArray[np.generic]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number equal rows in sorted order; return (number of each row, a row of each number)."""
    order = np.lexsort(keys[::-1])
    new = np.zeros(len(order), dtype=bool)
    new[:1] = True
    for values in keys:
        new[1:] |= values[order][1:] != values[order][:-1]
    numbers = np.empty(len(order), dtype=np.int64)
    numbers[order] = np.cumsum(new) - 1
    return numbers, order[new]


class _AreaWindows:
    """The area's bounds in each CRS, to leave far cells out before anything is kept of them."""

    def __init__(self, area: AreaShape | None) -> None:
        self._area = area
        self._bounds: dict[int, tuple[float, float, float, float] | None] = {}

    def near(self, cells: Cells) -> NDArray[np.bool_]:
        near = np.ones(len(cells.epsg), dtype=bool)
        if self._area is None:
            return near
        for epsg in np.unique(cells.epsg).tolist():
            if epsg not in self._bounds:
                self._bounds[epsg] = self._in_crs(epsg, self._area)
            bounds = self._bounds[epsg]
            if bounds is None:
                continue
            west, south, east, north = bounds
            near &= (cells.epsg != epsg) | (
                (cells.x_min <= east)
                & (cells.x_min + SIZE_M >= west)
                & (cells.y_max >= south)
                & (cells.y_max - SIZE_M <= north)
            )
        return near

    @staticmethod
    def _in_crs(epsg: int, area: AreaShape) -> tuple[float, float, float, float] | None:
        """Return bounds with a margin; None where the area is too wide for the CRS to say."""
        west, _, east, _ = area.bounds
        if east - west > 12 or len(area.boxes) > 1:
            return None
        outline = shapely.segmentize(shapely.box(*area.bounds), 0.05)
        x, y = from_degrees(epsg, shapely.get_coordinates(outline))
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            return None
        margin = _AREA_MARGIN_M
        return x.min() - margin, y.min() - margin, x.max() + margin, y.max() + margin


def _cells(
    scenes: Sequence[Scene], frames: Sequence[Frame | None] | None, manifest: Manifest
) -> Iterator[Cells]:
    for index, scene in enumerate(scenes):
        frame = None if frames is None else frames[index]
        if frame is not None:
            yield source_cell(scene, frame)
        elif manifest.grid == "utm":
            yield utm_cells(scene)
        elif scene.grid is None:  # its cells are counted on a file that cannot be read
            yield NO_CELLS
        else:
            yield scene_cells(scene, manifest.patches.min_valid)


def _names(
    manifest: Manifest,
    cells: Sequence[Cells],
    scene: NDArray[np.int32],
    epsg: NDArray[np.int32],
    column: NDArray[np.int32],
    row: NDArray[np.int32],
    place: NDArray[np.int64],
    first: NDArray[np.int64],
) -> tuple[NDArray[np.int64], list[str]]:
    """Return the number of each row's frame name, and the names in order of their numbers."""
    if manifest.grid == "utm":
        codes = zip(epsg[first].tolist(), column[first].tolist(), row[first].tolist(), strict=True)
        return place, [f"{e}_{c:04d}_{r:04d}" for e, c, r in codes]
    bases = sorted({one.base for one in cells})
    position = {base: index for index, base in enumerate(bases)}
    base = np.array([position[one.base] for one in cells], dtype=np.int64)[scene]
    frame, one_each = number(base, row, column)
    picked = [values[one_each].tolist() for values in (base, row, column)]
    if manifest.grid == "source":
        return frame, [
            bases[b] if r == WHOLE else f"{bases[b]}_{r:03d}_{c:03d}"
            for b, r, c in zip(*picked, strict=True)
        ]
    return frame, [f"{bases[b]}_{r:03d}_{c:03d}" for b, r, c in zip(*picked, strict=True)]


def _on_earth(
    epsg: NDArray[np.int32], x_min: NDArray[np.float64], y_max: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return centre longitude, latitude and the closed outline (n, 5, 2) of each place."""
    across = np.array([0.0, 1.0, 1.0, 0.0, 0.5]) * SIZE_M
    down = np.array([1.0, 1.0, 0.0, 0.0, 0.5]) * SIZE_M
    points = np.empty((len(epsg), 5, 2))
    for code in np.unique(epsg).tolist():
        rows = epsg == code
        x = x_min[rows, None] + across
        y = y_max[rows, None] - down
        lon, lat = to_degrees(code, np.column_stack([x.ravel(), y.ravel()]))
        points[rows] = np.stack([lon, lat], axis=-1).reshape(-1, 5, 2)
    points = np.round(points, _DECIMALS)
    lon, lat = points[:, 4, 0].copy(), points[:, 4, 1].copy()
    points[:, 4] = points[:, 0]
    return lon, lat, points
