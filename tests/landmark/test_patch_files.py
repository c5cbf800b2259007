"""A patch read at one go is the patch that is cut from its files; what is none is left to them."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray

from landmark import pixels
from landmark.band_files import access_for, open_bands, read_bands
from landmark.bands import Band, Cut, image_band
from landmark.cog.files import read_small
from landmark.cog.headers import directory_values
from landmark.cog.known import KnownHeaders
from landmark.errors import InputError
from landmark.grid import Frame
from landmark.patch_files import read_one_patch as read_known
from landmark.pixels import PatchPixels, read_patches
from landmark.scenes import BandAsset, Scene, Unit
from landmark.schema import s2_layout
from landmark.subfiles import subfile_path
from tests.landmark.made_pixels import LEFT, TOP, write

FRAME = Frame("f", 32632, LEFT, TOP)
DN = np.random.default_rng(1).integers(0, 3000, (120, 120), np.uint16)


def scene_of(sensor: Any, unit: Unit, bands: Sequence[str], **facts: Any) -> Scene:
    return Scene(
        sensor=sensor, provider="t", collection="t", item="t", platform="S2A",
        time="2023-07-04T10:10:31Z", bands=tuple(BandAsset(b, f"{b}.tif") for b in bands),
        unit=unit, unit_source="item", quantity="unknown", **facts,
    )  # fmt: skip


def band_at(path: Path | str, side: int = 120, unit: Unit = "dn", **facts: Any) -> Band:
    scene = scene_of("s2" if unit == "dn" else "s1", unit, ["B02"], **facts)
    return image_band(scene)(scene, scene.bands[0], side, str(path))


def read_one_patch(bands: Sequence[Band], frame: Frame) -> list[Cut] | None:
    """Read them twice, the headers being known then; both times alike."""
    known = KnownHeaders()
    first, second = (read_known(bands, frame, known) for _ in range(2))
    assert (first is None) == (second is None)
    for one, other in zip(first or (), second or (), strict=True):
        np.testing.assert_array_equal(one.plane, other.plane)
        assert one[1:] == other[1:]
    return second


def cut_from_files(bands: Sequence[Band]) -> list[Cut]:
    with contextlib.ExitStack() as stack:
        cuts, causes = read_bands(open_bands(bands, access_for(None), stack), [FRAME])
    assert causes == {}
    return [cut[0] for cut in cuts]


def check_alike(bands: Sequence[Band]) -> None:
    found = read_one_patch(bands, FRAME)
    assert found is not None
    for ours, theirs in zip(found, cut_from_files(bands), strict=True):
        assert ours.plane.dtype == theirs.plane.dtype
        np.testing.assert_array_equal(ours.plane, theirs.plane)
        assert ours[1:] == theirs[1:]


def write_file(path: Path, values: NDArray[Any] = DN, size: float = 10, **options: Any) -> Path:
    if options.get("tiled", True):
        options = {"blockxsize": 128, "blockysize": 128} | options
    place = Affine(size, 0, options.pop("x", LEFT), 0, -size, TOP)
    return write(path, values, place, options.pop("epsg", 32632), **options)


STORED = [
    {"compress": compress, "tiled": rows == 128, "nodata": nodata, "blockysize": rows}
    for compress, rows, nodata in itertools.product(
        ["none", "deflate", "lzw", "zstd"], [128, 120, 34, 1], [None, 0, 7]
    )
]
PREDICTED = [
    {"compress": compress, "tiled": False, "blockysize": rows, "predictor": 2}
    for compress, rows in itertools.product(["deflate", "lzw", "zstd"], [120, 34])
]


@pytest.mark.parametrize("options", STORED + PREDICTED, ids=str)
def test_reflectance_is_what_is_cut(options: dict[str, Any], tmp_path: Path) -> None:
    bands = [
        band_at(write_file(tmp_path / "a.tif", **options), offset=-1000, nodata=3),
        band_at(write_file(tmp_path / "b.tif", DN[:60, :60], 20, **options), 60),
    ]
    check_alike(bands)


@pytest.mark.parametrize("unit", ["db", "linear"])
@pytest.mark.parametrize(
    "holes", [(), (np.nan,), (np.inf,), (-np.inf,), (np.inf, -np.inf, np.nan), (-9999.0,)]
)
def test_backscatter_is_what_is_cut(unit: Unit, holes: Sequence[float], tmp_path: Path) -> None:
    values = np.random.default_rng(2).normal(-12, 3, (120, 120)).astype(np.float32)
    if unit == "linear":
        values = 10 ** (values / 10)
    values.ravel()[: len(holes)] = holes
    for nodata in (None, -9999.0):
        path = write_file(tmp_path / "a.tif", values, tiled=False, compress="none", nodata=nodata)
        check_alike([band_at(path, unit=unit, nodata=-9999.0)])


def test_a_member_of_a_tar_file_is_a_file(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.tif", tiled=False, compress="none")
    data = path.read_bytes()
    packed = tmp_path / "a.tar"
    packed.write_bytes(b"x" * 512 + data + b"y" * 512)
    check_alike([band_at(subfile_path(str(packed), 512, len(data)))])
    assert read_small(subfile_path(str(packed), 512, len(data) + 513)) is None


def test_scene_classes_are_what_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_file(tmp_path / "B02.tif", tiled=False, compress="none")
    classes = (DN[:60, :60] % 12).astype(np.uint8)
    write_file(tmp_path / "SCL.tif", classes, 20, tiled=False, compress="none")
    scene = replace(scene_of("s2", "dn", ["B02"]), scl=BandAsset("SCL", "SCL.tif"))

    def read() -> PatchPixels:
        (made,) = read_patches(
            scene, [FRAME], lambda href: str(tmp_path / href), s2_layout(("B02",))
        )
        assert not isinstance(made, str)
        return made

    cut = 0

    def counted(*given: Any) -> Any:
        nonlocal cut
        cut += 1
        return read_bands(*given)

    monkeypatch.setattr(pixels, "read_bands", counted)
    ours = read()
    assert cut == 0  # no window was looked for
    monkeypatch.setattr(pixels, "read_one_patch", lambda bands, frame, known: None)
    theirs = read()
    assert cut == 1
    assert ours.scl is not None
    assert theirs.scl is not None
    np.testing.assert_array_equal(ours.scl, classes)
    np.testing.assert_array_equal(ours.scl, theirs.scl)
    np.testing.assert_array_equal(ours.planes[0], theirs.planes[0])
    assert ours.valid_fraction == theirs.valid_fraction == np.count_nonzero(DN) / DN.size


@pytest.mark.parametrize(("size", "small"), [(65_535, True), (65_536, True), (65_537, False)])
def test_files_up_to_64_kib_are_small(size: int, small: bool, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(size))
    for name in (str(path), subfile_path(str(path), 0, size)):
        found = read_small(name)
        assert (found == bytes(size)) if small else found is None
    assert read_small(subfile_path(str(path), 10**20, 100)) is None


@pytest.mark.parametrize("predictor", [1, 3])
@pytest.mark.parametrize("rows", [120, 17])
def test_compressed_backscatter_is_what_is_cut(rows: int, predictor: int, tmp_path: Path) -> None:
    values = np.random.default_rng(2).normal(-12, 3, (120, 120)).astype(np.float32)
    how = {"tiled": False, "compress": "deflate", "blockysize": rows, "predictor": predictor}
    check_alike([band_at(write_file(tmp_path / "a.tif", values, **how), unit="db")])


@pytest.mark.parametrize("rows", [120, 34])
@pytest.mark.parametrize("claim", [0, 10, 60_000, 2**31])
def test_a_block_that_claims_another_size_is_left_to_windows(
    claim: int, rows: int, tmp_path: Path
) -> None:
    how = {"tiled": False, "compress": "deflate", "blockysize": rows}
    path = write_file(tmp_path / "a.tif", **how)
    data = bytearray(path.read_bytes())
    (counts,) = (one for one in directory_values(bytes(data)) if one.tag == 279)
    known = KnownHeaders()
    assert read_known([band_at(path)], FRAME, known) is not None
    size = (counts.stop - counts.start) // counts.count
    data[counts.start : counts.start + size] = min(claim, 256**size - 1).to_bytes(size, "little")
    path.write_bytes(data)
    assert read_known([band_at(path)], FRAME, known) is None
    assert read_one_patch([band_at(path)], FRAME) is None


def test_what_is_not_just_the_frame_is_left_to_windows(tmp_path: Path) -> None:
    plain = {"tiled": False, "compress": "none"}
    good = write_file(tmp_path / "good.tif", **plain)
    wrong = {
        "shifted": write_file(tmp_path / "1.tif", x=LEFT + 5, **plain),
        "of the next frame": write_file(tmp_path / "2.tif", x=LEFT + 1200, **plain),
        "larger": write_file(tmp_path / "3.tif", np.pad(DN, (0, 60)), **plain),
        "of another zone": write_file(tmp_path / "4.tif", epsg=32633, **plain),
        "of two bands": write_file(tmp_path / "5.tif", np.stack([DN, DN]), **plain),
        "of several tiles": write_file(
            tmp_path / "6.tif", compress="deflate", blockxsize=64, blockysize=64
        ),
        "of another kind": write_file(tmp_path / "7.tif", DN.astype(np.float32), **plain),
        "of more than 64 KiB": write_file(tmp_path / "8.tif", DN.astype(np.uint64), **plain),
        "of coarser pixels": write_file(tmp_path / "9.tif", DN[:60, :60], 20, **plain),
        "missing": tmp_path / "none.tif",
        "a folder": tmp_path,
    }
    assert read_one_patch([band_at(good)], FRAME) is not None
    for name, path in wrong.items():
        assert read_one_patch([band_at(good), band_at(path)], FRAME) is None, name
    second = band_at(good)._replace(asset=BandAsset("B02", "good.tif", 2))
    assert read_one_patch([second], FRAME) is None
    assert read_one_patch([band_at("https://example.invalid/a.tif")], FRAME) is None


@pytest.mark.parametrize("compress", ["none", "deflate"])
def test_a_damaged_file_is_told_by_those_who_cut(compress: str, tmp_path: Path) -> None:
    path = write_file(tmp_path / "B02.tif", tiled=compress != "none", compress=compress)
    data = path.read_bytes()
    scene = scene_of("s2", "dn", ["B02"])
    (whole,) = read_patches(scene, [FRAME], lambda href: str(path), s2_layout(("B02",)))
    assert not isinstance(whole, str)
    path.write_bytes(data[:-9000])
    assert read_one_patch([band_at(path)], FRAME) is None
    (cause,) = read_patches(scene, [FRAME], lambda href: str(path), s2_layout(("B02",)))
    assert "cannot be read" in str(cause) or "shorter than its header says" in str(cause)


def test_values_of_another_unit_are_told_by_those_who_cut(tmp_path: Path) -> None:
    values = np.random.default_rng(2).normal(-12, 3, (120, 120)).astype(np.float32)
    path = write_file(tmp_path / "a.tif", values, tiled=False, compress="none")
    assert read_one_patch([band_at(path, unit="db")], FRAME) is not None
    assert read_one_patch([band_at(path, unit="linear")], FRAME) is None


@pytest.mark.parametrize("compress", ["deflate", "lzw", "zstd"])
@pytest.mark.parametrize("rows", [34, 120])
def test_a_file_cut_off_by_a_byte_is_left_to_windows(
    compress: str, rows: int, tmp_path: Path
) -> None:
    path = write_file(tmp_path / "a.tif", tiled=False, compress=compress, blockysize=rows)
    known = KnownHeaders()
    assert read_known([band_at(path)], FRAME, known) is not None
    path.write_bytes(path.read_bytes()[:-1])
    assert read_known([band_at(path)], FRAME, known) is None


def test_strips_in_each_others_place_are_left_to_windows(tmp_path: Path) -> None:
    """The last strip has fewer rows: what comes out of it does not fill another."""
    path = write_file(tmp_path / "a.tif", tiled=False, compress="deflate", blockysize=34)
    data = bytearray(path.read_bytes())
    for one in directory_values(bytes(data)):
        if one.tag in (273, 279):
            size = (one.stop - one.start) // one.count
            first, last = (slice(at, at + size) for at in (one.start, one.stop - size))
            data[first], data[last] = data[last], data[first]
    known = KnownHeaders()
    assert read_known([band_at(path)], FRAME, known) is not None
    path.write_bytes(data)
    assert read_known([band_at(path)], FRAME, known) is None


@pytest.mark.parametrize("compress", ["none", "deflate"])
@pytest.mark.parametrize("stored", ["nothing", "the last strip"])
def test_blocks_that_are_not_stored_are_left_to_windows(
    compress: str, stored: str, tmp_path: Path
) -> None:
    values = np.zeros_like(DN)
    if stored != "nothing":
        values[-10:] = 5
    how = {"tiled": False, "compress": compress, "blockysize": 34, "sparse_ok": True}
    path = write_file(tmp_path / "a.tif", values, **how)
    assert read_one_patch([band_at(path)], FRAME) is None
    (cut,) = cut_from_files([band_at(path)])
    np.testing.assert_array_equal(cut.plane, values)


def test_blocks_that_do_not_follow_one_another_are_left_to_windows(tmp_path: Path) -> None:
    for compress in ("none", "deflate"):
        tiles = write_file(tmp_path / "t.tif", compress=compress, blockxsize=128, blockysize=64)
        assert read_one_patch([band_at(tiles)], FRAME) is None
    path = write_file(tmp_path / "a.tif", tiled=False, compress="none", blockysize=60)
    data = bytearray(path.read_bytes())
    (offsets,) = (one for one in directory_values(bytes(data)) if one.tag == 273)
    second = slice(offsets.stop - 4, offsets.stop)
    start = int.from_bytes(data[second], "little")
    data[second] = len(data).to_bytes(4, "little")
    path.write_bytes(data + data[start : start + 60 * 240])
    assert read_one_patch([band_at(path)], FRAME) is None
    (cut,) = cut_from_files([band_at(path)])
    np.testing.assert_array_equal(cut.plane, DN)


def test_a_pipe_is_no_file_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        path = tmp_path / name
        assert read_one_patch([band_at(path)], FRAME) is None
        with pytest.raises(InputError, match=f"{name}: no such file"):
            cut_from_files([band_at(path)])


def test_an_hdf5_file_that_is_missing_is_called_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.h5: no such file"):
        cut_from_files([band_at(f"{tmp_path}/gone.h5#a/b")])
