"""The block reader against GDAL: headers and pixels of every layout it asserts."""

from __future__ import annotations

import itertools
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.windows import Window

from landmark.cog.blocks import Windows, empty_planes
from landmark.cog.engine import Wanted, read_windows
from landmark.cog.files import DiskFile
from landmark.cog.headers import LayoutError
from landmark.cog.images import read_image
from landmark.cog.layouts import BlockImage

DTYPES = (
    "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64",
)  # fmt: skip
CODECS = ("none", "deflate", "lzw", "zstd")
FILL = 5.0
FUZZ = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SIDE = 60


def write_image(
    path: Path, chance: random.Random, *, tiled: bool = True, sparse: float = 0.15, **options: Any
) -> dict[str, Any]:
    """Write a file of random size and content; some blocks stay unwritten (sparse)."""
    count = options.pop("count", 1)
    dtype = np.dtype(options.pop("dtype"))
    width, height = chance.randint(1, 400), chance.randint(1, 400)
    block_width, block_height = chance.choice([16, 48, 128, 256]), chance.choice([16, 64, 256])
    if not tiled:
        block_width, block_height = width, chance.choice([1, 7, 34, 400])
    rng = np.random.default_rng(chance.getrandbits(32))
    if dtype.kind == "f":
        pixels = rng.normal(size=(count, height, width)).astype(dtype)
        pixels[rng.random(pixels.shape) < 0.01] = np.nan
    else:
        # Half of it over the whole range, so that differences wrap around.
        limits = np.iinfo(dtype)
        pixels = rng.integers(limits.min, limits.max, (count, height, width), dtype, endpoint=True)
        pixels[:, : height // 2] //= 7
    profile = {
        "driver": "GTiff",
        "width": width,
        "height": height,
        "count": count,
        "dtype": dtype,
        "crs": CRS.from_epsg(chance.choice([32601, 32732, 3035])),
        "transform": Affine(10, 0, chance.uniform(-1e6, 1e6), 0, -20, chance.uniform(0, 9e6)),
        "tiled": tiled,
        "blockysize": block_height,
        "sparse_ok": True,
    } | options
    if tiled:
        profile["blockxsize"] = block_width
    with rasterio.open(path, "w", **profile) as file:
        for top in range(0, height, block_height):
            for left in range(0, width, block_width):
                if chance.random() < sparse:
                    continue
                window = Window(
                    left, top, min(block_width, width - left), min(block_height, height - top)
                )
                part = pixels[:, top : top + int(window.height), left : left + int(window.width)]
                file.write(part, window=window)
    return profile


def random_corners(image: BlockImage, chance: random.Random) -> list[tuple[int, int]]:
    """Corners inside, over every edge, outside, and twice the same."""
    found = [
        (
            chance.randint(-SIDE - 5, image.grid.height + 5),
            chance.randint(-70, image.grid.width + 5),
        )
        for _ in range(12)
    ]
    return [*found, (0, 0), found[0]]


def check_equal(path: Path, chance: random.Random) -> None:
    with rasterio.open(path) as gdal, DiskFile(str(path)) as file:
        image, transform = read_image(file.head)
        assert (image.grid.width, image.grid.height) == (gdal.width, gdal.height)
        assert transform == gdal.transform[:6]
        assert image.epsg == gdal.crs.to_epsg()
        assert image.samples == gdal.count
        assert {image.dtype.name} == set(gdal.dtypes)
        same_nodata = image.nodata == gdal.nodata
        assert same_nodata or (math.isnan(image.nodata or 0) and math.isnan(gdal.nodata))
        corners = random_corners(image, chance)
        samples = chance.sample(range(image.samples), chance.randint(1, image.samples))
        planes = {
            sample: empty_planes(image.grid, corners, SIDE, FILL, image.dtype) for sample in samples
        }
        windows = Windows(corners, SIDE, planes)
        (failed,) = read_windows([Wanted(file, image, windows)], chance.choice([1, 3]))
        assert failed == {}
        for sample, plane in planes.items():
            whole = np.pad(gdal.read(sample + 1), 200, constant_values=FILL)
            for (row, column), found in zip(corners, plane, strict=True):
                row, column = max(row, -200), max(column, -200)
                expected = whole[200 + row : 260 + row, 200 + column : 260 + column]
                np.testing.assert_array_equal(found, expected)


def asserted(dtype: str, codec: str) -> list[int]:
    if codec == "none":
        return [1]
    return [1, 3] if dtype.startswith("float") else [1, 2]


MATRIX = [
    (dtype, codec, predictor, count, interleave)
    for dtype, codec in itertools.product(DTYPES, CODECS)
    for predictor in asserted(dtype, codec)
    for count, interleave in ((1, "band"), (3, "band"), (3, "pixel"))
]


@pytest.mark.parametrize("tiled", [True, False], ids=["tiles", "strips"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_layout_reads_as_gdal_reads_it(dtype: str, tiled: bool, tmp_path: Path) -> None:
    for number, case in enumerate(case for case in MATRIX if case[0] == dtype):
        _, codec, predictor, count, interleave = case
        chance = random.Random(repr(case))
        sparse = 0.15 if tiled else chance.choice([0.0, 0.15])
        nodata = chance.choice([None, 0, 7] + ([math.nan] if dtype.startswith("float") else []))
        options = {"compress": codec, "interleave": interleave, "count": count, "nodata": nodata}
        if dtype.endswith("64") and not dtype.startswith("float"):
            options["nodata"] = None  # asserted only without: see `_nodata`
        if predictor != 1:
            options["predictor"] = predictor
        if chance.random() < 0.3:
            options["bigtiff"] = "YES"
        path = tmp_path / f"{number}.tif"
        write_image(path, chance, tiled=tiled, sparse=sparse, dtype=dtype, **options)
        try:
            check_equal(path, chance)
        except (AssertionError, LayoutError) as error:
            raise AssertionError(f"{case} {options}") from error


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32))
def test_random_layouts_read_as_gdal_reads_them(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    dtype, codec, predictor, count, interleave = chance.choice(MATRIX)
    options: dict[str, Any] = {"compress": codec, "interleave": interleave, "count": count}
    if predictor != 1:
        options["predictor"] = predictor
    if chance.random() < 0.5:
        options["bigtiff"] = "YES"
    if not dtype.endswith("int64"):
        options["nodata"] = chance.choice([None, 0, 1, 100])
    path = tmp_path / "image.tif"
    path.unlink(missing_ok=True)
    tiled, sparse = chance.random() < 0.5, chance.choice([0.0, 0.15])
    write_image(path, chance, tiled=tiled, sparse=sparse, dtype=dtype, **options)
    check_equal(path, chance)


@pytest.mark.parametrize("predictor", ["YES", "NO"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_files_of_the_cog_driver(dtype: str, predictor: str, tmp_path: Path) -> None:
    chance = random.Random(dtype + predictor)
    plain = tmp_path / "plain.tif"
    write_image(plain, chance, dtype=dtype, nodata=0)
    path = tmp_path / "cog.tif"
    rasterio.shutil.copy(
        plain, path, driver="COG", compress="deflate", predictor=predictor, blocksize=128,
        sparse_ok=True,
    )  # fmt: skip
    check_equal(path, chance)


REFUSED = {
    "JPEG": {"compress": "jpeg", "dtype": "uint8"},
    "LERC": {"compress": "lerc"},
    "LZMA": {"compress": "lzma"},
    "big endian": {"endianness": "BIG"},
    "twelve bits": {"nbits": 12},
    "float16": {"nbits": 16, "dtype": "float32"},
    "complex": {"dtype": "complex64"},
    "geographic, in grads": {"crs": CRS.from_epsg(4807)},
    "no EPSG code": {"crs": CRS.from_proj4("+proj=laea +lat_0=50 +lon_0=11 +units=m")},
    "feet": {"crs": CRS.from_epsg(2263)},
    "no CRS": {"crs": None},
    "rotated": {"transform": Affine(10, 1, 5, 1, -10, 7)},
    "upside down": {"transform": Affine(10, 0, 5, 0, 10, 7)},
    "nodata beyond the type": {"nodata": None},
    "palette": {"photometric": "palette", "dtype": "uint8"},
    "white is zero": {"photometric": "miniswhite", "dtype": "uint8"},
}


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_asserted_is_left_to_gdal(name: str, tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    options = {"dtype": "uint16", "compress": "deflate"} | REFUSED[name]
    profile: dict[str, Any] = {
        "driver": "GTiff", "width": 64, "height": 64, "count": 1, "tiled": True,
        "blockxsize": 16, "blockysize": 16, "crs": CRS.from_epsg(32632),
        "transform": Affine(10, 0, 5, 0, -10, 7),
    } | options  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(np.ones((1, 64, 64), profile["dtype"]))
    if name == "nodata beyond the type":
        set_nodata_text(path, tmp_path, b"-9999")
        path = tmp_path / "changed.tif"
    with DiskFile(str(path)) as file, pytest.raises(LayoutError):
        read_image(file.head)


def set_nodata_text(path: Path, folder: Path, text: bytes) -> None:
    """Write the file anew with a nodata text that rasterio would not let through."""
    with rasterio.open(path) as source:
        profile = source.profile | {"nodata": 12345}
        pixels = source.read()
    changed = folder / "changed.tif"
    with rasterio.open(changed, "w", **profile) as file:
        file.write(pixels)
    data = changed.read_bytes()
    assert data.count(b"12345\0") == 1
    changed.write_bytes(data.replace(b"12345\0", text.ljust(5, b"\0") + b"\0"))


def test_points_are_left_to_gdal(tmp_path: Path) -> None:
    path = tmp_path / "points.tif"
    write_image(path, random.Random(1), dtype="uint16")
    with rasterio.open(path, "r+") as file:
        file.update_tags(AREA_OR_POINT="Point")
    with DiskFile(str(path)) as file, pytest.raises(LayoutError, match="points"):
        read_image(file.head)


def test_a_header_longer_than_the_first_read(tmp_path: Path) -> None:
    path = tmp_path / "long.tif"
    profile: dict[str, Any] = {
        "driver": "GTiff", "width": 1600, "height": 1600, "count": 2, "dtype": "uint16",
        "tiled": True, "blockxsize": 16, "blockysize": 16, "crs": CRS.from_epsg(32632),
        "transform": Affine(10, 0, 5, 0, -10, 7), "compress": "deflate", "interleave": "band",
    }  # fmt: skip
    rng = np.random.default_rng(1)
    with rasterio.open(path, "w", **profile) as file:
        file.write(rng.integers(0, 9999, (2, 1600, 1600), np.uint16))
    reads = []
    with DiskFile(str(path)) as file:

        def read(start: int, stop: int) -> bytes:
            reads.append(start)
            return file.head(start, stop)

        assert read_image(read).blocks.offsets.size == 20_000
    assert 1 < len(reads) < 8
    check_equal(path, random.Random(2))


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damaged_headers_never_crash(data: st.DataObject, tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    if not path.exists():
        write_image(path, random.Random(3), dtype="uint16", compress="deflate", nodata=0)
    good = bytearray(path.read_bytes()[:4096])
    for _ in range(data.draw(st.integers(1, 8))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(good[: data.draw(st.integers(0, len(good)))])
    try:
        image = read_image(lambda start, stop: cut[start:stop]).blocks
    except LayoutError:
        return
    assert image.offsets.size == image.counts.size
    assert image.block_bytes <= 64 << 20
