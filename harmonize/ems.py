"""Crises from Copernicus EMS Rapid Mapping deliveries: a zip (also of zips) or a folder.

Of each area of interest one delineation is taken by rule: a grading before a delineation before a
first estimate (which is dropped where a closer one exists), of that the highest version, and of
the mapping rounds the one the manifest asks for: rounds show one flood at several times, so
their areas are never added up. "No event" is known only inside the area of interest, without
what the delivery calls not analysed.
"""

from __future__ import annotations

import datetime as dt
import io
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from harmonize.ems_names import RANKS, LayerName, parse_layer_name
from harmonize.events import Event, dated, lasting, parse_day, recorded_name
from landmark.errors import InputError
from landmark.label_settings import EventSource
from landmark.vectors import Feature, list_layers, read_polygons, read_rows, union

#: Formats of one layer, best first; a .dbf alone is a table (the image sources).
_SUFFIXES = (".shp", ".gpkg", ".geojson", ".json", ".dbf")
#: Event type of a feature: "5-Flood", "1-Earthquake", "Wildfire".
_TYPES = {"flood": "flood", "fire": "fire", "earthquake": "earthquake"}
#: Damage grades, new and old, and how much of it each means (EMS manual).
_GRADES = {
    "destroyed": 3,
    "completely destroyed": 3,
    "damaged": 2,
    "highly damaged": 2,
    "moderately damaged": 2,
    "possibly damaged": 1,
    "negligible to slight damage": 1,
}
_LEAST = {"destroyed": 3, "damaged": 2, "possible": 1}
#: Day first, as the tables of image sources write it; ISO is read as well.
_DAY_FIRST = re.compile(r"(\d{1,2})[/.](\d{1,2})[/.](\d{4})")
#: A zip inside a zip larger than this is no delivery.
_INNER_BYTES = 1 << 30


@dataclass(frozen=True)
class LayerFile:
    """One layer of a delivery.

    Attributes:
        name: What its name says.
        path: What GDAL opens.
        layer: Layer in a file of several, or None.
    """

    name: LayerName
    path: str
    layer: str | None = None


def read_delivery(source: EventSource, path: Path) -> tuple[Event, ...]:
    """Return the events of a delivery, in the order of their areas and rounds.

    Raises:
        InputError: The delivery cannot be read, holds no mapped event of the type asked for, or
            rounds without a date where each is asked for.
    """
    by_round: dict[tuple[str, str, int], list[LayerFile]] = defaultdict(list)
    for file in find_layers(path):
        name = file.name
        if name.layer and name.product in RANKS:
            by_round[(name.code, name.aoi, name.round)].append(file)
    if not by_round:
        raise InputError(
            f"{path}: holds no layer of a Rapid Mapping delivery (names such as "
            "EMSR715_AOI01_DEL_PRODUCT_observedEventA_v1)"
        )
    events: list[Event] = []
    for code, aoi in sorted({key[:2] for key in by_round}):
        rounds = {key[2]: files for key, files in by_round.items() if key[:2] == (code, aoi)}
        for number in _wanted_rounds(_closest(rounds), source.round):
            label = f"{code}-AOI{aoi}" + (f"-MONIT{number:02d}" if number else "")
            events += _events_of(source, path, label, rounds[number])
    if not events:
        wanted = source.type or "flood, fire or earthquake"
        raise InputError(f"{path}: maps no {wanted}; the delivery is of another kind of crisis")
    return tuple(events)


