"""Plans on disk: equal bytes, row groups, shards, damage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landmark import plan, plan_rows
from landmark.errors import InputError
from landmark.manifest import Pairing, Shards
from landmark.plan_file import METADATA_KEY, PlanFile, scene_texts
from landmark.plan_summary import SUMMARY_COLUMNS, summarise
from landmark.progress import Silent
from tests.landmark.made_plans import S2, WEST, made_catalog, make, make_file, world
from tests.landmark.made_scenes import (
    both,
    files_say,
    grid,
    item,
    manifest,
    roots,
    touch_assets,
    write_items,
)


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return made_catalog(tmp_path, monkeypatch)


def split_finely(monkeypatch: pytest.MonkeyPatch, rows: int = 50) -> None:
    """Let plans have many row groups, as large ones do."""
    monkeypatch.setattr(plan_rows, "GROUP_ROWS", rows)


def test_shards_hold_neighbours_of_one_sensor(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split_finely(monkeypatch)
    made = make_file(both(catalog, shards=Shards(rows=50)), tmp_path)
    sizes = made.shard_sizes()
    assert list(sizes) == sorted(sizes)
    assert sizes == {
        "s1-00000": 42, "s1-00001": 42, "s1-00002": 42, "s1-00003": 43,
        "s2-00000": 16, "s2-00001": 48, "s2-00002": 48,
    }  # fmt: skip
    columns = ["patch_id", "scene", "sensor"]
    seen = dict(made.shards(columns))
    assert seen.keys() == sizes.keys()
    everything = made.table().to_pylist()
    for name, size in sizes.items():
        rows = made.shard_rows(name)
        expected = [row for row in everything if row["shard"] == name]
        assert rows.to_pylist() == sorted(expected, key=lambda row: row["row"])
        assert rows.select(columns).to_pylist() == seen[name].to_pylist()
        assert rows["row"].to_pylist() == list(range(size))
        assert set(rows["sensor"].to_pylist()) == {name[:2]}
    with pytest.raises(InputError, match="the plan has no shard 's3-00000'"):
        made.shard_rows("s3-00000")


def test_a_shard_that_a_large_scene_interrupts_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small scenes share a shard; a large one between them has shards of its own."""
    split_finely(monkeypatch, rows=3)
    sides = {"a-small": 120, "b-large": 480, "c-small": 240}
    items, grids = [], {}
    for day, (name, side) in enumerate(sides.items()):
        grids[name] = grid(west=WEST + 12_000 * day, pixels=side)
        items.append(
            item(name, grids[name], **(S2 | {"datetime": f"2023-07-0{day + 1}T10:10:31Z"}))
        )
    touch_assets(tmp_path, items)
    files_say(monkeypatch, grids)
    asked = manifest(write_items(tmp_path / "i.json", items), shards=Shards(rows=8))
    made = make_file(asked, tmp_path)
    assert made.shard_sizes() == {"s2-00000": 5, "s2-00001": 8, "s2-00002": 8}
    for name, rows in made.shards(["row", "item"]):
        assert rows["row"].to_pylist() == list(range(rows.num_rows))
        assert made.shard_rows(name).select(["row", "item"]).equals(rows)
    assert made.shard_rows("s2-00000")["item"].to_pylist() == ["a-small"] + ["c-small"] * 4


