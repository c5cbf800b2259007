"""Which patches a plan keeps, and what its rows say."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import shapely

from landmark import plan
from landmark.errors import InputError
from landmark.manifest import Area, Pairing, PatchRules, Sentinel1, Sentinel2
from landmark.scenes import Scene
from tests.landmark.made_plans import WEST, made_catalog, make, rows_of, world
from tests.landmark.made_scenes import both, files_say, grid, manifest, touch_assets, write_items


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return made_catalog(tmp_path, monkeypatch)


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
