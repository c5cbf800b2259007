from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.warp import reproject

from landmark import rasters
from landmark.errors import InputError
from landmark.grid import Frame, utm_frame
from landmark.raster_files import read_header, sample_codes
from landmark.rasters import FRAME_PIXELS, class_counts, codes_on_frame

X, Y = 500_400.0, 5_200_800.0


def from_origin(west, north, width, height):
    return Affine(width, 0.0, west, 0.0, -height, north)


def write(path, codes, transform, crs="EPSG:32632", nodata=None, **extra):
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=codes.shape[1],
        height=codes.shape[0],
        count=1,
        dtype=codes.dtype,
        crs=crs,
        transform=transform,
        nodata=nodata,
        **extra,
    ) as dataset:
        dataset.write(codes, 1)
    return str(path)


def patchwork(seed, side, patch, classes, dtype="uint8"):
    draws = np.random.default_rng(seed).integers(1, classes + 1, (side // patch, side // patch))
    return np.kron(draws, np.ones((patch, patch), int)).astype(dtype)


def grid_of_frames(n=4, epsg=32632, x=X, y=Y):
    return [Frame(f"f{i}{j}", epsg, x + 1200 * i, y - 1200 * j) for j in range(n) for i in range(n)]


def place(epsg):
    return Transformer.from_crs(32632, epsg, always_xy=True).transform(X, Y)


@pytest.fixture(params=["corine", "other-zone", "degrees", "rotated", "flipped", "south"])
def foreign(request, tmp_path):
    """A raster in another CRS than the frames; the frames at its edge are partly outside."""
    if request.param == "corine":
        x, y = place(3035)
        transform = from_origin(round(x, -2) - 900, round(y, -2) + 700, 100, 100)
        return write(tmp_path / "c.tif", patchwork(1, 48, 2, 44), transform, "EPSG:3035", 48)
    if request.param == "other-zone":
        x, y = place(32633)
        transform = from_origin(round(x, -1) - 900, round(y, -1) + 700, 10, 10)
        return write(tmp_path / "d.tif", patchwork(2, 480, 3, 8), transform, "EPSG:32633", 255)
    if request.param == "rotated":
        turned = Affine.translation(X - 900, Y + 900) @ Affine.rotation(-23) @ Affine.scale(7, -11)
        return write(tmp_path / "r.tif", patchwork(4, 480, 3, 8), turned, "EPSG:32632", 255)
    if request.param == "flipped":
        x, y = place(32631)
        east_to_west = Affine(-10, 0, round(x, -1) + 4000, 0, 10, round(y, -1) - 4300)
        return write(tmp_path / "f.tif", patchwork(5, 480, 3, 8), east_to_west, "EPSG:32631", 255)
    if request.param == "south":
        x, y = place(32732)
        transform = from_origin(x - 903, y + 706, 10, 10)
        return write(tmp_path / "s.tif", patchwork(6, 480, 3, 8), transform, "EPSG:32732", 255)
    x, y = place(4326)
    transform = from_origin(x - 0.01, y + 0.01, 0.00013, 0.00009)
    return write(tmp_path / "g.tif", patchwork(3, 480, 3, 8), transform, "EPSG:4326", 255)


def warped(path, frame):
    """The oracle: codes of rasterio.warp.reproject on a frame, from the whole raster in memory."""
    with rasterio.open(path) as dataset:
        fill = 200 if dataset.nodata is None else int(dataset.nodata)
        out = np.full((120, 120), fill, dataset.dtypes[0])
        reproject(
            dataset.read(1),
            out,
            src_transform=dataset.transform,
            src_crs=dataset.crs,
            src_nodata=dataset.nodata,
            dst_transform=Affine(*frame.transform()),
            dst_crs=f"EPSG:{frame.epsg}",
            dst_nodata=fill,
            resampling=Resampling.nearest,
            tolerance=0,
        )
    return out, out != fill


def test_exact_codes_are_those_of_reproject(foreign):
    partly = 0
    for frame in grid_of_frames():
        expected, covered = warped(foreign, frame)
        codes, found = codes_on_frame([foreign], frame, exact=True)
        np.testing.assert_array_equal(found, covered)
        np.testing.assert_array_equal(codes[found], expected[covered])
        partly += 0 < found.sum() < FRAME_PIXELS
    assert partly


def test_bulk_moves_at_most_three_pixels_against_reproject(foreign):
    frames = grid_of_frames()
    result = class_counts([foreign], frames)
    for row, frame in enumerate(frames):
        expected, covered = warped(foreign, frame)
        want = [int((expected[covered] == code).sum()) for code in result.codes]
        moved = np.abs(result.counts[row] - want).sum() / 2
        # A pixel of the raster's rim may move in or out of it as well.
        assert moved <= 3
        assert abs(result.covered[row] - covered.sum()) <= 3


@pytest.mark.parametrize("zone", [32601, 32660])
def test_frames_on_the_180th_meridian_find_both_sides(tmp_path, zone):
    """Tiles east and west of it, and one raster of 0..360 degrees, give the same picture."""
    x, y = Transformer.from_crs(4326, zone, always_xy=True).transform(180.0, 66.0)
    frame = Frame("f", zone, round(x, -1) - 600, round(y, -1) + 600)
    codes = patchwork(7, 800, 4, 9)
    step = 0.0001
    before, after = (from_origin(x, 66.04, step, step) for x in (180 - 400 * step, -180))
    west = write(tmp_path / "w.tif", codes[:, :400], before, "EPSG:4326")
    east = write(tmp_path / "e.tif", codes[:, 400:], after, "EPSG:4326")
    whole = write(tmp_path / "o.tif", codes, before, "EPSG:4326")
    one, covered = codes_on_frame([whole], frame)
    two, both = codes_on_frame([east, west], frame)
    assert covered.all()
    assert both.all()
    np.testing.assert_array_equal(one, two)
    assert 0 < codes_on_frame([west], frame)[1].sum() < FRAME_PIXELS
    bulk, exact = (class_counts([east, west], [frame], exact=exact) for exact in (False, True))
    assert bulk.covered.tolist() == exact.covered.tolist() == [FRAME_PIXELS]
    assert np.abs(bulk.counts - exact.counts).sum() / 2 <= 3


def test_same_grid_equals_a_plain_window(tmp_path):
    codes = patchwork(4, 480, 4, 9)
    path = write(tmp_path / "r.tif", codes, from_origin(X, Y, 10, 10))
    frames = grid_of_frames()
    result = class_counts([path], frames)
    for row, frame in enumerate(frames):
        r, c = int((Y - frame.y_max) / 10), int((frame.x_min - X) / 10)
        window = codes[r : r + 120, c : c + 120]
        for k, code in enumerate(result.codes):
            assert result.counts[row, k] == (window == code).sum()
    assert (result.covered == FRAME_PIXELS).all()


def test_outside_and_half_inside(tmp_path):
    path = write(tmp_path / "r.tif", np.full((120, 60), 5, "uint8"), from_origin(X, Y, 10, 10))
    frames = [Frame("in", 32632, X, Y), Frame("out", 32632, X + 12_000, Y)]
    result = class_counts([path], frames)
    assert result.codes.tolist() == [5]
    assert result.counts.tolist() == [[7200], [0]]
    assert result.covered.tolist() == [7200, 0]


def test_frames_beyond_what_the_projection_reaches_are_not_covered(tmp_path):
    x, y = place(3035)
    path = write(tmp_path / "r.tif", np.ones((50, 50), "uint8"), from_origin(x, y, 100, 100),
                 "EPSG:3035")  # fmt: skip
    far = [Frame("far", 32756, 500_000, 6_000_000), Frame("pole", 3413, 0, 0)]
    assert class_counts([path], far).covered.tolist() == [0, 0]


def test_declared_and_given_nodata_do_not_cover(tmp_path):
    codes = np.full((120, 120), 7, "uint8")
    codes[:10] = 255
    codes[10:30] = 48
    path = write(tmp_path / "r.tif", codes, from_origin(X, Y, 10, 10), nodata=255)
    frame = [Frame("f", 32632, X, Y)]
    assert class_counts([path], frame).covered.tolist() == [110 * 120]
    result = class_counts([path], frame, nodata=[48])
    assert (result.codes.tolist(), result.covered.tolist()) == ([7], [90 * 120])
    assert class_counts([path], frame, valid=[48]).counts.tolist() == [[20 * 120]]


def test_mask_band_does_not_cover(tmp_path):
    path = tmp_path / "r.tif"
    write(path, np.full((120, 120), 3, "uint8"), from_origin(X, Y, 10, 10))
    with rasterio.open(path, "r+") as dataset:
        dataset.write_mask(np.r_[np.zeros((40, 120), bool), np.ones((80, 120), bool)])
    assert class_counts([path], [Frame("f", 32632, X, Y)]).covered.tolist() == [80 * 120]


def test_exact_keeps_every_rule_of_validity(tmp_path):
    """On the raster's own grid both ways agree, whatever is nodata, masked or asked for."""
    codes = patchwork(8, 240, 6, 44).astype("int16")
    codes[:20], codes[20:30] = -9999, 48
    path = write(tmp_path / "r.tif", codes, from_origin(X, Y, 10, 10), nodata=-9999)
    floats = np.where(codes == -9999, np.nan, codes).astype("float32")
    other = write(tmp_path / "f.tif", floats, from_origin(X, Y, 10, 10))
    with rasterio.open(path, "r+") as dataset:
        dataset.write_mask(np.tri(240, dtype=bool))
    masks = np.zeros((4, 60, 60), bool)
    masks[:, :9] = True
    for rules in ({}, {"nodata": [48]}, {"valid": [3, 4, 5]}, {"masks": masks}):
        for paths in ([path], [other], [path, other]):
            bulk = class_counts(paths, grid_of_frames(2), **rules)
            exact = class_counts(paths, grid_of_frames(2), exact=True, **rules)
            np.testing.assert_array_equal(bulk.codes, exact.codes)
            np.testing.assert_array_equal(bulk.counts, exact.counts)


def test_the_first_raster_that_covers_a_pixel_wins(tmp_path):
    first = np.full((120, 120), 1, "uint8")
    first[:, 60:] = 0
    a = write(tmp_path / "a.tif", first, from_origin(X, Y, 10, 10), nodata=0)
    b = write(tmp_path / "b.tif", np.full((120, 120), 2, "uint8"), from_origin(X, Y, 10, 10))
    frames = [Frame("f", 32632, X, Y)]
    assert class_counts([a, b], frames).counts.tolist() == [[7200, 7200]]
    assert class_counts([b, a], frames).codes.tolist() == [2]
    codes, covered = codes_on_frame([a, b], frames[0])
    assert covered.all()
    assert (codes[:, :60] == 1).all()
    assert (codes[:, 60:] == 2).all()


def test_masks_leave_pixels_out(tmp_path):
    path = write(tmp_path / "r.tif", np.full((120, 240), 4, "uint8"), from_origin(X, Y, 10, 10))
    masks = np.zeros((2, 60, 60), bool)
    masks[1, :30] = True
    frames = [Frame("a", 32632, X, Y), Frame("b", 32632, X + 1200, Y)]
    assert class_counts([path], frames, masks=masks).covered.tolist() == [14400, 7200]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "float32"])