def test_a_shard_is_read_from_its_own_row_groups(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split_finely(monkeypatch)
    made = make_file(both(catalog, shards=Shards(rows=50)), tmp_path)
    whole = []

    class Counted(pq.ParquetFile):
        def read_row_group(self, i: int, columns: list[str] | None = None, **how: Any) -> pa.Table:
            if columns is None:
                whole.append(i)
            return super().read_row_group(i, columns, **how)

    monkeypatch.setattr(pq, "ParquetFile", Counted)
    made.shard_rows("s2-00001")
    assert len(pq.read_metadata(made.path).to_dict()["row_groups"]) > 6
    assert 1 <= len(whole) <= 3


def test_row_groups_are_bounded_by_rows_and_by_the_texts_of_their_scenes(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_file(both(catalog), tmp_path)
    assert pq.read_metadata(whole.path).num_row_groups == 1
    all_rows = whole.table()
    few_rows = make(both(catalog), tmp_path, limit=60)
    longest = max(map(len, scene_texts(all_rows)))
    for rows, text_bytes, table, limit in (
        (50, 1 << 20, all_rows, None),
        (1000, 1, all_rows, None),
        (1000, 2 * longest, all_rows, None),
        (1, 1, few_rows, 60),
    ):
        split_finely(monkeypatch, rows)
        monkeypatch.setattr(plan_rows, "GROUP_TEXT_BYTES", text_bytes)
        made = make_file(both(catalog), tmp_path, limit=limit)
        groups = list(made.groups())
        assert max(group.num_rows for group in groups) <= rows
        for group in groups:
            texts = scene_texts(group)
            assert len(texts) == 1 or sum(map(len, texts)) <= text_bytes
            assert group["scene"].combine_chunks().dictionary.to_pylist() == texts
        assert made.table().to_pylist() == table.to_pylist()
        summary = summarise(made.groups(SUMMARY_COLUMNS))
        assert summary == summarise([table])


@given(order=st.permutations(range(6)), lines=st.booleans())
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_bytes_of_a_plan_do_not_depend_on_the_order_of_items(
    catalog: Path, tmp_path: Path, order: list[int], lines: bool
) -> None:
    items, _ = world()
    plain = tmp_path / "plain.parquet"
    if not plain.exists():
        make_file(both(catalog), tmp_path).path.replace(plain)
    name = "mixed.ndjson" if lines else "mixed.json"
    shuffled = write_items(tmp_path / name, [items[index] for index in order])
    made = make_file(both(shuffled), tmp_path)
    assert made.path.read_bytes() == plain.read_bytes()


def test_a_plan_says_what_it_was_made_of(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split_finely(monkeypatch)
    made = make_file(both(catalog), tmp_path, limit=60)
    assert made.limit() == 60
    assert made.notes()["grid"] == "utm"
    assert sum(made.shard_sizes().values()) == 60
    scenes = list(made.kept_scenes())
    assert [scene.item for scene in scenes] == ["s1-wide", "s2-june", "s2-left", "s2-right"]
    assert made.table(["row"], kept=True).num_rows == 60
    assert made.table().schema.remove_metadata() == plan.PLAN_SCHEMA


def test_a_new_plan_takes_the_old_ones_place_whole_or_not_at_all(
    catalog: Path, tmp_path: Path
) -> None:
    old = make_file(both(catalog), tmp_path)
    before, names = old.path.read_bytes(), sorted(p.name for p in tmp_path.iterdir())
    asked = both(catalog, pairing=Pairing(max_gap_hours=1))
    staged = plan.staged_plan(old.path, asked, roots(asked, tmp_path), Silent())

    def fail() -> None:
        with staged as new:
            assert new.table(["pair_id"])["pair_id"].null_count == old.table(["row"]).num_rows
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fail()
    assert old.path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == names


def test_damaged_and_foreign_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "plan.parquet"
    with pytest.raises(InputError, match="no such plan"):
        PlanFile(path).notes()
    path.write_bytes(b"PAR1 nonsense")
    with pytest.raises(InputError, match="cannot be read") as caught:
        PlanFile(path).notes()
    assert "\n" not in str(caught.value)
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(InputError, match="no landmark plan"):
        PlanFile(path).notes()
    newer = {METADATA_KEY: json.dumps({"version": 99})}
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata(newer), path)
    with pytest.raises(InputError, match="newer"):
        PlanFile(path).notes()


def test_geopandas_opens_a_plan(catalog: Path, tmp_path: Path) -> None:
    import geopandas

    table = make(both(catalog), tmp_path)
    frame = geopandas.read_parquet(tmp_path / "plan.parquet")
    assert frame.crs == "OGC:CRS84"
    assert len(frame) == table.num_rows
    assert frame.geometry.is_valid.all()
    first = frame.iloc[[0]].to_crs(int(frame.epsg[0])).geometry.iloc[0]
    assert first.bounds == pytest.approx(
        (frame.x_min[0], frame.y_max[0] - 1200, frame.x_min[0] + 1200, frame.y_max[0]), abs=0.01
    )
