"""Polygons of vector files, and how much of a patch frame they cover.

Geometries are held in longitude, latitude (OGC:CRS84); areas are taken in each frame's own
projected CRS, in m2, because a degree is no length.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landmark.errors import InputError
from landmark.grid import Frame
from landmark.projections import transformer

LONLAT = "OGC:CRS84"
_AREAS = ("Polygon", "MultiPolygon")
_POINTS = ("Point", "MultiPoint")
#: Corners of a circle: its area is 1 % too small.
_CORNERS = 24
#: Edges are cut to this length before they are projected: a straight line in degrees bends in
#: UTM by less than a tenth of a pixel over it.
_EDGE_DEGREES = 0.05
#: Around the frames of one CRS, how much of the polygons is projected.
_MARGIN_DEGREES = 0.1


@dataclass(frozen=True)
class Feature:
    """A polygon with its attributes.

    Attributes:
        geometry: shapely geometry in longitude, latitude: of `read_polygons` a (multi)polygon.
        attributes: Name -> plain value (str, int, float, bool, ISO text of dates, None).
    """

    geometry: Any
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Polygons:
    """What a vector file holds.

    Attributes:
        features: In the file's order.
        fields: Names of the attributes.
        dropped: How many features had no geometry.
    """

    features: tuple[Feature, ...]
    fields: tuple[str, ...]
    dropped: int


@dataclass(frozen=True)
class Overlaps:
    """Which geometries cover which frames, one entry per pair with an area above 0.

    Attributes:
        frames: (pairs,) position in the frames given.
        geometries: (pairs,) position in the geometries given.
        areas: (pairs,) m2.
        parts: (pairs,) shapely geometries: what lies inside the frame, in the frame's CRS.
    """

    frames: NDArray[np.intp]
    geometries: NDArray[np.intp]
    areas: NDArray[np.float64]
    parts: NDArray[np.object_]


def read_polygons(
    path: str | Path,
    layer: str | None = None,
    point_radius_m: float | None = None,
    *,
    points: bool = False,
    degrees: bool = False,
) -> Polygons:
    """Read all polygons of a vector file (any format GDAL reads).

    Features without geometry are left out and counted; invalid polygons are mended.

    Args:
        path: The file, or a path of GDAL's (`/vsizip/...`).
        layer: Which layer, of a file that holds several.
        point_radius_m: Points become circles of this radius; None: points are refused.
        points: Whether points are welcome as they are (a feature's geometry may then be one).
        degrees: Take a file without CRS, whose coordinates could all be degrees, as longitude
            and latitude (some deliveries lack the .prj), instead of refusing it.

    Raises:
        InputError: The file cannot be read, holds several layers or no CRS, or other geometries.
    """
    found = read_features(path, layer, degrees=degrees)
    allowed = _AREAS + _POINTS if points or point_radius_m is not None else _AREAS
    others = sorted({f.geometry.geom_type for f in found.features} - set(allowed))
    if others:
        raise InputError(f"{path}: holds geometries of type {others[0]}; polygons are needed")
    features = tuple(
        Feature(circles(f.geometry, point_radius_m), f.attributes)
        if point_radius_m is not None and f.geometry.geom_type in _POINTS
        else Feature(_mended(f.geometry), f.attributes)
        for f in found.features
    )
    return Polygons(features, found.fields, found.dropped)


def read_features(path: str | Path, layer: str | None = None, *, degrees: bool = False) -> Polygons:
    """Read all features of a vector file, of any geometry; arguments as `read_polygons`.

    Raises:
        InputError: The file cannot be read, holds several layers, or no CRS.
    """
    frame = _read(str(path), layer)
    missing = frame.geometry.isna() | frame.geometry.is_empty
    kept = frame[~missing]
    fields = tuple(str(name) for name in frame.columns if name != frame.geometry.name)
    geometries = kept.geometry.force_2d()
    if frame.crs is None:
        west, south, east, north = geometries.total_bounds if len(kept) else (0, 0, 0, 0)
        fits = -180 <= west <= east <= 180 and -90 <= south <= north <= 90
        if not (degrees and fits):
            raise InputError(
                f"{path}: states no CRS (a shapefile needs its .prj); write one with ogr2ogr -a_srs"
            )
        geometries = geometries.set_crs(LONLAT)
    rows = kept[list(fields)].astype(object).to_dict("records")
    return Polygons(
        features=tuple(
            Feature(geometry, MappingProxyType({k: _plain(v) for k, v in row.items()}))
            for geometry, row in zip(geometries.to_crs(LONLAT), rows, strict=True)
        ),
        fields=fields,
        dropped=int(missing.sum()),
    )


def read_rows(path: str | Path, layer: str | None = None) -> tuple[Mapping[str, Any], ...]:
    """Return the attributes of a table without geometries (a .dbf), one mapping a row.

    Raises:
        InputError: The file cannot be read.
    """
    import pyogrio

    try:
        frame = pyogrio.read_dataframe(str(path), layer=layer, read_geometry=False)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise InputError(f"{path}: cannot be read as a table") from error
    rows = frame.astype(object).to_dict("records")
    return tuple(MappingProxyType({str(k): _plain(v) for k, v in row.items()}) for row in rows)


def circles(points: Any, radius_m: float) -> Any:
    """Return the circles (geodesic) of a radius around points in longitude, latitude."""
    import pyproj
    import shapely

    geod = pyproj.Geod(ellps="WGS84")
    azimuths = np.arange(_CORNERS) * (360.0 / _CORNERS)
    rings = []
    for lon, lat in shapely.get_coordinates(points):
        ones = np.ones(_CORNERS)
        x, y, _ = geod.fwd(lon * ones, lat * ones, azimuths, radius_m * ones)
        # Across the 180th meridian the ring goes on counting; what lies beyond is cut off.
        x = lon + (x - lon + 180.0) % 360.0 - 180.0
        rings.append(shapely.Polygon(np.column_stack([x, y])))
    return shapely.union_all(rings)


def area_of_pixels(mask: NDArray[np.bool_], frame: Frame) -> Any:
    """Return the pixels of a frame that are True as one geometry in the frame's CRS."""
    import shapely
    from rasterio.features import shapes
    from rasterio.transform import Affine

    found = shapes(
        mask.astype(np.uint8), mask=mask, connectivity=4, transform=Affine(*frame.transform())
    )
    return shapely.union_all([shapely.geometry.shape(shape) for shape, _ in found])


def overlaps(frames: Sequence[Frame], geometries: Sequence[Any]) -> Overlaps:
    """Return which geometries (longitude, latitude) cover which frames, and by how much.

    Ordered by frame, then geometry. Geometries that overlap each other are not united: give
    united ones where that matters.
    """
    import shapely

    pairs: list[tuple[int, int, float, Any]] = []
    by_epsg: dict[int, list[int]] = {}
    for index, frame in enumerate(frames):
        by_epsg.setdefault(frame.epsg, []).append(index)
    for epsg, members in by_epsg.items():
        boxes = shapely.box(*np.array([frames[i].bounds for i in members]).T)
        numbers, local = _projected(epsg, boxes, geometries)
        if not numbers:
            continue
        tree = shapely.STRtree(local)
        box_at, local_at = tree.query(boxes, predicate="intersects")
        parts = shapely.intersection(boxes[box_at], tree.geometries[local_at])
        areas = shapely.area(parts)
        pairs += [
            (members[b], numbers[g], float(area), part)
            for b, g, area, part in zip(box_at, local_at, areas, parts, strict=True)
            if area > 0
        ]
    pairs.sort(key=lambda pair: pair[:2])
    parts = np.empty(len(pairs), object)
    parts[:] = [pair[3] for pair in pairs]
    return Overlaps(
        frames=np.array([pair[0] for pair in pairs], np.intp),
        geometries=np.array([pair[1] for pair in pairs], np.intp),
        areas=np.array([pair[2] for pair in pairs], np.float64),
        parts=parts,
    )


def overlap_areas(
    frames: Sequence[Frame], geometries: Sequence[Any]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Return (frame position, geometry position, area in m2) of every overlap."""
    found = overlaps(frames, geometries)
    return found.frames, found.geometries, found.areas


def union(geometries: Sequence[Any]) -> Any:
    """Return one geometry that covers what any of the polygons covers."""
    import shapely

    return shapely.union_all(list(geometries))


def union_area(parts: Sequence[Any]) -> float:
    """Return the area that any of some parts (one projected CRS) covers, m2."""
    import shapely

    return float(parts[0].area) if len(parts) == 1 else float(shapely.union_all(parts).area)


def _projected(
    epsg: int, boxes: NDArray[np.object_], geometries: Sequence[Any]
) -> tuple[list[int], list[Any]]:
    """Return the geometries near some boxes in the boxes' CRS, and their positions."""
    import shapely

    forward = transformer(LONLAT, epsg)
    left, bottom, right, top = shapely.total_bounds(boxes).tolist()
    west, south, east, north = forward.transform_bounds(
        left, bottom, right, top, direction="INVERSE"
    )
    margin = _MARGIN_DEGREES
    near = (west - margin, south - margin, east + margin, north + margin)
    numbers, local = [], []
    for number, geometry in enumerate(geometries):
        if geometry is None:
            continue
        clipped = shapely.intersection(geometry, shapely.box(*near))
        if clipped.is_empty:
            continue
        dense = shapely.segmentize(clipped, _EDGE_DEGREES)
        moved = shapely.transform(
            dense, lambda xy: np.column_stack(forward.transform(xy[:, 0], xy[:, 1]))
        )
        numbers.append(number)
        local.append(shapely.make_valid(moved))
    return numbers, local


def list_layers(path: str) -> list[str]:
    """Return the names of a vector file's layers.

    Raises:
        InputError: The file cannot be read.
    """
    import pyogrio

    try:
        return [str(name) for name in pyogrio.list_layers(path)[:, 0]]
    except pyogrio.errors.DataSourceError as error:
        missing = "" if Path(path).exists() or "://" in path else " (no such file)"
        raise InputError(f"{path}: cannot be read as a vector file{missing}") from error


def _read(path: str, layer: str | None) -> Any:
    import pyogrio

    layers = list_layers(path)
    try:
        if layer is None and len(layers) > 1:
            raise InputError(
                f"{path}: holds {len(layers)} layers ({', '.join(layers)}); name the one meant as "
                "`layer`, or export it"
            )
        if layer is not None and layer not in layers:
            raise InputError(f"{path}: has no layer {layer!r}; there are {', '.join(layers)}")
        with warnings.catch_warnings():
            # What the driver finds odd in a header (a feed's own dialect) is not ours to judge.
            warnings.simplefilter("ignore", RuntimeWarning)
            frame = pyogrio.read_dataframe(path, layer=layer)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        missing = "" if Path(path).exists() or "://" in path else " (no such file)"
        raise InputError(f"{path}: cannot be read as a vector file{missing}") from error
    if not hasattr(frame, "geometry"):
        raise InputError(f"{path}: holds a table without geometries; polygons are needed")
    return frame


def _mended(geometry: Any) -> Any:
    """Return a valid geometry; parts of polygons that are no areas (left by mending) go."""
    import shapely

    valid = geometry if geometry.is_valid else shapely.make_valid(geometry)
    if valid.geom_type in (*_AREAS, *_POINTS):
        return valid
    return shapely.union_all([g for g in shapely.get_parts(valid) if g.geom_type in _AREAS])


def _plain(value: Any) -> Any:
    """Return an attribute as plain Python; times become ISO text, missing values None."""
    import pandas as pd

    if value is None or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return None
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value.item() if isinstance(value, np.generic) else value