def test_every_number_type_gives_the_same(tmp_path, dtype):
    codes = patchwork(5, 240, 6, 44).astype(dtype)
    codes[:20] = -128 if dtype == "int8" else 48
    low = float(np.finfo("float32").min) if dtype == "float32" else -9999 if dtype in (
        "int16", "int32") else None  # fmt: skip
    if low is not None:
        codes[20:40] = low
    else:
        codes[20:40] = 48
    path = write(tmp_path / "r.tif", codes, from_origin(X, Y, 10, 10), nodata=low)
    result = class_counts([path], grid_of_frames(2), nodata=[48, -128])
    kept = codes[40:].astype(int)
    assert result.codes.tolist() == sorted(np.unique(kept))
    assert result.counts.sum(axis=0).tolist() == [int((kept == c).sum()) for c in result.codes]


def test_far_away_nodata_beside_codes(tmp_path):
    codes = np.full((120, 120), 311, "int32")
    codes[:60] = -2_147_483_647
    path = write(tmp_path / "r.tif", codes, from_origin(X, Y, 10, 10), nodata=-2_147_483_647)
    result = class_counts([path], [Frame("f", 32632, X, Y)])
    assert (result.codes.tolist(), result.counts.tolist()) == ([311], [[7200]])


def test_result_does_not_depend_on_the_other_frames(foreign):
    frames = grid_of_frames()
    together = class_counts([foreign], frames)
    for row in (0, 5, 15):
        alone = class_counts([foreign], [frames[row]])
        picked = [int(np.searchsorted(together.codes, code)) for code in alone.codes]
        assert together.counts[row][picked].tolist() == alone.counts[0].tolist()
        assert together.covered[row] == alone.covered[0]


