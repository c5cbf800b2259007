"""Scenes from items: what all providers share. Keys, units and offset rules are the provider's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import shapely

from landmark.errors import InputError
from landmark.manifest import S1_BANDS, S2_BANDS, Sentinel1, Sentinel2
from landmark.providers import GRD_REASON, ItemContext, fields
from landmark.scenes import UNKNOWN_OFFSET, BandAsset, Quantity, Scene, Unit
from landmark.stac_items import Item, acquired, footprint

#: First processing baseline whose pixels hold +1000 (ESA, 25 January 2022).
OFFSET_BASELINE = 4.0
OFFSET_DN = -1000
POLARISATIONS = ("VV", "VH", "HH", "HV")
#: Band names as asset keys, upper or lower case: Planetary Computer's and most static catalogs'.
BY_NAME: Mapping[str, tuple[str, ...]] = {
    band: (band, band.lower()) for band in (*S2_BANDS, "SCL", *POLARISATIONS)
}
#: Items and collections that give no more than these state no licence.
_NO_LICENCE = frozenset({"", "proprietary", "various", "other"})


@dataclass(frozen=True)
class Offset:
    """What metadata say of the offset in the pixels.

    Attributes:
        dn: Number to add to valid DN: -1000 or 0.
        source: Where that is stated: `baseline`, `item`, `flag`, `manifest`; `unknown` where the
            metadata do not settle it and the pixels have to.
    """

    dn: int
    source: str


OffsetRule = Callable[[Item, dict[str, Any], str], Offset]


def by_baseline(item: Item, asset: dict[str, Any], baseline: str) -> Offset:
    """Return -1000 from baseline 04.00 on, 0 before, unknown without one."""
    if not baseline:
        return Offset(0, UNKNOWN_OFFSET)
    return Offset(OFFSET_DN if float(baseline) >= OFFSET_BASELINE else 0, "baseline")


def by_metadata(item: Item, asset: dict[str, Any], baseline: str) -> Offset:
    """Return the item's `s2:boa_add_offset`, else the asset's `raster:offset` in DN; or unknown."""
    stated = fields.number(item, "s2:boa_add_offset")
    if stated is not None:
        return Offset(round(stated), "item")
    raster = fields.raster(asset)
    if raster.get("offset") is None:
        return Offset(0, UNKNOWN_OFFSET)
    try:  # offset and scale are in reflectance: -0.1 with 0.0001 is -1000 DN
        dn = round(float(raster["offset"]) / float(raster.get("scale") or 1e-4))
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            f"item {item['id']}: raster offset {raster['offset']!r} with scale "
            f"{raster.get('scale')!r} are no numbers"
        ) from None
    return Offset(dn, "item")


def by_statement(item: Item, asset: dict[str, Any], baseline: str) -> Offset:
    """Return what the item or asset states; where it states nothing, by the baseline."""
    stated = by_metadata(item, asset, baseline)
    return by_baseline(item, asset, baseline) if stated.source == UNKNOWN_OFFSET else stated


def sentinel2(
    item: Item,
    context: ItemContext,
    source: Sentinel2,
    *,
    provider: str,
    keys: Mapping[str, tuple[str, ...]] = BY_NAME,
    offset: OffsetRule = by_baseline,
    licence: str = "",
) -> Scene:
    """Return a Sentinel-2 L2A item as a scene.

    Args:
        item: The item.
        context: What else is known of it.
        source: The manifest's settings; its `assets` and `offset` come before the provider's.
        provider: Name recorded.
        keys: Band -> asset keys, best first; `SCL` names the scene classification.
        offset: The provider's rule.
        licence: Licence where neither item nor collection states one.

    Raises:
        InputError: A wanted band or the time is missing.
    """
    found = {band: _asset_key(item, band, source.assets, keys) for band in (*source.bands, "SCL")}
    for band in source.bands:
        if found[band] is None:
            raise InputError(
                f"item {item['id']}: has no asset for band {band} (assets: {_assets(item)}); "
                "set s2.assets, or leave the band out of s2.bands"
            )
    scl = found["SCL"]
    baseline = fields.baseline(item)
    first = item["assets"][found[source.bands[0]]]
    nodata = fields.nodata(first)
    settled = _offset(item, first, baseline, source, offset)
    return Scene(
        sensor="s2",
        bands=tuple(_band(item, band, str(found[band]), context) for band in source.bands),
        scl=None if scl is None else _band(item, "SCL", scl, context),
        unit="dn",
        unit_source="item",
        quantity="reflectance",
        mgrs=fields.mgrs(item),
        baseline=baseline,
        offset=settled.dn,
        offset_source=settled.source,
        cloud=fields.cloud(item),
        snow=fields.snow(item),
        # Sentinel-2 L2A marks missing pixels with 0 whether the file says so or not.
        nodata=0.0 if nodata is None else nodata,
        epsg=fields.stated_epsg(item, first),
        **_common(item, context, provider, licence),
    )


def sentinel1(
    item: Item,
    context: ItemContext,
    source: Sentinel1,
    *,
    provider: str,
    keys: Mapping[str, tuple[str, ...]] = BY_NAME,
    unit: tuple[Unit, str] | None = None,
    quantity: Quantity | None = None,
    nodata: float | None = None,
    licence: str = "",
) -> Scene:
    """Return a terrain-corrected Sentinel-1 item as a scene.

    Args:
        item: The item.
        context: What else is known of it.
        source: The manifest's settings; they come before the provider's.
        provider: Name recorded.
        keys: Polarisation -> asset keys, best first.
        unit: Unit of the pixels and where it is stated; None: the item has to say.
        quantity: What the values measure; None: as the manifest says.
        nodata: Nodata value where the item states none.
        licence: Licence where neither item nor collection states one.

    Raises:
        InputError: A stated polarisation, the time or the unit is missing, or it is GRD.
    """
    if any(key.startswith("schema-calibration") for key in item["assets"]):
        raise InputError(f"item {item['id']}: {GRD_REASON}")
    found = {name: _asset_key(item, name, source.assets, keys) for name in POLARISATIONS}
    present = [name for name in POLARISATIONS if found[name] is not None]
    stated = [str(name).upper() for name in item["properties"].get("sar:polarizations") or ()]
    for name in S1_BANDS:
        if found[name] is None and (name in stated or not present):
            raise InputError(
                f"item {item['id']}: has no asset for band {name} (assets: {_assets(item)}); "
                "set s1.assets"
            )
    usable = list(S1_BANDS) if set(S1_BANDS) <= set(present) else present
    first = item["assets"][found[usable[0]]]
    if source.unit != "item":
        unit = source.unit, "manifest"
    kind, unit_source = unit or _unit(item, first)
    own = fields.nodata(first)
    fallback = source.nodata if source.nodata is not None else nodata
    return Scene(
        sensor="s1",
        bands=tuple(_band(item, name, str(found[name]), context) for name in usable),
        unit=kind,
        unit_source=unit_source,
        quantity=quantity or source.quantity,
        polarisations=tuple(usable),
        nodata=fallback if own is None and not fields.says_nodata(first) else own,
        epsg=fields.stated_epsg(item, first),
        **_common(item, context, provider, licence),
    )


def _common(item: Item, context: ItemContext, provider: str, licence: str) -> dict[str, Any]:
    properties = item["properties"]
    geometry = footprint(item)
    platform = fields.platform(item, context.sensor)
    orbit = str(properties.get("sat:orbit_state") or "").lower()
    told = properties.get("license") or context.licence or context.source.licence or ""
    if str(told).lower() in _NO_LICENCE:
        told = licence or told
    return {
        "provider": provider,
        "collection": str(item.get("collection") or ""),
        "item": str(item["id"]),
        "platform": platform,
        "time": acquired(item),
        "footprint": None if geometry is None else shapely.to_wkt(geometry, rounding_precision=7),
        "orbit_state": orbit if orbit in ("ascending", "descending") else "",
        "relative_orbit": fields.relative_orbit(item, platform),
        "generated": fields.generated(item, context.sensor),
        "licence": str(told),
    }


def _offset(
    item: Item, asset: dict[str, Any], baseline: str, source: Sentinel2, rule: OffsetRule
) -> Offset:
    """Return the offset by the manifest's rule, which is the provider's unless it says more."""
    if source.offset == "none":
        return Offset(0, "manifest")
    if source.offset == "baseline":
        return by_baseline(item, asset, baseline)
    if source.offset == "provider":
        return rule(item, asset, baseline)
    found = by_metadata(item, asset, baseline)
    if found.source == UNKNOWN_OFFSET:
        raise InputError(
            f"item {item['id']}: states no raster:offset or s2:boa_add_offset, which "
            "s2.offset: metadata needs; use s2.offset: baseline"
        )
    return found


def _asset_key(
    item: Item, band: str, overrides: Mapping[str, str], keys: Mapping[str, tuple[str, ...]]
) -> str | None:
    names = (overrides[band],) if band in overrides else keys.get(band, ())
    return next((name for name in names if "href" in (item["assets"].get(name) or {})), None)


def _assets(item: Item) -> str:
    return ", ".join(sorted(item["assets"])) or "none"


def _band(item: Item, band: str, key: str, context: ItemContext) -> BandAsset:
    return BandAsset(band=band, href=context.stored(item["assets"][key]["href"]))


def _unit(item: Item, asset: dict[str, Any]) -> tuple[Unit, str]:
    stated = item["properties"].get("s1:unit") or fields.raster(asset).get("unit")
    text = str(stated or "").lower()
    if text in ("db", "decibel", "decibels"):
        return "db", "item"
    if text in ("linear", "power", "linear power", "1", "m2/m2"):
        return "linear", "item"
    says = f"states the unit {stated!r}" if stated else "does not state its unit"
    raise InputError(f"item {item['id']}: {says}; set s1.unit to linear or db")
