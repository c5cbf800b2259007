from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landmark import plan
from landmark.archives import reben
from landmark.archives.reading import ArchiveImage
from landmark.errors import InputError
from landmark.grid import Frame
from landmark.manifest import (
    Area,
    Catalog,
    Manifest,
    Pairing,
    PatchRules,
    Sentinel1,
    Sentinel2,
    Shards,
)
from landmark.plan_summary import summarise
from landmark.progress import Silent
from landmark.scenes import Scene, SourceGrid
from tests.landmark.made_scenes import (
    both,
    files_say,
    footprint,
    grid,
    item,
    manifest,
    roots,
    scene,
    touch_assets,
    write_items,
)

WEST, NORTH = 600_000, 5_000_400
S2 = {"s2:processing_baseline": "05.09", "s2:mgrs_tile": "32TPR"}
S1 = {"s1:unit": "linear", "sat:orbit_state": "ascending"}


def world() -> tuple[list[dict[str, Any]], dict[str, SourceGrid]]:
    """Return two optical tiles that overlap, a reprocessed twin, and two radar scenes."""
    grids = {
        "s2-left": grid(pixels=960),
        "s2-right": grid(west=WEST + 4800, pixels=960),
        "s2-old": grid(pixels=960),
        "s2-june": grid(pixels=480),
        "s1-wide": grid(west=WEST - 4800, pixels=1560),
        "s1-lone": grid(pixels=480),
    }
    items = [
        item("s2-left", grids["s2-left"], **S2),
        item("s2-right", grids["s2-right"], **(S2 | {"s2:mgrs_tile": "32TQR"})),
        item("s2-old", grids["s2-old"], **(S2 | {"s2:processing_baseline": "02.14"})),
        item("s2-june", grids["s2-june"], **(S2 | {"datetime": "2023-06-01T10:10:31Z"})),
        item("s1-wide", grids["s1-wide"], **(S1 | {"datetime": "2023-07-03T17:00:00Z"})),
        item("s1-lone", grids["s1-lone"], **(S1 | {"datetime": "2023-07-05T05:30:00Z"})),
    ]
    del items[-1]["assets"]["vh"]
    return items, grids


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    items, grids = world()
    touch_assets(tmp_path, items)
    files_say(monkeypatch, grids)
    return write_items(tmp_path / "items.json", items)


def make(asked: Manifest, folder: Path, **options: Any) -> pa.Table:
    return plan.make_plan(asked, roots(asked, folder), Silent(), **options)


def rows_of(table: pa.Table, **wanted: str) -> list[dict[str, Any]]:
    return [r for r in table.to_pylist() if all(r[k] == v for k, v in wanted.items())]


def test_every_candidate_has_a_status_and_a_reason(catalog: Path, tmp_path: Path) -> None:
    table = make(both(catalog), tmp_path)
    counts = Counter((r["item"], r["status"]) for r in table.to_pylist())
    assert counts == {
        ("s1-wide", "keep"): 13 * 13,
        ("s1-lone", "polarisation"): 16,
        ("s2-left", "keep"): 48,
        ("s2-left", "duplicate"): 16,
        ("s2-right", "keep"): 48,
        ("s2-right", "duplicate"): 16,
        ("s2-old", "duplicate"): 64,
        ("s2-june", "keep"): 16,
    }
    assert table.schema.remove_metadata() == plan.PLAN_SCHEMA
    assert {r["reason"] for r in rows_of(table, item="s2-old")} == {
        "s2-left has the newer baseline 05.09"
    }
    assert {r["reason"] for r in rows_of(table, item="s1-lone")} == {"has VV, lacks VH"}
    lost = rows_of(table, item="s2-left", status="duplicate")
    assert {r["reason"] for r in lost} == {"same overpass in s2-right, which lies more central"}
    kept = [r["patch_id"] for r in rows_of(table, status="keep")]
    assert len(kept) == len(set(kept))
    for row in table.to_pylist():
        assert (row["reason"] == "") == (row["status"] == "keep") == (row["shard"] != "")
        assert (row["row"] >= 0) == (row["status"] == "keep")


