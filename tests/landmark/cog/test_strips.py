"""Images in strips: what writers other than GDAL make of them, and what is left to GDAL."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from landmark.cog.blocks import Windows, empty_planes
from landmark.cog.engine import Wanted, read_windows
from landmark.cog.files import DiskFile
from landmark.cog.headers import LayoutError
from landmark.cog.images import read_image
from landmark.subfiles import subfile_path

SIDE = 60
OFFSETS, ROWS, COUNTS = 273, 278, 279


def write_strips(
    path: Path, pixels: NDArray[np.uint16] | None = None, **options: Any
) -> NDArray[np.uint16]:
    """Write a square image, by default 60 x 60 px, in strips of (by default) 32 and 28 rows."""
    if pixels is None:
        pixels = np.random.default_rng(5).integers(1, 9999, (SIDE, SIDE), np.uint16)
    profile: dict[str, Any] = {
        "driver": "GTiff", "width": len(pixels), "height": len(pixels), "count": 1,
        "dtype": "uint16",
        "crs": "EPSG:32633", "transform": Affine(10, 0, 5, 0, -10, 7), "blockysize": 32,
    } | options  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(pixels, 1)
    return pixels


def set_numbers(path: Path, tag: int, *numbers: int) -> None:
    """Change the numbers of a tag of a classic TIFF, which then are 4 bytes each."""
    data = bytearray(path.read_bytes())
    (start,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, start)
    places = [start + 2 + 12 * entry for entry in range(entries)]
    (place,) = (place for place in places if struct.unpack_from("<H", data, place) == (tag,))
    assert struct.unpack_from("<I", data, place + 4) == (len(numbers),)
    struct.pack_into("<H", data, place + 2, 4)
    if len(numbers) == 1:
        struct.pack_into("<I", data, place + 8, *numbers)
    else:
        struct.pack_into("<I", data, place + 8, len(data))
        data += struct.pack(f"<{len(numbers)}I", *numbers)
    path.write_bytes(data)


def read(path: str, side: int = SIDE) -> tuple[NDArray[Any], dict[int, str], int]:
    """Return the pixels, the failures, and the number of blocks."""
    with DiskFile(path) as file:
        image = read_image(file.head).blocks
        plane = empty_planes(image.grid, [(0, 0)], side, 0, image.dtype)
        (failed,) = read_windows([Wanted(file, image, Windows([(0, 0)], side, {0: plane}))], 1)
        return plane[0], failed, image.offsets.size


def check(path: Path, pixels: NDArray[np.uint16]) -> int:
    """Compare with what was written and with GDAL; return the number of blocks."""
    found, failed, blocks = read(str(path), len(pixels))
    assert failed == {}
    np.testing.assert_array_equal(found, pixels)
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(1), pixels)
    return blocks


def test_neighbouring_uncompressed_strips_are_read_as_one(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    pixels = write_strips(path)
    assert check(path, pixels) == 1


def test_strips_in_another_order_are_read_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    pixels = write_strips(path)
    first, second = pixels[:32].tobytes(), pixels[32:].tobytes()
    end = path.stat().st_size
    with path.open("ab") as file:
        file.write(second + first)
    set_numbers(path, OFFSETS, end + len(second), end)
    set_numbers(path, COUNTS, len(first), len(second))
    assert check(path, pixels) == 2


@pytest.mark.parametrize("compress", ["none", "deflate"])
def test_a_last_strip_that_is_filled_up(compress: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    pixels = write_strips(path, compress=compress)
    padded = np.zeros((64, SIDE), np.uint16)
    padded[:SIDE] = pixels
    pack = zlib.compress if compress == "deflate" else bytes
    strips = [pack(padded[:32].tobytes()), pack(padded[32:].tobytes())]
    end = path.stat().st_size
    with path.open("ab") as file:
        file.write(b"".join(strips))
    set_numbers(path, OFFSETS, end, end + len(strips[0]))
    set_numbers(path, COUNTS, *map(len, strips))
    check(path, pixels)


@pytest.mark.parametrize("rows", [500, 64], ids=["one strip", "last strip as long as the others"])
def test_byte_counts_that_go_beyond_the_file(rows: int, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    pixels = np.random.default_rng(5).integers(1, 9999, (500, 500), np.uint16)
    write_strips(path, pixels, blockysize=rows)
    strips = -(-500 // rows)
    stated = [500_512] if rows == 500 else [rows * 1000] * strips
    set_numbers(path, COUNTS, *stated)
    table = 4 * strips if strips > 1 else 0  # of offsets; pixels come after it
    places = path.stat().st_size + table + 1000 * np.arange(0, 500, rows)
    set_numbers(path, OFFSETS, *places.tolist())
    with path.open("ab") as file:
        file.write(pixels.tobytes())
    check(path, pixels)


@pytest.mark.parametrize(
    "counts", [(0, 28 * 120), (32 * 120, 28 * 120 - 1)], ids=["none stated", "too few"]
)
def test_byte_counts_that_gdal_mends_are_left_to_it(
    counts: tuple[int, int], tmp_path: Path
) -> None:
    path = tmp_path / "a.tif"
    write_strips(path)
    set_numbers(path, COUNTS, *counts)
    with DiskFile(str(path)) as file, pytest.raises(LayoutError, match="strips"):
        read_image(file.head)


@pytest.mark.parametrize("compress", ["deflate", "zstd", "lzw"])
def test_a_strip_of_more_rows_than_the_image_is_left_to_gdal(compress: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    write_strips(path, blockysize=SIDE, compress=compress)
    assert read(str(path))[2] == 1
    set_numbers(path, ROWS, 2**32 - 1)  # all rows: no more than the image has
    assert read(str(path))[2] == 1
    set_numbers(path, ROWS, 64)
    with DiskFile(str(path)) as file, pytest.raises(LayoutError, match="filled up"):
        read_image(file.head)


def test_a_strip_of_many_megabytes_is_left_to_gdal(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=2400, height=1200, count=1, dtype="uint16",
        crs="EPSG:32633", transform=Affine(10, 0, 5, 0, -10, 7), blockysize=1200, sparse_ok=True,
    ):  # fmt: skip
        pass
    with DiskFile(str(path)) as file, pytest.raises(LayoutError, match="bytes"):
        read_image(file.head)


@pytest.mark.parametrize("compress", ["none", "deflate"])
def test_a_file_that_ends_early_or_is_damaged_is_no_patch(compress: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    write_strips(path, compress=compress)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    _, failed, _ = read(str(path))
    assert "shorter than its header says" in failed[0]
    if compress == "deflate":
        path.write_bytes(whole[:-3000] + bytes(100) + whole[-2900:])
        _, failed, _ = read(str(path))
        assert "damaged" in failed[0]


def test_headers_that_differ_in_place_alone_keep_their_places(tmp_path: Path) -> None:
    for number in range(3):
        path = tmp_path / f"{number}.tif"
        write_strips(path, transform=Affine(10, 0, 1200 * number, 0, -10, 7))
        with DiskFile(str(path)) as file:
            assert read_image(file.head).transform == (10, 0, 1200 * number, 0, -10, 7)


def test_a_run_of_bytes_of_a_file_is_a_file(tmp_path: Path) -> None:
    inner, outer = tmp_path / "a.tif", tmp_path / "a.tar"
    pixels = write_strips(inner, compress="deflate")
    data = inner.read_bytes()
    outer.write_bytes(b"x" * 700 + data + b"y" * 700)
    found, failed, _ = read(subfile_path(str(outer), 700, len(data)))
    assert failed == {}
    np.testing.assert_array_equal(found, pixels)
    with DiskFile(subfile_path(str(outer), 700, 100)) as file:
        assert file.head(50, 300) == data[50:100]
    with pytest.raises(OSError, match="cut off"):
        DiskFile(subfile_path(str(outer), 1401, len(data)))
    with pytest.raises(OSError, match="names no part"):
        DiskFile("/vsisubfile/x,y")
