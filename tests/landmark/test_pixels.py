from __future__ import annotations

import functools
import math
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.warp import Resampling, reproject
from rasterio.warp import transform as project

from landmark.errors import InputError, LandmarkError
from landmark.grid import PIXELS, SIZE_M, Frame, utm_cell, utm_frame
from landmark.pixels import PatchPixels, low_percentiles, read_header, read_patches
from landmark.scenes import BandAsset, Scene
from landmark.schema import S2_RESOLUTION, s1_layout, s2_layout

BANDS = ("B01", "B02", "B05")
LAYOUT = s2_layout(BANDS)
LEFT, TOP = 600_000.0, 5_100_000.0
CELLS = 10  # more than one superblock of 8


def write(path: Path, values: np.ndarray, transform: Affine, epsg: int, **options: Any) -> Path:
    values = np.atleast_3d(values.T).T
    profile = {
        "driver": "GTiff",
        "count": values.shape[0],
        "height": values.shape[1],
        "width": values.shape[2],
        "dtype": values.dtype,
        "crs": CRS.from_epsg(epsg),
        "transform": transform,
        "compress": "deflate",
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
    } | options
    if not profile["tiled"]:
        del profile["blockxsize"]
        if "blockysize" not in options:
            del profile["blockysize"]
    with rasterio.open(path, "w", **profile) as file:
        file.write(values)
    return path


