"""Patches off the grid of files whose blocks are read by us."""

from __future__ import annotations

import math
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine

from landmark import warped_windows
from landmark.cog.headers import directory_values
from landmark.errors import InputError
from landmark.pixels import read_header
from landmark.scenes import BandAsset, Scene
from landmark.schema import s2_layout
from tests.landmark.made_pixels import LEFT, TOP, cell, ground, make_scene, read, write

LAYOUT = s2_layout(("B02",))
OFF_GRID = [cell(column + 0.0012, row + 0.0031) for row in range(10) for column in range(10)]
STRIP_OFFSETS = 273


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return replace(make_scene(tmp_path), bands=(BandAsset("B02", "B02.tif"),), scl=None)


def test_few_windows_at_a_time_are_as_all_at_once(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = read(scene, OFF_GRID, tmp_path, LAYOUT)
    sizes = []
    real = warped_windows.read_windows

    def counted(wanted: Any, threads: int) -> Any:
        sizes.append(len(wanted[0].windows.corners))
        return real(wanted, threads)

    monkeypatch.setattr(warped_windows, "read_windows", counted)
    for values, most in ((7 * 130**2, 8), (1, 1)):
        monkeypatch.setattr(warped_windows, "_VALUES", values)
        sizes.clear()
        found = read(scene, OFF_GRID, tmp_path, LAYOUT)
        assert sum(sizes) == len(OFF_GRID)
        assert max(sizes) <= most
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one.planes[0], other.planes[0])
            assert one.resampling == other.resampling == "bilinear"


def test_bands_of_one_file_are_warped_as_those_of_several(tmp_path: Path) -> None:
    bands = ("B02", "B03")
    both = np.stack([ground(480, seed) for seed in (1, 2)])
    place = Affine(10, 0, LEFT, 0, -10, TOP)
    write(tmp_path / "both.tif", both, place, 32632)
    for band, values in zip(bands, both, strict=True):
        write(tmp_path / f"{band}.tif", values, place, 32632)
    scene = make_scene_of(tmp_path / "B02.tif")
    apart = replace(scene, bands=tuple(BandAsset(band, f"{band}.tif") for band in bands))
    together = replace(
        scene, bands=(BandAsset("B02", "both.tif", 1), BandAsset("B03", "both.tif", 2))
    )
    frames = [cell(0.5012, 1.5), cell(50.5012, 0.5), cell(2.25, 3.5031), cell(1, 1)]
    found = [read(one, frames, tmp_path, s2_layout(bands)) for one in (apart, together)]
    for ours, theirs in zip(*found, strict=True):
        for one, other in zip(ours.planes, theirs.planes, strict=True):
            np.testing.assert_array_equal(one, other)
        assert ours[2:] == theirs[2:]
    assert [patch.resampling for patch in found[0]] == ["bilinear"] * 3 + ["none"]
    assert found[0][1].valid_fraction == 0  # beyond the file


@pytest.mark.parametrize("epsg", [32632, 4326])
def test_a_damaged_strip_makes_holes_and_no_pixels(epsg: int, tmp_path: Path) -> None:
    """Of one strip in thirty GDAL hands out what lies in its memory, without an error."""
    path = tmp_path / "B02.tif"
    values = ground(240, 1, dark=100)
    place = Affine(10, 0, LEFT, 0, -10, TOP)
    if epsg == 4326:
        place = Affine(1e-4, 0, 10.29, 0, -1e-4, 46.046)
    write(path, values, place, epsg, tiled=False, blockysize=120)
    data, scene = path.read_bytes(), make_scene_of(path)
    (offsets,) = (one for one in directory_values(data) if one.tag == STRIP_OFFSETS)
    first = int.from_bytes(data[offsets.start : offsets.start + 4], "little")
    frame = cell(0.1012, 0.0031)
    (whole,) = read(scene, [frame], tmp_path, LAYOUT)
    assert whole.resampling == "bilinear"
    assert whole.valid_fraction > 0.9
    drawn = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(data)
        damaged[first + int(drawn.integers(2, 20_000))] ^= 1 << int(drawn.integers(8))
        path.write_bytes(damaged)
        (found,) = read(scene, [frame], tmp_path, LAYOUT)
        assert isinstance(found, str)
        assert "B02.tif: cannot be read" in found


@pytest.mark.parametrize(
    "sizes", [(math.nan, 10), (math.inf, 10), (10, math.inf), (1e-320, 10), (1e308, 1e308), (0, 0)]
)
def test_pixels_without_a_size_give_one_line(sizes: tuple[float, float], tmp_path: Path) -> None:
    path = tmp_path / "B02.tif"
    write(path, ground(240, 1), Affine(10, 0, LEFT, 0, -10, TOP), 32632, tiled=False)
    data = bytearray(path.read_bytes())
    (scale,) = (one for one in directory_values(bytes(data)) if one.tag == 33550)
    struct.pack_into("<2d", data, scale.start, *sizes)
    path.write_bytes(data)
    for look in (
        lambda: read(make_scene_of(path), [cell(0.5, 0.5)], tmp_path, LAYOUT),
        lambda: read_header(str(path)),
    ):
        with pytest.raises(InputError, match=r"B02\.tif: (its pixels have no size|states no CRS)"):
            look()


def make_scene_of(path: Path) -> Scene:
    return Scene(
        sensor="s2", provider="t", collection="t", item="t", platform="S2A",
        time="2023-07-04T10:10:31Z", bands=(BandAsset("B02", path.name),), unit="dn",
        unit_source="item", quantity="reflectance",
    )  # fmt: skip
