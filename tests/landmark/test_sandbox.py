"""The synthetic Earth: its files, their agreement with each other, and how it is put in place."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Iterator
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

from landmark.errors import InputError
from landmark.grid import SIZE_M, south_shift, utm_cell, utm_epsg, utm_frame
from landmark.manifest import S2_BANDS
from landmark.progress import Silent
from landmark.sandbox import SANDBOX_VERSION, ensure_sandbox, fields, making, optics
from landmark.sandbox.labels import _CORINE
from landmark.sandbox.places import Place, places, scenes_of, window_of
from landmark.sandbox.surfaces import Surface, cover_codes
from landmark.taxonomy import CLASSES

SEED = 0
EVENT_TYPES = {"flood": 9, "fire": 10, "earthquake": 11}


class Counting(Silent):
    """A progress that counts."""

    def __init__(self) -> None:
        self.total = self.done = self.finished = 0

    def start(self, label: str, total: int) -> None:
        self.total += total

    def advance(self, units: int = 1, holes: int = 0) -> None:
        self.done += units

    def finish(self) -> None:
        self.finished += 1


@pytest.fixture(scope="module")
def progress() -> Counting:
    return Counting()


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory, progress: Counting) -> Path:
    folder = tmp_path_factory.mktemp("made") / "sandbox"
    return ensure_sandbox(folder, "small", SEED, progress).parent


@pytest.fixture(scope="module")
def items(sandbox: Path) -> dict[str, pystac.Item]:
    catalog = pystac.Catalog.from_file(str(sandbox / "catalog.json"))
    return {item.id: item for item in catalog.get_items(recursive=True)}


def read(item: pystac.Item, key: str) -> np.ndarray:
    with rasterio.open(item.assets[key].get_absolute_href()) as file:
        return file.read(1)


def raster(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read(1)


def optical(items: dict[str, pystac.Item], tile: str = "") -> list[pystac.Item]:
    chosen = [i for i in items.values() if i.properties.get("s2:mgrs_tile", "-").endswith(tile)]
    return [i for i in chosen if i.collection_id == "sentinel-2-l2a"]


def radar(items: dict[str, pystac.Item]) -> list[pystac.Item]:
    return [i for i in items.values() if i.collection_id == "sentinel-1-rtc"]


def test_catalog_is_valid_stac_and_says_that_it_is_synthetic(
    sandbox: Path, items: dict[str, pystac.Item]
) -> None:
    catalog = pystac.Catalog.from_file(str(sandbox / "catalog.json"))
    collections = list(catalog.get_all_collections())
    assert {c.id for c in collections} == {"sentinel-2-l2a", "sentinel-1-rtc"}
    for stac_object in (catalog, *collections):
        stac_object.validate()
        assert "synthetic" in f"{stac_object.title} {stac_object.description}".lower()
    for collection in collections:
        assert collection.license == "CC0-1.0"
        assert "synthetic" in (collection.providers or [])[0].name
    for item in items.values():
        assert item.id.endswith("_SYNTHETIC")
        core = item.clone()
        # The core schema comes with pystac; those of the extensions would need the network.
        core.stac_extensions = []
        core.validate()
        for link in item.to_dict(include_self_link=False)["links"]:
            assert not link["href"].startswith(("/", "http"))
    assert "SYNTHETIC" in (sandbox / "README.md").read_text()


def test_items_carry_what_the_plan_needs(items: dict[str, pystac.Item]) -> None:
    assert len(optical(items)) == 5
    assert len(radar(items)) == 5
    for item in optical(items):
        assert set(item.assets) == {*S2_BANDS, "SCL"}
        assert item.properties["platform"] in ("sentinel-2a", "sentinel-2b")
        assert item.properties["grid:code"] == "MGRS-" + item.properties["s2:mgrs_tile"]
        assert item.properties["s2:generation_time"] > item.properties["datetime"]
        assert item.properties["sat:orbit_state"] == "descending"
    baselines = {item.properties["s2:processing_baseline"] for item in optical(items)}
    assert baselines == {"03.01", "04.00", "05.09", "05.10"}
    polarisations = [tuple(i.properties["sar:polarizations"]) for i in radar(items)]
    assert sorted(polarisations) == [("VV",)] + 4 * [("VV", "VH")]
    for item in radar(items):
        assert set(item.assets) == {p.lower() for p in item.properties["sar:polarizations"]}
        assert item.properties["s1:unit"] == "linear"
        assert item.properties["platform"] in ("sentinel-1a", "sentinel-1b")
        assert 1 <= item.properties["sat:relative_orbit"] <= 175


def test_every_optical_scene_has_a_radar_partner_within_three_days(
    items: dict[str, pystac.Item],
) -> None:
    dual = [i for i in radar(items) if "vh" in i.assets]
    for item in optical(items):
        gaps = [
            abs((item.datetime - other.datetime).total_seconds())
            for other in dual
            if other.properties["proj:code"] == item.properties["proj:code"]
        ]
        assert min(gaps) <= 72 * 3600


def test_headers_agree_with_the_items(items: dict[str, pystac.Item]) -> None:
    for item in items.values():
        for key, asset in item.assets.items():
            with rasterio.open(asset.get_absolute_href()) as file:
                assert file.crs.to_epsg() == int(item.properties["proj:code"].split(":")[1])
                assert list(file.transform)[:6] == asset.extra_fields["proj:transform"]
                assert list(file.shape) == asset.extra_fields["proj:shape"]
                assert file.nodata == asset.extra_fields["nodata"]
                assert file.dtypes == (asset.extra_fields["data_type"],)
                assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
                assert file.block_shapes == [(512, 512)]
                assert asset.extra_fields["gsd"] == file.res[0]
                if key in S2_BANDS:
                    assert file.res[0] == optics.RESOLUTION[key]


@pytest.mark.parametrize("size", ["small", "demo"])
def test_pixels_of_all_resolutions_lie_on_patch_frames(size: str) -> None:
    chosen = places(size)
    assert [p.epsg > 32700 for p in chosen] == [False, True]
    for place in chosen:
        west, south, east, north = place.bounds
        column, row = utm_cell(place.epsg, west + 1, north - 1)
        assert (utm_frame(place.epsg, column, row).x_min) == west
        assert utm_frame(place.epsg, column, row).y_max == north
        assert (east - west) % SIZE_M == 0
        # Sentinel-2 tiles are laid from N = 0 in the north and from N = 10 000 000 in the south.
        origin = 0.0 if place.epsg < 32700 else 10_000_000.0
        assert (north - origin) % 60 == 0
        assert west % 60 == 0
        cells = place.size // 120
        blocks = {((column + i) // 10, (row - j) // 10) for i in range(cells) for j in range(cells)}
        assert len(blocks) == {"small": 4, "demo": 9}[size]
        if size == "demo":
            assert column % 10 == 0
            assert (south - south_shift(place.epsg)) % 12_000 == 0
        to_lonlat = Transformer.from_crs(place.epsg, "OGC:CRS84", always_xy=True)
        for corner in ((west, south), (east, north), (west, north), (east, south)):
            assert utm_epsg(*to_lonlat.transform(*corner)) == place.epsg


def test_scenes_tile_a_place_and_share_no_pass() -> None:
    for place in places("demo"):
        scenes = scenes_of(place)
        assert len(scenes) == 9
        covered = np.zeros((place.size // 120, place.size // 120), int)
        for scene in scenes:
            rows, columns = window_of(scene, place)
            covered[
                rows.start // 120 : rows.stop // 120, columns.start // 120 : columns.stop // 120
            ] += 1
            assert scene.region == place.name
            # Each is one block of 12 km.
            column, row = utm_cell(scene.epsg, scene.x_min + 1, scene.y_max - 1)
            assert (column % 10, row % 10, scene.size) == (0, 9, 1200)
        assert (covered == 1).all()
        for cycle, orbits, many in (
            (10, 143, [p for s in scenes for p in s.optical]),
            (12, 175, [p for s in scenes for p in s.radar]),
        ):
            passes = {(p.platform, p.relative_orbit, p.time[:10]) for p in many}
            twins = len(many) - len({(p.platform, p.time) for p in many})
            assert len(passes) == len(many) - twins
            for one in many:
                for other in many:
                    days = (
                        dt.date.fromisoformat(other.time[:10])
                        - dt.date.fromisoformat(one.time[:10])
                    ).days
                    if one.platform == other.platform and one.time[11:] == other.time[11:]:
                        flown = (one.relative_orbit - 1 + days * orbits / cycle) % orbits + 1
                        apart = abs(flown - other.relative_orbit)
                        assert min(apart, orbits - apart) <= 1
    for place in places("small"):
        assert scenes_of(place) == (place,)


def test_reprocessed_twin_agrees_to_the_digit_once_its_offset_is_removed(
    items: dict[str, pystac.Item],
) -> None:
    twins = [i for i in optical(items, "32TPR") if i.properties["platform"] == "sentinel-2a"]
    old, new = sorted(twins, key=lambda i: i.properties["s2:generation_time"])
    assert old.properties["s2:processing_baseline"] == "03.01"
    assert new.properties["s2:processing_baseline"] == "05.10"
    for key in ("datetime", "platform", "s2:mgrs_tile", "eo:cloud_cover"):
        assert old.properties[key] == new.properties[key]
    clipped = 0
    for band in S2_BANDS:
        before, after = read(old, band).astype(int), read(new, band).astype(int)
        assert (before >= 1).all()
        np.testing.assert_array_equal(np.maximum(after - 1000, 1), before)
        assert old.assets[band].extra_fields["raster:offset"] == 0
        assert new.assets[band].extra_fields["raster:offset"] == -0.1
        clipped += int((after < 1000).sum())
    # Valid dark water below zero reflectance: what a careless reader turns into nodata.
    assert clipped > 0
    np.testing.assert_array_equal(read(old, "SCL"), read(new, "SCL"))


def test_offset_is_in_the_pixels_from_baseline_04_on(items: dict[str, pystac.Item]) -> None:
    for item in optical(items):
        darkest = min(
            int(np.percentile(values[values > 0], 0.5))
            for values in (read(item, band) for band in ("B8A", "B12"))
        )
        has_offset = float(item.properties["s2:processing_baseline"]) >= 4
        assert (darkest > 900) == has_offset


def test_nodata_and_clouds_agree_with_the_scene_classes(items: dict[str, pystac.Item]) -> None:
    cut = []
    for item in optical(items):
        scl = read(item, "SCL")
        assert scl.max() <= 11
        np.testing.assert_array_equal(scl == 0, read(item, "B05") == 0)
        fine = read(item, "B02") == 0
        whole = fine.reshape(len(scl), 2, len(scl), 2).any(axis=(1, 3))
        np.testing.assert_array_equal(scl == 0, whole)
        coarse = read(item, "B09") == 0
        whole = fine.reshape(len(coarse), 6, len(coarse), 6).any(axis=(1, 3))
        np.testing.assert_array_equal(coarse, whole)
        seen = scl > 0
        cloud = 100 * np.isin(scl, (8, 9, 10)).sum() / seen.sum()
        assert item.properties["eo:cloud_cover"] == pytest.approx(cloud, abs=1e-5)
        assert 5 <= cloud <= 25
        assert {3, 4, 6, 8, 9, 10} <= set(np.unique(scl))
        blue = read(item, "B02")[::2, ::2].astype(int)
        assert np.median(blue[scl == 9]) > 2 * np.median(blue[scl == 4])
        cut.append((~seen).any())
    assert sum(cut) == 1


def test_means_over_coarse_pixels_equal_a_plain_mean() -> None:
    values = fields.white(1, "values", (60, 36))
    for step in (1, 2, 6):
        plain = values.reshape(60 // step, step, 36 // step, step).mean(axis=(1, 3))
        np.testing.assert_allclose(optics._mean(values, step), plain, atol=1e-6)


def test_coarse_bands_show_the_same_ground(items: dict[str, pystac.Item]) -> None:
    for item in optical(items):
        near = read(item, "B08").astype(float)
        for band, step in (("B8A", 2), ("B09", 6)):
            other = read(item, band)
            mean = near.reshape(len(other), step, len(other), step).mean(axis=(1, 3))
            seen = (other > 0)[:-1, :-1]
            agreement = {
                shift: np.corrcoef(
                    np.roll(mean, shift, (0, 1))[:-1, :-1][seen], other[:-1, :-1][seen]
                )
                for shift in ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0))
            }
            best = max(agreement, key=lambda shift: agreement[shift][0, 1])
            assert best == (0, 0)
            assert agreement[best][0, 1] > 0.95


def place_radar(item: pystac.Item, key: str) -> np.ndarray:
    """The part of a radar raster that lies over its place."""
    return read(item, key)[7:, 13:]


def truth_of(sandbox: Path, item: pystac.Item) -> np.ndarray:
    epsg = item.properties["proj:code"].split(":")[1]
    phase = "after" if item.datetime.month >= 11 else "before"
    return raster(sandbox / "truth" / f"landcover_{epsg}_{phase}.tif")


def decibels(power: np.ndarray) -> float:
    return float(10 * np.log10(power.astype(float).mean()))


def test_radar_is_linear_power_with_a_margin_of_nodata(items: dict[str, pystac.Item]) -> None:
    for item in radar(items):
        for key in item.assets:
            image = read(item, key)
            assert (image[:7] == -32768).all()
            assert (image[:, :13] == -32768).all()
            inside = image[7:, 13:]
            assert inside.min() > 0
            assert 1e-4 < np.median(inside) < 1


def test_classes_differ_in_backscatter(sandbox: Path, items: dict[str, pystac.Item]) -> None:
    for item in radar(items):
        if "vh" not in item.assets:
            continue
        truth = truth_of(sandbox, item)
        vv, vh = place_radar(item, "vv"), place_radar(item, "vh")
        level = {
            name: (decibels(vv[truth == code]), decibels(vh[truth == code]))
            for code, name in enumerate(CLASSES)
            if (truth == code).sum() > 500
        }
        assert level["Water"][0] < -18 < level["Bare"][0] < level["Trees"][0] < level["Built"][0]
        assert level["Water"][1] < level["Bare"][1] < level["Crops"][1] < level["Trees"][1]
        assert level["Flooded Vegetation"][0] > level["Trees"][0]
        # Multiplicative speckle: on even water the deviation follows the mean.
        water = vv[truth == 0].astype(float)
        assert 0.4 < water.std() / water.mean() < 0.75


@pytest.mark.parametrize(
    ("was", "became", "polarisation", "change"),
    [
        ("Grass", "Flooded Area", "vv", -4.0),
        ("Trees", "Flooded Area", "vv", 2.5),
        ("Trees", "Burned Area", "vh", -2.5),
        ("Built", "Earthquake Damage", "vv", -1.0),
    ],
)
def test_crises_change_backscatter(
    sandbox: Path,
    items: dict[str, pystac.Item],
    was: str,
    became: str,
    polarisation: str,
    change: float,
) -> None:
    changes = []
    for epsg in (32632, 32736):
        before, after = (
            raster(sandbox / "truth" / f"landcover_{epsg}_{phase}.tif")
            for phase in ("before", "after")
        )
        where = (before == CLASSES.index(was)) & (after == CLASSES.index(became))
        if where.sum() < 300:
            continue
        dual = [i for i in radar(items) if "vh" in i.assets]
        first, last = sorted(
            (i for i in dual if i.properties["proj:code"] == f"EPSG:{epsg}"),
            key=lambda i: i.datetime,
        )
        levels = [decibels(place_radar(item, polarisation)[where]) for item in (first, last)]
        changes.append(levels[1] - levels[0])
    assert changes
    assert all(c < change if change < 0 else c > change for c in changes)


def test_fires_and_floods_change_reflectance(sandbox: Path, items: dict[str, pystac.Item]) -> None:
    seen = set()
    for tile, epsg in (("32TPR", 32632), ("36KXC", 32736)):
        first, *_, last = sorted(optical(items, tile), key=lambda i: i.datetime)
        before, after = (
            raster(sandbox / "truth" / f"landcover_{epsg}_{phase}.tif")[::2, ::2]
            for phase in ("before", "after")
        )
        clear = ~np.isin(read(first, "SCL"), (0, 3, 8, 9, 10))
        clear &= ~np.isin(read(last, "SCL"), (0, 3, 8, 9, 10)) & (before == 1)
        for code in (CLASSES.index("Flooded Area"), CLASSES.index("Burned Area")):
            where = clear & (after == code)
            if where.sum() < 100:
                continue
            nir, swir = (
                [
                    np.median(read(item, band)[where])
                    - (1000 if float(item.properties["s2:processing_baseline"]) >= 4 else 0)
                    for item in (first, last)
                ]
                for band in ("B8A", "B12")
            )
            assert nir[1] < 0.7 * nir[0]
            # Burnt ground is brighter than before in the short-wave infrared, water is darker.
            assert (swir[1] > swir[0]) == (CLASSES[code] == "Burned Area")
            seen.add(CLASSES[code])
    assert seen == {"Flooded Area", "Burned Area"}


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


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_equal_seeds_give_equal_bytes_whatever_the_threads(
    sandbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "_threads", lambda: 1 if len(os.sched_getaffinity(0)) > 1 else 3)
    ensure_sandbox(tmp_path / "elsewhere", "small", SEED)
    first, second = tree(sandbox), tree(tmp_path / "elsewhere")
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_streams_differ_by_seed_and_name() -> None:
    draws = {
        tuple(fields.stream(seed, name).integers(1 << 30, size=4))
        for seed in (0, 1)
        for name in ("a", "b")
    }
    assert len(draws) == 4


class Maker:
    """Stands in for the real maker: writes a small file, counts, and fails when told to."""

    def __init__(self) -> None:
        self.made: list[tuple[str, int]] = []
        self.error: BaseException | None = None

    def __call__(self, folder: Path, size: str, seed: int, progress: Silent) -> None:
        assert not any(folder.iterdir())
        (folder / "sub").mkdir()
        (folder / "sub" / "file.txt").write_text(f"{size} {seed}")
        if self.error is not None:
            raise self.error
        (folder / "catalog.json").write_text("{}")
        self.made.append((size, seed))


@pytest.fixture
def maker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Maker]:
    stand_in = Maker()
    monkeypatch.setattr(making, "make_sandbox", stand_in)
    return stand_in


def test_a_sandbox_is_made_once_and_remade_when_asked_for_another(
    tmp_path: Path, maker: Maker
) -> None:
    folder = tmp_path / "deep" / "sandbox"
    assert ensure_sandbox(folder, "small", 1) == folder / "catalog.json"
    ensure_sandbox(folder, "small", 1)
    assert maker.made == [("small", 1)]
    ensure_sandbox(folder, "small", 2)
    assert (folder / "sub" / "file.txt").read_text() == "small 2"
    ensure_sandbox(folder, "demo", 2)
    marker = json.loads((folder / "sandbox.json").read_text())
    assert marker == {"sandbox": SANDBOX_VERSION, "size": "demo", "seed": 2}
    assert [p.name for p in folder.parent.iterdir()] == ["sandbox"]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_an_interrupted_run_leaves_nothing_and_harms_nothing(
    tmp_path: Path, maker: Maker, error: BaseException
) -> None:
    maker.error = error
    with pytest.raises(type(error)):
        ensure_sandbox(tmp_path / "sandbox", "small", 1)
    assert list(tmp_path.iterdir()) == []
    maker.error = None
    ensure_sandbox(tmp_path / "sandbox", "small", 1)
    maker.error = error
    with pytest.raises(type(error)):
        ensure_sandbox(tmp_path / "sandbox", "small", 2)
    assert (tmp_path / "sandbox" / "sub" / "file.txt").read_text() == "small 1"
    assert [p.name for p in tmp_path.iterdir()] == ["sandbox"]


def test_a_killed_run_is_swept_up_and_a_living_one_is_not(tmp_path: Path, maker: Maker) -> None:
    code = (
        "import os, sys; from pathlib import Path; from landmark.sandbox import making, "
        "ensure_sandbox\n"
        "def die(folder, *rest):\n"
        "    (folder / 'half').write_text('x'); os.kill(os.getpid(), 9)\n"
        "making.make_sandbox = die\n"
        "ensure_sandbox(Path(sys.argv[1]), 'small', 1)"
    )
    dead = subprocess.run([sys.executable, "-c", code, str(tmp_path / "sandbox")], check=False)
    assert dead.returncode == -9
    (left,) = tmp_path.iterdir()
    assert (left / "half").exists()
    living = left.with_name(left.name.rsplit("~", 2)[0] + f"~{os.getppid()}~0.tmp")
    living.mkdir()
    ensure_sandbox(tmp_path / "sandbox", "small", 1)
    assert {p.name for p in tmp_path.iterdir()} == {"sandbox", living.name}


def test_two_runs_at_once_give_one_sandbox(tmp_path: Path, maker: Maker) -> None:
    folder = tmp_path / "sandbox"

    class Racing(Maker):
        def __call__(self, temporary: Path, size: str, seed: int, progress: Silent) -> None:
            if not self.made:
                self.made.append((size, seed))
                ensure_sandbox(folder, "small", 1)
            maker(temporary, size, seed, progress)

    racing = Racing()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "make_sandbox", racing)
        ensure_sandbox(folder, "small", 1)
    assert len(maker.made) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["sandbox"]
    assert (folder / "sandbox.json").exists()


def test_foreign_folders_and_unknown_sizes_are_refused(tmp_path: Path, maker: Maker) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    ensure_sandbox(mine, "small", 1)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="not a sandbox"):
        ensure_sandbox(other, "small", 1)
    assert (other / "thesis.txt").read_text() == "precious"
    with pytest.raises(InputError, match="not a sandbox"):
        ensure_sandbox(other / "thesis.txt", "small", 1)
    with pytest.raises(InputError, match="'tiny' is unknown"):
        ensure_sandbox(tmp_path / "new", "tiny", 1)  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()


def test_progress_is_told_of_every_raster(sandbox: Path, progress: Counting) -> None:
    rasters = len(list(sandbox.rglob("*.tif")))
    assert (progress.total, progress.done, progress.finished) == (rasters, rasters, 1)


def test_importing_the_sandbox_is_light() -> None:
    code = (
        "import sys, landmark.sandbox\n"
        "print({'torch', 'geopandas', 'rasterio', 'pystac'} & set(sys.modules))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "set()"
