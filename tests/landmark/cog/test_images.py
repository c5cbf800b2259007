"""Headers that are remembered say what they say when they are taken apart."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landmark.cog import images
from landmark.cog.headers import LayoutError
from landmark.cog.images import read_image

SCALE, TIE_POINTS, NODATA = 33550, 33922, 42113


def write_patch(path: Path, x: float = 5.0, y: float = 7.0, **options: Any) -> bytes:
    profile: dict[str, Any] = {
        "driver": "GTiff", "width": 60, "height": 60, "count": 1, "dtype": "uint16",
        "crs": "EPSG:32633", "transform": Affine(10, 0, x, 0, -10, y),
    } | options  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(np.full((60, 60), 9, profile["dtype"]), 1)
    return path.read_bytes()


def outcome(data: bytes) -> Any:
    """What a header says, or None where it is refused."""
    try:
        image, transform = read_image(lambda start, stop: data[start:stop])
    except LayoutError:
        return None
    fields = [v.tolist() if isinstance(v, np.ndarray) else v for v in vars(image).values()]
    return repr((fields, transform))


def taken_apart(data: bytes) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "_tie_points", lambda head: None)
        return outcome(data)


def entry(data: bytes, tag: int) -> int:
    """Return where the entry of a tag stands in a classic TIFF."""
    (start,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, start)
    places = [start + 2 + 12 * number for number in range(entries)]
    return next(place for place in places if struct.unpack_from("<H", data, place) == (tag,))


@given(x=st.floats(-1e7, 1e7), y=st.floats(-1e7, 1e7))
def test_places_are_each_files_own(x: float, y: float, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("images") / "a.tif"
    data = write_patch(path, x, y)
    assert images._tie_points(data) is not None
    with rasterio.open(path) as gdal:
        assert read_image(lambda start, stop: data[start:stop]).transform == gdal.transform[:6]


@pytest.mark.parametrize(
    "options",
    [{}, {"nodata": 0}, {"nodata": 9}, {"dtype": "float32"}, {"compress": "deflate"},
     {"blockysize": 16}, {"crs": "EPSG:32733"}, {"tiled": True, "blockxsize": 64, "blockysize": 64},
     {"bigtiff": "YES"}],
    ids=str,
)  # fmt: skip
def test_all_else_tells_headers_apart(options: dict[str, Any], tmp_path: Path) -> None:
    outcome(write_patch(tmp_path / "first.tif"))
    data = write_patch(tmp_path / "other.tif", **options)
    assert outcome(data) == taken_apart(data) is not None


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_header_is_judged_alike(data: st.DataObject, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    whole = bytearray(path.read_bytes() if path.exists() else write_patch(path, nodata=0))
    for _ in range(data.draw(st.integers(0, 4))):
        whole[data.draw(st.integers(0, 500))] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.sampled_from([30, 200, 350, 400, 420, len(whole)]))])
    assert outcome(cut) == taken_apart(cut)


def test_tie_points_that_are_something_else_as_well_are_not_left_out(tmp_path: Path) -> None:
    """The pixel size stands in the first three doubles of the tie point."""
    found = set()
    for number in (1.0, 2.0):
        data = bytearray(write_patch(tmp_path / "a.tif"))
        ties, scale = entry(bytes(data), TIE_POINTS), entry(bytes(data), SCALE)
        data[scale + 8 : scale + 12] = data[ties + 8 : ties + 12]
        (at,) = struct.unpack_from("<I", data, ties + 8)
        struct.pack_into("<3d", data, at, 10 * number, 10 * number, 0)
        found.add(outcome(bytes(data)))
        assert outcome(bytes(data)) == taken_apart(bytes(data))
    assert len(found) == 2


@pytest.mark.parametrize("kind", [1, 2, 4, 10, 16, 17, 18])
def test_tie_points_are_doubles(kind: int, tmp_path: Path) -> None:
    data = bytearray(write_patch(tmp_path / "a.tif"))
    struct.pack_into("<H", data, entry(bytes(data), TIE_POINTS) + 2, kind)
    assert outcome(bytes(data)) is taken_apart(bytes(data)) is None


def test_a_second_tie_point_is_one_too_many(tmp_path: Path) -> None:
    """The last entry becomes another of its tag, its value in the directory itself."""
    data = bytearray(write_patch(tmp_path / "a.tif", nodata=0))
    struct.pack_into("<HHII", data, entry(bytes(data), NODATA), TIE_POINTS, 4, 1, 7)
    assert outcome(bytes(data)) is taken_apart(bytes(data)) is None


def test_a_header_is_taken_apart_once(tmp_path: Path) -> None:
    images._remembered.cache_clear()
    for number in range(5):
        assert outcome(write_patch(tmp_path / "a.tif", x=1200.0 * number)) is not None
    assert images._remembered.cache_info().misses == 1
