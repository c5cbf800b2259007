"""Where the patches of a plan lie: areas, zones, grids."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import shapely

from landmark.archives import reben
from landmark.archives.reading import ArchiveImage
from landmark.errors import InputError
from landmark.grid import Frame
from landmark.manifest import Area, Catalog
from landmark.scenes import SourceGrid
from tests.landmark.made_plans import NORTH, S2, WEST, made_catalog, make, make_file, rows_of
from tests.landmark.made_scenes import (
    both,
    files_say,
    footprint,
    grid,
    item,
    manifest,
    scene,
    touch_assets,
    write_items,
)


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return made_catalog(tmp_path, monkeypatch)


def test_the_area_decides_by_the_centre_of_a_cell(catalog: Path, tmp_path: Path) -> None:
    full = make(manifest(catalog), tmp_path)
    west, south, east, north = footprint(grid(pixels=600)).bounds
    table = make(manifest(catalog, area=Area(bbox=(west, south, east, north))), tmp_path)
    expected = [
        (r["patch_id"], r["item"])
        for r in full.to_pylist()
        if west <= r["lon"] <= east and south <= r["lat"] <= north
    ]
    found = [(r["patch_id"], r["item"]) for r in table.to_pylist()]
    assert found == expected
    assert 0 < len(found) < full.num_rows


def test_cut_beats_warped_where_tiles_of_two_zones_overlap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = grid(epsg=32632, west=732_000, north=4_990_800, pixels=960)
    right = grid(epsg=32633, west=258_000, north=4_990_800, pixels=960)
    later = S2 | {"s2:mgrs_tile": "33TUL", "datetime": "2023-07-04T10:10:45Z"}
    items = [item("a-left", left, **S2), item("b-right", right, **later)]
    touch_assets(tmp_path, items)
    files_say(monkeypatch, {"a-left": left, "b-right": right})
    table = make(manifest(write_items(tmp_path / "i.json", items)), tmp_path)
    lost = rows_of(table, status="duplicate")
    assert lost
    assert {r["resampling"] for r in lost} == {"bilinear"}
    winners = {r["frame"]: r for r in rows_of(table, status="keep")}
    for row in lost:
        assert winners[row["frame"]]["resampling"] == "none"
        assert "needs no resampling" in row["reason"]


def test_scene_grid(catalog: Path, tmp_path: Path) -> None:
    table = make(manifest(catalog, grid="scene"), tmp_path)
    assert Counter(table.column("item").to_pylist()) == {
        "s2-left": 64, "s2-right": 64, "s2-old": 64, "s2-june": 16
    }  # fmt: skip
    assert {r["status"] for r in rows_of(table, item="s2-right")} == {"keep"}
    row = rows_of(table, frame="s2-left_001_002")[0]
    assert (row["x_min"], row["y_max"]) == (WEST + 2400, NORTH - 1200)
    assert row["patch_id"] == "s2-left_001_002_s2_S2A_20230704T101031"


def test_source_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = []
    for index in range(4):
        frame = Frame(f"p_{index}", 32632, WEST + 1200.0 * index, float(NORTH))
        pairs.append((scene(item=f"p_{index}", grid=grid(west=frame.x_min, pixels=120)), frame))
        radar = scene("s1", item=f"r_{index}", grid=grid(west=frame.x_min, pixels=120))
        pairs.append((radar, Frame(f"r_{index}", 32632, frame.x_min, frame.y_max)))
    asked = both(
        "x",
        grid="source",
        catalog=Catalog(kind="archive", format="reben", href=str(tmp_path)),
    )
    for answer in (pairs, pairs[::-1]):
        images = [ArchiveImage(*pair) for pair in answer]
        monkeypatch.setattr(reben, "read_images", lambda request, images=images: images)
        table = make(asked, tmp_path)
        assert table.column("frame").to_pylist() == [f"{k}_{i}" for k in "rp" for i in range(4)]
        assert {r["status"] for r in table.to_pylist()} == {"keep"}
        assert rows_of(table, frame="p_2")[0]["pair_id"] == "r_2_s1_S1A_20230704T101031"
    bad = [ArchiveImage(pairs[0][0], Frame("../p", 32632, 0.0, 0.0))]
    monkeypatch.setattr(reben, "read_images", lambda request: bad)
    with pytest.raises(InputError, match="cannot be used for a patch"):
        make(asked, tmp_path)


def test_cells_cut_by_the_180th_meridian_are_left_out_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = SourceGrid(32660, (10.0, 0, 732_000.0, 0, -10.0, 4_986_000.0), 900, 900)
    one = item("a", source, **S2)
    one["geometry"] = None
    one["bbox"] = None
    touch_assets(tmp_path, [one])
    files_say(monkeypatch, {"a": source})
    made = make_file(manifest(write_items(tmp_path / "i.json", [one])), tmp_path)
    assert made.notes()["antimeridian_cells_dropped"] > 0
    table = made.table()
    lons = np.array(table.column("lon"))
    assert {32601, 32660} >= set(table.column("epsg").to_pylist())
    assert (np.abs(lons) > 179.8).all()
    widths = shapely.bounds(shapely.from_wkb(table.column("geometry").to_pylist()))
    assert (widths[:, 2] - widths[:, 0] < 1).all()


@pytest.mark.real
def test_the_shared_catalog_on_the_scene_grid(shared_data: Path, tmp_path: Path) -> None:
    tables = []
    for name in ("catalog.json", "items.json", "items.ndjson"):
        asked = both(shared_data / "catalog" / name, grid="scene")
        tables.append(make(asked, tmp_path))
    counts = Counter(tables[0].column("item").to_pylist())
    assert counts["S2B_MSIL2A_20200223T032739_R018_T48QUE_20230924T183543"] == 25
    assert counts["S2A_MSIL2A_20220706T085611_R007_T33NZA_20220706T153419"] == 9
    assert counts["S2A_MSIL2A_20170617T113321_36_85"] == 1
    warped = {r["item"] for r in rows_of(tables[0], resampling="bilinear")}
    assert all(r["epsg"] > 32600 for r in tables[0].to_pylist())
    assert {name.split("_")[0] for name in warped} == {"Spain", "Nigeria", "S1A", "S2B"}
    ids = [table.column("patch_id").to_pylist() for table in tables]
    assert ids[0] == ids[1] == ids[2]