def ground(side: int, seed: int, dark: int = 1) -> np.ndarray:
    """Synthetic DN: noise on a slope, with a nodata corner and nodata specks."""
    rng = np.random.default_rng(seed)
    values = rng.integers(dark, 4000, (side, side), dtype=np.uint16)
    values += np.arange(side, dtype=np.uint16)[:, None] // 4
    values[: side // 12, : side // 9] = 0
    values[rng.random((side, side)) < 0.002] = 0
    return values


def make_scene(
    folder: Path,
    *,
    epsg: int = 32632,
    corner: tuple[float, float] = (LEFT, TOP),
    offset: int = 0,
    resolution: dict[str, int] = S2_RESOLUTION,
    **options: Any,
) -> Scene:
    assets = []
    for seed, band in enumerate((*BANDS, "SCL")):
        size = resolution[band]
        side = CELLS * 1200 // size
        values = ground(side, seed)
        if band == "SCL":
            values = (values % 12).astype(np.uint8)
        transform = Affine(size, 0, corner[0], 0, -size, corner[1])
        write(folder / f"{band}.tif", values, transform, epsg, **options)
        assets.append(BandAsset(band, f"{band}.tif"))
    return Scene(
        sensor="s2",
        provider="test",
        collection="test",
        item="scene",
        platform="S2A",
        time="2023-07-04T10:10:31Z",
        bands=tuple(assets[:-1]),
        scl=assets[-1],
        unit="dn",
        unit_source="item",
        quantity="reflectance",
        offset=offset,
        nodata=0,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scene")


@pytest.fixture(scope="module")
def scene(folder: Path) -> Scene:
    return make_scene(folder)


def cell(column: float, row: float, epsg: int = 32632) -> Frame:
    return Frame(f"c{column}_{row}", epsg, LEFT + column * SIZE_M, TOP - row * SIZE_M)


def read(scene: Scene, frames: list[Frame], folder: Path, layout: Any = LAYOUT) -> list[Any]:
    results = read_patches(scene, frames, lambda href: str(folder / href), layout)
    assert len(results) == len(frames)
    return results


# The oracle: whole files, one pixel rule after the other.


def slow_reflectance(values: np.ndarray, offset: int) -> np.ndarray:
    valid = np.isfinite(values) & (values != 0)
    shifted = np.clip(np.rint(np.round(np.where(valid, values, 0), 6)) + offset, 1, 65535)
    return np.where(valid, shifted, 0).astype(np.uint16)


@functools.lru_cache(maxsize=8)
def whole_file(path: Path, index: int) -> tuple[np.ndarray, Affine]:
    with rasterio.open(path) as source:
        return source.read(index), source.transform


def slow_cut(path: Path, frame: Frame, side: int, fill: float, index: int = 1) -> np.ndarray:
    whole, transform = whole_file(path, index)
    left, top = ~transform @ (frame.x_min, frame.y_max)
    around = np.pad(whole, 2 * side, constant_values=fill)
    row, column = round(top) + 2 * side, round(left) + 2 * side
    return around[row : row + side, column : column + side]


def slow_warp(path: Path, values: np.ndarray, frame: Frame, side: int) -> np.ndarray:
    target = np.full((side, side), np.nan)
    with rasterio.open(path) as source:
        reproject(
            values,
            target,
            src_transform=source.transform,
            src_crs=source.crs,
            src_nodata=math.nan,
            dst_nodata=math.nan,
            dst_transform=Affine(SIZE_M / side, 0, frame.x_min, 0, -SIZE_M / side, frame.y_max),
            dst_crs=CRS.from_epsg(frame.epsg),
            resampling=Resampling.bilinear,
        )
    return target


def check_cut(result: PatchPixels, scene: Scene, frame: Frame, folder: Path) -> None:
    assert isinstance(result, PatchPixels)
    assert result.resampling == "none"
    valid = np.ones((PIXELS, PIXELS), bool)
    for band, plane, (side, _) in zip(BANDS, result.planes, LAYOUT.shapes, strict=True):
        expected = slow_cut(folder / f"{band}.tif", frame, side, 0)
        expected = slow_reflectance(expected.astype(float), scene.offset)
        assert plane.dtype == np.uint16
        assert np.array_equal(plane, expected)
        valid &= np.kron(expected != 0, np.ones((PIXELS // side,) * 2, bool))
    assert np.array_equal(result.scl, slow_cut(folder / "SCL.tif", frame, 60, 0))
    assert result.valid_fraction == valid.mean()


# Cutting


@pytest.mark.parametrize("offset", [0, -1000])
@pytest.mark.parametrize("tiled", [True, False])
def test_every_patch_of_a_dense_scene_equals_a_plain_read(
    tmp_path: Path, tiled: bool, offset: int
) -> None:
    scene = make_scene(tmp_path, offset=offset, tiled=tiled)
    frames = [cell(column, row) for row in range(CELLS) for column in range(CELLS)]
    for frame, result in zip(frames, read(scene, frames, tmp_path), strict=True):
        check_cut(result, scene, frame, tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {"compress": "lzma"},
        {"compress": "lerc"},
        {"endianness": "BIG"},
        {"tiled": False, "blockysize": 7},
    ],
)
def test_layouts_left_to_gdal_give_the_same_pixels(tmp_path: Path, options: dict[str, Any]) -> None:
    scene = make_scene(tmp_path, **options)
    frames = [cell(0, 0), cell(9, 9), cell(7.5, 7.5), cell(-0.5, 3)]
    for frame, result in zip(frames, read(scene, frames, tmp_path), strict=True):
        check_cut(result, scene, frame, tmp_path)


def test_jpeg2000_is_read_through_gdal(tmp_path: Path) -> None:
    scene = make_scene(tmp_path)
    intact = shutil.copytree(tmp_path, tmp_path / "intact")
    for path in tmp_path.glob("*.tif"):
        made = path.with_suffix(".jp2")
        rasterio.shutil.copy(path, made, driver="JP2OpenJPEG", quality="100", reversible="YES")
        made.replace(path)
    frames = [cell(0, 0), cell(9, 9), cell(7.5, 7.5)]
    for frame, result in zip(frames, read(scene, frames, tmp_path), strict=True):
        check_cut(result, scene, frame, intact)


@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_bands_of_one_file_are_read_together(
    scene: Scene, folder: Path, tmp_path: Path, interleave: str
) -> None:
    side = CELLS * PIXELS
    values = np.stack([ground(side, seed) for seed in range(4)])
    transform = Affine(10, 0, LEFT, 0, -10, TOP)
    write(tmp_path / "all.tif", values, transform, 32632, interleave=interleave)
    names = ("B02", "B03", "B08")
    places = (4, 1, 2)
    bands = tuple(
        BandAsset(name, "all.tif", place) for name, place in zip(names, places, strict=True)
    )
    frames = [cell(3, 2), cell(3.5, 2.5)]
    results = read(replace(scene, bands=bands, scl=None), frames, tmp_path, s2_layout(names))
    for frame, result in zip(frames, results, strict=True):
        for plane, place in zip(result.planes, places, strict=True):
            expected = slow_cut(tmp_path / "all.tif", frame, 120, 0, place)
            assert np.array_equal(plane, expected)


@settings(max_examples=20, deadline=None)
@given(
    places=st.lists(
        st.tuples(st.integers(-25, CELLS * 20 + 5), st.integers(-25, CELLS * 20 + 5)),
        min_size=1,
        max_size=6,
    )
)
def test_frames_anywhere_on_the_pixel_grid_equal_a_plain_read(
    scene: Scene, folder: Path, places: list[tuple[int, int]]
) -> None:
    # Steps of 60 m: on the grid of all bands, over the edges, outside, overlapping, repeated.
    frames = [cell(column / 20, row / 20) for column, row in places]
    for frame, result in zip(frames, read(scene, frames, folder), strict=True):
        check_cut(result, scene, frame, folder)


def test_outside_the_raster_is_nodata(scene: Scene, folder: Path) -> None:
    half, away, off_grid = read(scene, [cell(-0.5, 5), cell(50, 50), cell(50.001, 50.001)], folder)
    assert half.valid_fraction < 0.5
    assert not half.planes[1][:, :60].any()
    for result in (away, off_grid):
        assert result.valid_fraction == 0
        assert not any(plane.any() for plane in result.planes)
        assert not result.scl.any()
    assert (away.resampling, off_grid.resampling) == ("none", "bilinear")


def test_all_bands_align_on_the_lattice_of_the_southern_zone(tmp_path: Path) -> None:
    # Corner of a real tiling: 10 000 000 m less whole 100 km.
    corner = (300_000.0, 9_100_000.0)
    scene = make_scene(tmp_path, epsg=32733, corner=corner)
    column, row = utm_cell(32733, corner[0] + 3000, corner[1] - 3000)
    frames = [utm_frame(32733, column + dx, row - dy) for dx in range(3) for dy in range(3)]
    for frame, result in zip(frames, read(scene, frames, tmp_path), strict=True):
        check_cut(result, scene, frame, tmp_path)
        assert result.valid_fraction > 0.5


def test_clipped_share_counts_valid_values_of_all_bands(tmp_path: Path) -> None:
    scene = make_scene(tmp_path, offset=-1000)
    frame = cell(4, 4)
    (result,) = read(scene, [frame], tmp_path)
    raw = [
        slow_cut(tmp_path / f"{band}.tif", frame, side, 0).ravel()
        for band, (side, _) in zip(BANDS, LAYOUT.shapes, strict=True)
    ]
    values = np.concatenate(raw)
    expected = ((values > 0) & (values <= 1000)).sum() / (values > 0).sum()
    assert result.clipped_fraction == pytest.approx(expected)
    assert 0.1 < expected < 0.5


def test_a_band_inside_a_file_of_many_is_read_by_its_index(
    scene: Scene, folder: Path, tmp_path: Path
) -> None:
    side = CELLS * PIXELS
    values = np.stack([ground(side, seed) for seed in range(3)])
    write(tmp_path / "all.tif", values, Affine(10, 0, LEFT, 0, -10, TOP), 32632)
    many = replace(scene, bands=(BandAsset("B02", "all.tif", 2),), scl=None)
    layout = s2_layout(("B02",))
    frame = cell(3, 2)
    (result,) = read(many, [frame], tmp_path, layout)
    assert np.array_equal(result.planes[0], slow_cut(tmp_path / "all.tif", frame, 120, 0, 2))
    assert result.scl is None
    with pytest.raises(InputError, match="holds 3 bands, none of index 4"):
        read(replace(many, bands=(BandAsset("B02", "all.tif", 4),)), [frame], tmp_path, layout)


def test_a_declared_nodata_value_is_masked_before_the_offset(scene: Scene, tmp_path: Path) -> None:
    values = np.full((PIXELS, PIXELS), 3000, np.uint16)
    values[0, 0], values[0, 1], values[0, 2] = 65535, 0, 7
    write(tmp_path / "B02.tif", values, Affine(10, 0, LEFT, 0, -10, TOP), 32632, nodata=65535)
    one = replace(scene, bands=(BandAsset("B02", "B02.tif"),), scl=None, offset=-1000, nodata=7)
    (result,) = read(one, [cell(0, 0)], tmp_path, s2_layout(("B02",)))
    assert result.planes[0][0, :4].tolist() == [0, 0, 0, 2000]
    assert result.valid_fraction == 1 - 3 / 14400


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


# Faults


def test_a_broken_block_costs_only_the_patches_that_need_it(tmp_path: Path) -> None:
    scene = make_scene(tmp_path)
    path = tmp_path / "B02.tif"
    with rasterio.open(path) as source:
        start = int(source.get_tag_item("BLOCK_OFFSET_4_4", "TIFF", bidx=1))
    intact = shutil.copytree(tmp_path, tmp_path / "intact")
    data = bytearray(path.read_bytes())
    data[start : start + 100] = bytes(100)  # the head of a deflate stream
    path.write_bytes(data)
    # Block 4, 4 spans pixels 1024..1279: cells 8, 9; a group of its own.
    frames = [cell(0, 0), cell(9, 9), cell(4, 2)]
    good, bad, other = read(scene, frames, tmp_path)
    assert isinstance(bad, str)
    assert "B02.tif: cannot be read" in bad
    assert "\n" not in bad
    check_cut(good, scene, frames[0], intact)
    check_cut(other, scene, frames[2], intact)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_files_that_are_not_what_the_scene_says_give_one_line(
    scene: Scene, folder: Path, tmp_path: Path
) -> None:
    one = replace(scene, bands=(BandAsset("B02", "B02.tif"),), scl=None)
    layout = s2_layout(("B02",))
    path = tmp_path / "B02.tif"

    def message(kind: type[Exception] = InputError) -> str:
        with pytest.raises(kind) as caught:
            read(one, [cell(0, 0)], tmp_path, layout)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "B02.tif: cannot be opened as an image" in message()
    path.write_text("<Error>BlobNotFound</Error>")
    assert "cannot be opened as an image" in message()
    with pytest.raises(InputError, match="cannot be opened as an image"):
        read_header(str(path))
    write(path, np.zeros((120, 120), np.float32), Affine(10, 0, LEFT, 0, -10, TOP), 32632)
    assert "float32" in message()
    write(path, np.ones((120, 120), np.uint16), Affine.identity(), 32632, crs=None)
    assert "no CRS" in message()
    with pytest.raises(InputError, match="no CRS"):
        read_header(str(path))
    with pytest.raises(LandmarkError, match="no file for B01"):
        read(one, [cell(0, 0)], folder)
    with pytest.raises(LandmarkError, match="unit db does not fit"):
        read(replace(one, unit="db"), [cell(0, 0)], folder, layout)


def test_headers_are_what_the_file_says(scene: Scene, folder: Path) -> None:
    grid = read_header(str(folder / "B01.tif"))
    assert grid.epsg == 32632
    assert grid.transform == (60, 0, LEFT, 0, -60, TOP)
    assert (grid.width, grid.height) == (CELLS * 20, CELLS * 20)


def test_low_percentiles_are_of_valid_pixels(scene: Scene, folder: Path) -> None:
    found = low_percentiles(scene, lambda href: str(folder / href))
    assert list(found) == list(BANDS)
    for band in BANDS:
        with rasterio.open(folder / f"{band}.tif") as source:
            values = source.read(1)
        expected = np.percentile(values[values > 0], 1)
        # B02 is larger than what is read of it: a sample.
        assert found[band] == pytest.approx(expected, rel=0.2 if band == "B02" else 1e-9)


def test_bands_without_valid_pixels_have_no_percentile(scene: Scene, tmp_path: Path) -> None:
    write(tmp_path / "B02.tif", np.zeros((9, 9), np.uint16), Affine(10, 0, 0, 0, -10, 0), 32632)
    one = replace(scene, bands=(BandAsset("B02", "B02.tif"),))
    assert low_percentiles(one, lambda href: str(tmp_path / href)) == {}


def test_threads_read_the_same(scene: Scene, folder: Path) -> None:
    frames = [cell(column, 3) for column in range(CELLS)]
    expected = read(scene, frames, folder)
    with ThreadPoolExecutor(4) as pool:
        for results in pool.map(lambda _: read(scene, frames, folder), range(8)):
            for result, want in zip(results, expected, strict=True):
                for plane, wanted in zip(result.planes, want.planes, strict=True):
                    assert np.array_equal(plane, wanted)
