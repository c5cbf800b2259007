"""A scene: one acquisition as a provider describes it, in one shape for all providers."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar, cast

import orjson

Sensor = Literal["s1", "s2"]
Unit = Literal["dn", "linear", "db"]
Quantity = Literal["gamma0_rtc", "sigma0_tc", "reflectance", "unknown"]
Evidence = Literal["agrees", "conflicts", "inconclusive"]
#: `Scene.offset_source` where the metadata do not settle whether +1000 is in the pixels.
UNKNOWN_OFFSET = "unknown"


@dataclass(frozen=True)
class BandAsset:
    """One band's file.

    Attributes:
        band: Our band name: `B02`, `VV`, `SCL`.
        href: As the catalog gives it, unsigned: a URL, or a path relative to the catalog.
        index: Band of the file, from 1.
    """

    band: str
    href: str
    index: int = 1


@dataclass(frozen=True)
class SourceGrid:
    """The pixel grid of a file as its header states it (metadata may be wrong).

    Attributes:
        epsg: EPSG code of the file's CRS.
        transform: Affine (a, b, c, d, e, f).
        width: Columns.
        height: Rows.
        block: Edge of the tiles the file is stored in, pixels; 0 for strips, or not known.
    """

    epsg: int
    transform: tuple[float, float, float, float, float, float]
    width: int
    height: int
    block: int = 0


@dataclass(frozen=True)
class SceneEvent:
    """The event an archive took an image for.

    Attributes:
        type: `flood`, `fire` or `earthquake`.
        id: As the archive calls it.
        start: First day (ISO date), or "".
        end: Last day, or "".
        phase: `before`, `during`, `after` or `undated`, seen from the acquisition.
    """

    type: str
    id: str
    start: str = ""
    end: str = ""
    phase: str = "undated"


@dataclass(frozen=True)
class Scene:
    """One acquisition of one sensor: everything the plan and the pixel reader need.

    Attributes:
        sensor: `s1` or `s2`.
        provider: Provider module that made this value.
        collection: STAC collection, or the archive's name.
        item: Item id as published.
        platform: `S2A`, `S1B`, ...
        time: Acquisition, ISO 8601 UTC to the second, e.g. `2023-07-04T10:10:31Z`.
        footprint: WKT polygon in longitude, latitude; None where only the file knows.
        mgrs: Tile, e.g. `32TQR`, or "".
        orbit_state: `ascending`, `descending` or "".
        relative_orbit: 1..175, or None.
        polarisations: e.g. (`VV`, `VH`); empty for Sentinel-2.
        generated: Processing time (ISO) or "": decides between duplicates.
        baseline: Processing baseline as `04.00`, or "" if unknown.
        offset: Number added to valid DN to remove the provider's offset: -1000 or 0.
        offset_source: Where `offset` is stated: `baseline`, `item`, `flag`, `manifest`, `pixels`;
            `unknown`: not settled; "" where it does not apply.
        offset_evidence: What the pixels say of `offset`, or "" where it does not apply.
        cloud: Cloudy share of the whole scene 0..1, or None.
        snow: Snowy share of the whole scene 0..1, or None.
        unit: Unit of the pixels in the files.
        unit_source: Where the unit is stated: `item`, `manifest`, `provider`, `archive`; or the
            values that show it: `values: db, median -12.1 in 16 images`.
        quantity: What the values measure.
        nodata: Nodata value of the band files (NaN counts as nodata in any case), or None.
        licence: Licence of the pixels.
        bands: Band files in the order of `image`.
        scl: Scene classification file, or None.
        epsg: EPSG code the item states, or None. The header's, in `grid`, is believed.
        grid: Header of the finest band file, filled in by the plan.
        reference: Label map or mask an archive ships with this image, or None.
        form: `raster`: georeferenced files; `array`: a 120 x 120 px array that is one patch.
        tags: Labels an archive gives the image, in its own words.
        tags_level: What they are said of: `image` (the patch), `tile` (a larger image), or "".
        event: The event it was taken for, or None.
        split: Split the archive puts the image in: `train`, `val`, `corpus` or "".
        notes: What a user of the patch has to know of place, date and unit.
    """

    sensor: Sensor
    provider: str
    collection: str
    item: str
    platform: str
    time: str
    bands: tuple[BandAsset, ...]
    unit: Unit
    unit_source: str
    quantity: Quantity
    footprint: str | None = None
    mgrs: str = ""
    orbit_state: str = ""
    relative_orbit: int | None = None
    polarisations: tuple[str, ...] = ()
    generated: str = ""
    baseline: str = ""
    offset: int = 0
    offset_source: str = ""
    offset_evidence: str = ""
    cloud: float | None = None
    snow: float | None = None
    nodata: float | None = None
    licence: str = ""
    scl: BandAsset | None = None
    epsg: int | None = None
    grid: SourceGrid | None = None
    reference: BandAsset | None = None
    form: Literal["raster", "array"] = "raster"
    tags: tuple[str, ...] = ()
    tags_level: Literal["image", "tile", ""] = ""
    event: SceneEvent | None = None
    split: str = ""
    notes: tuple[str, ...] = ()

    @property
    def datetime(self) -> dt.datetime:
        """Acquisition as an aware datetime (UTC)."""
        return dt.datetime.fromisoformat(self.time.replace("Z", "+00:00"))

    def to_json(self) -> str:
        """Return the scene as canonical JSON (sorted keys): the form the plan stores."""
        return json.dumps(vars(self), default=vars, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Scene:
        """Return the scene that `to_json` wrote."""
        raw = _parsed(text)
        raw["bands"] = tuple([_made(BandAsset, band) for band in raw["bands"]])
        for name in ("polarisations", "tags", "notes"):
            if name in raw:
                raw[name] = tuple(raw[name])
        if raw.get("event") is not None:
            raw["event"] = SceneEvent(**raw["event"])
        if raw["scl"] is not None:
            raw["scl"] = _made(BandAsset, raw["scl"])
        if raw["reference"] is not None:
            raw["reference"] = _made(BandAsset, raw["reference"])
        if raw["grid"] is not None:
            raw["grid"]["transform"] = tuple(raw["grid"]["transform"])
            raw["grid"] = _made(SourceGrid, raw["grid"])
        return _made(cls, raw)


Made = TypeVar("Made", bound="Scene | BandAsset | SourceGrid")

#: Names of all fields in the order `to_json` writes them.
_WRITTEN: dict[type, tuple[str, ...]] = {
    kind: tuple(sorted(one.name for one in fields(kind))) for kind in (Scene, BandAsset, SourceGrid)
}


def _parsed(text: str) -> dict[str, Any]:
    """Return the object that JSON is; NaN, which JSON has not, is one of the numbers."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        found = json.loads(text)
    return cast(dict[str, Any], found)


def _made(kind: type[Made], raw: dict[str, Any]) -> Made:
    """Return a frozen value of its fields, which keeps `raw` as its own.

    An archive has a scene a patch, and setting the fields of a frozen value one by one takes
    longer than parsing their text.
    """
    if tuple(raw) != _WRITTEN[kind]:
        return kind(**raw)  # of an older plan; or raises, and tells what is missing or unknown
    made = kind.__new__(kind)
    object.__setattr__(made, "__dict__", raw)
    return made
