"""Scenes, items and catalogs made up for tests, and files' answers without files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from landmark import pixels, sampling
from landmark.dataset import Dataset
from landmark.manifest import S2_BANDS, Catalog, Manifest, Sentinel1, Sentinel2
from landmark.scenes import BandAsset, Scene, SourceGrid
from landmark.sources import Roots, open_roots

DARK = {"B02": 40.0, "B08": 60.0}
DARK_SHIFTED = {"B02": 1040.0, "B08": 1060.0}
BRIGHT = {"B02": 2500.0, "B08": 3000.0}


def grid(
    epsg: int = 32632, west: float = 600_000, north: float = 5_000_400, pixels: int = 480
) -> SourceGrid:
    return SourceGrid(epsg, (10.0, 0.0, float(west), 0.0, -10.0, float(north)), pixels, pixels)


def footprint(source: SourceGrid) -> shapely.Polygon:
    """Return the outline of a grid in degrees, edges between its four corners."""
    a, _, c, _, e, f = source.transform
    corners = shapely.box(c, f + e * source.height, c + a * source.width, f)
    lon, lat = sampling.to_degrees(source.epsg, shapely.get_coordinates(corners))
    return shapely.Polygon(np.column_stack([lon, lat]).round(7))


def scene(sensor: str = "s2", source: SourceGrid | None = None, **changes: Any) -> Scene:
    source = source or grid()
    names = S2_BANDS if sensor == "s2" else ("VV", "VH")
    values: dict[str, Any] = {
        "sensor": sensor,
        "provider": "generic",
        "collection": "c",
        "item": "item",
        "platform": "S2A" if sensor == "s2" else "S1A",
        "time": "2023-07-04T10:10:31Z",
        "bands": tuple(BandAsset(name, f"{name}.tif") for name in names),
        "unit": "dn" if sensor == "s2" else "linear",
        "unit_source": "item",
        "quantity": "reflectance" if sensor == "s2" else "gamma0_rtc",
        "polarisations": () if sensor == "s2" else ("VV", "VH"),
        "baseline": "05.09" if sensor == "s2" else "",
        "mgrs": "32TQR" if sensor == "s2" else "",
        "footprint": footprint(source).wkt,
        "grid": source,
    }
    return Scene(**(values | changes))


def item(identifier: str, source: SourceGrid | None = None, **properties: Any) -> dict[str, Any]:
    """Return a Sentinel-2 item of the collection `sentinel-2-l2a` (Sentinel-1 with `s1:unit`)."""
    outline = footprint(source or grid())
    is_s1 = "s1:unit" in properties
    keys = ("vv", "vh") if is_s1 else S2_BANDS
    made = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": identifier,
        "collection": "sentinel-1-rtc" if is_s1 else "sentinel-2-l2a",
        "geometry": shapely.geometry.mapping(outline),
        "bbox": list(outline.bounds),
        "properties": {
            "datetime": "2023-07-04T10:10:31Z",
            "platform": "SENTINEL-1A" if is_s1 else "Sentinel-2A",
            **properties,
        },
        "links": [],
        "assets": {key: {"href": f"./{identifier}/{key}.tif"} for key in keys},
    }
    read: dict[str, Any] = json.loads(json.dumps(made))  # lists where shapely gives tuples
    return read


def write_items(path: Path, items: list[dict[str, Any]]) -> Path:
    """Write items as an ItemCollection, or one a line (`.ndjson`)."""
    if path.suffix == ".ndjson":
        path.write_text("".join(json.dumps(one) + "\n" for one in items))
    else:
        path.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    return path


def touch_assets(folder: Path, items: list[dict[str, Any]]) -> None:
    """Make the files items name exist; their content is never read where `files_say` is used."""
    for one in items:
        for asset in one["assets"].values():
            path = folder / asset["href"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()


def manifest(href: Path | str, **changes: Any) -> Manifest:
    values: dict[str, Any] = {
        "name": "test",
        "catalog": Catalog(kind="local", href=str(href)),
        "s2": Sentinel2(),
    }
    return Manifest(**(values | changes))


def both(href: Path | str, **changes: Any) -> Manifest:
    return manifest(href, **({"s1": Sentinel1(unit="item")} | changes))


def roots(asked: Manifest, folder: Path) -> Roots:
    return open_roots(asked, Dataset(folder / "dataset"))


def files_say(
    monkeypatch: pytest.MonkeyPatch,
    grids: dict[str, SourceGrid],
    low: dict[str, float] | None = None,
) -> None:
    """Let headers be `grids` (by item folder) and dark pixels `low`, without any file read."""
    monkeypatch.setattr(
        pixels, "read_header", lambda path, signer=None: grids[Path(path).parent.name]
    )
    monkeypatch.setattr(
        pixels,
        "low_percentiles",
        lambda scene, resolve, signer=None: BRIGHT if low is None else low,
    )
