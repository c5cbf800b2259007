"""Perimeters of burned areas as EFFIS and MTBS publish them: which attribute says what."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from harmonize.events import Event, dated, lasting, parse_day, recorded_name
from landmark.errors import InputError
from landmark.label_settings import EventSource
from landmark.vectors import Feature, read_polygons, union


@dataclass(frozen=True)
class Layout:
    """Attributes of a publisher's perimeters, lower case.

    Attributes:
        name: Of the fire.
        start: First day.
        end: Last day, or "".
    """

    name: str
    start: str
    end: str


#: EFFIS: the WFS layer `ms:modis.ba.poly`; all values are text. MTBS: the burned-area boundaries.
LAYOUTS: MappingProxyType[str, Layout] = MappingProxyType(
    {
        "effis": Layout("id", "firedate", "finaldate"),
        "mtbs": Layout("event_id", "ig_date", ""),
    }
)
_INCIDENT = "incid_type"


def read_perimeters(source: EventSource, file: Path) -> tuple[Event, ...]:
    """Return the fires of a perimeter file, in the order of their names.

    Raises:
        InputError: The file cannot be read, is not laid out so, or holds a date that is none.
    """
    layout = LAYOUTS[source.kind]
    groups: dict[str, list[Feature]] = {}
    for number, feature in enumerate(read_polygons(file, source.layer).features):
        own = {key.lower(): value for key, value in feature.attributes.items()}
        missing = [key for key in (layout.name, layout.start) if key not in own]
        if missing:
            raise InputError(
                f"{file}: has no attribute {missing[0].upper()}, which {source.kind} perimeters "
                f"have; there are {', '.join(feature.attributes)} (kind: vector reads any names)"
            )
        if str(own.get(_INCIDENT) or "") == "Rx" and not source.prescribed:
            continue
        name = str(own[layout.name] or f"{file.stem}-{number}")
        groups.setdefault(name, []).append(replace(feature, attributes=own))
    return tuple(_fire(source, file, layout, name, groups[name]) for name in sorted(groups))


def _fire(
    source: EventSource, file: Path, layout: Layout, name: str, features: list[Feature]
) -> Event:
    days = [
        day
        for feature in features
        for key in (layout.start, layout.end)
        if (day := _day(feature.attributes, key, f"{file}: fire {name}")) is not None
    ]
    start, end = (min(days), max(days)) if days else dated(source)
    return Event(
        type="fire",
        id=name,
        start=start,
        end=end,
        geometry=union([feature.geometry for feature in features]),
        analysed=None,
        source=recorded_name(source, file),
        lasts_days=lasting(source, "fire"),
    )


def _day(attributes: Mapping[str, object], key: str, where: str) -> dt.date | None:
    return parse_day(attributes.get(key), f"{where}: {key.upper()}") if key else None
