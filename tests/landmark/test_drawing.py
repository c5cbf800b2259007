"""Which cells are sampled, and which looks at them: each rule against an obvious slow count."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from landmark import sampling
from landmark.drawing import lowest, on_stride, rare_first
from landmark.errors import InputError
from landmark.manifest import Area, Looks, Manifest, Pairing, Sampling, Sentinel2
from landmark.stac_items import AreaShape, open_area
from tests.landmark.made_plans import make, make_file
from tests.landmark.made_scenes import (
    both,
    files_say,
    grid,
    item,
    manifest,
    touch_assets,
    write_items,
)

DATES = ["2023-06-02", "2023-06-20", "2023-07-04", "2023-07-25"]
LOOK = {"datetime": "2023-07-04T10:10:31Z", "s2:processing_baseline": "05.09"}
CLOUDS = [30.0, 5.0, 5.0, None]


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four looks at a place of 4 x 4 cells, and one of the radar."""
    source = grid(west=600_000, north=4_999_200, pixels=480)
    items = [
        item(
            f"s2-{date}", source, **(LOOK | {"datetime": f"{date}T10:10:31Z"}),
            **({} if cloud is None else {"eo:cloud_cover": cloud}),
        )
        for date, cloud in zip(DATES, CLOUDS, strict=True)
    ]  # fmt: skip
    items.append(item("s1", source, datetime="2023-07-05T05:30:00Z", **{"s1:unit": "linear"}))
    touch_assets(tmp_path, items)
    files_say(monkeypatch, {one["id"]: source for one in items})
    return write_items(tmp_path / "items.json", items)


def kept(asked: Manifest, folder: Path) -> list[dict[str, Any]]:
    return [row for row in make(asked, folder).to_pylist() if row["status"] == "keep"]


def dropped(asked: Manifest, folder: Path) -> dict[str, int]:
    rows = [row for row in make(asked, folder).to_pylist() if row["status"] != "keep"]
    return {r["reason"]: sum(o["reason"] == r["reason"] for o in rows) for r in rows}


def sampled(catalog: Path, **rules: Any) -> Manifest:
    return manifest(catalog, sampling=Sampling.model_validate(rules))


# --- looks ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "days"),
    [
        (Looks(), DATES),
        (Looks(keep="least_cloud"), ["2023-06-20"]),  # equal clouds: the earlier one
        (Looks(keep="least_cloud", date=dt.date(2023, 7, 1)), ["2023-07-04"]),
        (Looks(keep="least_cloud", per="month"), ["2023-06-20", "2023-07-04"]),
        (Looks(keep="least_cloud", per="year"), ["2023-06-20"]),
        (Looks(keep="nearest", date=dt.date(2023, 7, 30)), ["2023-07-25"]),
        (Looks(keep="nearest", per="month", date=dt.date(2023, 6, 30)),
         ["2023-06-20", "2023-07-04"]),
    ],
)  # fmt: skip
def test_looks_of_a_period(catalog: Path, tmp_path: Path, rule: Looks, days: list[str]) -> None:
    rows = kept(manifest(catalog, s2=Sentinel2(looks=rule)), tmp_path)
    assert sorted({row["datetime"].date().isoformat() for row in rows}) == days
    assert len(rows) == 16 * len(days)


def test_required_partners(catalog: Path, tmp_path: Path) -> None:
    rows = kept(both(catalog, pairing=Pairing(max_gap_hours=48, required=True)), tmp_path)
    assert {row["item"] for row in rows} == {"s1", "s2-2023-07-04"}
    identifiers = {row["patch_id"] for row in rows}
    assert all(row["pair_id"] in identifiers for row in rows)


# --- cells ---------------------------------------------------------------------------------


def test_listed_cells_and_patch_ids(catalog: Path, tmp_path: Path) -> None:
    everything = kept(manifest(catalog), tmp_path)
    one, other = everything[0]["frame"], everything[-1]["patch_id"]
    listed = tmp_path / "cells.txt"
    listed.write_text(f"# wanted\n{other}\n\n32632_0001_0001\n")
    found = kept(sampled(catalog, cells=[one], cells_file=str(listed)), tmp_path)
    assert {row["frame"] for row in found} == {one, everything[-1]["frame"]}
    with pytest.raises(InputError, match=r"sampling\.cells: none of the 1 cells"):
        kept(sampled(catalog, cells=["32632_0001_0001"]), tmp_path)
    lon, lat = everything[-1]["lon"], everything[-1]["lat"]
    elsewhere = Area(bbox=(lon - 0.001, lat - 0.001, lon + 0.001, lat + 0.001))
    with pytest.raises(InputError, match=r"sampling\.cells: none of the 1 cells"):
        kept(sampled(catalog, cells=[one]).model_copy(update={"area": elsewhere}), tmp_path)
    with pytest.raises(InputError, match=r"cells_file: .*no such file|cells_file: .*No such file"):
        kept(sampled(catalog, cells_file=str(tmp_path / "none.txt")), tmp_path)