def find_layers(path: Path) -> list[LayerFile]:
    """Return the layers of a delivery, one file each, whatever formats it comes in.

    Raises:
        InputError: It is neither a folder nor a zip, or holds a layer twice, differently.
    """
    found: dict[tuple[LayerName, bool], tuple[int, LayerFile]] = {}
    for where, inner in _files(path):
        suffix = PurePosixPath(inner).suffix.lower()
        if suffix not in _SUFFIXES:
            continue
        for file in _layers_in(where, PurePosixPath(inner).stem, suffix):
            rank = _SUFFIXES.index(suffix)
            key = (file.name, suffix == ".dbf" and file.name.layer == "source")
            if file.name.layer != "source" and suffix == ".dbf":
                continue  # the table of a shapefile
            if key not in found or rank < found[key][0]:
                found[key] = (rank, file)
    return [file for _, (_, file) in sorted(found.items(), key=lambda item: item[0])]


def _layers_in(where: str, stem: str, suffix: str) -> Iterator[LayerFile]:
    if suffix != ".gpkg":
        name = parse_layer_name(stem)
        if name is not None:
            yield LayerFile(name, where)
        return
    layers = list_layers(where)
    for layer in layers:
        alone = parse_layer_name(stem) if len(layers) == 1 else None
        name = parse_layer_name(layer) or alone
        if name is not None:
            yield LayerFile(name, where, layer)


