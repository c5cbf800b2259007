"""The part of the manifest that says where labels come from and how they are decided."""

from __future__ import annotations

import datetime as dt
from typing import Literal, Self

from pydantic import Field, model_validator

from landmark.catalog_rules import FileAccess
from landmark.manifest_model import Model
from landmark.period import Period

#: Kinds of label source; `reference-map` and `archive` come with an archive, others name files.
LabelKind = Literal[
    "corine",
    "dynamic-world",
    "worldcover",
    "io-lulc",
    "raster",
    "polygons",
    "table",
    "reference-map",
    "archive",
]
EventKind = Literal["vector", "ems", "effis", "mtbs", "comcat", "shakemap", "mask"]


class LabelCatalog(Model):
    """A STAC catalog that lists label rasters."""

    kind: Literal["api", "local"] = Field(
        description="`api`: a STAC API; `local`: a static catalog, ItemCollection or ndjson file."
    )
    href: str = Field(description="URL of the API, or the catalog's file or folder.")
    collections: tuple[str, ...] = Field((), description="STAC collections; empty: the kind's own.")
    asset: str | None = Field(None, description="Asset key of the raster; none: the kind's own.")
    time: Period | None = Field(None, description="Only maps of this period; none: all.")
    provider: str = Field(
        "auto",
        pattern=r"^[a-z0-9-]+$",
        description=(
            "Whose catalog it is, which tells how its files are signed; `auto` knows Planetary "
            "Computer, Earth Search and Copernicus Data Space by the API's host."
        ),
    )
    access: FileAccess | None = Field(
        None, description="How its remote files are opened; none: as the provider knows."
    )