def test_a_row_says_where_when_and_from_what(catalog: Path, tmp_path: Path) -> None:
    row = rows_of(make(both(catalog), tmp_path), item="s2-left", frame="32632_0500_4166")[0]
    assert row["patch_id"] == "32632_0500_4166_s2_S2A_20230704T101031"
    assert (row["epsg"], row["x_min"], row["y_max"]) == (32632, WEST, 4167 * 1200)
    assert (row["mgrs"], row["baseline"], row["offset"]) == ("32TPR", "05.09", -1000)
    assert (row["resampling"], row["offset_evidence"]) == ("none", "inconclusive")
    outline = shapely.from_wkb(row["geometry"])
    assert outline.is_valid
    assert outline.contains(shapely.Point(row["lon"], row["lat"]))
    assert shapely.distance(outline.centroid, shapely.Point(row["lon"], row["lat"])) < 1e-5
    one = Scene.from_json(row["scene"])
    assert (one.item, one.grid) == ("s2-left", grid(pixels=960))
    assert one.bands[0].href == "s2-left/B01.tif"


def test_partners_are_the_nearest_in_time(catalog: Path, tmp_path: Path) -> None:
    table = make(both(catalog), tmp_path)
    july = rows_of(table, item="s2-left", status="keep")[0]
    assert july["pair_id"] == f"{july['frame']}_s1_S1A_20230703T170000"
    assert july["pair_gap_s"] == -61831
    assert all(r["pair_id"] is None for r in rows_of(table, item="s2-june"))
    assert all(r["pair_id"] is None for r in rows_of(table, status="duplicate"))
    radar = {r["frame"]: r for r in rows_of(table, item="s1-wide")}
    assert radar[july["frame"]]["pair_id"] == july["patch_id"]
    short = make(both(catalog, pairing=Pairing(max_gap_hours=1)), tmp_path)
    assert short.column("pair_id").null_count == short.num_rows


def test_shards_hold_neighbours_of_one_sensor(catalog: Path, tmp_path: Path) -> None:
    table = make(both(catalog, shards=Shards(rows=50)), tmp_path)
    sizes = plan.shard_sizes(table)
    assert list(sizes) == plan.shard_names(table)
    assert sizes == {
        "s1-00000": 42, "s1-00001": 42, "s1-00002": 42, "s1-00003": 43,
        "s2-00000": 16, "s2-00001": 48, "s2-00002": 48,
    }  # fmt: skip
    seen = dict(plan.iter_shards(table))
    assert list(seen) == list(sizes)
    for name, size in sizes.items():
        rows = plan.shard_rows(table, name)
        assert rows == seen[name]
        assert rows.column("row").to_pylist() == list(range(size))
        assert set(rows.column("sensor").to_pylist()) == {name[:2]}
    with pytest.raises(InputError, match="the plan has no shard 's3-00000'"):
        plan.shard_rows(table, "s3-00000")


@given(order=st.permutations(range(6)), lines=st.booleans())
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_bytes_of_a_plan_do_not_depend_on_the_order_of_items(
    catalog: Path, tmp_path: Path, order: list[int], lines: bool
) -> None:
    items, _ = world()
    plain, mixed = tmp_path / "plain.parquet", tmp_path / "mixed.parquet"
    if not plain.exists():
        plan.write_plan(plain, make(both(catalog), tmp_path))
    name = "mixed.ndjson" if lines else "mixed.json"
    shuffled = write_items(tmp_path / name, [items[index] for index in order])
    plan.write_plan(mixed, make(both(shuffled), tmp_path))
    assert mixed.read_bytes() == plain.read_bytes()


def test_a_plan_survives_writing(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "_ROW_GROUP_ROWS", 50)  # many row groups, as large plans have
    table = make(both(catalog, shards=Shards(rows=50)), tmp_path, limit=60)
    path = tmp_path / "plan.parquet"
    plan.write_plan(path, table)
    back = plan.read_plan(path)
    assert back.to_pylist() == table.to_pylist()
    assert back.schema.equals(table.schema, check_metadata=False)
    assert plan.limit_of(back) == plan.limit_of(table) == 60
    assert plan.kept_scenes(back) == plan.kept_scenes(table)
    assert [s.item for s in plan.kept_scenes(back)] == ["s1-wide", "s2-june", "s2-left", "s2-right"]
    for name in plan.shard_names(table):
        assert (
            plan.read_shard_rows(path, name).to_pylist() == plan.shard_rows(table, name).to_pylist()
        )
    assert summarise(back) == summarise(table)
    with pytest.raises(InputError, match="no shard"):
        plan.read_shard_rows(path, "s9-00000")