def _files(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (what GDAL opens, name inside) of every file of a delivery."""
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.suffix.lower() == ".zip":
                yield from _zipped(f"/vsizip/{file}", file.read_bytes(), str(file))
            elif file.is_file():
                yield str(file), file.name
        return
    try:
        yield from _zipped(f"/vsizip/{path}", path.read_bytes(), str(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read as a delivery ({error.strerror})") from None


def _zipped(prefix: str, data: bytes, origin: str) -> Iterator[tuple[str, str]]:
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except zipfile.BadZipFile:
        raise InputError(f"{origin}: is neither a folder nor a zip") from None
    seen: dict[str, int] = {}
    for info in archive.infolist():
        if seen.setdefault(info.filename, info.CRC) != info.CRC:
            raise InputError(
                f"{origin}: holds {info.filename} twice, with different contents; unpack the one "
                "that is meant into a folder"
            )
    for info in sorted(archive.infolist(), key=lambda info: info.filename):
        if info.is_dir():
            continue
        if info.filename.lower().endswith(".zip"):
            if info.file_size > _INNER_BYTES:
                raise InputError(f"{origin}: {info.filename} is too large for a delivery")
            inner = f"/vsizip/{{{prefix}/{info.filename}}}"
            yield from _zipped(inner, archive.read(info), f"{origin}: {info.filename}")
        else:
            yield f"{prefix}/{info.filename}", PurePosixPath(info.filename).name


def _closest(rounds: Mapping[int, Sequence[LayerFile]]) -> list[int]:
    """Return the rounds to choose from: without first estimates where a closer map exists."""
    ranks = {
        number: max(RANKS[file.name.product] for file in files) for number, files in rounds.items()
    }
    closer = [number for number, rank in ranks.items() if rank > RANKS["FEP"]]
    return sorted(closer or ranks)


def _wanted_rounds(rounds: Sequence[int], which: str) -> Sequence[int]:
    return {"first": rounds[:1], "last": rounds[-1:], "each": rounds}[which]


def _events_of(
    source: EventSource, path: Path, name: str, files: Sequence[LayerFile]
) -> Iterator[Event]:
    """Yield the events of one area and round, one per type."""
    areas = _best(files, "area")
    analysed = _union_of(areas)
    blind = _union_of(_best(files, "blind"))
    if analysed is not None and blind is not None:
        analysed = analysed.difference(blind)
    sources = _image_days(_best(files, "source"))
    found: dict[str, list[Feature]] = defaultdict(list)
    for file in _best(files, "observed"):
        for feature in _polygons(file, source.radius_m):
            kind = _type_of(feature, source)
            if kind is not None and kind != "earthquake":
                found[kind].append(feature)
    for feature in _damaged(_best(files, "built"), source):
        found["earthquake"].append(feature)
    if not found and source.type in ("flood", "fire") and analysed is not None:
        found[source.type] = []  # looked at, and nothing seen: that is known too
    for kind, features in sorted(found.items()):
        if source.type is not None and kind != source.type:
            continue
        days = sorted({day for f in features for day in _days_of(f, sources)} or sources.all[-1:])
        if source.round == "each" and not days:
            raise InputError(
                f"{path}: {name} states no image date, which round: each needs; choose one round, "
                "and give event_date"
            )
        start, end = (days[0], days[-1]) if days else dated(source)
        yield Event(
            type=kind,
            id=name,
            start=start,
            end=end,
            geometry=union([feature.geometry for feature in features]),
            analysed=analysed,
            source=recorded_name(source, path),
            lasts_days=lasting(source, kind),
        )


def _best(files: Sequence[LayerFile], layer: str) -> list[LayerFile]:
    """Return a layer's files (areas and points) of the closest product, highest version."""
    own = [file for file in files if file.name.layer == layer and file.name.shape != "L"]
    if not own:
        return []

    def order(file: LayerFile) -> tuple[int, int, int]:
        return RANKS[file.name.product], file.name.release, file.name.version

    best = max(map(order, own))
    return [file for file in own if order(file) == best]


def _polygons(file: LayerFile, radius_m: float | None = None) -> tuple[Feature, ...]:
    """Read a layer; where its .prj is missing it is in degrees, or the file is refused."""
    return read_polygons(file.path, file.layer, radius_m, degrees=True).features


def _union_of(files: Sequence[LayerFile]) -> Any | None:
    geometries = [feature.geometry for file in files for feature in _polygons(file)]
    return union(geometries) if geometries else None


def _type_of(feature: Feature, source: EventSource) -> str | None:
    text = str(_value(feature.attributes, "event_type") or "").lower()
    if not text:
        return source.type
    return next((kind for word, kind in _TYPES.items() if word in text), None)


def _damaged(files: Sequence[LayerFile], source: EventSource) -> Iterator[Feature]:
    """Yield buildings whose grade counts; only of earthquakes: fires damage buildings too."""
    if source.type != "earthquake":
        return
    for file in files:
        for feature in _polygons(file, source.radius_m):
            grade = str(_value(feature.attributes, "damage_gra") or "").strip().lower()
            if _GRADES.get(grade, 0) >= _LEAST[source.min_grade]:
                yield feature


@dataclass(frozen=True)
class _ImageDays:
    """Days of the images of a delivery that are not from before the event."""

    by_id: Mapping[str, dt.date]
    all: tuple[dt.date, ...]


def _image_days(files: Sequence[LayerFile]) -> _ImageDays:
    days: dict[str, dt.date] = {}
    for file in files:
        for row in read_rows(file.path, file.layer):
            phase = str(_value(row, "eventphase") or "").lower()
            day = parse_image_day(_value(row, "src_date"), file.path)
            if day is not None and not phase.startswith("pre"):
                days[str(_value(row, "src_id"))] = day
    return _ImageDays(days, tuple(sorted(set(days.values()))))


def parse_image_day(value: Any, where: str) -> dt.date | None:
    """Return the day of an image source: dd/mm/yyyy, as the tables write it, or ISO.

    Raises:
        InputError: The text is no such day.
    """
    text = str(value or "").strip()
    match = _DAY_FIRST.fullmatch(text)
    if match is None:
        return parse_day(None if text.lower() in ("", "not applicable") else value, where)
    day, month, year = (int(part) for part in match.groups())
    try:
        return dt.date(year, month, day)
    except ValueError:
        raise InputError(f"{where}: src_date {text!r} is no date") from None


def _days_of(feature: Feature, sources: _ImageDays) -> list[dt.date]:
    own = sources.by_id.get(str(_value(feature.attributes, "dmg_src_id")))
    return [] if own is None else [own]


def _value(attributes: Mapping[str, Any], name: str) -> Any:
    """Return an attribute whatever its case."""
    return next((v for k, v in attributes.items() if k.lower() == name), None)
