"""Copernicus Data Space Ecosystem: `sentinel-2-l2a` as ESA's JPEG 2000. docs/providers/cdse.md."""

from __future__ import annotations

from landmark.errors import InputError
from landmark.manifest import S2_BANDS, Sentinel1
from landmark.providers import COPERNICUS_LICENCE, GRD_REASON, ItemContext, Provider
from landmark.providers.building import by_statement, sentinel2
from landmark.scenes import Scene
from landmark.schema import S2_RESOLUTION
from landmark.signing import Access
from landmark.stac_items import Item

NAME = "cdse"
#: Connections at once of one account, as the Data Space's quotas state them.
CONNECTIONS = 4
#: Each band lies there at several pixel sizes: the native one, never a resampled copy.
_KEYS = {band: (f"{band}_{S2_RESOLUTION[band]}m",) for band in S2_BANDS} | {"SCL": ("SCL_20m",)}


def scene_of(item: Item, context: ItemContext) -> Scene:
    """Return an item as a scene.

    Raises:
        InputError: A wanted band or the time is missing, or it is Sentinel-1.
    """
    if isinstance(context.source, Sentinel1):
        raise InputError(f"s1: collection sentinel-1-grd {GRD_REASON}")
    return sentinel2(
        item,
        context,
        context.source,
        provider=NAME,
        keys=_KEYS,
        offset=by_statement,
        licence=COPERNICUS_LICENCE,
    )


PROVIDER = Provider(
    name=NAME,
    scene_of=scene_of,
    collections={"s1": (), "s2": ("sentinel-2-l2a",)},
    refused={
        "sentinel-1-grd": f"{GRD_REASON}; take Sentinel-1 from Planetary Computer's sentinel-1-rtc",
        "sentinel-2-l1c": "is top of atmosphere, not surface reflectance; use sentinel-2-l2a",
        "sentinel-2-global-mosaics": "is a mosaic of a quarter, not an acquisition",
    },
    hosts=("stac.dataspace.copernicus.eu", "catalogue.dataspace.copernicus.eu"),
    access=Access("cdse", connections=CONNECTIONS),
)