def test_damaged_and_foreign_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "plan.parquet"
    with pytest.raises(InputError, match="no such plan"):
        plan.read_plan(path)
    path.write_bytes(b"PAR1 nonsense")
    with pytest.raises(InputError, match="cannot be read") as caught:
        plan.read_plan(path)
    assert "\n" not in str(caught.value)
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(InputError, match="no landmark plan"):
        plan.read_plan(path)
    newer = {plan.METADATA_KEY: json.dumps({"version": 99})}
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata(newer), path)
    with pytest.raises(InputError, match="newer"):
        plan.read_plan(path)


def test_geopandas_opens_a_plan(catalog: Path, tmp_path: Path) -> None:
    import geopandas

    table = make(both(catalog), tmp_path)
    plan.write_plan(tmp_path / "plan.parquet", table)
    frame = geopandas.read_parquet(tmp_path / "plan.parquet")
    assert frame.crs == "OGC:CRS84"
    assert len(frame) == table.num_rows
    assert frame.geometry.is_valid.all()
    first = frame.iloc[[0]].to_crs(int(frame.epsg[0])).geometry.iloc[0]
    assert first.bounds == pytest.approx(
        (frame.x_min[0], frame.y_max[0] - 1200, frame.x_min[0] + 1200, frame.y_max[0]), abs=0.01
    )


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


def test_thinning_keeps_the_same_cells_of_all_sensors(catalog: Path, tmp_path: Path) -> None:
    table = make(both(catalog, patches=PatchRules(share=0.3)), tmp_path)
    kept = {r["frame"] for r in rows_of(table, status="keep")}
    thinned = {r["frame"] for r in rows_of(table, status="thinned")}
    assert {r["reason"] for r in rows_of(table, status="thinned")} == {"share 0.3"}
    assert not kept & thinned
    assert 0.15 < len(kept) / len(kept | thinned) < 0.45
    smaller = make(both(catalog, patches=PatchRules(share=0.1)), tmp_path)
    assert {r["frame"] for r in rows_of(smaller, status="keep")} < kept
    alone = make(manifest(catalog, patches=PatchRules(share=0.3)), tmp_path)
    assert {r["frame"] for r in rows_of(alone, status="keep")} <= kept


def test_a_limit_keeps_so_many_patches_and_their_partners(catalog: Path, tmp_path: Path) -> None:
    table = make(both(catalog), tmp_path, limit=20)
    kept = rows_of(table, status="keep")
    assert len(kept) == 20
    assert {r["reason"] for r in rows_of(table, status="thinned")} == {"--limit 20"}
    fewer = {r["patch_id"] for r in rows_of(make(both(catalog), tmp_path, limit=10), status="keep")}
    assert fewer < {r["patch_id"] for r in kept}
    frames = Counter(r["frame"] for r in kept)
    assert max(frames.values()) > 1


def test_all_processings_can_be_kept(catalog: Path, tmp_path: Path) -> None:
    table = make(manifest(catalog, duplicates="all"), tmp_path)
    old = rows_of(table, item="s2-old")
    assert {r["status"] for r in old} == {"keep"}
    assert old[0]["patch_id"].endswith("_s2_S2A_20230704T101031_N0214")
    kept = [r["patch_id"] for r in rows_of(table, status="keep")]
    assert len(kept) == len(set(kept))


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


