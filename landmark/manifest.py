"""The manifest: one frozen value that says what a dataset is.

The models are strict (an unknown key is an error) and every field carries the description that
`docs/manifest.md` and the JSON schema are generated from. Reading a manifest file, with errors
that name line and field, is the work of `landmark.manifest_file`.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from landmark.label_settings import CaptionRules, EventSource, LabelRules, LabelSource
from landmark.manifest_model import Model
from landmark.period import Period

#: Sentinel-2 bands in the order of `image`: the L2A bands, B8A after B08, no B10.
S2_BANDS: tuple[str, ...] = (
    "B01",
    "B02",
    "B03",
    "B04",
    "B05",
    "B06",
    "B07",
    "B08",
    "B8A",
    "B09",
    "B11",
    "B12",
)
S1_BANDS: tuple[str, ...] = ("VV", "VH")


def _known_bands(bands: tuple[str, ...]) -> tuple[str, ...]:
    unknown = [band for band in bands if band not in S2_BANDS]
    if unknown:
        raise ValueError(f"unknown band {unknown[0]!r}: Sentinel-2 L2A has {', '.join(S2_BANDS)}")
    if not bands:
        raise ValueError("names no band")
    return tuple(band for band in S2_BANDS if band in bands)


class Area(Model):
    """Where: a box in degrees, or a vector file."""

    bbox: tuple[float, float, float, float] | None = Field(
        None, description="West, south, east, north in degrees (WGS 84); west < east."
    )
    file: str | None = Field(
        None, description="Vector file (any format GDAL reads) whose union is the area."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.bbox is None) == (self.file is None):
            raise ValueError("give either bbox or file")
        if self.bbox is not None:
            west, south, east, north = self.bbox
            if not (-180 <= west <= 180 and -180 <= east <= 180):
                raise ValueError(f"bbox longitude out of range -180..180: {west}, {east}")
            if not (-90 <= south <= 90 and -90 <= north <= 90):
                raise ValueError(f"bbox latitude out of range -90..90: {south}, {north}")
            if west >= east or south >= north:
                raise ValueError(
                    "bbox must be west, south, east, north with west < east and south < north; "
                    "split an area that crosses the 180th meridian into two"
                )
        return self


class Catalog(Model):
    """Where scenes are listed."""

    kind: Literal["sandbox", "local", "api", "archive"] = Field(
        description=(
            "`sandbox`: the embedded synthetic Earth; `local`: a static STAC catalog, an "
            "ItemCollection or an ndjson file; `api`: a STAC API; `archive`: a published "
            "dataset's folder."
        )
    )
    href: str | None = Field(
        None,
        description="File, folder or URL; a relative path counts from the manifest's folder.",
    )
    format: Literal["reben"] | None = Field(
        None, description="Layout of an archive: `reben` (BigEarthNet v2)."
    )
    size: Literal["small", "demo"] = Field(
        "demo", description="How much synthetic Earth a sandbox holds."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kind != "sandbox" and self.href is None:
            raise ValueError(f"a catalog of kind {self.kind} needs href")
        if (self.kind == "archive") != (self.format is not None):
            raise ValueError("format belongs to a catalog of kind archive, and is needed there")
        return self


class SensorSource(Model):
    """What both sensors share."""

    collections: tuple[str, ...] = Field((), description="STAC collections; empty: the default.")
    filter: str | None = Field(None, description="CQL2 text filter on items.")
    catalog: Catalog | None = Field(None, description="Overrides the manifest's catalog.")
    provider: str = Field(
        "generic",
        pattern=r"^[a-z0-9-]+$",
        description="Name of the provider module that reads this catalog's items.",
    )
    licence: str | None = Field(
        None, description="Licence recorded per patch where the items name none."
    )
    orbit_state: Literal["ascending", "descending"] | None = Field(
        None, description="Keep only scenes of this orbit direction."
    )


class Sentinel2(SensorSource):
    """Sentinel-2 L2A."""

    bands: Annotated[tuple[str, ...], AfterValidator(_known_bands)] = Field(
        S2_BANDS, description="Bands wanted; a source that lacks one is refused."
    )
    assets: dict[str, str] = Field(
        default_factory=dict,
        description="Band -> asset key where the two differ (`SCL` names the scene classes).",
    )
    offset: Literal["baseline", "none", "metadata"] = Field(
        "baseline",
        description=(
            "`baseline`: pixels of baseline 04.00 and later hold +1000; `metadata`: the item's "
            "own raster:offset / s2:boa_add_offset; `none`: pixels hold no offset."
        ),
    )
    unknown_baseline: Literal["pixels", "no_offset", "refuse"] = Field(
        "pixels",
        description=(
            "What to do with an item that states no baseline (or N9999): decide from its dark "
            "pixels and refuse if they prove nothing, take it as free of offset, or refuse it."
        ),
    )
    on_conflict: Literal["refuse", "trust_metadata", "trust_pixels"] = Field(
        "refuse", description="What to do where pixels contradict the stated offset."
    )
    max_scene_cloud: float = Field(
        1.0, ge=0, le=1, description="Scenes cloudier than this share are left out."
    )


class Sentinel1(SensorSource):
    """Sentinel-1, terrain corrected."""

    assets: dict[str, str] = Field(
        default_factory=dict, description="VV and VH -> asset key where the two differ."
    )
    unit: Literal["item", "linear", "db"] = Field(
        "item",
        description="Unit of the pixels; `item`: as the item says (s1:unit or raster:bands).",
    )
    quantity: Literal["gamma0_rtc", "sigma0_tc", "unknown"] = Field(
        "gamma0_rtc", description="What the values measure."
    )
    nodata: float | None = Field(None, description="Nodata value where the file states none.")
    relative_orbit: int | None = Field(None, ge=1, le=175, description="Keep only this orbit.")


class PatchRules(Model):
    """Which patches are kept. What a rule rejects is counted as filtered, never as failed."""

    max_cloud: float = Field(
        0.5, ge=0, le=1, description="Largest cloudy share of a patch (needs scene classes)."
    )
    cloud_classes: tuple[int, ...] = Field(
        (3, 8, 9, 10), description="SCL classes counted as cloud (3 shadow, 8-9 cloud, 10 cirrus)."
    )
    min_valid: float = Field(
        0.95, ge=0, le=1, description="Smallest share of valid pixels of a patch."
    )
    share: float = Field(
        1.0, gt=0, le=1, description="Share of grid cells kept, chosen by a hash of the cell."
    )


class Pairing(Model):
    """S1-S2 partners."""

    max_gap_hours: float = Field(
        72.0, gt=0, description="Largest gap in time between the two patches of a pair."
    )


class Splits(Model):
    """Train, val and corpus (the retrieval gallery)."""

    method: Literal["blocks", "random"] = Field(
        "blocks", description="Spatial blocks with a buffer, or patches at random (leaks)."
    )
    train: float = Field(0.6, ge=0, le=1, description="Share of train.")
    val: float = Field(0.1, ge=0, le=1, description="Share of val.")
    corpus: float = Field(0.3, ge=0, le=1, description="Share of corpus.")
    block_km: float = Field(12.0, gt=0, description="Edge of a spatial block, km.")
    buffer_cells: int = Field(
        1, ge=0, description="Patches within this many cells of another split are dropped."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        total = self.train + self.val + self.corpus
        if abs(total - 1.0) > 1e-6:
            raise ValueError(f"train + val + corpus is {total:g}, not 1")
        return self


class Queries(Model):
    """Text queries with relevance."""

    min_relevant: int = Field(
        5, ge=1, description="Combinations with fewer relevant corpus patches are left out."
    )
    max_combinations: int = Field(40, ge=0, description="How many combinations at most.")
    qrels: Literal["auto", "always"] = Field(
        "auto", description="Write qrels files under 5 million lines, or always."
    )


class Shards(Model):
    """The files patches are written to."""

    rows: int = Field(512, ge=1, le=65536, description="Patches per shard at most.")


class Manifest(Model):
    """What to build: where, when, which sensors, which labels, how to split."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$", description="Name of the dataset.")
    description: str = Field("", description="One paragraph for the dataset card.")
    seed: int = Field(0, ge=0, description="Seed of everything that is drawn.")
    catalog: Catalog = Field(description="Where scenes are listed.")
    area: Area | None = Field(None, description="Where; none: all the catalog holds.")
    time: Period | None = Field(None, description="When; none: all the catalog holds.")
    s1: Sentinel1 | None = Field(None, description="Sentinel-1; none: left out.")
    s2: Sentinel2 | None = Field(None, description="Sentinel-2; none: left out.")
    grid: Literal["utm", "scene", "source"] = Field(
        "utm", description="Which frames patches are cut on (docs/architecture.md)."
    )
    duplicates: Literal["newest", "all"] = Field(
        "newest",
        description="Reprocessed scenes of one platform, tile and time: the newest, or all.",
    )
    patches: PatchRules = Field(PatchRules(), description="Which patches to keep.")
    pairing: Pairing = Field(Pairing(), description="S1-S2 partners.")
    labels: tuple[LabelSource, ...] = Field((), description="Land-cover sources, best first.")
    events: tuple[EventSource, ...] = Field((), description="Areas hit by a crisis.")
    label_rules: LabelRules = Field(LabelRules(), description="How labels are made.")
    captions: CaptionRules = Field(CaptionRules(), description="How captions are worded.")
    splits: Splits = Field(Splits(), description="Train, val and corpus.")
    queries: Queries = Field(Queries(), description="Queries with relevance.")
    shards: Shards = Field(Shards(), description="The files patches go to.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.s1 is None and self.s2 is None:
            raise ValueError("names no sensor: give s1, s2 or both")
        archive = [c for c in self.catalogs().values() if c.kind == "archive"]
        if archive and self.grid != "source":
            raise ValueError("an archive brings its own frames: set grid: source")
        if self.grid == "source" and not archive:
            raise ValueError("grid: source needs a catalog of kind archive")
        return self

    def sensors(self) -> tuple[str, ...]:
        """Return the sensors asked for, `s1` before `s2`."""
        return tuple(s for s, v in (("s1", self.s1), ("s2", self.s2)) if v is not None)

    def catalogs(self) -> dict[str, Catalog]:
        """Return the catalog each sensor's scenes come from."""
        return {
            sensor: source.catalog or self.catalog
            for sensor, source in (("s1", self.s1), ("s2", self.s2))
            if source is not None
        }
