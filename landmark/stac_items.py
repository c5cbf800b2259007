"""What a STAC item says of when and where, read from its JSON."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from landmark.errors import InputError
from landmark.manifest import Area, Period

Item = dict[str, Any]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class AreaShape:
    """An area in longitude and latitude.

    Attributes:
        geometry: Polygon or multipolygon, degrees.
        is_box: Whether it is its own bounding box.
    """

    geometry: shapely.Geometry
    is_box: bool

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north, degrees."""
        west, south, east, north = self.geometry.bounds
        return west, south, east, north

    @property
    def boxes(self) -> tuple[Box, ...]:
        """Bounding boxes to search, west < east: two where the area touches the 180th meridian.

        Catalogs do not understand boxes that cross it.
        """
        parts = shapely.get_parts(self.geometry)
        bounds = shapely.bounds(parts)
        west, east = parts[bounds[:, 0] == -180.0], parts[bounds[:, 2] == 180.0]
        whole = shapely.bounds(self.geometry)
        if not (len(west) and len(east)) or ((bounds[:, 2] - bounds[:, 0]) >= 180).any():
            return (_box(whole),)
        halves = (parts[bounds[:, 0] < 0], parts[bounds[:, 0] >= 0])
        return tuple(_box(shapely.total_bounds(half)) for half in halves)

    def contains(self, lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell for each point whether it lies inside (a box holds its own edge)."""
        if self.is_box:
            west, south, east, north = self.bounds
            return (lon >= west) & (lon <= east) & (lat >= south) & (lat <= north)
        shapely.prepare(self.geometry)
        inside: NDArray[np.bool_] = shapely.intersects_xy(self.geometry, lon, lat)
        return inside


def _box(bounds: NDArray[np.float64]) -> Box:
    west, south, east, north = (float(value) for value in bounds)
    return west, south, east, north


def open_area(area: Area | None) -> AreaShape | None:
    """Return the area of a manifest; None for everywhere.

    Raises:
        InputError: The vector file is missing, unreadable, empty or without a CRS.
    """
    if area is None:
        return None
    if area.bbox is not None:
        west, south, east, north = area.bbox
        if west < east:
            return AreaShape(shapely.box(*area.bbox), is_box=True)
        halves = [shapely.box(west, south, 180, north), shapely.box(-180, south, east, north)]
        return AreaShape(shapely.MultiPolygon(halves), is_box=False)
    import geopandas

    try:
        frame = geopandas.read_file(area.file)
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"area.file: {area.file}: cannot be read: {reason}") from None
    if frame.crs is None:
        raise InputError(f"area.file: {area.file}: states no CRS")
    union = frame.to_crs(4326).geometry.union_all()
    if union.is_empty or union.area == 0:
        raise InputError(f"area.file: {area.file}: holds no polygon")
    west, south, east, north = union.bounds
    if west < -180 or east > 180 or south < -90 or north > 90:
        raise InputError(
            f"area.file: {area.file}: reaches {west:g}..{east:g} degrees east, "
            f"{south:g}..{north:g} north; cut polygons at the 180th meridian (RFC 7946, 3.1.9)"
        )
    return AreaShape(union, is_box=False)


def interval(item: Item) -> tuple[dt.datetime, dt.datetime]:
    """Return first and last moment of an item (equal for a single `datetime`), UTC.

    Raises:
        InputError: The item states no time, or not in ISO 8601.
    """
    properties = item["properties"]
    start, end = properties.get("start_datetime"), properties.get("end_datetime")
    single = properties.get("datetime")
    if start and end:
        return _moment(item, start), _moment(item, end)
    if not single:
        raise InputError(f"item {item['id']}: states neither datetime nor start and end")
    moment = _moment(item, single)
    return moment, moment


def acquired(item: Item) -> str:
    """Return `datetime`, or the middle of start and end, as ISO 8601 UTC to the second."""
    single = item["properties"].get("datetime")
    if single:
        moment = _moment(item, single)
    else:
        start, end = interval(item)
        moment = start + (end - start) / 2
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def footprint(item: Item) -> shapely.Geometry | None:
    """Return the item's geometry, else its bbox as a box, else None; longitude, latitude."""
    raw = item.get("geometry")
    if raw:
        geometry = shapely.force_2d(shapely.geometry.shape(raw))
        return geometry if geometry.is_valid else shapely.make_valid(geometry)
    bbox = item.get("bbox")
    if bbox:
        half = len(bbox) // 2
        return shapely.box(bbox[0], bbox[1], bbox[half], bbox[half + 1])
    return None


def in_area(item: Item, area: AreaShape | None) -> bool:
    """Tell whether an item touches the area; an item without a place is kept for its header."""
    if area is None:
        return True
    geometry = footprint(item)
    return geometry is None or bool(geometry.intersects(area.geometry))


def in_period(item: Item, period: Period | None) -> bool:
    """Tell whether an item's interval touches the period (both days included, UTC)."""
    if period is None:
        return True
    start, end = interval(item)
    return start.date() <= period.end and end.date() >= period.start


def parse_moment(text: str) -> dt.datetime:
    """Return an ISO 8601 text as UTC; without a zone it counts as UTC.

    Raises:
        ValueError: It is no ISO 8601 time.
    """
    moment = dt.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        return moment.replace(tzinfo=dt.UTC)
    return moment.astimezone(dt.UTC)


def _moment(item: Item, text: Any) -> dt.datetime:
    try:
        return parse_moment(text)
    except (ValueError, TypeError):
        raise InputError(f"item {item['id']}: {text!r} is no ISO 8601 time") from None
