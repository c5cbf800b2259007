"""What a plan costs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from landmark import plan_rows, plan_summary
from landmark.plan_summary import summarise
from landmark.scenes import Scene
from tests.landmark.made_plans import made_catalog, make, make_file
from tests.landmark.made_scenes import both, manifest


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return made_catalog(tmp_path, monkeypatch)


def test_summary(catalog: Path, tmp_path: Path) -> None:
    made = make_file(both(catalog), tmp_path)
    table = made.table()
    summary = summarise([table], plan_seconds=1.25)
    kept = pc.sum(pc.equal(table.column("status"), "keep")).as_py()
    assert summary.patches == kept == sum(made.shard_sizes().values())
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
    alone = summarise([make(manifest(catalog, area=None), tmp_path, limit=1)])
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
        return summarise([table.set_column(index, "scene", column)])

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
    limited = summarise([table.set_column(index, "scene", column)])
    assert limited.estimate["32"] >= round(limited.requests / 30.0, 1) - 0.2
    assert limited.estimate["32"] > summarise([table]).estimate["32"]


def test_parts_are_cut_between_scenes_and_carry_no_texts_of_scenes_before(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_rows, "GROUP_ROWS", 7)
    made = make_file(both(catalog), tmp_path)
    parts = list(plan_summary._whole_scenes(made.groups(kept=True)))
    items = [set(part["item"].to_pylist()) for part in parts]
    assert sorted(item for one in items for item in one) == [
        "s1-wide", "s2-june", "s2-left", "s2-right"
    ]  # fmt: skip
    for part in parts:
        assert len(part["scene"].combine_chunks().dictionary) <= 3
    kept = made.table(kept=True)
    assert pa.concat_tables(parts).unify_dictionaries().to_pylist() == kept.to_pylist()
