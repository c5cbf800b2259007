"""What a STAC item says, read by the extensions' names, whichever provider wrote it.

Older and newer spellings (STAC 1.0 and 1.1, `proj:epsg` and `proj:code`) are read alike; nothing
here knows a provider.
"""

from __future__ import annotations

import math
import re
from typing import Any

from landmark.digits import whole_number
from landmark.errors import InputError
from landmark.stac_items import Item, parse_moment

_PLATFORM = re.compile(r"^(?:sentinel|s)[-_ ]?([12])[-_ ]?([a-d])(?=$|[^a-z0-9])", re.IGNORECASE)
_BASELINE = re.compile(r"_N(\d{2})(\d{2})(?=_|\.|$)")
_TILE = re.compile(r"_T?(\d{2}[C-X][A-Z]{2})(?=_|\.|$)")
_ORBIT = re.compile(r"_R(\d{3})(?=_|\.|$)")
_GENERATED = re.compile(r"_(\d{8}T\d{6})(?:\.SAFE)?$")
#: Where catalogs put ESA's product name (the last: Earth Search before version 1).
_PRODUCT_NAMES = ("s2:product_uri", "s1:product_uri", "sentinel:product_id")
#: (constellation unit) -> shift between absolute and relative orbit, ESA Sentinel-1 handbook.
_ORBIT_SHIFT = {"S1A": 73, "S1B": 27}


def stated_epsg(item: Item, asset: dict[str, Any]) -> int | None:
    """Return the EPSG code the asset or the item states, or None; files' headers may differ.

    Asset before item, `proj:code` before `proj:epsg`; 0, null and `EPSG:None` state nothing.
    """
    for values in (asset, item["properties"]):
        for name in ("proj:code", "proj:epsg"):
            text = str(values.get(name) or "").upper().removeprefix("EPSG:")
            if code := whole_number(text):
                return code
    return None


def _names(item: Item) -> tuple[str, ...]:
    """Return the texts that hold the product name: the stated ones before the id."""
    stated = (item["properties"].get(name) for name in _PRODUCT_NAMES)
    return tuple(str(name) for name in (*stated, item["id"]) if name)


def number(item: Item, name: str) -> float | None:
    """Return a property as a finite number, or None where it is not stated.

    Raises:
        InputError: It is something else.
    """
    stated = item["properties"].get(name)
    if stated is None or stated == "":
        return None
    try:
        value = float(stated)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"item {item['id']}: {name} is {stated!r}, no number")
    return value


def _token(pattern: re.Pattern[str], item: Item) -> re.Match[str] | None:
    return next((match for name in _names(item) if (match := pattern.search(name))), None)


def platform(item: Item, sensor: str) -> str:
    """Return `S2A`; `S2` where neither platform nor id says which unit flew."""
    for text in (item["properties"].get("platform"), *_names(item)):
        match = _PLATFORM.match(str(text or ""))
        if match and match[1] == sensor[1]:
            return f"S{match[1]}{match[2].upper()}"
    return sensor.upper()


def mgrs(item: Item) -> str:
    """Return the tile as `32TQR`, or ""; `grid:code` and `s2:mgrs_tile` alike."""
    properties = item["properties"]
    tile = str(properties.get("s2:mgrs_tile") or properties.get("grid:code") or "")
    tile = tile.removeprefix("MGRS-").removeprefix("T")
    if tile:
        return tile
    match = _token(_TILE, item)
    return match[1] if match else ""


def relative_orbit(item: Item, platform: str) -> int | None:
    """Return the relative orbit 1..175, or None; computed for S1A and S1B if need be."""
    stated = number(item, "sat:relative_orbit")
    if stated is not None:
        return int(stated)
    match = _token(_ORBIT, item)
    if match:
        return int(match[1])
    absolute = number(item, "sat:absolute_orbit")
    if absolute is not None and platform in _ORBIT_SHIFT:
        return (int(absolute) - _ORBIT_SHIFT[platform]) % 175 + 1
    return None


def baseline(item: Item) -> str:
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
    if value is None or not 0 <= value < 99:
        return ""
    return f"{value:05.2f}"


def raster(asset: dict[str, Any]) -> dict[str, Any]:
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


def says_nodata(asset: dict[str, Any]) -> bool:
    """Tell whether an asset states a nodata value, NaN included."""
    return raster(asset).get("nodata") is not None


def nodata(asset: dict[str, Any]) -> float | None:
    """Return the nodata value an asset states; None for none and for NaN."""
    value = raster(asset).get("nodata")
    if value is None or str(value).lower() == "nan":
        return None
    return float(value)


def cloud(item: Item) -> float | None:
    """Return the cloudy share of the scene, 0..1, or None."""
    stated = number(item, "eo:cloud_cover")
    return None if stated is None else stated / 100


def generated(item: Item, sensor: str) -> str:
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


def snow(item: Item) -> float | None:
    """Return the snowy share of the scene, 0..1, or None."""
    for name in ("s2:snow_ice_percentage", "eo:snow_cover"):
        stated = number(item, name)
        if stated is not None:
            return stated / 100
    return None
