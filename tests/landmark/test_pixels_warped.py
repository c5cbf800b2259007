"""Warping patches off the grid, and Sentinel-1 into decibels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import Resampling, reproject
from rasterio.warp import transform as project

from landmark.grid import PIXELS, SIZE_M, Frame
from landmark.pixels import read_header
from landmark.scenes import BandAsset, Scene
from landmark.schema import S2_RESOLUTION, s1_layout, s2_layout
from tests.landmark.made_pixels import (
    BANDS,
    LAYOUT,
    LEFT,
    TOP,
    cell,
    ground,
    make_scene,
    read,
    slow_cut,
    slow_reflectance,
    slow_warp,
    write,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scene")


@pytest.fixture(scope="module")
def scene(folder: Path) -> Scene:
    return make_scene(folder)


# Warping


def neighbour_zone(column: float, row: float) -> Frame:
    """A frame of zone 33 over a place of the scene in zone 32."""
    x, y = project(
        CRS.from_epsg(32632),
        CRS.from_epsg(32633),
        [LEFT + column * SIZE_M],
        [TOP - row * SIZE_M],
    )
    return Frame("other", 32633, round(x[0], -1), round(y[0], -1))


@pytest.mark.parametrize("offset", [0, -1000])
@pytest.mark.parametrize(
    "frame",
    [
        neighbour_zone(4, 4),
        neighbour_zone(0.2, 0.3),  # over the nodata corner and the edge
        neighbour_zone(9.6, 8.9),
        neighbour_zone(-0.5, 9.7),
        cell(3.0012, 5.00031),  # the same CRS, off the grid
    ],
)
def test_frames_off_the_grid_equal_a_warp_of_the_whole_file(
    tmp_path: Path, frame: Frame, offset: int
) -> None:
    scene = make_scene(tmp_path, offset=offset)
    (result,) = read(scene, [frame], tmp_path)
    assert result.resampling == "bilinear"
    for band, plane, (side, _) in zip(BANDS, result.planes, LAYOUT.shapes, strict=True):
        with rasterio.open(tmp_path / f"{band}.tif") as source:
            whole = source.read(1).astype(float)
        whole[whole == 0] = np.nan
        expected = slow_warp(tmp_path / f"{band}.tif", whole, frame, side)
        assert np.array_equal(plane, slow_reflectance(expected, offset))
    with rasterio.open(tmp_path / "SCL.tif") as source:
        nearest = np.zeros((60, 60), np.uint8)
        reproject(
            source.read(1),
            nearest,
            src_transform=source.transform,
            src_crs=source.crs,
            dst_transform=Affine(20, 0, frame.x_min, 0, -20, frame.y_max),
            dst_crs=CRS.from_epsg(frame.epsg),
            resampling=Resampling.nearest,
        )
    assert np.array_equal(result.scl, nearest)


def test_degrees_are_warped(scene: Scene, tmp_path: Path) -> None:
    size = 9e-5
    lon, lat = project(CRS.from_epsg(32632), CRS.from_epsg(4326), [LEFT], [TOP])
    path = write(
        tmp_path / "B02.tif", ground(600, 5), Affine(size, 0, lon[0], 0, -size, lat[0]), 4326
    )
    frame = cell(0.5, 0.5)
    one = replace(scene, bands=(BandAsset("B02", "B02.tif"),), scl=None)
    (result,) = read(one, [frame], tmp_path, s2_layout(("B02",)))
    with rasterio.open(path) as source:
        whole = source.read(1).astype(float)
    whole[whole == 0] = np.nan
    expected = slow_reflectance(slow_warp(path, whole, frame, 120), 0)
    assert np.array_equal(result.planes[0], expected)
    assert result.valid_fraction > 0.9


def test_rotated_files_are_warped(scene: Scene, tmp_path: Path) -> None:
    turned = Affine.translation(LEFT, TOP) @ Affine.rotation(-20) @ Affine.scale(10, -10)
    path = write(tmp_path / "B02.tif", ground(600, 5), turned, 32632)
    assert read_header(str(path)).transform == tuple(turned)[:6]
    frame = cell(1, 1)
    one = replace(scene, bands=(BandAsset("B02", "B02.tif"),), scl=None)
    (result,) = read(one, [frame], tmp_path, s2_layout(("B02",)))
    with rasterio.open(path) as source:
        whole = source.read(1).astype(float)
    whole[whole == 0] = np.nan
    assert np.array_equal(result.planes[0], slow_reflectance(slow_warp(path, whole, frame, 120), 0))


@pytest.mark.parametrize("size", [10, 60])
def test_bands_of_another_pixel_size_come_out_at_native_size(tmp_path: Path, size: int) -> None:
    scene = make_scene(tmp_path, resolution=dict.fromkeys(S2_RESOLUTION, size))
    frame = cell(4, 5)
    (result,) = read(scene, [frame], tmp_path)
    assert result.resampling == "bilinear"
    for band, plane, (side, _) in zip(BANDS, result.planes, LAYOUT.shapes, strict=True):
        path = tmp_path / f"{band}.tif"
        if SIZE_M / side == size:
            assert np.array_equal(plane, slow_cut(path, frame, side, 0))
            continue
        with rasterio.open(path) as source:
            whole = source.read(1).astype(float)
        whole[whole == 0] = np.nan
        assert np.array_equal(plane, slow_reflectance(slow_warp(path, whole, frame, side), 0))


# Sentinel-1


def radar_scene(folder: Path, unit: str, nodata: float | None = -32768.0) -> Scene:
    side = 3 * PIXELS
    rng = np.random.default_rng(0)
    for band in ("VV", "VH"):
        values = rng.gamma(4, 0.02, (side, side)).astype(np.float32)
        values[5, 5:9] = [0, -1, np.nan, np.inf]
        if unit == "db":
            values = 10 * np.log10(np.where(values > 0, values, np.nan), dtype=np.float32)
        if nodata is not None:
            values[:20, :30] = nodata
        write(
            folder / f"{band}.tif", values, Affine(10, 0, LEFT, 0, -10, TOP), 32632, nodata=nodata
        )
    return Scene(
        sensor="s1",
        provider="test",
        collection="test",
        item="radar",
        platform="S1A",
        time="2023-07-04T05:10:31Z",
        bands=(BandAsset("VV", "VV.tif"), BandAsset("VH", "VH.tif")),
        unit=unit,  # type: ignore[arg-type]
        unit_source="item",
        quantity="gamma0_rtc",
    )


def slow_power(path: Path, unit: str) -> np.ndarray:
    with rasterio.open(path) as source:
        stored = source.read(1).astype(float)
        stored[stored == (source.nodata if source.nodata is not None else np.nan)] = np.nan
    power = 10 ** (stored / 10) if unit == "db" else stored
    return np.where(np.isfinite(power) & (power > 0), power, np.nan)


@pytest.mark.parametrize("frame", [cell(0, 0), cell(2.5, 1), neighbour_zone(-0.2, -0.1)])
@pytest.mark.parametrize("unit", ["linear", "db"])
def test_radar_is_decibels_with_nan_for_whatever_is_no_power(
    tmp_path: Path, unit: str, frame: Frame
) -> None:
    scene = radar_scene(tmp_path, unit)
    (result,) = read(scene, [frame], tmp_path, s1_layout())
    assert result.clipped_fraction is None
    nan = np.zeros((PIXELS, PIXELS), bool)
    for band, plane in zip(("VV", "VH"), result.planes, strict=True):
        path = tmp_path / f"{band}.tif"
        power = slow_power(path, unit)
        if frame.epsg == 32632:
            around = np.pad(power, 240, constant_values=np.nan)
            row = 240 + round((TOP - frame.y_max) / 10)
            column = 240 + round((frame.x_min - LEFT) / 10)
            power = around[row : row + 120, column : column + 120]
        else:
            power = slow_warp(path, power, frame, 120)
        expected = (10 * np.log10(power)).astype(np.float32)
        assert plane.dtype == np.float32
        assert np.array_equal(np.isnan(plane), np.isnan(expected))
        assert np.allclose(plane, expected, rtol=1e-6, equal_nan=True)
        nan |= np.isnan(expected)
    assert result.valid_fraction == pytest.approx(1 - nan.mean())
    assert 0.1 < result.valid_fraction < 1


def test_decibels_that_need_no_warp_are_kept_bit_by_bit(tmp_path: Path) -> None:
    scene = radar_scene(tmp_path, "db", nodata=None)
    (result,) = read(scene, [cell(1, 1)], tmp_path, s1_layout())
    assert np.array_equal(result.planes[0], slow_cut(tmp_path / "VV.tif", cell(1, 1), 120, np.nan))


def test_a_frame_that_nothing_leads_to_is_no_patch(scene: Scene, folder: Path) -> None:
    lost, good = read(scene, [cell(1, 1, epsg=99999), cell(1, 1)], folder)
    assert "no way from EPSG:99999 to the file's CRS" in lost
    assert not isinstance(good, str)
