"""Label files of the sandbox: CORINE-like and Dynamic-World-like rasters, event polygons, truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.warp import reproject
from shapely.geometry import mapping

from landmark.sandbox import fields
from landmark.sandbox.crises import Crisis
from landmark.sandbox.files import write_cog
from landmark.sandbox.ground import Ground
from landmark.sandbox.places import CELL, Place
from landmark.sandbox.surfaces import Surface, cover_codes

CORINE_EPSG = 3035
#: The code real CORINE rasters hold where nothing is mapped (their nodata tag does not say so).
CORINE_NODATA = 48
DYNAMIC_WORLD_NODATA = 255

#: CORINE grid codes (1..44) per kind of ground; which of them a pixel gets is a matter of noise.
_CORINE: dict[Surface, tuple[int, ...]] = {
    Surface.LAKE: (41,),
    Surface.RIVER: (40,),
    Surface.BROADLEAF: (23, 23, 25),
    Surface.CONIFER: (24, 24, 25),
    Surface.MEADOW: (18, 18, 26),
    Surface.PASTURE: (18, 26, 26),
    Surface.MARSH: (35, 35, 36),
    Surface.WINTER_CROP: (12, 12, 20),
    Surface.SUMMER_CROP: (12, 13, 20),
    Surface.ORCHARD: (15, 16, 21),
    Surface.HEATH: (27, 28),
    Surface.THICKET: (29,),
    Surface.TOWN_CORE: (1,),
    Surface.SUBURB: (2,),
    Surface.INDUSTRY: (3,),
    Surface.SAND: (30,),
    Surface.ROCK: (31, 32),
    Surface.SNOW: (34,),
}


def write_truth(folder: Path, place: Place, surface: NDArray[np.uint8], phase: str) -> None:
    """Write the true classes at a date: taxonomy positions 0..11, uint8, 10 m, no nodata."""
    path = folder / "truth" / f"landcover_{place.epsg}_{phase}.tif"
    write_cog(path, cover_codes()[surface], place.epsg, place.transform())


def write_dynamic_world(folder: Path, ground: Ground) -> None:
    """Write a Dynamic-World-like raster: labels 0..8 at 10 m, uint8, nodata 255.

    Made from the ground before the crises; a few per cent of the pixels carry the label of a
    neighbour, and some holes are masked, as clouds would mask them.
    """
    place, seed = ground.place, ground.seed
    name = f"{place.name}/dynamic-world"
    truth = cover_codes()[ground.surface]
    labels = truth.copy()
    slips = fields.smooth(seed, f"{name}/slips", place.shape, 14.0, 1)
    beside = np.roll(truth, (9, -7), (0, 1))
    labels[slips > 1.7] = beside[slips > 1.7]
    labels[(slips < -2.1) & (truth == 5)] = 2
    labels[(slips < -2.1) & (truth == 2)] = 4
    holes = fields.smooth(seed, f"{name}/holes", place.shape, 130.0, 2)
    labels[holes > 2.35] = DYNAMIC_WORLD_NODATA
    path = folder / "labels" / f"dynamic_world_{place.epsg}.tif"
    write_cog(path, labels, place.epsg, place.transform(), nodata=DYNAMIC_WORLD_NODATA)


def write_corine(folder: Path, ground: Ground) -> None:
    """Write a CORINE-like raster: EPSG:3035, 100 m, grid codes, 48 where not mapped, no tag.

    The raster does not reach the northernmost cells of the place, and a slanting strip in its
    west is not mapped: both happen at the edges of the real one.
    """
    place, seed = ground.place, ground.seed
    transform, shape = _corine_grid(place)
    surface = np.full(shape, 255, np.uint8)
    reproject(
        ground.surface,
        surface,
        src_transform=Affine(*place.transform()),
        src_crs=f"EPSG:{place.epsg}",
        src_nodata=255,
        dst_transform=Affine(*transform),
        dst_crs=f"EPSG:{CORINE_EPSG}",
        dst_nodata=255,
        init_dest_nodata=True,
        resampling=Resampling.mode,
    )
    choice = fields.uniform_of(fields.parcels(seed, f"{place.name}/corine", shape, 9.0, 7.0), 1)
    codes = np.full(shape, CORINE_NODATA, np.uint8)
    for kind, candidates in _CORINE.items():
        here = surface == kind
        picked = np.array(candidates, np.uint8)[(choice * len(candidates)).astype(np.intp)]
        codes[here] = picked[here]
    codes[_unmapped(place, transform, shape)] = CORINE_NODATA
    write_cog(folder / "labels" / "corine.tif", codes, CORINE_EPSG, transform)


def _corine_grid(
    place: Place,
) -> tuple[tuple[float, float, float, float, float, float], tuple[int, int]]:
    """Return transform and shape of the 100 m raster over a place, short of its northern edge."""
    west, south, east, north = place.bounds
    north -= 1.6 * CELL * 10.0
    to_laea = Transformer.from_crs(place.epsg, CORINE_EPSG, always_xy=True)
    left, bottom, right, top = to_laea.transform_bounds(west, south, east, north)
    x_min, y_max = np.floor(left / 100) * 100, np.ceil(top / 100) * 100
    columns, rows = int((right - x_min) // 100 + 1), int((y_max - bottom) // 100 + 1)
    return (100.0, 0.0, float(x_min), 0.0, -100.0, float(y_max)), (rows, columns)


def _unmapped(
    place: Place, transform: tuple[float, ...], shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """Return the pixels in the strip of the west that CORINE leaves out."""
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]] + 0.5
    back = Transformer.from_crs(CORINE_EPSG, place.epsg, always_xy=True)
    x, y = back.transform(transform[2] + 100.0 * columns, transform[5] - 100.0 * rows)
    west, _, east, north = place.bounds
    edge = west + 0.06 * (east - west) + 0.10 * (north - y)
    unmapped: NDArray[np.bool_] = x < edge
    return unmapped


def write_events(folder: Path, crises: list[Crisis]) -> None:
    """Write `events/<type>.geojson` and `events/<type>_analysed.geojson` (OGC:CRS84).

    Every feature has the attributes `id`, `type`, `start` and `end` (ISO days).
    """
    for kind in ("flood", "fire", "earthquake"):
        affected, analysed = [], []
        for crisis in crises:
            if crisis.type == kind:
                affected += [_feature(crisis, mapping(area)) for area in crisis.areas]
                analysed.append(_feature(crisis, mapping(crisis.analysed)))
        _write_geojson(folder / "events" / f"{kind}.geojson", affected)
        _write_geojson(folder / "events" / f"{kind}_analysed.geojson", analysed)


def _feature(crisis: Crisis, geometry: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "Feature",
        "properties": {
            "id": crisis.id,
            "type": crisis.type,
            "start": crisis.start,
            "end": crisis.end,
            "source": "synthetic (landmark sandbox)",
        },
        "geometry": _rounded(geometry),
    }


def _rounded(value: Any) -> Any:
    """Round all coordinates to 6 decimals (0.1 m), so that no float tail reaches the file."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value


def _write_geojson(path: Path, features: list[dict[str, Any]]) -> None:
    content = {
        "type": "FeatureCollection",
        "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}},
        "features": features,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, separators=(",", ":")) + "\n")
