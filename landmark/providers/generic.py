"""Any STAC catalog that names assets by band, with the manifest saying what items leave out.

Covers plain static catalogs, and through the manifest's `assets`, `offset`, `unit`, `quantity`,
`nodata` and `licence` anything that can be brought into that shape. Metadata of files (CRS,
shape) is not taken from items: headers are read when the plan is made.
"""

from __future__ import annotations

from landmark.manifest import Sentinel1
from landmark.providers import ItemContext, Provider
from landmark.providers.building import sentinel1, sentinel2
from landmark.scenes import Scene
from landmark.stac_items import Item

NAME = "generic"


def scene_of(item: Item, context: ItemContext) -> Scene:
    """Return an item as a scene.

    Raises:
        InputError: A wanted band, the time or the Sentinel-1 unit is missing.
    """
    if isinstance(context.source, Sentinel1):
        return sentinel1(item, context, context.source, provider=NAME)
    return sentinel2(item, context, context.source, provider=NAME)


PROVIDER = Provider(
    name=NAME,
    scene_of=scene_of,
    collections={"s1": ("sentinel-1-rtc",), "s2": ("sentinel-2-l2a",)},
)
