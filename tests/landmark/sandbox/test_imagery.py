"""The catalog and the optical scenes of the synthetic Earth."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pystac
import pystac.validation
import pytest
import rasterio
from pyproj import Transformer

from landmark.grid import SIZE_M, south_shift, utm_cell, utm_epsg, utm_frame
from landmark.manifest import S2_BANDS
from landmark.sandbox import fields, optics
from landmark.sandbox.places import places, scenes_of, window_of
from tests.landmark.sandbox.reading import (
    optical,
    radar,
    read,
)


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
