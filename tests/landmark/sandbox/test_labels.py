"""Label rasters and crisis polygons of the synthetic Earth agree with its truth."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import numpy as np
import pystac
import pystac.validation
import pytest
import rasterio
from pyproj import Transformer
from rasterio.features import rasterize
from shapely import transform, union_all
from shapely.geometry import shape as as_geometry
from shapely.geometry.base import BaseGeometry

from landmark.sandbox.labels import _CORINE
from landmark.sandbox.places import Place, places
from landmark.sandbox.surfaces import Surface, cover_codes
from landmark.taxonomy import CLASSES
from tests.landmark.sandbox.reading import (
    EVENT_TYPES,
    optical,
    radar,
    raster,
)


def test_corine_holds_grid_codes_and_covers_part_of_the_north(sandbox: Path) -> None:
    with rasterio.open(sandbox / "labels" / "corine.tif") as file:
        codes, grid = file.read(1), file.transform
        assert file.crs.to_epsg() == 3035
        assert file.res == (100.0, 100.0)
        assert file.nodata is None
        assert file.dtypes == ("uint8",)
    assert set(np.unique(codes)) <= {*range(1, 45), 48}
    assert len(np.unique(codes)) > 15
    assert (codes == 48).any()
    north, south = places("small")
    class_of = {code: cover_codes()[s] for s, many in _CORINE.items() for code in many}
    truth = raster(sandbox / "truth" / "landcover_32632_before.tif")
    picked, mapped = _codes_at(codes, grid, north)
    assert 0.5 < mapped.mean() < 0.9
    guess = np.array([class_of.get(int(code), 255) for code in range(49)])[picked]
    assert (guess == truth[5::10, 5::10])[mapped].mean() > 0.8
    assert not _codes_at(codes, grid, south)[1].any()


def _codes_at(codes: np.ndarray, grid: rasterio.Affine, place: Place) -> tuple:
    """The code at every tenth pixel of a place (48 outside of the raster), and where mapped."""
    steps = np.arange(5, place.size, 10)
    x, y = np.meshgrid(place.x_min + 10.0 * steps + 5, place.y_max - 10.0 * steps - 5)
    x, y = Transformer.from_crs(place.epsg, 3035, always_xy=True).transform(x, y)
    columns = np.floor((x - grid.c) / grid.a).astype(int)
    rows = np.floor((y - grid.f) / grid.e).astype(int)
    inside = (rows >= 0) & (rows < codes.shape[0]) & (columns >= 0) & (columns < codes.shape[1])
    picked = np.full(inside.shape, 48, codes.dtype)
    picked[inside] = codes[rows[inside], columns[inside]]
    return picked, picked != 48


def test_dynamic_world_holds_water_as_zero_and_little_noise(sandbox: Path) -> None:
    for place in places("small"):
        path = sandbox / "labels" / f"dynamic_world_{place.epsg}.tif"
        with rasterio.open(path) as file:
            labels = file.read(1)
            assert file.crs.to_epsg() == place.epsg
            assert file.nodata == 255
        truth = raster(sandbox / "truth" / f"landcover_{place.epsg}_before.tif")
        assert set(np.unique(labels)) <= {*range(9), 255}
        assert (labels == 0).mean() > 0.01
        known = labels != 255
        assert 0.95 < known.mean() < 1
        assert 0.9 < (labels == truth)[known].mean() < 0.995


def read_events(sandbox: Path, name: str) -> list[dict]:
    content = json.loads((sandbox / "events" / f"{name}.geojson").read_text())
    assert content["crs"]["properties"]["name"].endswith("OGC:1.3:CRS84")
    return content["features"]


@pytest.mark.parametrize("kind", EVENT_TYPES)
def test_events_lie_in_analysed_areas_and_last_over_the_acquisitions(
    sandbox: Path, items: dict[str, pystac.Item], kind: str
) -> None:
    affected, analysed = read_events(sandbox, kind), read_events(sandbox, f"{kind}_analysed")
    ids = {f["properties"]["id"] for f in affected}
    assert len(ids) >= 2
    assert ids == {f["properties"]["id"] for f in analysed}
    for feature in affected + analysed:
        properties = feature["properties"]
        assert properties["type"] == kind
        start, end = (dt.date.fromisoformat(properties[k]) for k in ("start", "end"))
        assert start <= end
        west = as_geometry(feature["geometry"]).bounds[0]
        tile = "32TPR" if west < 20 else "36KXC"
        epsg = "EPSG:32632" if west < 20 else "EPSG:32736"
        dates = [i.datetime.date() for i in optical(items, tile)]
        dates += [i.datetime.date() for i in radar(items) if i.properties["proj:code"] == epsg]
        # A flood is seen only while it lasts; scars and ruins are seen long after.
        lasting = {"flood": 0, "fire": 180, "earthquake": 365}[kind]
        end += dt.timedelta(lasting)
        later = [d for d in dates if d.month >= 11]
        assert later
        assert all(start <= d <= end for d in later)
        assert all(d < start for d in dates if d not in later)
    for name in ids:
        parts, seen = (
            [as_geometry(f["geometry"]) for f in many if f["properties"]["id"] == name]
            for many in (affected, analysed)
        )
        assert all(part.is_valid for part in parts)
        assert union_all(seen).contains(union_all(parts))


def move(geometry: BaseGeometry, transformer: Transformer) -> BaseGeometry:
    return transform(geometry, lambda xy: np.column_stack(transformer.transform(*xy.T)))


def test_true_crises_are_exactly_the_polygons(sandbox: Path) -> None:
    for place in places("small"):
        before = raster(sandbox / "truth" / f"landcover_{place.epsg}_before.tif")
        after = raster(sandbox / "truth" / f"landcover_{place.epsg}_after.tif")
        assert before.max() <= 8
        np.testing.assert_array_equal(before[after <= 8], after[after <= 8])
        back = Transformer.from_crs("OGC:CRS84", place.epsg, always_xy=True)
        for kind, code in EVENT_TYPES.items():
            moved = [
                move(as_geometry(f["geometry"]), back)
                for f in read_events(sandbox, kind)
                if f["properties"]["id"].split("-")[2][0] == place.name[0].upper()
            ]
            assert moved
            burnt = rasterize(
                moved, place.shape, transform=rasterio.Affine(*place.transform()), dtype="uint8"
            )
            assert (after == code).any()
            assert not (after == code)[burnt == 0].any()
            if kind == "flood":
                # All land inside becomes flooded area; only water stays what it was.
                assert set(np.unique(after[burnt == 1])) <= {0, code}


def test_all_classes_occur(sandbox: Path) -> None:
    found = [
        set(np.unique(raster(path))) for path in sorted((sandbox / "truth").glob("*_after.tif"))
    ]
    assert found[0] == set(range(12))
    assert found[1] == set(range(12)) - {CLASSES.index("Snow and Ice")}
    assert set(np.unique(cover_codes())) == set(range(12))
    assert len(cover_codes()) == len(Surface)
