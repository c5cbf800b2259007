"""Every real item of the recorded answers reads as the table beside this file says.

The table was made from the raw JSON and the catalogs' documents, not by the code under test.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest

from landmark.errors import InputError
from landmark.manifest import Sentinel1, Sentinel2
from landmark.providers import ItemContext, Provider, provider
from landmark.schema import S2_RESOLUTION
from landmark.sources import unsigned
from tests.real.recorded_answers import recorded_items

pytestmark = pytest.mark.real
TABLE = Path(__file__).with_name("stac_items.csv")
WHOSE = {
    "planetary_computer": "planetary-computer",
    "earth_search": "earth-search",
    "cdse": "cdse",
}
#: `other/`: items of these catalogs recorded by other programs, and two that need the manifest.
ALSO = {"sentinel-2-l2a": "planetary-computer", "sentinel-2-l1c": "earth-search"}
RTC_OF_AWS = Sentinel1(
    collections=("sentinel1-rtc-aws",),
    assets={"VV": "gamma0_vv", "VH": "gamma0_vh"},
    unit="linear",
    quantity="gamma0_rtc",
    licence="CC-BY-4.0",
)


def rows() -> list[dict[str, str]]:
    with TABLE.open(newline="") as stream:
        return list(csv.DictReader(stream))


def whose(row: dict[str, str]) -> Provider:
    return provider(WHOSE.get(row["catalog"]) or ALSO.get(row["collection"], "generic"))


def source_of(row: dict[str, str]) -> Sentinel1 | Sentinel2:
    if row["collection"] == "sentinel1-rtc-aws":
        return RTC_OF_AWS
    kind = Sentinel1 if "sentinel-1" in row["collection"] or row["sensor"] == "s1" else Sentinel2
    if row["collection"] == "sentinel1-grd":
        kind = Sentinel1
    return kind(collections=(row["collection"],))


@pytest.fixture(scope="module")
def items(shared_data: Path) -> dict[tuple[str, str, str], dict[str, Any]]:
    found = recorded_items(shared_data / "stac_items")
    return {(folder, str(one.get("collection")), one["id"]): one for folder, one in found}


def refused(
    whom: Provider, sensor: str, source: Sentinel1 | Sentinel2, item: dict[str, Any]
) -> None:
    """Refused at the latest where the item is read; best before the search."""
    whom.wanted(sensor, source)
    whom.scene_of(item, ItemContext(sensor, source, unsigned))


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row['catalog']}-{row['item']}")
def test_every_item_reads_as_the_table_says(
    items: dict[tuple[str, str, str], dict[str, Any]], row: dict[str, str]
) -> None:
    item = items[row["catalog"], row["collection"], row["item"]]
    source = source_of(row)
    sensor = "s1" if isinstance(source, Sentinel1) else "s2"
    if row["refused"]:
        with pytest.raises(InputError, match=row["refused"]):
            refused(whose(row), sensor, source, item)
        return
    assert whose(row).wanted(sensor, source) == (row["collection"],)
    scene = whose(row).scene_of(item, ItemContext(sensor, source, unsigned))
    found = {
        "sensor": scene.sensor,
        "platform": scene.platform,
        "datetime": scene.time,
        "tile": scene.mgrs,
        "baseline": scene.baseline,
        "epsg": str(scene.epsg or ""),
        "orbit_state": scene.orbit_state,
        "relative_orbit": str(scene.relative_orbit or ""),
        "bands": " ".join(asset.band for asset in scene.bands),
        "offset": str(scene.offset),
        "offset_source": scene.offset_source,
        "unit": scene.unit,
        "quantity": scene.quantity,
        "first_href": scene.bands[0].href,
        "scl_href": scene.scl.href if scene.scl else "",
    }
    assert found == {name: row[name] for name in found}
    assert scene.licence
    assert scene.footprint is not None
    assert len({asset.href for asset in scene.bands}) == len(scene.bands)
    if scene.sensor == "s2":
        assert scene.nodata == 0
        for asset in scene.bands:  # the file's own name tells the band and its native pixel size
            name = asset.href.rsplit("/", 1)[1]
            size = S2_RESOLUTION[asset.band]
            assert re.search(rf"(^|_){asset.band}(_{size}m)?\.(tif|jp2)$", name), name
    else:
        assert scene.nodata == (0 if row["catalog"] == "other" else -32768)
        for asset in scene.bands:
            name = asset.href.rsplit("/", 1)[1].upper()
            assert re.search(rf"[-_]{asset.band}\.(RTC\.)?TIFF?$", name), name


def test_the_table_holds_every_sentinel_item(
    items: dict[tuple[str, str, str], dict[str, Any]],
) -> None:
    listed = {(row["catalog"], row["collection"], row["item"]) for row in rows()}
    others = {"sample-collection", "landsat-c2-l2", "cop-dem-glo-30", "sentinel-3"}
    unlisted = {key for key in items if key not in listed}
    assert {collection for _, collection, _ in unlisted} <= others, unlisted
    assert len(listed) == len(rows()) >= 50
