"""Crisis events: which, when, where, and where somebody looked; and those of vector files.

A vector file's features of one id are one event: their union in space, from the first start to
the last end. The `analysed` file says where "no event" was checked; its features belong to the
events of the same id, or to all events of the source where it has no id attribute.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landmark.errors import InputError
from landmark.label_settings import EventSource
from landmark.vectors import Feature, Polygons, read_polygons, union

#: How long after its end an event still shows, days. Flood water drains with the event; burned
#: ground is told from its surroundings for about a growing season; rubble stays for about a year.
LASTS_DAYS: dict[str, float] = {"flood": 0.0, "fire": 180.0, "earthquake": 365.0}

#: ISO day, also with slashes, with or without a time after it.
_DAY = re.compile(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})(?:[T ].*)?")


@dataclass(frozen=True)
class Mask:
    """A raster that shows an event pixel by pixel.

    Attributes:
        path: The raster.
        affected: Values that mean affected.
        clear: Values that mean looked at, and free.
        permanent: Raster of land cover whose water is no flood, or None.
        permanent_codes: Its codes of water.
        box: West, south, east, north of the raster, degrees.
    """

    path: str
    affected: tuple[int, ...]
    clear: tuple[int, ...]
    permanent: str | None
    permanent_codes: tuple[int, ...]
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Event:
    """One crisis.

    Attributes:
        type: `flood`, `fire` or `earthquake`.
        id: As the file names it.
        start: First day (UTC), or None where not known.
        end: Last day (UTC), or None where `start` is.
        geometry: Affected area, longitude and latitude; None where `mask` shows it.
        analysed: Area looked at, or None: nothing but the affected area itself is known.
        source: File name, and version where the manifest gives one.
        lasts_days: How long after its end the event still shows.
        prior: Whether the area only says where damage may be (shaking): it decides nothing.
        mask: A raster of the affected pixels, or None.
    """

    type: str
    id: str
    start: dt.date | None
    end: dt.date | None
    geometry: Any
    analysed: Any | None
    source: str
    lasts_days: float
    prior: bool = False
    mask: Mask | None = None

    def meets(self, west: float, south: float, east: float, north: float) -> bool:
        """Tell whether the affected or analysed area may reach into a box in degrees."""
        areas = [area for area in (self.geometry, self.analysed) if area is not None]
        boxes = [area.bounds for area in areas if not area.is_empty]
        boxes += [] if self.mask is None else [self.mask.box]
        return any(
            x_min <= east and west <= x_max and y_min <= north and south <= y_max
            for x_min, y_min, x_max, y_max in boxes
        )

    def phase(self, day: dt.date) -> str:
        """Return `before`, `during`, `after` or `undated` for an acquisition's day (UTC)."""
        if self.start is None or self.end is None:
            return "undated"
        if day < self.start:
            return "before"
        return "during" if day <= self.end else "after"

    def shows(self, day: dt.date) -> bool:
        """Tell whether the event can be seen on a day: from its start to its end and a while."""
        if self.start is None or self.end is None:
            return False
        return self.start <= day and (day - self.end).days <= self.lasts_days

    def days_from(self, acquired: dt.datetime) -> float | None:
        """Return acquisition minus start (its midnight UTC), days; None where undated."""
        if self.start is None:
            return None
        midnight = dt.datetime.combine(self.start, dt.time(), dt.UTC)
        return (acquired - midnight).total_seconds() / 86400.0


def read_vector_events(source: EventSource, file: Path, analysed: Path | None) -> tuple[Event, ...]:
    """Read the events of a vector file, in the order of their ids and types.

    An empty `id_field` makes each feature an event of its own (named by the file and the
    feature's position); an empty `start_field` leaves all events to `event_date`, or undated.

    Raises:
        InputError: A file cannot be read, lacks a field the manifest names, or holds a date or a
            type that is none; the message names the feature.
    """
    polygons = read_polygons(file, source.layer, source.radius_m)
    _require_fields(polygons, file, source)
    looked_at = _read_analysed(source, analysed)
    groups: dict[tuple[str, str], list[Feature]] = {}
    for number, feature in enumerate(polygons.features):
        name = _id_of(feature, source.id_field, file, number)
        kind = source.type or _type_of(feature, source, f"{file}: feature {number}")
        groups.setdefault((name, kind), []).append(feature)
    events = []
    for name, kind in sorted(groups):
        features = groups[(name, kind)]
        start, end = _period(features, source, f"{file}: event {name}")
        events.append(
            Event(
                type=kind,
                id=name,
                start=start,
                end=end,
                geometry=union([feature.geometry for feature in features]),
                analysed=None if looked_at is None else looked_at.get(name, looked_at.get("")),
                source=recorded_name(source, file),
                lasts_days=lasting(source, kind),
            )
        )
    return tuple(events)


