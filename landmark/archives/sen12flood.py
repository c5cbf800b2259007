"""Reader of SEN12-FLOOD: time series of Sentinel-1 and -2 with a flood flag per image.

Two layouts are read. The original:

    FOLDER/S1list.json, S2list.json       sequence -> {"1": {date, FLOODING, ...}, ..., folder}
    FOLDER/<folder>/S2_<date>_B02.tif, <product>_corrected_VV.tif

and the STAC one:

    FOLDER/sen12floods_s2_source/.../sen12floods_s2_source_<sequence>_<YYYY_MM_DD>/B02.tif
    FOLDER/sen12floods_s2_labels/.../sen12floods_s2_labels_<sequence>_<YYYY_MM_DD>/stac.json

What a list says is checked against the files: entries are taken by `folder`, not by their key;
keys that are no numbers are skipped; an entry without `filename` has its name from its date; an
entry none of whose files exist is told of and left out; an image of which one file is missing
becomes a hole. The flag holds for the image as a whole, never for each pixel.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from landmark.archives.about import About
from landmark.archives.reading import (
    ArchiveImage,
    Request,
    midnight,
    read_json,
    refuse_repeats,
    settle_offset,
    spread,
)
from landmark.archives.tiles import SAMPLES, sample_values
from landmark.digits import whole_number
from landmark.errors import InputError
from landmark.manifest import S2_BANDS
from landmark.pixels import read_header
from landmark.scenes import BandAsset, Scene, SceneEvent

PROVIDER = "sen12flood"
ABOUT = About(
    title="SEN12-FLOOD",
    licence="not established",
    source="https://ieee-dataport.org (SEN12-FLOOD) or https://github.com/ClmRmb/SEN12-FLOOD",
    size=(
        "337 sequences of 512 x 512 px; 6.3 MB per Sentinel-2 and 2.1 MB per Sentinel-1 image "
        "(computed), how many images is not established"
    ),
)
_PRODUCT = re.compile(
    r"(?P<platform>S1[ABC])_IW_GRDH_1S(?P<pol>DV|SV|DH|SH)_(?P<time>\d{8}T\d{6})_[A-Z0-9_]+"
)
_POLARISATIONS = {"DV": ("VV", "VH"), "SV": ("VV",), "DH": ("HH", "HV"), "SH": ("HH",)}
_KNOWN_KEYS = frozenset({"count", "folder", "geo", "urls"})
_STAC = re.compile(
    r"sen12floods_s(?P<sensor>[12])_source_(?P<sequence>[A-Za-z0-9]+)_"
    r"(?P<day>\d{4}_\d{2}_\d{2})"
)


@dataclass(frozen=True)
class _Entry:
    """One image, whichever the layout.

    Attributes:
        sensor: `s1` or `s2`.
        sequence: Its series.
        date: ISO date.
        flooding: The flag.
        files: Band -> name in the archive.
        product: Product id, or "".
        orbit: `ascending`, `descending` or "".
        complete: Whether the image covers the series' whole square, where that is stated.
    """

    sensor: str
    sequence: str
    date: str
    flooding: bool
    files: dict[str, str]
    product: str = ""
    orbit: str = ""
    complete: bool | None = None

    @property
    def item(self) -> str:
        """Name of the image, unique in the archive."""
        return f"{self.sequence}_{self.product or self.date}"


def read_images(request: Request) -> Iterator[ArchiveImage]:
    """Yield every image of both sensors that the lists name and the archive holds.

    Raises:
        InputError: There is no list, an entry lacks its date or flag, a sequence's count exceeds
            its entries, an image is listed twice, or the values do not show their unit.
    """
    entries = []
    absent = 0
    for sensor in request.sensors:
        for entry in _entries(request, sensor):
            if not request.wants(sensor, entry.item, entry.date):
                continue
            if any(request.files.is_file(name) for name in entry.files.values()):
                entries.append(entry)
            else:
                absent += 1
    refuse_repeats((f"{e.sensor} {e.item}" for e in entries), request.origin)
    if absent:
        request.note(f"{request.origin}: {absent} listed images have no files; they are left out")
    radar = [entry for entry in entries if entry.sensor == "s1"]
    unit: tuple[Any, str] = ("dn", "archive")
    if radar:
        samples = [
            (BandAsset("VV", request.files.href(next(iter(entry.files.values())))), None)
            for entry in spread(radar, SAMPLES)
        ]
        unit = request.unit(sample_values(request, samples), "corrected_VV files")
    scenes = [scene for entry in entries if (scene := _scene(request, entry, unit)) is not None]
    optical = [scene for scene in scenes if scene.sensor == "s2"]
    samples_s2 = [replace(s, bands=_held(request, s)) for s in spread(optical, SAMPLES)]
    evidence = settle_offset(request, samples_s2, ABOUT.title) if optical else ""
    for scene in scenes:
        settled = replace(scene, offset_evidence=evidence) if scene.sensor == "s2" else scene
        yield ArchiveImage(settled, None)


def _entries(request: Request, sensor: str) -> Iterator[_Entry]:
    name = f"{sensor.upper()}list.json"
    if request.files.is_file(name):
        yield from _listed(request, sensor, name)
        return
    folder = f"sen12floods_{sensor}_source"
    if not request.files.names(folder):
        raise InputError(f"{request.origin}: holds neither {name} nor {folder}")
    yield from _from_stac(request, sensor, folder)


def _listed(request: Request, sensor: str, name: str) -> Iterator[_Entry]:
    listed = read_json(request.files, name)
    if not isinstance(listed, dict):
        raise InputError(f"{request.origin}/{name}: is no list of sequences")
    for key in sorted(listed):
        series, origin = listed[key], f"{request.origin}/{name}: sequence {key}"
        if not isinstance(series, dict) or not isinstance(series.get("folder"), str):
            raise InputError(f"{origin}: states no folder")
        _safe(series["folder"], origin)
        numbers = sorted((k for k in series if whole_number(k) is not None), key=int)
        if isinstance(series.get("count"), int) and series["count"] > len(numbers):
            raise InputError(
                f"{origin}: count is {series['count']}, but it lists {len(numbers)} images"
            )
        unknown = sorted(k for k in series if k not in numbers and k not in _KNOWN_KEYS)
        if unknown:
            request.note(f"{origin}: key {unknown[0]!r} is not known; it is not read")
        entries = [
            _entry(sensor, series["folder"], series[k], f"{origin}, image {k}") for k in numbers
        ]
        yield from sorted(entries, key=lambda entry: (entry.date, entry.product))


def _entry(sensor: str, folder: str, raw: Any, origin: str) -> _Entry:
    if not isinstance(raw, dict) or "date" not in raw or "FLOODING" not in raw:
        raise InputError(f"{origin}: states no date or no FLOODING")
    date = midnight(str(raw["date"]), origin)[:10]
    stem = str(raw.get("filename") or (f"S2_{date}" if sensor == "s2" else ""))
    _safe(stem, origin)
    coverage = raw.get("FULL-DATA-COVERAGE")
    entry = _Entry(
        sensor=sensor,
        sequence=folder,
        date=date,
        flooding=_flag(raw["FLOODING"], origin),
        files={band: f"{folder}/{stem}_{band}.tif" for band in S2_BANDS},
        complete=None if coverage is None else _flag(coverage, origin),
    )
    if sensor == "s2":
        return entry
    product = _PRODUCT.fullmatch(stem)
    if product is None:
        raise InputError(f"{origin}: filename {stem!r} is no Sentinel-1 GRD product")
    files = {
        band: f"{folder}/{stem}_corrected_{band}.tif" for band in _POLARISATIONS[product["pol"]]
    }
    return replace(entry, files=files, product=stem, orbit=str(raw.get("orbit", "")).lower())


def _from_stac(request: Request, sensor: str, folder: str) -> Iterator[_Entry]:
    files = request.files
    # The published zips hold a folder of the same name inside.
    inner = f"{folder}/{folder}" if folder in files.names(folder) else folder
    labels = inner.replace("_source", "_labels")
    for name in files.names(inner):
        parts = _STAC.fullmatch(name)
        if parts is None or f"s{parts['sensor']}" != sensor:
            continue
        label = f"{labels}/{name.replace('_source', '_labels')}/stac.json"
        if not files.is_file(label):
            raise InputError(f"{request.origin}: {name} has no {label}")
        properties = read_json(files, label).get("properties", {})
        origin = f"{request.origin}/{label}"
        if "FLOODING" not in properties:
            raise InputError(f"{origin}: states no FLOODING")
        coverage = properties.get("FULL-DATA-COVERAGE")
        bands = ("VV", "VH") if sensor == "s1" else S2_BANDS
        held = {band: f"{inner}/{name}/{band}.tif" for band in bands}
        if sensor == "s1" and not files.is_file(held["VH"]):
            held = {"VV": held["VV"]}
        yield _Entry(
            sensor=sensor,
            sequence=parts["sequence"],
            date=midnight(parts["day"].replace("_", "-"), origin)[:10],
            flooding=_flag(properties["FLOODING"], origin),
            files=held,
            complete=None if coverage is None else _flag(coverage, origin),
        )


def _flag(value: Any, origin: str) -> bool:
    """Return a flag; the STAC layout writes it as text, and any text is true in Python."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise InputError(f"{origin}: flag {value!r} is neither true nor false")