def test_large_windows_are_read_frame_by_frame(foreign, monkeypatch):
    whole = class_counts([foreign], grid_of_frames())
    monkeypatch.setattr(rasters, "_WINDOW_PIXELS", 1)
    np.testing.assert_array_equal(class_counts([foreign], grid_of_frames()).counts, whole.counts)


@settings(max_examples=25, deadline=None)
@given(dx=st.integers(-130, 130), dy=st.integers(-130, 130), zone=st.sampled_from([32632, 32732]))
def test_lattice_cells_against_slicing(tmp_path_factory, dx, dy, zone):
    folder = tmp_path_factory.getbasetemp()
    frame = utm_frame(zone, 416, 4000)
    codes = patchwork(6, 240, 5, 9)
    west, north = frame.x_min + 10 * dx, frame.y_max + 10 * dy
    path = write(folder / "h.tif", codes, from_origin(west, north, 10, 10), f"EPSG:{zone}")
    canvas = np.zeros((600, 600), int)
    canvas[180 - dy : 420 - dy, 180 + dx : 420 + dx] = codes
    window = canvas[180:300, 180:300]
    found, covered = codes_on_frame([path], frame)
    np.testing.assert_array_equal(np.where(covered, found, 0), window)


def test_sample_and_header(tmp_path):
    codes = patchwork(7, 480, 40, 9)
    codes[:40] = 200
    path = write(tmp_path / "r.tif", codes, from_origin(X, Y, 10, 10), nodata=200)
    assert set(sample_codes(path, side=48)) == set(np.unique(codes[40:]))
    assert read_header(path).nodata == 200


