"""The candidate frames of a scene on each grid, counted with arrays, not patch by patch."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyproj
import shapely
import xxhash
from numpy.typing import NDArray

from landmark.errors import InputError
from landmark.grid import SIZE_M, Frame, south_shift, utm_epsg
from landmark.scenes import Scene, SourceGrid
from landmark.schema import S2_RESOLUTION

#: Published footprints are rounded (5 digits are a metre) and simplified: this much is forgiven.
FOOTPRINT_TOLERANCE_M = 20.0
#: Numbers in headers are sums of doubles; a hundredth of a millimetre apart is equal.
_EPSILON_M = 1e-5
_DENSIFY_M = 5_000.0
_NAME_CHARACTERS = 120
_FORBIDDEN = re.compile(r"[^A-Za-z0-9_.-]")


#: Row and column of a frame that is a whole image of an archive, not cut from one.
WHOLE = -1


@dataclass(frozen=True)
class Cells:
    """Candidate frames of one scene; all arrays have one entry a frame.

    Attributes:
        epsg: CRS of each frame, int32.
        column: Column in the grid, int32.
        row: Row in the grid, int32 (northwards on the `utm` grid, else southwards).
        x_min: Western edge, m.
        y_max: Northern edge, m.
        whole: Whether every band's own pixel grid holds the frame: cut, not warped.
        base: What frame names start with; "" on the `utm` grid.
        dropped: Cells at the edge that the scene covers in part only.
    """

    epsg: NDArray[np.int32]
    column: NDArray[np.int32]
    row: NDArray[np.int32]
    x_min: NDArray[np.float64]
    y_max: NDArray[np.float64]
    whole: NDArray[np.bool_]
    base: str = ""
    dropped: int = 0


#: Of a scene that gives none.
NO_CELLS = Cells(
    epsg=np.empty(0, np.int32),
    column=np.empty(0, np.int32),
    row=np.empty(0, np.int32),
    x_min=np.empty(0, np.float64),
    y_max=np.empty(0, np.float64),
    whole=np.empty(0, np.bool_),
)


def utm_cells(scene: Scene) -> Cells:
    """Return the lattice cells wholly inside a scene's raster and footprint.

    A cell belongs to the plain 6-degree zone and the hemisphere of its centre alone. Edges of
    the footprint count as straight in the raster's own CRS, where providers computed them.

    Raises:
        InputError: Neither header nor footprint says where the scene lies.
    """
    crs, region = _region(scene)
    parts = []
    dense = shapely.segmentize(region, _step(crs))
    lon, lat = to_degrees(crs, shapely.get_coordinates(dense))
    zones = _zones(lon, lat)
    for epsg in zones:
        ground = region if epsg == crs else _projected(dense, crs, epsg)
        column, row = _cells_within(ground, epsg)
        if len(zones) > 1 and len(column):
            mine = _own_zone(epsg, column, row)
            column, row = column[mine], row[mine]
        parts.append((np.full(len(column), epsg, dtype=np.int32), column, row))
    epsgs, columns, rows = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    shift = np.where(epsgs > 32700, south_shift(32701), 0.0)
    x_min, y_max = columns * SIZE_M, (rows + 1) * SIZE_M + shift
    whole = _whole(scene, epsgs, x_min, y_max)
    return Cells(epsgs, columns, rows, x_min, y_max, whole)


def scene_cells(scene: Scene, min_valid: float) -> Cells:
    """Return the cells counted from a scene's own upper-left corner.

    A raster in degrees counts from its corner in the UTM zone of its centre, rounded to 10 m;
    its cells are kept where at least `min_valid` of them lies on the raster.

    Raises:
        InputError: The file's grid is not known.
    """
    grid = scene.grid
    if grid is None:
        raise InputError(f"item {scene.item}: grid: scene needs a file that can be read")
    outline = _outline(grid)
    square = _is_metric(grid.epsg) and _is_upright(grid)
    if square:
        epsg = grid.epsg
        west, _, _, north = outline.bounds
        ground = outline
    else:
        (lon,), (lat,) = to_degrees(grid.epsg, shapely.get_coordinates(outline.centroid))
        epsg = utm_epsg(float(lon), float(lat))
        ground = _projected(shapely.segmentize(outline, _step(grid.epsg)), grid.epsg, epsg)
        corner = _projected(shapely.Point(grid.transform[2], grid.transform[5]), grid.epsg, epsg)
        west, north = round(corner.x, -1), round(corner.y, -1)
    _, south, east, _ = ground.bounds
    across, down = (east - west) / SIZE_M, (north - south) / SIZE_M
    columns, rows = (max(0, math.floor(n + _EPSILON_M)) for n in (across, down))
    row, column = (a.ravel().astype(np.int32) for a in np.mgrid[0:rows, 0:columns])
    x_min, y_max = west + column * SIZE_M, north - row * SIZE_M
    if not square:
        boxes = shapely.box(x_min, y_max - SIZE_M, x_min + SIZE_M, y_max)
        kept = shapely.area(shapely.intersection(boxes, ground)) >= min_valid * SIZE_M**2
        row, column, x_min, y_max = row[kept], column[kept], x_min[kept], y_max[kept]
    touched = math.ceil(across - _EPSILON_M) * math.ceil(down - _EPSILON_M)
    epsgs = np.full(len(row), epsg, dtype=np.int32)
    return Cells(
        epsgs, column, row, x_min, y_max, _whole(scene, epsgs, x_min, y_max),
        base=frame_base(scene.item), dropped=touched - len(row),
    )  # fmt: skip


def source_cell(scene: Scene, frame: Frame) -> Cells:
    """Return the one frame an archive gives."""
    epsg, x_min, y_max = np.array([frame.epsg], np.int32), *np.array([[frame.x_min], [frame.y_max]])
    place = np.full(1, WHOLE, dtype=np.int32)
    cut = scene.grid is None or scene.form == "array"
    whole = np.ones(1, dtype=bool) if cut else _whole(scene, epsg, x_min, y_max)
    return Cells(epsg, place, place, x_min, y_max, whole, base=frame.name)


def frame_base(item: str) -> str:
    """Return an item id as the start of frame names: other characters become `-`.

    Where that changed anything, or the id is too long for a file name, a hash of the id keeps
    two items apart.
    """
    name = _FORBIDDEN.sub("-", item[:_NAME_CHARACTERS])
    if name.startswith("."):
        name = "-" + name[1:]
    if name == item and name:
        return name
    return f"{name}-{xxhash.xxh3_64_hexdigest(item.encode())[:8]}"


def cell_hashes(names: Iterable[str], seed: int) -> NDArray[np.uint64]:
    """Return a number per frame name, even over 0..2**64, that depends on name and seed alone."""
    start = f"{seed}:".encode()
    return np.fromiter((xxhash.xxh3_64_intdigest(start + n.encode()) for n in names), np.uint64)


def to_degrees(
    epsg: int, points: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return longitude and latitude (WGS 84) of points (n, 2) of a CRS."""
    lon, lat = _transformer(epsg, 4326).transform(points[:, 0], points[:, 1])
    return np.asarray(lon), np.asarray(lat)