class LabelSource(Model):
    """Land cover: a raster, polygons or a table, a crosswalk and a validity rule."""

    kind: LabelKind = Field(
        description=(
            "`corine`: raster of grid or CLC codes, or its polygons (GPKG, GDB); `dynamic-world`: "
            "labels 0..8, or the nine probabilities; `worldcover`: ESA WorldCover; `io-lulc`: "
            "Impact Observatory annual land cover; `raster`, `polygons`: any with a crosswalk; "
            "`table`: CSV or Parquet with patch_id and label; `reference-map`: the CORINE map an "
            "archive ships with each patch; `archive`: an archive's own masks and image- or "
            "tile-level labels."
        )
    )
    tile_level: Literal["unknown", "present"] = Field(
        "unknown",
        description=(
            "Kind `archive`: what a label of a whole tile says of each patch cut from it; a "
            "negative label holds for every patch in any case."
        ),
    )
    rasters: tuple[str, ...] = Field(
        (),
        description=(
            "Files (rasters, polygons or the table), relative to the manifest's folder; "
            "`sandbox:` starts a path inside the sandbox."
        ),
    )
    catalog: LabelCatalog | None = Field(
        None, description="A STAC catalog to find the rasters in, instead of `rasters`."
    )
    crosswalk: str | None = Field(
        None, description="Built-in crosswalk name or CSV file; default: the kind's own."
    )
    field: str | None = Field(
        None,
        description="Attribute with the code: of polygons (default Code_18), of a table (`label`).",
    )
    layer: str | None = Field(None, description="Layer of a vector file that holds several.")
    complete: bool = Field(
        False,
        description=(
            "Of a table: the labels listed for a patch are all it has, so classes that are not "
            "listed are absent; else they stay unknown."
        ),
    )
    nodata: tuple[int, ...] = Field((), description="Further codes that mean `not mapped`.")
    label_shift: int = Field(
        0, ge=0, le=1, description="1 if Dynamic World labels were exported as label + 1."
    )
    window_days: float | None = Field(
        None,
        ge=0,
        description=(
            "Use only maps at most this many days from the acquisition (dates from the catalog, "
            "or a Dynamic World id in the file name); none: all."
        ),
    )
    min_probability: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Pixels whose mean top Dynamic World probability is lower are not mapped.",
    )
    period: Period | None = Field(
        None, description="What the map describes, where neither catalog nor file name says."
    )
    version: str = Field("", description="Version or date of the source, recorded per patch.")
    threshold: float | None = Field(
        None, ge=0, le=1, description="Presence threshold; default: 5 % CORINE, 2 % 10 m sources."
    )
    mask_clouds: bool = Field(
        False, description="Leave cloudy pixels (the patch's own SCL) out of the shares."
    )
    licence: str | None = Field(
        None, description="Licence (SPDX identifier); default: the producer's."
    )
    attribution: str | None = Field(
        None, description="Sentence that names the source; default: the producer's."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.catalog is not None and self.rasters:
            raise ValueError("names rasters and a catalog; give one of the two")
        if self.catalog is not None and self.kind in (
            "polygons",
            "table",
            "reference-map",
            "archive",
        ):
            raise ValueError(f"a source of kind {self.kind} is not found by a catalog")
        if self.kind in ("raster", "polygons") and self.crosswalk is None:
            raise ValueError(f"a source of kind {self.kind} needs a crosswalk (CSV file)")
        return self


class EventSource(Model):
    """Areas hit by a crisis: polygons, points, a delivery, or a dense mask."""

    kind: EventKind = Field(
        "vector",
        description=(
            "`vector`: polygons or points; `ems`: Copernicus EMS Rapid Mapping delivery (zip or "
            "folder); `effis`, `mtbs`: burned-area perimeters; `comcat`, `shakemap`: USGS "
            "earthquakes (where damage may be, never damage); `mask`: raster of affected pixels."
        ),
    )
    type: Literal["flood", "fire", "earthquake"] | None = Field(
        None, description="Kind of event; none: as `type_field` or the delivery says."
    )
    file: str = Field(description="Vector file, delivery (zip or folder), or mask raster.")
    analysed: str | None = Field(
        None, description="Vector file with the areas looked at; outside them nothing is known."
    )
    layer: str | None = Field(None, description="Layer of a vector file that holds several.")
    id_field: str = Field("id", description="Attribute that names the event.")
    type_field: str = Field(
        "", description="Attribute with flood, fire or earthquake, where `type` is not given."
    )
    start_field: str = Field("start", description="Attribute with the first day of the event.")
    end_field: str = Field("end", description="Attribute with the last day of the event.")
    event_date: dt.date | None = Field(
        None, description="First day, where the file has no date; without either: undated."
    )
    event_end: dt.date | None = Field(
        None, description="Last day to `event_date`; none: the same day."
    )
    lasts_days: float | None = Field(
        None,
        ge=0,
        description=(
            "How long after its end an event still shows; default 0 for floods, 180 for fires, "
            "365 for earthquakes."
        ),
    )
    radius_m: float = Field(
        20.0, gt=0, description="Points stand for a circle of this radius (a building), m."
    )
    round: Literal["first", "last", "each"] = Field(
        "first",
        description=(
            "Which mapping round of an EMS area: the first delineation, the last monitoring, or "
            "each as an event of its own day (needs dated rounds)."
        ),
    )
    min_grade: Literal["destroyed", "damaged", "possible"] = Field(
        "damaged", description="Least damage grade that counts as Earthquake Damage."
    )
    min_magnitude: float = Field(5.5, description="Weaker ComCat earthquakes are left out.")
    radius_km: float = Field(20.0, gt=0, description="Around a ComCat epicentre, km.")
    min_mmi: float = Field(
        6.0, ge=1, le=10, description="ShakeMap intensity from which damage may be (VI: slight)."
    )
    prescribed: bool = Field(True, description="Keep prescribed fires (MTBS Incid_Type Rx).")
    affected: tuple[int, ...] = Field((1,), description="Mask values that mean affected.")
    clear: tuple[int, ...] = Field((0,), description="Mask values that mean looked at, and free.")
    permanent_water: str | None = Field(
        None,
        description=(
            "Land-cover raster whose water is no flood: affected pixels there count as clear "
            "(codes of `permanent_codes`)."
        ),
    )
    permanent_codes: tuple[int, ...] = Field(
        (80,), description="Codes of permanent water in `permanent_water` (80: WorldCover)."
    )
    version: str = Field("", description="Version or date of the source, recorded per patch.")
    licence: str | None = Field(None, description="Licence (SPDX identifier); default: not stated.")
    attribution: str | None = Field(
        None, description="Sentence that names the source; default: none."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kind in ("vector", "mask") and self.type is None and not self.type_field:
            raise ValueError("needs type (flood, fire or earthquake) or type_field")
        if self.event_end is not None and self.event_date is None:
            raise ValueError("event_end needs event_date")
        if self.event_date and self.event_end and self.event_end < self.event_date:
            raise ValueError(f"event_end {self.event_end} is before event_date {self.event_date}")
        return self


class LabelRules(Model):
    """How labels are decided."""

    merge: Literal["priority", "union", "agreement"] = Field(
        "priority",
        description=(
            "Several land-cover sources on one patch: the first decides; a class is present where "
            "any has it; or only what all agree on is known."
        ),
    )
    min_covered: float = Field(
        0.25, gt=0, le=1, description="Share of the patch a source must cover to decide."
    )
    max_label_age: float | None = Field(
        None,
        gt=0,
        description=(
            "Maps further from the acquisition than this many days are not used; every source "
            "must then state what period it describes."
        ),
    )
    event_share: float = Field(
        0.01, ge=0, le=1, description="Crisis present from this share of the patch on, or ..."
    )
    event_hectares: float = Field(0.5, ge=0, description="... from this area on.")
    outside_events: Literal["unknown", "absent"] = Field(
        "unknown", description="Crisis classes of patches that no event's analysed area touches."
    )


class CaptionRules(Model):
    """How a patch is put into words."""

    short: Literal["published", "list"] = Field(
        "published", description="`published`: `water. trees`; `list`: `water, trees`."
    )
    long: Literal["sentence", "brief", "published"] = Field(
        "sentence",
        description=(
            "`sentence`: shares in words, season and hemisphere, events with days; `brief`: sensor "
            "and ground only; `published`: the labels, as `short: published`."
        ),
    )