def test_a_stride_keeps_each_nth_column_and_row(catalog: Path, tmp_path: Path) -> None:
    rows = kept(sampled(catalog, every=2), tmp_path)
    names = {tuple(int(part) for part in row["frame"].split("_")[1:]) for row in rows}
    assert len(names) == 4
    assert all(column % 2 == 0 and row % 2 == 0 for column, row in names)
    assert dropped(sampled(catalog, every=2), tmp_path) == {"every 2 cells": 48}


def test_a_random_draw_is_of_cells_and_does_not_move(catalog: Path, tmp_path: Path) -> None:
    few = kept(sampled(catalog, count=3), tmp_path)
    more = kept(sampled(catalog, count=7), tmp_path)
    frames, wider = {row["frame"] for row in few}, {row["frame"] for row in more}
    assert (len(frames), len(wider)) == (3, 7)
    assert frames < wider
    assert len(few) == 12  # all four looks at each
    seeded = manifest(catalog, sampling=Sampling(count=7), seed=5)
    assert {row["frame"] for row in kept(seeded, tmp_path)} != wider
    # A smaller area leaves the draw among its own cells alone.
    lon = np.median([row["lon"] for row in more])
    area = Area(bbox=(0, 40, float(lon), 50))
    inside = kept(manifest(catalog, sampling=Sampling(count=16), area=area), tmp_path)
    hashes = sampling.cell_hashes(sorted({row["frame"] for row in inside}), 0)
    part = kept(manifest(catalog, sampling=Sampling(count=2), area=area), tmp_path)
    names = np.array(sorted({row["frame"] for row in inside}))
    assert {row["frame"] for row in part} == set(names[np.argsort(hashes)[:2]].tolist())


def write_events(path: Path, features: list[tuple[shapely.Geometry, dict[str, Any]]]) -> str:
    """Write shapes given in UTM 32N as GeoJSON in degrees."""
    written = []
    for geometry, properties in features:
        moved = shapely.transform(
            geometry, lambda xy: np.column_stack(sampling.to_degrees(32632, xy))
        )
        geojson = shapely.geometry.mapping(moved)
        written.append({"type": "Feature", "geometry": geojson, "properties": properties})
    path.write_text(json.dumps({"type": "FeatureCollection", "features": written}))
    return str(path)


@pytest.mark.parametrize("radius", [0.0, 500.0, 1500.0, 3000.0])
def test_cells_around_points_and_polygons(catalog: Path, tmp_path: Path, radius: float) -> None:
    point = shapely.Point(601_003, 4_998_007)
    dent = shapely.Polygon(
        [(603_700, 4_994_500), (604_700, 4_994_500), (604_700, 4_995_500), (604_600, 4_994_600)]
    )
    file = write_events(tmp_path / "events.geojson", [(point, {}), (dent, {})])
    rows = kept(sampled(catalog, events=[{"file": file, "radius_m": radius}]), tmp_path)
    found = {(row["x_min"], row["y_max"]) for row in rows}
    expected = set()
    for row in kept(manifest(catalog), tmp_path):
        x, y = row["x_min"], row["y_max"]
        box = shapely.box(x, y - 1200, x + 1200, y)
        if min(box.distance(point), box.distance(dent)) <= radius:
            expected.add((x, y))
    assert found == expected
    assert found


@pytest.mark.parametrize(
    ("rule", "days"),
    [
        ({"during": True}, ["2023-06-20"]),
        ({"before_days": [20, 1], "during": False}, ["2023-06-02"]),
        ({"after_days": [1, 11], "during": False}, []),
        ({"after_days": [1, 12], "during": False}, ["2023-07-04"]),
        ({"before_days": [30, 1], "after_days": [1, 40]}, DATES),
    ],
)
def test_windows_of_time_around_an_event(
    catalog: Path, tmp_path: Path, rule: dict[str, Any], days: list[str]
) -> None:
    place = shapely.box(600_100, 4_998_100, 600_200, 4_998_200)
    when = {"start": "2023-06-20", "end": "2023-06-22"}
    file = write_events(tmp_path / "events.geojson", [(place, when)])
    events = [{"file": file, "start_field": "start", "end_field": "end"} | rule]
    asked = sampled(catalog, events=events)
    if not days:
        with pytest.raises(InputError, match="no patch is left"):
            kept(asked, tmp_path)
        return
    rows = kept(asked, tmp_path)
    assert sorted(row["datetime"].date().isoformat() for row in rows) == days


def test_an_event_without_a_date_is_named(catalog: Path, tmp_path: Path) -> None:
    place = shapely.box(600_100, 4_998_100, 600_200, 4_998_200)
    file = write_events(tmp_path / "events.geojson", [(place, {"start": "soon"})])
    asked = sampled(catalog, events=[{"file": file, "start_field": "start"}])
    with pytest.raises(InputError, match="feature 0: field 'start' holds 'soon', no date"):
        kept(asked, tmp_path)


