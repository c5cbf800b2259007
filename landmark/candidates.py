"""All candidate patches of a plan as narrow arrays: the frames of every scene inside the area.

A candidate is a scene, a place and a flag: nine bytes. What is true of a place, whichever scene
shows it (where it lies, its name, its outline), is held once a place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import shapely
import xxhash
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
from landmark.sharding import reading_order
from landmark.stac_items import AreaShape

#: Decimals of degrees in the plan: 1e-8 is a millimetre.
_DECIMALS = 8
_AREA_MARGIN_M = 3 * SIZE_M
#: Where UTM ends and the polar grids of MGRS begin, degrees.
UTM_NORTH, UTM_SOUTH = 84.0, -80.0
#: Cells that wait at least, before their places are numbered together.
_WAITING = 1 << 18
#: Scenes whose cells are put together: arrays of one cell each, as archives give, are mostly heads.
_TOGETHER = 4096
#: Names made at once.
_NAMED = 1 << 16
#: A cell of one scene. `base` is a hash of what its frame's name starts with.
_CELL = np.dtype(
    [
        ("scene", np.int32),
        ("whole", np.bool_),
        ("epsg", np.int32),
        ("base", np.uint64),
        ("column", np.int32),
        ("row", np.int32),
        ("x_min", np.float64),
        ("y_max", np.float64),
    ]
)
#: What tells one place from another.
_PLACE = ("epsg", "base", "column", "row", "x_min", "y_max")


@dataclass(frozen=True)
class Places:
    """Distinct patches of ground; arrays with one entry a place, unless a line says otherwise.

    Attributes:
        epsg: CRS of the frame, int32.
        column: Column in the grid, int32.
        row: Row in the grid, counted southwards, int32.
        x_min: Western edge, m.
        y_max: Northern edge, m.
        frame: Position in `names`, int32.
        lon: Centre, degrees.
        lat: Centre, degrees.
        corners: (places, 4, 2) longitude and latitude of the frame's corners.
        names: Frame names, strings.
    """

    epsg: NDArray[np.int32]
    column: NDArray[np.int32]
    row: NDArray[np.int32]
    x_min: NDArray[np.float64]
    y_max: NDArray[np.float64]
    frame: NDArray[np.int32]
    lon: NDArray[np.float64]
    lat: NDArray[np.float64]
    corners: NDArray[np.float64]
    names: pa.StringArray


@dataclass(frozen=True)
class Candidates:
    """Candidate patches, scene by scene in plan order, each scene's in the order they are read.

    Attributes:
        scene: Position of the scene, one entry a candidate, int32.
        place: Position of the place, int32.
        whole: Whether the frame is cut without resampling.
        places: The places.
        dropped: Cells at scene edges that are covered in part only.
        at_meridian: Cells left out because the 180th meridian cuts them.
        polar: Cells left out because UTM ends at 84 degrees north and 80 degrees south.
    """

    scene: NDArray[np.int32]
    place: NDArray[np.int32]
    whole: NDArray[np.bool_]
    places: Places
    dropped: int
    at_meridian: int
    polar: int

    @property
    def frame(self) -> NDArray[np.int32]:
        """Position of each candidate's frame in `places.names`."""
        return self.places.frame[self.place]


