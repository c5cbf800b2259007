"""Items that follow the STAC extensions: band names as asset keys, `s2:`, `sat:`, `sar:` fields.

Covers Planetary Computer's layout, plain static catalogs, and anything the manifest's `assets`
bring into that shape. Metadata of files (CRS, shape) is not taken from items: headers are read
when the plan is made, since published `proj:` fields are wrong often enough.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import shapely

from landmark.errors import InputError
from landmark.manifest import S1_BANDS, Sentinel1, Sentinel2
from landmark.providers import ItemContext
from landmark.scenes import BandAsset, Scene
from landmark.stac_items import Item, acquired, footprint, parse_moment

NAME = "generic"
#: First processing baseline whose pixels hold +1000 (ESA, 25 January 2022).
OFFSET_BASELINE = 4.0
OFFSET_DN = -1000
_POLARISATIONS = ("VV", "VH", "HH", "HV")
_PLATFORM = re.compile(r"^(?:sentinel|s)[-_ ]?([12])[-_ ]?([a-d])(?=$|[^a-z0-9])", re.IGNORECASE)
_BASELINE = re.compile(r"_N(\d{2})(\d{2})(?=_|\.|$)")
_TILE = re.compile(r"_T?(\d{2}[C-X][A-Z]{2})(?=_|\.|$)")
_ORBIT = re.compile(r"_R(\d{3})(?=_|\.|$)")
_GENERATED = re.compile(r"_(\d{8}T\d{6})(?:\.SAFE)?$")
#: (constellation unit) -> shift between absolute and relative orbit, ESA Sentinel-1 handbook.
_ORBIT_SHIFT = {"S1A": 73, "S1B": 27}


def scene_of(item: Item, context: ItemContext) -> Scene:
    """Return an item as a scene.

    Raises:
        InputError: A wanted band, the time or the Sentinel-1 unit is missing.
    """
    if isinstance(context.source, Sentinel1):
        return _sentinel1(item, context, context.source)
    return _sentinel2(item, context, context.source)


def _sentinel2(item: Item, context: ItemContext, source: Sentinel2) -> Scene:
    keys = {band: _asset_key(item, band, source.assets) for band in (*source.bands, "SCL")}
    for band in source.bands:
        if keys[band] is None:
            raise InputError(
                f"item {item['id']}: has no asset for band {band} (assets: {_assets(item)}); "
                "set s2.assets, or leave the band out of s2.bands"
            )
    scl = keys["SCL"]
    baseline = _baseline(item)
    first = item["assets"][keys[source.bands[0]]]
    nodata = _nodata(first)
    return Scene(
        sensor="s2",
        bands=tuple(_band(item, band, str(keys[band]), context) for band in source.bands),
        scl=None if scl is None else _band(item, "SCL", scl, context),
        unit="dn",
        unit_source="item",
        quantity="reflectance",
        mgrs=_mgrs(item),
        baseline=baseline,
        offset=_offset(item, first, baseline, source),
        cloud=_cloud(item),
        # Sentinel-2 L2A marks missing pixels with 0 whether the file says so or not.
        nodata=0.0 if nodata is None else nodata,
        **_common(item, context),
    )


def _sentinel1(item: Item, context: ItemContext, source: Sentinel1) -> Scene:
    keys = {name: _asset_key(item, name, source.assets) for name in _POLARISATIONS}
    present = [name for name in _POLARISATIONS if keys[name] is not None]
    stated = [str(name).upper() for name in item["properties"].get("sar:polarizations") or ()]
    for name in S1_BANDS:
        if keys[name] is None and (name in stated or not present):
            raise InputError(
                f"item {item['id']}: has no asset for band {name} (assets: {_assets(item)}); "
                "set s1.assets"
            )
    usable = list(S1_BANDS) if set(S1_BANDS) <= set(present) else present
    first = item["assets"][keys[usable[0]]]
    unit, unit_source = _unit(item, first, source)
    nodata = _nodata(first)
    return Scene(
        sensor="s1",
        bands=tuple(_band(item, name, str(keys[name]), context) for name in usable),
        unit=unit,
        unit_source=unit_source,
        quantity=source.quantity,
        polarisations=tuple(usable),
        nodata=source.nodata if nodata is None and not _says_nodata(first) else nodata,
        **_common(item, context),
    )


def _common(item: Item, context: ItemContext) -> dict[str, Any]:
    properties = item["properties"]
    geometry = footprint(item)
    platform = _platform(item, context.sensor)
    orbit = str(properties.get("sat:orbit_state") or "").lower()
    licence = properties.get("license") or context.licence or context.source.licence or ""
    return {
        "provider": NAME,
        "collection": str(item.get("collection") or ""),
        "item": str(item["id"]),
        "platform": platform,
        "time": acquired(item),
        "footprint": None if geometry is None else shapely.to_wkt(geometry, rounding_precision=7),
        "orbit_state": orbit if orbit in ("ascending", "descending") else "",
        "relative_orbit": _relative_orbit(item, platform),
        "generated": _generated(item, context.sensor),
        "licence": str(licence),
    }


def _asset_key(item: Item, band: str, overrides: dict[str, str]) -> str | None:
    names = [overrides[band]] if band in overrides else [band, band.lower()]
    return next((name for name in names if "href" in (item["assets"].get(name) or {})), None)


def _assets(item: Item) -> str:
    return ", ".join(sorted(item["assets"])) or "none"


def _band(item: Item, band: str, key: str, context: ItemContext) -> BandAsset:
    return BandAsset(band=band, href=context.stored(item["assets"][key]["href"]))


def _names(item: Item) -> tuple[str, ...]:
    """Return the texts that hold the product name: `s2:product_uri` before the id."""
    uri = item["properties"].get("s2:product_uri") or item["properties"].get("s1:product_uri")
    return tuple(str(name) for name in (uri, item["id"]) if name)


def _token(pattern: re.Pattern[str], item: Item) -> re.Match[str] | None:
    return next((match for name in _names(item) if (match := pattern.search(name))), None)


def _platform(item: Item, sensor: str) -> str:
    """Return `S2A`; `S2` where neither platform nor id says which unit flew."""
    for text in (item["properties"].get("platform"), *_names(item)):
        match = _PLATFORM.match(str(text or ""))
        if match and match[1] == sensor[1]:
            return f"S{match[1]}{match[2].upper()}"
    return sensor.upper()


def _mgrs(item: Item) -> str:
    properties = item["properties"]
    tile = str(properties.get("s2:mgrs_tile") or properties.get("grid:code") or "")
    tile = tile.removeprefix("MGRS-").removeprefix("T")
    if tile:
        return tile
    match = _token(_TILE, item)
    return match[1] if match else ""


def _relative_orbit(item: Item, platform: str) -> int | None:
    stated = item["properties"].get("sat:relative_orbit")
    if stated is not None:
        return int(stated)
    match = _token(_ORBIT, item)
    if match:
        return int(match[1])
    absolute = item["properties"].get("sat:absolute_orbit")
    if absolute is not None and platform in _ORBIT_SHIFT:
        return (int(absolute) - _ORBIT_SHIFT[platform]) % 175 + 1
    return None


def _baseline(item: Item) -> str:
    """Return the processing baseline as `04.00`, or "" where unstated (N9999 states nothing)."""
    properties = item["properties"]
    stated = properties.get("s2:processing_baseline") or properties.get("processing:version")
    match = _token(_BASELINE, item)
    try:
        value = float(str(stated).upper().removeprefix("N")) if stated else None
    except ValueError:
        value = None
    if value is not None and value > 100:  # written as 0400
        value /= 100
    if value is None and match:
        value = float(f"{match[1]}.{match[2]}")
    if value is None or value >= 99:
        return ""
    return f"{value:05.2f}"


def _offset(item: Item, asset: dict[str, Any], baseline: str, source: Sentinel2) -> int:
    """Return the number to add to valid DN by the manifest's rule; 0 where nothing is known."""
    if source.offset == "none":
        return 0
    if source.offset == "baseline":
        return OFFSET_DN if baseline and float(baseline) >= OFFSET_BASELINE else 0
    stated = item["properties"].get("s2:boa_add_offset")
    if stated is not None:
        return round(float(stated))
    raster = _raster(asset)
    if raster.get("offset") is None:
        raise InputError(
            f"item {item['id']}: states no raster:offset or s2:boa_add_offset, which "
            "s2.offset: metadata needs; use s2.offset: baseline"
        )
    # Offset and scale are in reflectance: -0.1 with 0.0001 is -1000 DN.
    return round(float(raster["offset"]) / float(raster.get("scale") or 1e-4))


