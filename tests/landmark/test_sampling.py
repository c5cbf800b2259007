from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark import sampling
from landmark.errors import InputError
from landmark.grid import SIZE_M, Frame, check_name, utm_epsg, utm_frame
from landmark.sampling import (
    FOOTPRINT_TOLERANCE_M,
    Cells,
    cell_hashes,
    frame_base,
    scene_cells,
    source_cell,
    utm_cells,
)
from landmark.scenes import BandAsset, Scene, SourceGrid
from tests.landmark.made_scenes import footprint, grid, scene


def codes(cells: Cells) -> set[tuple[int, int, int]]:
    return set(zip(cells.epsg.tolist(), cells.column.tolist(), cells.row.tolist(), strict=True))


def slow_cells(one: Scene) -> set[tuple[int, int, int]]:
    """Count the lattice cells of a scene one by one, in the CRS of the raster and its neighbours.

    An independent way: each cell's densified outline is projected into the raster's CRS.
    """
    assert one.grid is not None
    source = one.grid
    a, _, c, _, e, f = source.transform
    raster = shapely.box(c, f + e * source.height, c + a * source.width, f).buffer(1e-3)
    found = set()
    for epsg in range(source.epsg - 1, source.epsg + 2):
        there = pyproj.Transformer.from_crs(source.epsg, epsg, always_xy=True)
        back = pyproj.Transformer.from_crs(epsg, source.epsg, always_xy=True)
        down = pyproj.Transformer.from_crs(epsg, 4326, always_xy=True)
        x, y = there.transform(*shapely.get_coordinates(raster).T)
        for column in range(int(min(x) // SIZE_M) - 1, int(max(x) // SIZE_M) + 2):
            for row in range(int((min(y) - 400) // SIZE_M) - 1, int(max(y) // SIZE_M) + 2):
                frame = utm_frame(epsg, column, row)
                west, south, east, north = frame.bounds
                lon, lat = down.transform((west + east) / 2, (south + north) / 2)
                if utm_epsg(lon, lat) != epsg:
                    continue
                outline = shapely.segmentize(shapely.box(*frame.bounds), 100)
                moved = shapely.transform(outline, back.transform, interleaved=False)
                if raster.covers(moved):
                    found.add((epsg, column, row))
    return found


def test_cells_lie_wholly_inside_the_raster() -> None:
    one = scene(source=grid(west=600_000, north=5_000_400, pixels=480))
    # 600 000 is a multiple of 1200; 5 000 400 - 4 * 1200 is too: four by four cells fit exactly.
    assert codes(utm_cells(one)) == {
        (32632, c, r) for c in range(500, 504) for r in range(4163, 4167)
    }
    shifted = scene(source=grid(west=600_010, north=5_000_400, pixels=480))
    assert len(codes(utm_cells(shifted))) == 12


@pytest.mark.parametrize(
    "source",
    [
        grid(west=600_130, north=5_000_070, pixels=600),
        grid(epsg=32736, west=300_000, north=8_000_020, pixels=500),
        grid(epsg=32632, west=733_440, north=4_990_020, pixels=600),  # across 12 degrees east
        grid(epsg=32733, west=820_000, north=8_000_000, pixels=600),  # across 18 degrees east
    ],
)
def test_cells_equal_a_slow_count(source: SourceGrid) -> None:
    one = scene(source=source)
    expected = slow_cells(one)
    assert codes(utm_cells(one)) == expected
    assert len(expected) > 8


def test_a_cell_belongs_to_the_zone_of_its_centre_only() -> None:
    one = scene(source=grid(epsg=32632, west=733_440, north=4_990_020, pixels=600))
    cells = utm_cells(one)
    assert set(cells.epsg.tolist()) == {32632, 32633}
    # Cells of the neighbouring zone cannot be cut from this raster.
    assert cells.whole.tolist() == (cells.epsg == 32632).tolist()


@pytest.mark.parametrize(
    ("epsg", "north", "hemispheres"),
    [(32633, 2_000, {32633, 32733}), (32733, 10_002_000, {32633, 32733}), (32633, 4_000, {32633})],
)
def test_the_equator_parts_the_zones(epsg: int, north: float, hemispheres: set[int]) -> None:
    source = SourceGrid(epsg, (10.0, 0, 500_000.0, 0, -10.0, float(north)), 400, 400)
    cells = utm_cells(scene(source=source))
    assert set(cells.epsg.tolist()) == hemispheres
    south = cells.epsg == 32733
    assert (cells.y_max[south] <= 10_000_000 + SIZE_M / 2).all()
    assert (cells.y_max[~south] >= SIZE_M / 2).all()


def test_bands_of_all_sizes_align_in_the_south() -> None:
    # Sentinel-2 tiles of the south start at multiples of 60 m counted from 10 000 000.
    source = SourceGrid(32736, (10.0, 0, 399_960.0, 0, -10.0, 8_000_020.0), 1098, 1098)
    assert (10_000_000 - 8_000_020) % 60 == 0
    cells = utm_cells(scene(source=source))
    assert len(cells.row) > 50
    assert cells.whole.all()
    assert ((source.transform[5] - cells.y_max) % 60 == 0).all()
    one_off = replace(source, transform=(10.0, 0, 399_960.0, 0, -10.0, 8_000_030.0))
    assert not utm_cells(scene(source=one_off)).whole.any()
    fine_bands = tuple(BandAsset(band, band) for band in ("B02", "B03"))
    assert utm_cells(scene(source=one_off, bands=fine_bands)).whole.all()


def test_frames_off_the_pixel_grid_or_of_other_pixels_are_warped() -> None:
    assert utm_cells(scene("s1", source=grid())).whole.all()
    assert not utm_cells(scene("s1", source=grid(west=600_003))).whole.any()
    coarse = SourceGrid(32632, (20.0, 0, 600_000.0, 0, -20.0, 5_000_400.0), 300, 300)
    assert not utm_cells(scene("s1", source=coarse)).whole.any()
    flipped = SourceGrid(32632, (10.0, 0, 600_000.0, 0, 10.0, 4_995_600.0), 480, 480)
    cells = utm_cells(scene("s1", source=flipped, footprint=None))
    assert len(cells.row) == 16
    assert not cells.whole.any()


def test_the_footprint_limits_the_cells_with_some_tolerance() -> None:
    source = grid(pixels=1200)
    full = utm_cells(scene(source=source))
    assert codes(full) == codes(utm_cells(scene(source=source, footprint=None)))
    west = scene(source=grid(pixels=1200), footprint=footprint(grid(pixels=600)).wkt)
    assert len(codes(utm_cells(west))) == 25
    short = footprint(grid(west=600_000 + FOOTPRINT_TOLERANCE_M / 2, pixels=1200)).wkt
    assert codes(utm_cells(scene(source=source, footprint=short))) == codes(full)


@given(
    st.lists(
        st.tuples(st.floats(0, 12_000), st.floats(0, 12_000)), min_size=3, max_size=7, unique=True
    )
)
@settings(max_examples=60, deadline=None)
def test_any_footprint_equals_a_slow_count(points: list[tuple[float, float]]) -> None:
    """Dents, holes and several parts: a cell counts if the outline covers all of it."""
    source = grid(pixels=1200)
    shape = shapely.make_valid(shapely.Polygon([(600_000 + x, 4_988_400 + y) for x, y in points]))
    polygons = [p for p in shapely.get_parts(shape) if p.geom_type == "Polygon" and p.area > 1]
    if not polygons:
        return
    shape = shapely.MultiPolygon(polygons)
    back = pyproj.Transformer.from_crs(32632, 4326, always_xy=True)
    degrees = shapely.transform(shape, back.transform, interleaved=False)
    cells = codes(utm_cells(scene(source=source, footprint=degrees.wkt)))
    raster = shapely.box(600_000, 4_988_400, 612_000, 5_000_400)
    grown = [shape.buffer(FOOTPRINT_TOLERANCE_M + d, join_style="mitre") for d in (-0.01, 0.01)]
    inner, outer = (raster.buffer(0.001).intersection(ground) for ground in grown)
    for column in range(500, 510):
        for row in range(4157, 4167):
            frame = shapely.box(*utm_frame(32632, column, row).bounds)
            if inner.covers(frame):
                assert (32632, column, row) in cells
            elif not outer.covers(frame):
                assert (32632, column, row) not in cells


def test_rasters_in_degrees_have_lattice_cells_too() -> None:
    source = SourceGrid(4326, (1e-4, 0, 10.0, 0, -1e-4, 45.0), 600, 400)
    cells = utm_cells(scene("s1", source=source, footprint=shapely.box(10, 44.96, 10.06, 45).wkt))
    assert set(cells.epsg.tolist()) == {32632}
    assert not cells.whole.any()
    inner = pyproj.Transformer.from_crs(32632, 4326, always_xy=True)
    for x, y in zip(cells.x_min, cells.y_max, strict=True):
        box = shapely.segmentize(shapely.box(x, y - SIZE_M, x + SIZE_M, y), 100)
        moved = shapely.transform(box, inner.transform, interleaved=False)
        assert shapely.box(10, 44.96, 10.06, 45).buffer(1e-6).covers(moved)
    assert 6 <= len(cells.row) <= 12


def test_the_180th_meridian() -> None:
    source = SourceGrid(32660, (10.0, 0, 730_000.0, 0, -10.0, 5_000_400.0), 2400, 1200)
    plain = scene("s1", source=source, footprint=None)
    cells = utm_cells(plain)
    assert set(cells.epsg.tolist()) == {32601, 32660}
    wrapped = shapely.Polygon([(-179.9, 45), (179.9, 45), (179.9, 46), (-179.9, 46)])
    assert codes(utm_cells(replace(plain, footprint=wrapped.wkt))) == codes(cells)
    with pytest.raises(InputError, match="neither file nor footprint says where it lies"):
        utm_cells(replace(plain, grid=None, footprint=wrapped.wkt))


def test_a_scene_without_header_is_counted_by_its_footprint() -> None:
    one = scene(source=grid(pixels=1200))
    unread = utm_cells(replace(one, grid=None))
    assert codes(unread) <= codes(utm_cells(one))
    assert len(unread.row) >= 64
    with pytest.raises(InputError, match="neither file nor footprint"):
        utm_cells(replace(one, grid=None, footprint=None))


def test_scene_grid_counts_from_the_upper_left_corner() -> None:
    one = scene(source=grid(west=600_007, north=5_000_403, pixels=396), item="a/b")
    cells = scene_cells(one, 0.95)
    assert cells.x_min.tolist() == [600_007 + 1200 * c for c in (0, 1, 2)] * 3
    assert cells.y_max.tolist() == [5_000_403 - 1200 * r for r in (0, 0, 0, 1, 1, 1, 2, 2, 2)]
    assert cells.whole.all()
    assert cells.dropped == 7  # 3.3 cells a side: 16 touched, 9 whole
    assert check_name(cells.base, "test").startswith("a-b-")


def test_scene_grid_in_degrees_is_rounded_and_warped() -> None:
    source = SourceGrid(4326, (1e-4, 0, 10.0, 0, -1e-4, 45.0), 320, 200)
    one = scene("s1", source=source)
    cells = scene_cells(one, 0.9)
    corner = pyproj.Transformer.from_crs(4326, 32632, always_xy=True).transform(10.0, 45.0)
    assert cells.epsg.tolist() == [32632] * 2
    assert (cells.x_min[0], cells.y_max[0]) == (round(corner[0], -1), round(corner[1], -1))
    assert not cells.whole.any()
    strict = scene_cells(one, 1.0)
    assert len(strict.row) < len(cells.row)
    with pytest.raises(InputError, match="needs a file that can be read"):
        scene_cells(replace(one, grid=None), 0.9)


def test_pieces_smaller_than_a_patch_give_none() -> None:
    cells = scene_cells(scene(source=grid(pixels=119)), 0.95)
    assert len(cells.row) == 0
    assert cells.dropped == 1
    assert len(utm_cells(scene(source=grid(pixels=119))).row) == 0


def test_source_frames_are_taken_as_they_are() -> None:
    frame = Frame("p_1", 32632, 600_000.0, 5_000_400.0)
    one = source_cell(scene(source=grid(pixels=120)), frame)
    assert (one.base, one.x_min.tolist(), one.y_max.tolist()) == ("p_1", [600_000], [5_000_400])
    assert one.whole.tolist() == [True]
    assert source_cell(replace(scene(), grid=None), frame).whole.tolist() == [True]


@given(st.text(max_size=300))
def test_frame_names_are_always_safe_and_never_fall_together(identifier: str) -> None:
    base = frame_base(identifier)
    assert len(base) <= 140
    check_name(base, "test")
    other = frame_base(identifier + "?")
    assert other != base
    assert frame_base(identifier) == base


def test_good_names_stay() -> None:
    good = "S2B_MSIL2A_20200223T032739_R018_T48QUE_20230924T183543"
    assert frame_base(good) == good


def test_thinning_depends_on_name_and_seed_alone() -> None:
    names = [f"32632_{c:04d}_{r:04d}" for c in range(60) for r in range(60)]
    hashes = dict(zip(names, cell_hashes(names, 1).tolist(), strict=True))
    shuffled = list(np.random.default_rng(0).permutation(names))
    assert dict(zip(shuffled, cell_hashes(shuffled, 1).tolist(), strict=True)) == hashes
    assert hashes["32632_0000_0000"] == 15625753736941838611  # never to change
    share = np.mean(cell_hashes(names, 1) / 2.0**64 < 0.25)
    assert share == pytest.approx(0.25, abs=0.03)
    assert (cell_hashes(names, 2) != cell_hashes(names, 1)).all()


def test_a_radar_scene_of_250_km_equals_a_slow_count() -> None:
    """Turned against the grid and over two zones; its edges bend in degrees, not in its raster."""
    source = SourceGrid(32632, (10.0, 0.0, 560_000.0, 0.0, -10.0, 5_120_000.0), 29_000, 24_000)
    corners = [
        (580_000, 5_075_000),
        (825_000, 5_110_000),
        (840_000, 4_945_000),
        (600_000, 4_900_000),
    ]
    ground = shapely.Polygon(corners)
    dense = shapely.segmentize(ground, 2_000)
    lon, lat = sampling.to_degrees(32632, shapely.get_coordinates(dense))
    outline = shapely.Polygon(np.column_stack([lon, lat]).round(7))
    cells = utm_cells(scene("s1", source, footprint=outline.wkt))
    found = set(zip(cells.epsg.tolist(), cells.column.tolist(), cells.row.tolist(), strict=True))
    generator = np.random.default_rng(3)
    tolerance = ground.buffer(sampling.FOOTPRINT_TOLERANCE_M, join_style="mitre")
    inner, outer = tolerance.buffer(-3), tolerance.buffer(3)
    compared = {True: 0, False: 0}
    for _ in range(1500):
        x, y = generator.uniform(560_000, 850_000), generator.uniform(4_880_000, 5_120_000)
        (lon,), (lat,) = sampling.to_degrees(32632, np.array([[x, y]]))
        epsg = 32600 + int((lon + 180) // 6) + 1
        (x,), (y,) = sampling.from_degrees(epsg, np.array([[lon, lat]]))
        column, row = int(x // 1200), int(y // 1200)
        edge = np.linspace(0, 1200, 5)
        points = [(column * 1200 + a, row * 1200 + b) for a in edge for b in edge]
        centre = sampling.to_degrees(epsg, np.array([points[12]]))
        if int((centre[0][0] + 180) // 6) + 32601 != epsg:
            continue
        plon, plat = sampling.to_degrees(epsg, np.array(points))
        px, py = sampling.from_degrees(32632, np.column_stack([plon, plat]))
        at = shapely.points(px, py)
        inside = bool(shapely.covers(inner, at).all())
        if inside != bool(shapely.covers(outer, at).all()):
            continue  # within metres of the edge, where rounding decides
        assert ((epsg, column, row) in found) == inside
        compared[inside] += 1
    assert min(compared.values()) > 300
    assert {epsg for epsg, _, _ in found} == {32632, 32633}