class Gatherer:
    """Takes scenes one by one and gathers their frames whose centre lies in the area.

    Scenes may come in any order; wide rows are held only of the cells that wait to be numbered.
    """

    def __init__(self, manifest: Manifest, area: AreaShape | None) -> None:
        """Take what says which grid, and where (None: everywhere)."""
        self._manifest = manifest
        self._area = area
        self._windows = _AreaWindows(area)
        self._bases: list[str] = []
        self._dropped = 0
        self._latest: list[NDArray[np.void]] = []
        self._waiting: list[NDArray[np.void]] = []
        self._count = 0
        self._places = np.empty(0, dtype=_CELL)
        self._scene: list[NDArray[np.int32]] = []
        self._place: list[NDArray[np.int32]] = []
        self._whole: list[NDArray[np.bool_]] = []

    def add(self, scene: Scene, frame: Frame | None) -> None:
        """Take the next scene.

        Args:
            scene: The scene.
            frame: Grid `source`: the one frame it is, or None where patches are cut from its
                corner on; on other grids None.
        """
        cells = _cells_of(scene, frame, self._manifest)
        self._dropped += cells.dropped
        near = np.flatnonzero(self._windows.near(cells))
        rows = np.empty(len(near), dtype=_CELL)
        rows["scene"] = len(self._bases)
        rows["base"] = xxhash.xxh3_64_intdigest(cells.base.encode()) if cells.base else 0
        for name in ("whole", "epsg", "column", "row", "x_min", "y_max"):
            rows[name] = getattr(cells, name)[near]
        if self._manifest.grid == "utm":
            rows["row"] *= -1
        order = reading_order(rows["epsg"], rows["column"], rows["row"])
        self._bases.append(cells.base)
        self._latest.append(rows[order])
        if len(self._latest) == _TOGETHER:
            self._waiting.append(np.concatenate(self._latest))
            self._latest = []
        self._count += len(rows)
        # Waiting for as many as are known keeps the work of all numberings in proportion.
        if self._count >= max(_WAITING, len(self._places)):
            self._number()

    def _number(self) -> None:
        """Number the places of the cells that wait; places known already keep their numbers."""
        known = len(self._places)
        cells = np.concatenate([self._places, *self._waiting, *self._latest])
        group, first = number(*(cells[name] for name in _PLACE))
        new = np.sort(first[first >= known])
        numbers = np.empty(len(first), dtype=np.int32)
        numbers[group[:known]] = np.arange(known)
        numbers[group[new]] = known + np.arange(len(new))
        self._scene.append(cells["scene"][known:].copy())
        self._whole.append(cells["whole"][known:].copy())
        self._place.append(numbers[group[known:]])
        self._places = np.concatenate([self._places, cells[new]])
        self._waiting, self._latest, self._count = [], [], 0

    def candidates(self, order: NDArray[np.int64]) -> Candidates:
        """Return the candidates of all scenes taken.

        Args:
            order: Plan order: which scene, counted as they were added, comes first, second, ...
        """
        self._number()
        found, self._places = self._places, np.empty(0, dtype=_CELL)
        lon, lat, corners = _on_earth(found["epsg"], found["x_min"], found["y_max"])
        inside = np.ones(len(lon), dtype=bool)
        if self._area is not None:
            inside = self._area.contains(lon, lat)
        cut = np.ptp(corners[:, :, 0], axis=1) > 180 if len(lon) else np.zeros(0, dtype=bool)
        beyond = (lat > UTM_NORTH) | (lat < UTM_SOUTH)
        place = np.concatenate(self._place)
        rows = np.flatnonzero((inside & ~cut & ~beyond)[place])
        position = np.empty(len(order), dtype=np.int32)
        position[order] = np.arange(len(order))
        scene = position[np.concatenate(self._scene)[rows]]
        if (np.diff(scene) < 0).any():
            sorted_ = np.argsort(scene, kind="stable")
            scene, rows = scene[sorted_], rows[sorted_]
        frame, names = _names(self._manifest.grid, found, self._bases)
        return Candidates(
            scene=scene,
            place=place[rows],
            whole=np.concatenate(self._whole)[rows],
            places=Places(
                **{name: found[name].copy() for name in ("epsg", "column", "row")},
                **{name: found[name].copy() for name in ("x_min", "y_max")},
                frame=frame,
                lon=lon,
                lat=lat,
                corners=corners,
                names=names,
            ),
            dropped=self._dropped,
            at_meridian=int((inside & cut)[place].sum()),
            polar=int((inside & ~cut & beyond)[place].sum()),
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


def _cells_of(scene: Scene, frame: Frame | None, manifest: Manifest) -> Cells:
    if frame is not None:
        return source_cell(scene, frame)
    if manifest.grid == "utm":
        return utm_cells(scene)
    if scene.grid is None:  # its cells are counted on a file that cannot be read
        return NO_CELLS
    return scene_cells(scene, manifest.patches.min_valid)


def _names(
    grid: str, places: NDArray[np.void], bases: list[str]
) -> tuple[NDArray[np.int32], pa.StringArray]:
    """Return the number of each place's frame name, and the names in order of their numbers."""
    if grid == "utm":
        frame, one_each = np.arange(len(places)), np.arange(len(places))
    else:
        frame, one_each = number(places["base"], places["row"], places["column"])
    starts = range(0, len(one_each), _NAMED)
    made = [
        pa.array(list(_made_names(grid, places[one_each[start : start + _NAMED]], bases)))
        for start in starts
    ]
    names = pa.concat_arrays(made) if made else pa.array([], pa.string())
    return frame.astype(np.int32), names


def _made_names(grid: str, places: NDArray[np.void], bases: list[str]) -> Iterator[str]:
    columns = (places[name].tolist() for name in ("epsg", "scene", "row", "column"))
    for epsg, scene, row, column in zip(*columns, strict=True):
        if grid == "utm":
            yield f"{epsg}_{column:04d}_{-row:04d}"
        elif row == WHOLE:
            yield bases[scene]
        else:
            yield f"{bases[scene]}_{row:03d}_{column:03d}"


def _on_earth(
    epsg: NDArray[np.int32], x_min: NDArray[np.float64], y_max: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return centre longitude, latitude and the corners (n, 4, 2) of each place, degrees."""
    across = np.array([0.0, 1.0, 1.0, 0.0, 0.5]) * SIZE_M
    down = np.array([1.0, 1.0, 0.0, 0.0, 0.5]) * SIZE_M
    corners = np.empty((len(epsg), 4, 2))
    centre = np.empty((len(epsg), 2))
    for code in np.unique(epsg).tolist():
        rows = np.flatnonzero(epsg == code)
        for start in range(0, len(rows), _NAMED):
            part = rows[start : start + _NAMED]
            x = x_min[part, None] + across
            y = y_max[part, None] - down
            points = np.stack(to_degrees(code, np.column_stack([x.ravel(), y.ravel()])), axis=-1)
            points = np.round(points.reshape(-1, 5, 2), _DECIMALS)
            corners[part], centre[part] = points[:, :4], points[:, 4]
    return centre[:, 0].copy(), centre[:, 1].copy(), corners
