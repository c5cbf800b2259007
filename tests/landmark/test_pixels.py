"""Cutting patches without resampling, and what broken files cost."""

from __future__ import annotations

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

from landmark.errors import InputError, LandmarkError
from landmark.grid import PIXELS, utm_cell, utm_frame
from landmark.pixels import low_percentiles, read_header
from landmark.scenes import BandAsset, Scene
from landmark.schema import s2_layout
from tests.landmark.made_pixels import (
    BANDS,
    CELLS,
    LAYOUT,
    LEFT,
    TOP,
    cell,
    check_cut,
    ground,
    make_scene,
    read,
    slow_cut,
    write,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scene")


@pytest.fixture(scope="module")
def scene(folder: Path) -> Scene:
    return make_scene(folder)


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

    assert "B02.tif: no such file" in message()
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