def _raster(asset: dict[str, Any]) -> dict[str, Any]:
    """Return what an asset says of its first band, STAC 1.0 (`raster:bands`) or 1.1 (`bands`)."""
    merged: dict[str, Any] = {}
    for key in ("nodata", "unit", "scale", "offset"):
        for value in (asset.get(key), asset.get(f"raster:{key}")):
            if value is not None:
                merged[key] = value
    for bands in (asset.get("bands"), asset.get("raster:bands")):
        if bands:
            merged |= {key.removeprefix("raster:"): value for key, value in bands[0].items()}
    return merged


def _says_nodata(asset: dict[str, Any]) -> bool:
    return _raster(asset).get("nodata") is not None


def _nodata(asset: dict[str, Any]) -> float | None:
    value = _raster(asset).get("nodata")
    if value is None or str(value).lower() == "nan":
        return None
    return float(value)


def _unit(
    item: Item, asset: dict[str, Any], source: Sentinel1
) -> tuple[Literal["linear", "db"], str]:
    if source.unit != "item":
        return source.unit, "manifest"
    stated = item["properties"].get("s1:unit") or _raster(asset).get("unit")
    text = str(stated or "").lower()
    if text in ("db", "decibel", "decibels"):
        return "db", "item"
    if text in ("linear", "power", "linear power", "1", "m2/m2"):
        return "linear", "item"
    says = f"states the unit {stated!r}" if stated else "does not state its unit"
    raise InputError(f"item {item['id']}: {says}; set s1.unit to linear or db")


def _cloud(item: Item) -> float | None:
    stated = item["properties"].get("eo:cloud_cover")
    return None if stated is None else float(stated) / 100


def _generated(item: Item, sensor: str) -> str:
    """Return when the product was made, ISO to the second, or ""."""
    properties = item["properties"]
    stated = properties.get("s2:generation_time") or properties.get("processing:datetime")
    if not stated and sensor == "s2":  # the last time in a Sentinel-1 name is the end of sensing
        match = _token(_GENERATED, item)
        stated = match[1] if match else None
    stated = stated or properties.get("created")
    try:
        return parse_moment(str(stated)).strftime("%Y-%m-%dT%H:%M:%SZ") if stated else ""
    except ValueError:
        return ""