def dated(source: EventSource) -> tuple[dt.date | None, dt.date | None]:
    """Return first and last day as the manifest gives them; None, None: undated."""
    return source.event_date, source.event_end or source.event_date


def recorded_name(source: EventSource, file: Path) -> str:
    """Return what patches record as an event's source: file name, and version where given."""
    return f"{file.name} ({source.version})" if source.version else file.name


def lasting(source: EventSource, kind: str) -> float:
    """Return how long after its end an event of a type still shows, days."""
    return LASTS_DAYS[kind] if source.lasts_days is None else source.lasts_days


def _type_of(feature: Feature, source: EventSource, where: str) -> str:
    value = feature.attributes.get(source.type_field)
    text = str(value or "").strip().lower()
    if text not in LASTS_DAYS:
        raise InputError(f"{where}: {source.type_field} is {value!r}, not {', '.join(LASTS_DAYS)}")
    return text


def parse_day(value: Any, where: str) -> dt.date | None:
    """Return the UTC day of an attribute: a date, ISO text (`-` or `/`), or None.

    Raises:
        InputError: The text is no such day (04/05/2020 could be two days).
    """
    if value is None or value == "":
        return None
    text = str(value).strip()
    match = _DAY.fullmatch(text)
    try:
        if match is None:
            raise ValueError(text)
        day = dt.date(*(int(part) for part in match.groups()))
        return _utc_day(text) or day
    except ValueError:
        raise InputError(f"{where}: {text!r} is no date; write days as YYYY-MM-DD") from None


def _utc_day(text: str) -> dt.date | None:
    """Return the UTC day of a time that states its offset, else None: its day is taken as UTC."""
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if moment.tzinfo is None else moment.astimezone(dt.UTC).date()


def _period(
    features: Sequence[Feature], source: EventSource, where: str
) -> tuple[dt.date | None, dt.date | None]:
    starts = _days(features, source.start_field, where)
    ends = _days(features, source.end_field, where)
    if not starts:
        return dated(source)
    start, end = min(starts), max([*ends, *([] if ends else starts)])
    if end < start:
        raise InputError(f"{where}: ends on {end}, before its start {start}; mend the dates")
    return start, end


def _days(features: Sequence[Feature], field: str, where: str) -> list[dt.date]:
    days = [parse_day(f.attributes[field], f"{where}: {field}") for f in features] if field else []
    return [day for day in days if day is not None]


def _read_analysed(source: EventSource, path: Path | None) -> dict[str, Any] | None:
    """Return event id -> area looked at; the id "" stands for all events of the source."""
    if path is None:
        return None
    polygons = read_polygons(path)
    by_id = source.id_field in polygons.fields
    groups: dict[str, list[Any]] = {}
    for number, feature in enumerate(polygons.features):
        name = _id_of(feature, source.id_field, path, number) if by_id else ""
        groups.setdefault(name, []).append(feature.geometry)
    return {name: union(geometries) for name, geometries in groups.items()}


def _id_of(feature: Feature, field: str, file: Path, number: int) -> str:
    value = feature.attributes[field] if field else None
    return f"{Path(file).stem}-{number}" if value is None or value == "" else str(value)


def _require_fields(polygons: Polygons, file: Path, source: EventSource) -> None:
    wanted: Iterable[tuple[str, str]] = (
        ("id_field", source.id_field),
        ("start_field", source.start_field),
        ("end_field", source.end_field),
        ("type_field", "" if source.type else source.type_field),
    )
    for key, field in wanted:
        if field and field not in polygons.fields:
            raise InputError(
                f"{file}: has no attribute {field!r} ({key}); there are "
                f"{', '.join(polygons.fields) or 'none'} (an empty {key} says there is none)"
            )