def test_strata_serve_the_rare_code_first(catalog: Path, tmp_path: Path) -> None:
    """Code 7 lies on one cell, 5 on a column of four, 1 on all."""
    codes = np.ones((480, 480), dtype=np.uint8)
    codes[:, 0:120] = 5
    codes[240:300, 240:300] = 7
    path = tmp_path / "labels.tif"
    options = {"driver": "GTiff", "width": 480, "height": 480, "count": 1, "dtype": "uint8"}
    transform = Affine(10, 0, 600_000, 0, -10, 4_999_200)
    with rasterio.open(path, "w", crs="EPSG:32632", transform=transform, **options) as target:
        target.write(codes, 1)
    strata = {"rasters": [str(path)], "per_code": 2}
    rows = kept(sampled(catalog, strata=strata), tmp_path)
    cells = {(row["x_min"], row["y_max"]) for row in rows}
    assert (602_400, 4_996_800) in cells  # the one with code 7, which holds code 1 as well
    assert sum(x == 600_000 for x, _ in cells) == 2  # two of code 5
    assert len(cells) == 4  # and one more of code 1
    with rasterio.open(path, "r+") as target:
        target.write(np.zeros((480, 480), np.uint8), 1)
        target.nodata = 0
    with pytest.raises(InputError, match=r"sampling\.strata: .*labels\.tif has no code on any"):
        kept(sampled(catalog, strata=strata), tmp_path)


@given(
    present=hnp.arrays(bool, st.tuples(st.integers(1, 25), st.integers(1, 4))),
    per_code=st.integers(1, 6),
    seed=st.integers(0, 99),
)
def test_rare_first_gives_each_code_its_share(
    present: np.ndarray, per_code: int, seed: int
) -> None:
    hashes = np.random.default_rng(seed).permutation(len(present)).astype(np.uint64)
    chosen = rare_first(present, hashes, per_code)
    for code in range(present.shape[1]):
        there = int(present[:, code].sum())
        assert present[chosen, code].sum() >= min(per_code, there)
    # No cell is drawn without need: each is the last one some code was short of, or before it.
    assert len(chosen) <= per_code * present.shape[1]
    order = np.random.default_rng(seed + 1).permutation(len(present))
    again = rare_first(present[order], hashes[order], per_code)
    assert sorted(order[again].tolist()) == chosen.tolist()


def test_small_rules() -> None:
    assert on_stride(np.array([0, 3, 4]), np.array([-3, 3, 0]), 3).tolist() == [True, True, False]
    assert lowest(np.array([5, 1, 3], dtype=np.uint64), 2).tolist() == [1, 2]


# --- the 180th meridian and the poles --------------------------------------------------------


def test_an_area_across_the_180th_meridian() -> None:
    shape = open_area(Area(bbox=(179.5, -17, -179.5, -16)))
    assert shape is not None
    assert sorted(shape.boxes) == [(-180.0, -17.0, -179.5, -16.0), (179.5, -17.0, 180.0, -16.0)]
    lon, lat = np.array([179.9, -179.9, 0.0, 179.0]), np.full(4, -16.5)
    assert shape.contains(lon, lat).tolist() == [True, True, False, False]
    whole = AreaShape(shapely.box(-180, -90, 180, 90), is_box=True)
    assert whole.boxes == ((-180.0, -90.0, 180.0, 90.0),)


@pytest.mark.parametrize("box", [(9, 44, 8, 45), (170, 0, -5, 1), (8, 44, 8, 45), (8, 45, 9, 45)])
def test_boxes_typed_wrongly_are_refused(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="west < east"):
        Area(bbox=box)


def test_cells_across_the_180th_meridian_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tile of zone 60 that reaches over: its cells west of 180 belong to it, none is lost."""
    source = grid(epsg=32660, west=720_000, north=5_000_400, pixels=3000)
    made = item("fiji", source, **LOOK)
    lon, _ = sampling.to_degrees(32660, np.array([[720_000.0, 4.99e6], [750_000.0, 4.99e6]]))
    touch_assets(tmp_path, [made])
    files_say(monkeypatch, {"fiji": source})
    area = Area(bbox=(float(lon[0]) - 1, 40, -179, 50))
    assert lon[1] < 0 < lon[0]
    asked = manifest(write_items(tmp_path / "items.json", [made]), area=area)
    rows = kept(asked, tmp_path)
    east, west = [r for r in rows if r["lon"] < 0], [r for r in rows if r["lon"] > 0]
    assert {row["epsg"] for row in west} == {32660}
    assert {row["epsg"] for row in east} <= {32601}
    assert len(west) > 20


def test_cells_beyond_utm_are_left_out_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = sampling.from_degrees(32633, np.array([[15.0, 84.0]]))
    source = grid(epsg=32633, west=round(x[0] / 10) * 10 - 6000,
                  north=round(y[0] / 10) * 10 + 6000, pixels=1200)  # fmt: skip
    made = item("pole", source, **LOOK)
    touch_assets(tmp_path, [made])
    files_say(monkeypatch, {"pole": source})
    asked = manifest(write_items(tmp_path / "items.json", [made]))
    made = make_file(asked, tmp_path)
    assert max(made.table(["lat"])["lat"].to_pylist()) <= 84
    assert made.notes()["polar_cells_dropped"] > 10