def _safe(name: str, origin: str) -> None:
    if "/" in name or "\\" in name or name.startswith("."):
        raise InputError(f"{origin}: name {name!r} would leave its folder")


def _scene(request: Request, entry: _Entry, unit: tuple[Any, str]) -> Scene | None:
    files = request.files
    radar = entry.sensor == "s1"
    wanted = tuple(entry.files) if radar else request.bands("s2")
    held = [band for band in wanted if files.is_file(entry.files[band])]
    if not held:
        request.note(f"{request.origin}: {entry.item} has none of the wanted bands; left out")
        return None
    product = _PRODUCT.fullmatch(entry.product)
    time = f"{entry.date}T00:00:00Z"
    notes: tuple[str, ...] = ("time: only the day is known",)
    if product is not None:
        stamp = product["time"]
        clock = f"{stamp[9:11]}:{stamp[11:13]}:{stamp[13:]}"
        time, notes = f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]}T{clock}Z", ()
    partial = ("coverage: the archive states that the image is not complete",)
    return Scene(
        sensor="s1" if radar else "s2",
        provider=PROVIDER,
        collection="SEN12-FLOOD",
        item=f"{entry.item}_{entry.sensor}",
        platform=product["platform"] if product else entry.sensor.upper(),
        time=time,
        bands=tuple(BandAsset(band, files.href(entry.files[band])) for band in wanted),
        unit=unit[0] if radar else "dn",
        unit_source=unit[1] if radar else "archive",
        quantity="unknown" if radar else "reflectance",
        orbit_state=entry.orbit,
        polarisations=wanted if radar else (),
        nodata=None if radar else 0,
        licence=request.licence(entry.sensor, ABOUT.licence),
        grid=read_header(request.path(files.href(entry.files[held[0]]))),
        tags=("flooding" if entry.flooding else "no-flooding",),
        tags_level="tile",
        event=SceneEvent("flood", entry.sequence, phase="during" if entry.flooding else "undated"),
        notes=(*notes, *(partial if entry.complete is False else ())),
    )


def _held(request: Request, scene: Scene) -> tuple[BandAsset, ...]:
    """Return the band files of a scene that exist."""
    found = []
    for asset in scene.bands:
        try:
            request.path(asset.href)
        except InputError:
            continue
        found.append(asset)
    return tuple(found)
