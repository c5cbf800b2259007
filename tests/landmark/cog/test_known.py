"""Headers that are known again say what they say when they are taken apart."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landmark.cog import known as module
from landmark.cog.headers import LayoutError
from landmark.cog.images import read_image
from landmark.cog.known import KnownHeaders

STRIP_OFFSETS, STRIP_COUNTS = 273, 279
SCALE, TIE_POINTS, NODATA = 33550, 33922, 42113
STRIPS = {"compress": "deflate", "blockysize": 16}


def write_patch(path: Path, x: float = 5.0, y: float = 7.0, **options: Any) -> bytes:
    profile: dict[str, Any] = {
        "driver": "GTiff", "width": 60, "height": 60, "count": 1, "dtype": "uint16",
        "crs": "EPSG:32633", "transform": Affine(10, 0, x, 0, -10, y),
    } | options  # fmt: skip
    seed = options.pop("seed", None)
    values = np.full((60, 60), 9) if seed is None else np.random.default_rng(seed).random((60, 60))
    profile.pop("seed", None)
    with rasterio.open(path, "w", **profile) as file:
        file.write(values.astype(profile["dtype"]), 1)
    return path.read_bytes()


def outcome(data: bytes, known: KnownHeaders) -> Any:
    """What a file says of its image, or None where it is refused or not all stored."""
    try:
        kind, starts, sizes, transform = known.read(data)
    except LayoutError:
        return None
    if 0 in starts or 0 in sizes:
        return None
    facts = {name: value for name, value in vars(kind).items() if name not in _TABLES}
    return repr((facts, starts, sizes, transform))


_TABLES = ("offsets", "counts", "row_bytes", "block_bytes", "most_bytes")


def taken_apart(data: bytes) -> Any:
    return outcome(data, KnownHeaders())


def knowing(*files: bytes) -> KnownHeaders:
    known = KnownHeaders()
    for data in files:
        known.read(data)
    return known


def count_taken_apart(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    count = 0
    real = module._taken_apart

    def counted(data: bytes) -> Any:
        nonlocal count
        count += 1
        return real(data)

    monkeypatch.setattr(module, "_taken_apart", counted)
    return lambda: count


def entry(data: bytes, tag: int) -> int:
    """Return where the entry of a tag stands in a classic TIFF."""
    (start,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, start)
    places = [start + 2 + 12 * number for number in range(entries)]
    return next(place for place in places if struct.unpack_from("<H", data, place) == (tag,))


@given(x=st.floats(-1e7, 1e7), y=st.floats(-1e7, 1e7))
def test_places_are_each_files_own(x: float, y: float, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("images") / "a.tif"
    known = knowing(write_patch(path))
    data = write_patch(path, x, y)
    with rasterio.open(path) as gdal:
        assert known.read(data).transform == gdal.transform[:6]
    assert read_image(lambda start, stop: data[start:stop]).transform == known.read(data).transform


@pytest.mark.parametrize("strips", [{}, STRIPS, {"compress": "deflate"}], ids=str)
def test_files_that_differ_in_place_and_blocks_are_known_again(
    strips: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [
        write_patch(tmp_path / "a.tif", 1200.0 * seed, seed=seed, dtype="float32", **strips)
        for seed in range(4)
    ]
    known = knowing(files[0])
    expected = [taken_apart(data) for data in files]
    assert len(set(expected)) == 4
    taken = count_taken_apart(monkeypatch)
    assert [outcome(data, known) for data in files] == expected
    assert taken() == 0


@pytest.mark.parametrize(
    "options",
    [{}, {"nodata": 0}, {"nodata": 9}, {"dtype": "float32"}, {"compress": "deflate"},
     {"compress": "lzw"}, {"compress": "deflate", "predictor": 2}, STRIPS,
     {"blockysize": 16}, {"crs": "EPSG:32733"}, {"tiled": True, "blockxsize": 64, "blockysize": 64},
     {"bigtiff": "YES"}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("first", [{}, STRIPS, {"compress": "deflate"}], ids=str)
def test_all_else_tells_headers_apart(
    first: dict[str, Any], options: dict[str, Any], tmp_path: Path
) -> None:
    known = knowing(write_patch(tmp_path / "first.tif", **first))
    data = write_patch(tmp_path / "other.tif", **options)
    for _ in range(2):
        assert outcome(data, known) == taken_apart(data) is not None


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), strips=st.booleans())
def test_a_damaged_header_is_judged_alike(
    data: st.DataObject, strips: bool, tmp_path: Path
) -> None:
    path = tmp_path / f"{strips}.tif"
    options = STRIPS if strips else {}
    if not path.exists():
        write_patch(path, nodata=0, seed=3, dtype="float32", **options)
    whole = path.read_bytes()
    known = knowing(whole)
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(0, 4))):
        damaged[data.draw(st.integers(0, 500))] = data.draw(st.integers(0, 255))
    cut = bytes(damaged[: data.draw(st.sampled_from([30, 200, 350, 400, 420, len(whole)]))])
    assert outcome(cut, known) == taken_apart(cut)


def test_tie_points_that_are_something_else_as_well_do_not_vary(tmp_path: Path) -> None:
    """The pixel size stands in the first three doubles of the tie point."""
    known, found = KnownHeaders(), set()
    for number in (1.0, 2.0):
        data = bytearray(write_patch(tmp_path / "a.tif"))
        ties, scale = entry(bytes(data), TIE_POINTS), entry(bytes(data), SCALE)
        data[scale + 8 : scale + 12] = data[ties + 8 : ties + 12]
        (at,) = struct.unpack_from("<I", data, ties + 8)
        struct.pack_into("<3d", data, at, 10 * number, 10 * number, 0)
        found.add(outcome(bytes(data), known))
        assert outcome(bytes(data), known) == taken_apart(bytes(data))
    assert len(found) == 2


def test_a_file_that_ends_within_the_numbers_that_differ_is_no_image(tmp_path: Path) -> None:
    """The tie point stands at the end of the file."""
    data = bytearray(write_patch(tmp_path / "a.tif"))
    ties = entry(bytes(data), TIE_POINTS)
    (at,) = struct.unpack_from("<I", data, ties + 8)
    struct.pack_into("<I", data, ties + 8, len(data))
    data += data[at : at + 48]
    known = knowing(bytes(data))
    assert outcome(bytes(data), known) == taken_apart(bytes(data)) is not None
    for missing in (1, 8, 48):
        with pytest.raises(LayoutError):
            known.read(bytes(data[:-missing]))


@pytest.mark.parametrize(
    ("tag", "kind"), [(tag, kind) for tag in (273, 279) for kind in (1, 2, 7, 9, 13, 16, 17)]
)
def test_tables_of_other_types_are_judged_alike(tag: int, kind: int, tmp_path: Path) -> None:
    data = bytearray(write_patch(tmp_path / "a.tif", seed=1, dtype="float32", **STRIPS))
    known = knowing(bytes(data))
    struct.pack_into("<H", data, entry(bytes(data), tag) + 2, kind)
    for _ in range(2):
        assert outcome(bytes(data), known) == taken_apart(bytes(data))


@pytest.mark.parametrize("tag", [STRIP_OFFSETS, STRIP_COUNTS])
def test_a_second_table_is_judged_alike(tag: int, tmp_path: Path) -> None:
    data = bytearray(write_patch(tmp_path / "a.tif", nodata=0, seed=1, dtype="float32", **STRIPS))
    known, first = knowing(bytes(data)), entry(bytes(data), tag)
    place = entry(bytes(data), NODATA)
    data[place : place + 12] = data[first : first + 12]
    for _ in range(2):
        assert outcome(bytes(data), known) == taken_apart(bytes(data)) is not None


def test_a_directory_of_fewer_entries_is_another(tmp_path: Path) -> None:
    data = bytearray(write_patch(tmp_path / "a.tif", nodata=0))
    known = knowing(bytes(data))
    (start,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, start)
    struct.pack_into("<H", data, start, entries - 1)  # the last is the nodata value
    assert outcome(bytes(data), known) == taken_apart(bytes(data)) is not None
    assert known.read(bytes(data)).kind.nodata is None


def test_what_is_no_number_is_no_header(tmp_path: Path) -> None:
    data = write_patch(tmp_path / "a.tif", nodata=12345)
    assert data.count(b"12345") == 1
    with pytest.raises(LayoutError, match="not understood"):
        KnownHeaders().read(data.replace(b"12345", b"12x45"))


def test_values_within_values_are_compared_whole(tmp_path: Path) -> None:
    """The text of the nodata value stands within the GeoKeys."""
    data = bytearray(write_patch(tmp_path / "a.tif", nodata=12345))
    keys, text = entry(bytes(data), 34735), entry(bytes(data), NODATA)
    (at,) = struct.unpack_from("<I", data, keys + 8)
    struct.pack_into("<I", data, text + 8, at)
    known = KnownHeaders()
    outcome(bytes(data), known)
    for place in range(at, at + 40):
        changed = bytearray(data)
        changed[place] ^= 1
        assert outcome(bytes(changed), known) == taken_apart(bytes(changed))


def test_large_headers_are_not_remembered(tmp_path: Path) -> None:
    known = KnownHeaders()
    path = tmp_path / "a.tif"
    write_patch(path)
    with rasterio.open(path, "r+") as file:
        file.update_tags(text="x" * 5000)
    assert outcome(path.read_bytes(), known) is not None
    assert known._headers == []


def test_tables_that_stand_in_the_directory_do_not_vary(tmp_path: Path) -> None:
    """The offsets of the strips are said to stand where the entry of their counts does."""
    known, found = KnownHeaders(), set()
    for seed in (1, 2):
        data = bytearray(write_patch(tmp_path / "a.tif", seed=seed, dtype="float32", **STRIPS))
        counts = entry(bytes(data), STRIP_COUNTS)
        struct.pack_into("<I", data, entry(bytes(data), STRIP_OFFSETS) + 8, counts + 4)
        found.add(outcome(bytes(data), known))
        assert outcome(bytes(data), known) == taken_apart(bytes(data))
    assert found != {None}


@pytest.mark.parametrize("kind", [1, 2, 4, 10, 16, 17, 18])
def test_tie_points_are_doubles(kind: int, tmp_path: Path) -> None:
    data = bytearray(write_patch(tmp_path / "a.tif"))
    known = knowing(bytes(data))
    struct.pack_into("<H", data, entry(bytes(data), TIE_POINTS) + 2, kind)
    assert outcome(bytes(data), known) is taken_apart(bytes(data)) is None


def test_a_second_tie_point_is_one_too_many(tmp_path: Path) -> None:
    """The last entry becomes another of its tag, its value in the directory itself."""
    data = bytearray(write_patch(tmp_path / "a.tif", nodata=0))
    known = knowing(bytes(data))
    struct.pack_into("<HHII", data, entry(bytes(data), NODATA), TIE_POINTS, 4, 1, 7)
    assert outcome(bytes(data), known) is taken_apart(bytes(data)) is None


def test_no_more_headers_are_remembered_than_fit(tmp_path: Path) -> None:
    known = KnownHeaders()
    for number in range(40):
        assert outcome(write_patch(tmp_path / "a.tif", nodata=number), known) is not None
    assert len(known._headers) == module._REMEMBERED
