"""The static STAC catalog of the sandbox."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pystac

from landmark.manifest import S2_BANDS
from landmark.sandbox.crises import to_lonlat
from landmark.sandbox.optics import RESOLUTION
from landmark.sandbox.places import (
    RADAR_MARGIN_NORTH_M,
    RADAR_MARGIN_WEST_M,
    Optical,
    Place,
    Radar,
)
from landmark.sandbox.radar import NODATA as RADAR_NODATA

S2_COLLECTION = "sentinel-2-l2a"
S1_COLLECTION = "sentinel-1-rtc"
LICENCE = "CC0-1.0"
COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_PROVIDER = "landmark sandbox (synthetic data)"
_EXTENSIONS = "https://stac-extensions.github.io/{}/schema.json"
_COMMON_NAMES = {
    "B01": ("coastal", 0.443),
    "B02": ("blue", 0.490),
    "B03": ("green", 0.560),
    "B04": ("red", 0.665),
    "B05": ("rededge071", 0.705),
    "B06": ("rededge075", 0.740),
    "B07": ("rededge078", 0.783),
    "B08": ("nir", 0.842),
    "B8A": ("nir08", 0.865),
    "B09": ("nir09", 0.945),
    "B11": ("swir16", 1.610),
    "B12": ("swir22", 2.190),
}


@dataclass(frozen=True)
class Cover:
    """What the pixels of a Sentinel-2 product turned out to hold, in per cent.

    Attributes:
        cloud: Cloud and cirrus (SCL 8, 9, 10) among the pixels with data.
        nodata: Pixels without data.
    """

    cloud: float
    nodata: float


def optical_id(place: Place, product: Optical) -> str:
    """Return the item id of a Sentinel-2 product, in the style of the Planetary Computer."""
    return (
        f"{product.platform}_MSIL2A_{_compact(product.time)}_R{product.relative_orbit:03d}"
        f"_T{place.tile}_{_compact(product.generated)}_SYNTHETIC"
    )


def radar_id(product: Radar) -> str:
    """Return the item id of a Sentinel-1 product, in the style of the Planetary Computer."""
    kind = "1SDV" if len(product.polarisations) == 2 else "1SSV"
    start = dt.datetime.fromisoformat(product.time)
    stop = (start + dt.timedelta(seconds=25)).strftime("%Y%m%dT%H%M%S")
    return (
        f"{product.platform}_IW_GRDH_{kind}_{_compact(product.time)}_{stop}"
        f"_{product.absolute_orbit:06d}_rtc_SYNTHETIC"
    )


def optical_item(place: Place, product: Optical, cover: Cover) -> pystac.Item:
    """Return the STAC item of a Sentinel-2 product."""
    item = _item(optical_id(place, product), place.bounds, place, product.time)
    offset = product.offset
    item.properties |= {
        "platform": f"sentinel-{product.platform[1:].lower()}",
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "eo:cloud_cover": round(cover.cloud, 6),
        "grid:code": f"MGRS-{place.tile}",
        "sat:orbit_state": "descending",
        "sat:relative_orbit": product.relative_orbit,
        "s2:mgrs_tile": place.tile,
        "s2:processing_baseline": product.baseline,
        "s2:generation_time": product.generated,
        "s2:product_type": "S2MSI2A",
        "s2:nodata_pixel_percentage": round(cover.nodata, 6),
    }
    item.stac_extensions += [
        _EXTENSIONS.format(name)
        for name in ("eo/v2.0.0", "grid/v1.1.0", "sat/v1.0.0", "raster/v2.0.0")
    ]
    for band in S2_BANDS:
        name, centre = _COMMON_NAMES[band]
        fields = {
            "data_type": "uint16",
            "nodata": 0,
            "raster:scale": 0.0001,
            "raster:offset": -offset / 10000.0 + 0.0,
            "bands": [{"name": band, "eo:common_name": name, "eo:center_wavelength": centre}],
        }
        _add_asset(item, band, place.bounds, RESOLUTION[band], fields)
    fields = {"data_type": "uint8", "nodata": 0}
    _add_asset(item, "SCL", place.bounds, 20, fields)
    return item


def radar_bounds(place: Place, product: Radar) -> tuple[float, float, float, float]:
    """Return west, south, east, north of a Sentinel-1 raster, margins included, m."""
    west, _, east, north = place.bounds
    height = round(place.size * product.rows) * 10.0
    return (west - RADAR_MARGIN_WEST_M, north - height, east, north + RADAR_MARGIN_NORTH_M)


def radar_item(place: Place, product: Radar) -> pystac.Item:
    """Return the STAC item of a Sentinel-1 product."""
    bounds = radar_bounds(place, product)
    item = _item(radar_id(product), bounds, place, product.time)
    item.properties |= {
        "platform": f"sentinel-{product.platform[1:].lower()}",
        "constellation": "sentinel-1",
        "instruments": ["c-sar"],
        "sar:instrument_mode": "IW",
        "sar:frequency_band": "C",
        "sar:polarizations": list(product.polarisations),
        "sar:product_type": "RTC",
        "sat:orbit_state": product.orbit_state,
        "sat:relative_orbit": product.relative_orbit,
        "s1:unit": "linear",
    }
    item.stac_extensions += [_EXTENSIONS.format(name) for name in ("sar/v1.0.0", "sat/v1.0.0")]
    for polarisation in product.polarisations:
        fields = {
            "data_type": "float32",
            "nodata": RADAR_NODATA,
            "description": "Synthetic gamma0 backscatter, linear power",
        }
        _add_asset(item, polarisation.lower(), bounds, 10, fields)
    return item


def asset_path(folder: Path, collection: str, item: str, key: str) -> Path:
    """Return where the file of an asset lies: beside its item."""
    return folder / collection / item / f"{key}.tif"


def write_catalog(folder: Path, items: list[pystac.Item], seed: int) -> Path:
    """Write catalog, collections and items as a self-contained STAC catalog; return its root.

    Args:
        folder: Root of the sandbox.
        items: Items; those with `s2:mgrs_tile` go to Sentinel-2, the others to Sentinel-1.
        seed: Seed of the sandbox, told in the description.
    """
    catalog = pystac.Catalog(
        id="landmark-sandbox",
        title="landmark sandbox: a synthetic Earth",
        description=(
            "SYNTHETIC data made by landmark.sandbox "
            f"(seed {seed}). Not observations: no pixel, label or event here is real."
        ),
    )
    for name, sensor in ((S2_COLLECTION, "Sentinel-2 L2A"), (S1_COLLECTION, "Sentinel-1 RTC")):
        members = [i for i in items if ("s2:mgrs_tile" in i.properties) == (name == S2_COLLECTION)]
        collection = pystac.Collection(
            id=name,
            title=f"Synthetic {sensor} (landmark sandbox)",
            description=f"SYNTHETIC scenes in the form of {sensor}. Not observations.",
            license=LICENCE,
            keywords=["synthetic", "test data"],
            providers=[
                pystac.Provider(
                    _PROVIDER, roles=[pystac.ProviderRole.PRODUCER, pystac.ProviderRole.LICENSOR]
                )
            ],
            extent=pystac.Extent.from_items(members),
        )
        catalog.add_child(collection)
        collection.add_items(members)
    # Any root will do: links are written relative, and self links (absolute) are left out.
    root = "/sandbox"
    catalog.normalize_hrefs(root)
    catalog.catalog_type = pystac.CatalogType.SELF_CONTAINED
    for stac_object in (catalog, *catalog.get_all_collections(), *items):
        path = folder / Path(stac_object.get_self_href() or "").relative_to(root)
        content = stac_object.to_dict(include_self_link=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1) + "\n")
    return folder / "catalog.json"


def _item(
    name: str, bounds: tuple[float, float, float, float], place: Place, time: str
) -> pystac.Item:
    to_geographic = to_lonlat(place)
    west, south, east, north = bounds
    corners = [(west, south), (east, south), (east, north), (west, north), (west, south)]
    ring = [[round(v, 7) for v in to_geographic.transform(*corner)] for corner in corners]
    bbox = [
        min(p[0] for p in ring),
        min(p[1] for p in ring),
        max(p[0] for p in ring),
        max(p[1] for p in ring),
    ]
    return pystac.Item(
        id=name,
        geometry={"type": "Polygon", "coordinates": [ring]},
        bbox=bbox,
        datetime=dt.datetime.fromisoformat(time),
        properties={
            "title": "Synthetic scene",
            "description": "SYNTHETIC, made by landmark.sandbox; not an observation.",
            "license": LICENCE,
            "proj:code": f"EPSG:{place.epsg}",
        },
        stac_extensions=[_EXTENSIONS.format("projection/v2.0.0")],
    )


def _add_asset(
    item: pystac.Item,
    key: str,
    bounds: tuple[float, float, float, float],
    resolution: int,
    fields: dict[str, Any],
) -> None:
    west, south, east, north = bounds
    item.add_asset(
        key,
        pystac.Asset(
            href=f"./{key}.tif",
            media_type=COG,
            roles=["data"],
            title=f"{key} (synthetic)",
            extra_fields=fields
            | {
                "gsd": float(resolution),
                "proj:shape": [
                    round((north - south) / resolution),
                    round((east - west) / resolution),
                ],
                "proj:transform": [float(resolution), 0.0, west, 0.0, -float(resolution), north],
                "proj:bbox": list(bounds),
            },
        ),
    )


def _compact(time: str) -> str:
    return dt.datetime.fromisoformat(time).strftime("%Y%m%dT%H%M%S")