def from_degrees(
    epsg: int, points: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return x and y in a CRS of points (n, 2) in longitude and latitude."""
    x, y = _transformer(4326, epsg).transform(points[:, 0], points[:, 1])
    return np.asarray(x), np.asarray(y)


def _region(scene: Scene) -> tuple[int, shapely.Geometry]:
    """Return where the scene has pixels: (CRS, polygon), the raster within the footprint."""
    footprint = None if scene.footprint is None else shapely.from_wkt(scene.footprint)
    if footprint is not None and footprint.geom_type not in ("Polygon", "MultiPolygon"):
        footprint = None
    if footprint is not None and footprint.bounds[2] - footprint.bounds[0] > 180:
        # Wrapped at the 180th meridian, or split there: only the raster's own CRS tells.
        parts = shapely.get_parts(footprint)
        split = all(p.bounds[2] - p.bounds[0] < 180 for p in parts)
        footprint = footprint if split and scene.grid is not None else None
    if scene.grid is None:
        if footprint is None:
            raise InputError(f"item {scene.item}: neither file nor footprint says where it lies")
        return 4326, footprint
    epsg, outline = scene.grid.epsg, _outline(scene.grid)
    if footprint is None:
        return epsg, outline
    tolerance = FOOTPRINT_TOLERANCE_M if _is_metric(epsg) else FOOTPRINT_TOLERANCE_M / 111_000
    ground = shapely.make_valid(_projected(footprint, 4326, epsg))
    ground = shapely.buffer(ground, tolerance, join_style="mitre")
    return epsg, outline if ground.covers(outline) else outline.intersection(ground)


def _outline(grid: SourceGrid) -> shapely.Polygon:
    a, b, c, d, e, f = grid.transform
    corners = [(0, 0), (grid.width, 0), (grid.width, grid.height), (0, grid.height)]
    return shapely.Polygon([(a * x + b * y + c, d * x + e * y + f) for x, y in corners])


def _zones(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> list[int]:
    """Return the EPSG codes of the UTM zones an outline touches."""
    zone = np.clip(np.floor((lon + 180) / 6).astype(int) + 1, 1, 60)
    touched = set(zone.tolist())
    if max(touched) - min(touched) < 30:  # else the outline crosses the 180th meridian
        touched = set(range(min(touched), max(touched) + 1))
    bases = [base for base, there in ((32600, lat.max() >= 0), (32700, lat.min() < 0)) if there]
    return [base + number for base in bases for number in sorted(touched)]


def _own_zone(epsg: int, column: NDArray[np.int32], row: NDArray[np.int32]) -> NDArray[np.bool_]:
    x = (column + 0.5) * SIZE_M
    y = (row + 0.5) * SIZE_M + south_shift(epsg)
    lon, lat = to_degrees(epsg, np.column_stack([x, y]))
    zone = np.clip(np.floor((lon + 180) / 6).astype(int) + 1, 1, 60)
    code = np.where(lat >= 0, 32600, 32700) + zone
    own: NDArray[np.bool_] = code == epsg
    return own


def _cells_within(
    ground: shapely.Geometry, epsg: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return (column, row) of the lattice cells wholly inside a region of their zone."""
    none = np.empty(0, dtype=np.int32)
    if ground.is_empty:
        return none, none
    shift = south_shift(epsg)
    west, south, east, north = ground.bounds
    first = (
        math.ceil((west - _EPSILON_M) / SIZE_M),
        math.ceil((south - shift - _EPSILON_M) / SIZE_M),
    )
    stop = (
        math.floor((east + _EPSILON_M) / SIZE_M),
        math.floor((north - shift + _EPSILON_M) / SIZE_M),
    )
    columns, rows = stop[0] - first[0], stop[1] - first[1]
    if columns <= 0 or rows <= 0:
        return none, none
    inside = np.ones((rows, columns), dtype=bool)
    if not math.isclose(ground.area, (east - west) * (north - south), rel_tol=1e-12):
        inside = _inside(ground, first, shift, inside)
    row, column = np.nonzero(inside)
    return (column + first[0]).astype(np.int32), (row + first[1]).astype(np.int32)


def _inside(
    ground: shapely.Geometry, first: tuple[int, int], shift: float, cells: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return which cells of a window of the lattice a polygon covers.

    All four corners inside is enough unless the outline passes near the cell (dents, holes):
    those few cells are tested exactly.
    """
    ground = shapely.buffer(ground, _EPSILON_M, join_style="mitre")
    shapely.prepare(ground)
    rows, columns = cells.shape
    x = (first[0] + np.arange(columns + 1)) * SIZE_M
    y = (first[1] + np.arange(rows + 1)) * SIZE_M + shift
    corner = shapely.intersects_xy(ground, *np.meshgrid(x, y))
    inside = corner[:-1, :-1] & corner[1:, :-1] & corner[:-1, 1:] & corner[1:, 1:]
    near = np.zeros_like(inside)
    for line in shapely.get_parts(shapely.boundary(shapely.segmentize(ground, SIZE_M))):
        points = shapely.get_coordinates(line)
        at = np.floor((points - [0.0, shift]) / SIZE_M).astype(int) - first
        low, high = np.minimum(at[:-1], at[1:]), np.maximum(at[:-1], at[1:])
        # A piece is no longer than a cell: with its ends in at most two columns and rows, the
        # cells it passes are the corners of that block.
        for column in (low[:, 0], high[:, 0]):
            for row in (low[:, 1], high[:, 1]):
                there = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
                near[row[there], column[there]] = True
    row, column = np.nonzero(near & inside)
    boxes = shapely.box(x[column], y[row], x[column + 1], y[row + 1])
    inside[row, column] = shapely.covers(ground, boxes)
    return inside


def _whole(
    scene: Scene, epsg: NDArray[np.int32], x_min: NDArray[np.float64], y_max: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return which frames every band can be cut on: equal CRS, nominal pixels, whole offsets."""
    grid = scene.grid
    sizes = {float(S2_RESOLUTION.get(asset.band, 10)) for asset in scene.bands}
    if grid is None or not _is_upright(grid) or not _nominal(grid, min(sizes)):
        return np.zeros(len(epsg), dtype=bool)
    whole = epsg == grid.epsg
    for size in sizes:
        for distance in (x_min - grid.transform[2], grid.transform[5] - y_max):
            steps = distance / size
            whole &= np.abs(steps - np.rint(steps)) <= 1e-6
    result: NDArray[np.bool_] = whole
    return result


def _nominal(grid: SourceGrid, size: float) -> bool:
    return abs(grid.transform[0] - size) < 1e-6 and abs(grid.transform[4] + size) < 1e-6


def _is_upright(grid: SourceGrid) -> bool:
    a, b, _, d, e, _ = grid.transform
    return b == 0 and d == 0 and a > 0 and e < 0


@functools.cache
def _is_metric(epsg: int) -> bool:
    crs = pyproj.CRS.from_epsg(epsg)
    return crs.is_projected and crs.axis_info[0].unit_conversion_factor == 1.0


def _step(epsg: int) -> float:
    return _DENSIFY_M if _is_metric(epsg) else _DENSIFY_M / 111_000


def _projected(geometry: shapely.Geometry, source: int, target: int) -> shapely.Geometry:
    if source == target:
        return geometry
    move = _transformer(source, target)
    return shapely.transform(geometry, move.transform, interleaved=False)


@functools.lru_cache(maxsize=256)
def _transformer(source: int, target: int) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(source, target, always_xy=True)