def test_nothing_left_is_said_with_causes(catalog: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no patch is left of the plan: 169 orbit, 16 polari"):
        make(
            manifest(
                catalog,
                s2=None,
                s1=Sentinel1(orbit_state="descending"),
            ),
            tmp_path,
        )
    tiny = Area(bbox=(10.3, 45.12, 10.3001, 45.1201))
    with pytest.raises(InputError, match="no whole patch"):
        make(manifest(catalog, area=tiny), tmp_path)


def test_refused_offsets_are_rows_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items, grids = world()
    touch_assets(tmp_path, items)
    files_say(monkeypatch, grids, low={"B02": 40.0, "B08": 50.0})
    asked = manifest(write_items(tmp_path / "i.json", items))
    table = make(asked, tmp_path)
    refused = rows_of(table, item="s2-left")
    assert {r["status"] for r in refused} == {"offset"}
    assert "implies offset -1000, but dark pixels contradict" in refused[0]["reason"]
    assert {r["status"] for r in rows_of(table, item="s2-old")} == {"keep"}
    trusting = manifest(tmp_path / "i.json", s2=Sentinel2(on_conflict="trust_pixels"))
    kept = rows_of(make(trusting, tmp_path), item="s2-left", status="keep")
    assert {(r["offset"], r["offset_evidence"]) for r in kept} == {(0, "agrees")}


def test_cells_cut_by_the_180th_meridian_are_left_out_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = SourceGrid(32660, (10.0, 0, 732_000.0, 0, -10.0, 4_986_000.0), 900, 900)
    one = item("a", source, **S2)
    one["geometry"] = None
    one["bbox"] = None
    touch_assets(tmp_path, [one])
    files_say(monkeypatch, {"a": source})
    table = make(manifest(write_items(tmp_path / "i.json", [one])), tmp_path)
    assert plan.plan_notes(table)["antimeridian_cells_dropped"] > 0
    lons = np.array(table.column("lon"))
    assert {32601, 32660} >= set(table.column("epsg").to_pylist())
    assert (np.abs(lons) > 179.8).all()
    widths = shapely.bounds(shapely.from_wkb(table.column("geometry").to_pylist()))
    assert (widths[:, 2] - widths[:, 0] < 1).all()


def test_summary(catalog: Path, tmp_path: Path) -> None:
    table = make(both(catalog), tmp_path)
    summary = summarise(table, plan_seconds=1.25)
    kept = pc.sum(pc.equal(table.column("status"), "keep")).as_py()
    assert summary.patches == kept == sum(plan.shard_sizes(table).values())
    assert summary.scenes == 4
    assert sum(counts.get("duplicate", 0) for counts in summary.statuses.values()) == 96
    assert sum(counts.get("keep", 0) for counts in summary.statuses.values()) == kept
    assert summary.map[-1].endswith("patches")
    facts = summary.to_dict()
    assert set(facts) == {
        "patches", "scenes", "requests", "bytes_read", "bytes_kept", "bytes_corpus",
        "plan_seconds", "estimate", "statuses",
    }  # fmt: skip
    assert facts["bytes_corpus"] > facts["bytes_kept"]
    assert facts["plan_seconds"] == 1.25
    assert facts["estimate"]["1"] > facts["estimate"]["8"] > 0
    assert json.loads(json.dumps(facts)) == facts
    # Frames of 960 px at 10 m touch 2 x 2 blocks of 512 px in each of four bands, 1 at 20 and 60 m.
    alone = summarise(make(manifest(catalog, area=None), tmp_path, limit=1))
    assert alone.patches == 1
    assert alone.requests >= 2 * 12


def test_the_cost_follows_the_blocks_of_the_headers(catalog: Path, tmp_path: Path) -> None:
    """The same patches out of small blocks: more requests, fewer bytes."""
    table = make(manifest(catalog), tmp_path, limit=1)
    texts = table.column("scene").combine_chunks()

    def with_blocks(edge: int) -> Any:
        scenes = [Scene.from_json(text) for text in texts.dictionary.to_pylist()]
        grids = [replace(one, grid=replace(one.grid, block=edge)) for one in scenes if one.grid]
        changed = pa.array([one.to_json() for one in grids], pa.string())
        column = pa.DictionaryArray.from_arrays(texts.indices, changed)
        index = table.schema.get_field_index("scene")
        return summarise(table.set_column(index, "scene", column))

    small, large = with_blocks(64), with_blocks(480)
    # 10 m: 120 px touch 2 or 3 blocks of 64 px a side; 20 m: 1 or 2; 60 m: 1.
    assert small.requests > large.requests == 12 + 12
    assert small.bytes_read < large.bytes_read


def test_hosts_limits_bound_the_time(catalog: Path, tmp_path: Path) -> None:
    table = make(manifest(catalog), tmp_path)
    texts = table.column("scene").combine_chunks()
    host = "https://eodata.dataspace.copernicus.eu/"
    moved = []
    for text in texts.dictionary.to_pylist():
        one = Scene.from_json(text)
        bands = tuple(replace(band, href=host + band.href) for band in one.bands)
        moved.append(replace(one, bands=bands).to_json())
    column = pa.DictionaryArray.from_arrays(texts.indices, pa.array(moved, pa.string()))
    index = table.schema.get_field_index("scene")
    limited = summarise(table.set_column(index, "scene", column))
    assert limited.estimate["32"] >= round(limited.requests / 30.0, 1) - 0.2
    assert limited.estimate["32"] > summarise(table).estimate["32"]


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
