"""Microsoft Planetary Computer: `sentinel-2-l2a` and `sentinel-1-rtc`. docs/providers says more.

Items state no scale, offset or unit: they stand here. Sources: the collections' own documents and
the catalog's data set descriptions.
"""

from __future__ import annotations

from landmark.manifest import Sentinel1
from landmark.providers import COPERNICUS_LICENCE, GRD_REASON, ItemContext, Provider
from landmark.providers.building import sentinel1, sentinel2
from landmark.scenes import Scene
from landmark.signing import Access
from landmark.stac_items import Item

NAME = "planetary-computer"
#: Nodata of the RTC files (collection document).
_RTC_NODATA = -32768.0


def scene_of(item: Item, context: ItemContext) -> Scene:
    """Return an item as a scene.

    Sentinel-2 pixels are ESA's own numbers, so the offset follows from the baseline. RTC is
    gamma0 in linear power, float32.

    Raises:
        InputError: A wanted band or the time is missing.
    """
    if isinstance(context.source, Sentinel1):
        return sentinel1(
            item,
            context,
            context.source,
            provider=NAME,
            unit=("linear", "provider"),
            quantity="gamma0_rtc",
            nodata=_RTC_NODATA,
            licence="CC-BY-4.0",
        )
    return sentinel2(item, context, context.source, provider=NAME, licence=COPERNICUS_LICENCE)


PROVIDER = Provider(
    name=NAME,
    scene_of=scene_of,
    collections={"s1": ("sentinel-1-rtc",), "s2": ("sentinel-2-l2a",)},
    refused={
        "sentinel-1-grd": f"{GRD_REASON}; use sentinel-1-rtc",
        "sentinel-2-l1c": "is top of atmosphere, not surface reflectance; use sentinel-2-l2a",
    },
    hosts=("planetarycomputer.microsoft.com",),
    access=Access("planetary-computer"),
)
