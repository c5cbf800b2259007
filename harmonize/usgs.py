"""Earthquakes from USGS: where damage may be, never where it is.

A ComCat epicentre stands for a circle, a ShakeMap for the area of at least some intensity. Shaking
is not damage: inside such an area Earthquake Damage is unknown from the earthquake on, until
somebody maps it; the area never makes it present.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from harmonize.events import Event, dated, lasting, parse_day, recorded_name
from landmark.errors import InputError
from landmark.label_settings import EventSource
from landmark.vectors import circles, read_features, union

_SPECIFICATION = re.compile(r"<grid_specification\s([^>]*)/?>")
_FIELD = re.compile(r"<grid_field\s([^>]*)/?>")
_EVENT = re.compile(r"<event\s([^>]*)/?>")
_DATA = re.compile(r"<grid_data>([^<]*)</grid_data>")
_ATTRIBUTE = re.compile(r"(\w+)\s*=\s*\"([^\"]*)\"")


def read_comcat(source: EventSource, file: Path) -> tuple[Event, ...]:
    """Return the earthquakes of a ComCat GeoJSON answer, in its order.

    Raises:
        InputError: The file cannot be read or is no ComCat answer.
    """
    events: list[Event] = []
    for feature in read_features(file, source.layer).features:
        own = feature.attributes
        if not {"mag", "time"} <= own.keys() or feature.geometry.geom_type != "Point":
            raise InputError(
                f"{file}: is no ComCat answer (points with mag and time); ask USGS for "
                "format=geojson"
            )
        magnitude = own["mag"]
        if own.get("type", "earthquake") != "earthquake" or magnitude is None:
            continue
        if magnitude < source.min_magnitude:
            continue
        day = _utc_day(own["time"], f"{file}: {own.get('id')}")
        events.append(
            _shaken(
                source,
                file,
                name=str(own.get("id") or f"{file.stem}-{len(events)}"),
                day=day,
                geometry=circles(feature.geometry, 1000.0 * source.radius_km),
            )
        )
    return tuple(events)


def read_shakemap(source: EventSource, file: Path) -> tuple[Event, ...]:
    """Return the earthquake of a ShakeMap: its grid.xml, or its MMI contours (GeoJSON).

    Raises:
        InputError: The file is neither, or its contours are open.
    """
    if file.suffix.lower() == ".xml":
        return (_from_grid(source, file),)
    return (_from_contours(source, file),)


def _shaken(
    source: EventSource, file: Path, name: str, day: dt.date | None, geometry: Any
) -> Event:
    start, end = (day, day) if day is not None else dated(source)
    return Event(
        type="earthquake",
        id=name,
        start=start,
        end=end,
        geometry=geometry,
        analysed=None,
        source=recorded_name(source, file),
        lasts_days=lasting(source, "earthquake"),
        prior=True,
    )


def _utc_day(milliseconds: Any, where: str) -> dt.date:
    """Return the UTC day of ComCat's `time`, which GDAL may have read as a date already."""
    try:
        return dt.datetime.fromtimestamp(float(milliseconds) / 1000.0, dt.UTC).date()
    except (TypeError, ValueError, OverflowError):
        day = parse_day(milliseconds, where)
        if day is None:
            raise InputError(f"{where}: states no time") from None
        return day


def _from_contours(source: EventSource, file: Path) -> Event:
    """Return the area inside the contours of at least the least intensity."""
    import shapely

    lines = [
        feature.geometry
        for feature in read_features(file, source.layer).features
        if float(feature.attributes.get("value") or 0.0) >= source.min_mmi
    ]
    parts = shapely.get_parts(shapely.union_all(lines)) if lines else []
    polygons = shapely.get_parts(shapely.polygonize(list(parts)))
    if lines and len(polygons) == 0:
        raise InputError(
            f"{file}: its contours of MMI {source.min_mmi:g} are open (they leave the map); use "
            "the ShakeMap's grid.xml"
        )
    try:
        metadata = json.loads(file.read_text(encoding="utf-8")).get("metadata") or {}
    except (OSError, ValueError, AttributeError):
        metadata = {}
    name = str(metadata.get("eventid") or file.stem)
    return _shaken(source, file, name, None, union(list(polygons)))


def _from_grid(source: EventSource, file: Path) -> Event:
    """Return the area of cells of at least the least intensity.

    The file is regular enough for patterns, which, unlike an XML parser, expand no entities.
    """
    import shapely
    from rasterio.features import shapes
    from rasterio.transform import Affine

    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read as a ShakeMap grid ({error})") from None
    found = [pattern.search(text) for pattern in (_SPECIFICATION, _EVENT, _DATA)]
    fields = [dict(_ATTRIBUTE.findall(m[1])) for m in _FIELD.finditer(text)]
    names = [field.get("name", "").upper() for field in fields]
    if any(match is None for match in found) or "MMI" not in names:
        raise InputError(f"{file}: is no ShakeMap grid.xml with a field MMI")
    grid, event = (dict(_ATTRIBUTE.findall(match[1])) for match in found[:2] if match)
    try:
        columns, rows = int(grid["nlon"]), int(grid["nlat"])
        west, east = float(grid["lon_min"]), float(grid["lon_max"])
        south, north = float(grid["lat_min"]), float(grid["lat_max"])
        assert found[2] is not None
        values = np.array(found[2][1].split(), np.float64).reshape(rows, columns, len(fields))
    except (KeyError, ValueError) as error:
        raise InputError(f"{file}: its grid does not hold what it states ({error})") from None
    # Rows run from the north-west; the grid's limits are the centres of its outer cells.
    step_x, step_y = (east - west) / max(1, columns - 1), (north - south) / max(1, rows - 1)
    strong = values[:, :, names.index("MMI")] >= source.min_mmi
    corner = Affine(step_x, 0, west - step_x / 2, 0, -step_y, north + step_y / 2)
    cells = shapes(strong.astype(np.uint8), mask=strong, transform=corner)
    area = shapely.union_all([shapely.geometry.shape(shape) for shape, _ in cells])
    day = parse_day(event.get("event_timestamp", "")[:10], f"{file}: event_timestamp")
    return _shaken(source, file, event.get("event_id") or file.stem, day, area)
