"""Earth Search v1 (Element 84 on AWS): Sentinel-2 as COGs. docs/providers/earth-search.md.

Two collections hold the same scenes with different numbers in the pixels. `sentinel-2-c1-l2a`
keeps ESA's numbers and says so; `sentinel-2-l2a` has nearly always had the offset removed, says
it had not, and keeps a flag that is itself wrong or missing on some items.
"""

from __future__ import annotations

from typing import Any

from landmark.errors import InputError
from landmark.manifest import Sentinel1
from landmark.providers import COPERNICUS_LICENCE, GRD_REASON, ItemContext, Provider
from landmark.providers.building import OFFSET_BASELINE, Offset, by_statement, sentinel2
from landmark.scenes import UNKNOWN_OFFSET, Scene
from landmark.stac_items import Item

NAME = "earth-search"
COLLECTION_1 = "sentinel-2-c1-l2a"
LEGACY = "sentinel-2-l2a"
_FLAG = "earthsearch:boa_offset_applied"
_NAMES = {
    "B01": ("coastal",),
    "B02": ("blue",),
    "B03": ("green",),
    "B04": ("red",),
    "B05": ("rededge1",),
    "B06": ("rededge2",),
    "B07": ("rededge3",),
    "B08": ("nir",),
    "B8A": ("nir08",),
    "B09": ("nir09",),
    "B11": ("swir16",),
    "B12": ("swir22",),
    "SCL": ("scl",),
}
#: Catalogs before version 1 named assets by band.
_KEYS = {band: (*keys, band) for band, keys in _NAMES.items()}


def scene_of(item: Item, context: ItemContext) -> Scene:
    """Return an item as a scene.

    Raises:
        InputError: A wanted band or the time is missing, or it is Sentinel-1.
    """
    if isinstance(context.source, Sentinel1):
        raise InputError(f"s1: collection sentinel-1-grd {GRD_REASON}")
    rule = by_statement if item.get("collection") == COLLECTION_1 else legacy_offset
    return sentinel2(
        item,
        context,
        context.source,
        provider=NAME,
        keys=_KEYS,
        offset=rule,
        licence=COPERNICUS_LICENCE,
    )


def legacy_offset(item: Item, asset: dict[str, Any], baseline: str) -> Offset:
    """Return 0 where the flag says that the offset was removed, or there never was one.

    `raster:bands` states -0.1 either way and is not read. A flag that is false or missing on a
    baseline of 04.00 or later is wrong more often than right: the pixels decide.
    """
    if item["properties"].get(_FLAG) is True:
        return Offset(0, "flag")
    if baseline and float(baseline) < OFFSET_BASELINE:
        return Offset(0, "baseline")
    return Offset(0, UNKNOWN_OFFSET)


PROVIDER = Provider(
    name=NAME,
    scene_of=scene_of,
    collections={"s1": (), "s2": (COLLECTION_1,)},
    refused={
        "sentinel-1-grd": f"{GRD_REASON}; take Sentinel-1 from Planetary Computer's sentinel-1-rtc",
        "sentinel-2-l1c": "is top of atmosphere, not surface reflectance; use sentinel-2-c1-l2a",
    },
    hosts=("earth-search.aws.element84.com",),
)
