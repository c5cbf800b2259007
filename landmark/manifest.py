"""The manifest: one frozen value that says what a dataset is.

The models are strict (an unknown key is an error) and every field carries the description that
`docs/manifest.md` and the JSON schema are generated from. Reading a manifest file, with errors
that name line and field, is the work of `landmark.manifest_file`.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from landmark.catalog_rules import Catalog, FileAccess
from landmark.label_settings import CaptionRules, EventSource, LabelRules, LabelSource
from landmark.manifest_model import Area, Model
from landmark.manifest_splits import Queries, Splits
from landmark.period import Period
from landmark.sampling_rules import AroundEvents, Looks, Sampling, Strata

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


class SensorSource(Model):
    """What both sensors share."""

    collections: tuple[str, ...] = Field((), description="STAC collections; empty: the default.")
    filter: str | None = Field(None, description="CQL2 text filter on items.")
    catalog: Catalog | None = Field(None, description="Overrides the manifest's catalog.")
    provider: str = Field(
        "auto",
        pattern=r"^[a-z0-9-]+$",
        description=(
            "Whose catalog it is: `planetary-computer`, `earth-search`, `cdse`, or `generic`; "
            "`auto` knows the first three by the API's host."
        ),
    )
    licence: str | None = Field(
        None, description="Licence recorded per patch where the items name none."
    )
    attribution: str | None = Field(
        None, description="Sentence that names the source; default: the Copernicus notice."
    )
    orbit_state: Literal["ascending", "descending"] | None = Field(
        None, description="Keep only scenes of this orbit direction."
    )
    looks: Looks = Field(Looks(), description="Which of several looks at one cell are kept.")


class Sentinel2(SensorSource):
    """Sentinel-2 L2A."""

    bands: Annotated[tuple[str, ...], AfterValidator(_known_bands)] = Field(
        S2_BANDS, description="Bands wanted; a source that lacks one is refused."
    )
    assets: dict[str, str] = Field(
        default_factory=dict,
        description="Band -> asset key where the two differ (`SCL` names the scene classes).",
    )
    offset: Literal["provider", "baseline", "none", "metadata"] = Field(
        "provider",
        description=(
            "`provider`: by the provider's own rule (`generic`: by baseline); `baseline`: pixels "
            "of baseline 04.00 and later hold +1000; `metadata`: the item's own raster:offset / "
            "s2:boa_add_offset; `none`: pixels hold no offset."
        ),
    )
    unknown_baseline: Literal["pixels", "no_offset", "refuse"] = Field(
        "pixels",
        description=(
            "What to do with an item whose metadata do not settle the offset (no baseline, "
            "N9999, an unreliable flag): decide from its dark pixels and refuse it if they prove "
            "nothing, take it as free of offset, or refuse it."
        ),
    )
    on_conflict: Literal["refuse", "trust_metadata", "trust_pixels"] = Field(
        "refuse", description="What to do where pixels contradict the stated offset."
    )
    max_scene_cloud: float = Field(
        1.0, ge=0, le=1, description="Scenes cloudier than this share are left out."
    )
    max_scene_snow: float = Field(
        1.0, ge=0, le=1, description="Scenes snowier than this share are left out."
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
    max_snow: float = Field(
        1.0, ge=0, le=1, description="Largest share of snow (SCL 11) of a patch."
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
    required: bool = Field(False, description="Leave out patches that have no partner.")


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
    duplicates: Literal["newest", "pinned", "all"] = Field(
        "newest",
        description=(
            "Reprocessed scenes of one platform, tile and time: the newest baseline, the one of "
            "`pinned_baseline` (else the newest), or all."
        ),
    )
    pinned_baseline: str | None = Field(
        None, pattern=r"^\d{2}\.\d{2}$", description="Baseline for `duplicates: pinned`: `05.10`."
    )
    sampling: Sampling = Field(Sampling(), description="Which cells of the area are sampled.")
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
        if (self.duplicates == "pinned") != (self.pinned_baseline is not None):
            raise ValueError("duplicates: pinned and pinned_baseline belong together")
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


__all__ = [
    "S1_BANDS",
    "S2_BANDS",
    "Area",
    "AroundEvents",
    "Catalog",
    "EventSource",
    "FileAccess",
    "LabelRules",
    "LabelSource",
    "Looks",
    "Manifest",
    "Model",
    "Pairing",
    "PatchRules",
    "Period",
    "Queries",
    "Sampling",
    "SensorSource",
    "Sentinel1",
    "Sentinel2",
    "Shards",
    "Splits",
    "Strata",
]