def test_refusals_name_the_file(tmp_path):
    transform, ones = from_origin(X, Y, 10, 10), np.ones((9, 9), "uint8")
    frame = [Frame("f", 32632, X, Y)]
    text = tmp_path / "text.tif"
    text.write_text("no raster")
    bad = {
        str(tmp_path / "none.tif"): "no such file",
        str(text): "cannot be read as a raster",
        write(tmp_path / "flat.tif", ones, Affine(8, 4, X, 4, 2, Y)): "no area",
        write(tmp_path / "nocrs.tif", ones, transform, crs=None): "states no CRS",
        write(tmp_path / "f.tif", np.full((9, 9), 0.5, "float32"), transform): "no class codes",
        write(tmp_path / "wide.tif", np.array([[1, 90_000]], "int32"), transform): "map of classes",
    }
    two = tmp_path / "two.tif"
    with rasterio.open(two, "w", driver="GTiff", width=9, height=9, count=2, dtype="uint8",
                       crs="EPSG:32632", transform=transform) as dataset:  # fmt: skip
        dataset.write(np.ones((2, 9, 9), "uint8"))
    bad[str(two)] = "2 bands"
    for path, words in bad.items():
        with pytest.raises(InputError, match=words) as caught:
            class_counts([path], frame)
        assert Path(path).name in str(caught.value)
        assert "\n" not in str(caught.value)


def moved_against_reproject(path, frames):
    """Assert that exact is the oracle on frames; return the pixels bulk moves on each."""
    moved = []
    bulk = class_counts([path], frames)
    for row, frame in enumerate(frames):
        expected, covered = warped(path, frame)
        codes, found = codes_on_frame([path], frame, exact=True)
        np.testing.assert_array_equal(found, covered)
        np.testing.assert_array_equal(codes[found], expected[covered])
        want = [int((expected[covered] == code).sum()) for code in bulk.codes]
        moved.append(np.abs(bulk.counts[row] - want).sum() / 2)
    return moved


@pytest.mark.real
def test_real_corine_of_guadeloupe_equals_reproject(shared_data):
    path = str(shared_data / "corine" / "U2018_CLC2018_V2020_20u1_FR_GLP.tif")
    frames = [
        utm_frame(32620, column, row)
        for column in range(530, 572, 6)
        for row in range(1462, 1502, 6)
    ]
    # Another zone, so that the grids lie at an angle.
    frames += [
        utm_frame(32621, column, row) for column in (8, 12, 16) for row in (1470, 1480, 1490)
    ]
    moved = moved_against_reproject(path, frames)
    assert max(moved) <= 3


@pytest.mark.real
def test_real_reference_maps_equal_reproject(shared_data):
    """On their own grid, and on lattice cells that cut them askew."""
    maps = sorted(shared_data.glob("reben/Reference_Maps/*/*/*_reference_map.tif"))
    assert len(maps) == 90
    for path in maps[::6]:
        with rasterio.open(path) as dataset:
            epsg, west, north = dataset.crs.to_epsg(), dataset.transform.c, dataset.transform.f
        own = Frame("own", epsg, west, north)
        near = [
            Frame("near", epsg, west + 333, north - 77),
            Frame("half", epsg, west + 5, north + 5),
        ]
        assert max(moved_against_reproject(str(path), [own, *near])) == 0
