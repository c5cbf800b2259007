from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harmonize.assembling import assemble_shard, is_whole, plan_shards, remove_others
from harmonize.gathering import gather
from harmonize.indexing import build_index, index_bytes
from landmark.commits import damage, mark_path, read_mark
from landmark.dataset import Dataset
from landmark.errors import LandmarkError
from landmark.schema import shard_schema
from landmark.shards import ShardReader
from tests.harmonize.datasets import LAYOUTS, Patch, image, manifest, square, write, write_labels

PATCHES = square(9)


def indexed(root: Path) -> tuple[Dataset, pa.Table]:
    dataset = write(root, PATCHES, manifest())
    names = sorted(path.stem for path in dataset.patches.glob("*.parquet"))
    index = build_index(gather(dataset, names).table, manifest()).table
    dataset.shards.mkdir(exist_ok=True)
    dataset.index.write_bytes(index_bytes(index))
    return dataset, index


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pa.Table]:
    dataset, index = indexed(tmp_path_factory.mktemp("source") / "data")
    for task in plan_shards(dataset, index):
        assemble_shard(task)
    return dataset.root, index


@pytest.fixture
def whole(source: tuple[Path, pa.Table], tmp_path: Path) -> tuple[Dataset, pa.Table]:
    shutil.copytree(source[0], tmp_path / "whole")
    return Dataset(tmp_path / "whole"), source[1]


def test_every_kept_patch_lies_where_the_index_says(whole: tuple[Dataset, pa.Table]) -> None:
    dataset, index = whole
    by_id = {patch.patch_id: patch for patch in PATCHES}
    for sensor in ("s1", "s2"):
        for path in [
            p for s in ("train", "val", "corpus") for p in dataset.split_shards(sensor, s)
        ]:
            table = pq.read_table(path)
            expected = shard_schema(LAYOUTS[sensor])
            assert table.schema.names == expected.names
            assert table.schema.metadata == expected.metadata
            assert table.schema.equals(expected)
            own = index.filter(
                pa.compute.equal(index["shard_file"], path.relative_to(dataset.root).as_posix())
            )
            reader = ShardReader(path)
            assert reader.direct
            for row, (fact, held) in enumerate(
                zip(own.to_pylist(), table.drop(["image"]).to_pylist(), strict=True)
            ):
                patch = by_id[fact["patch_id"]]
                assert fact["shard_row"] == row
                for name in ("patch_id", "split", "caption", "caption_long", "pair_id"):
                    assert held[name] == fact[name], name
                assert held["label_mask"] == patch.label_mask
                assert (held["pair_gap_s"] is None) == (held["pair_id"] is None)
                assert held["provenance"]["collection"] == f"sandbox-{sensor}"
                np.testing.assert_array_equal(reader.image(row), image(patch))
    kept = index.filter(pa.compute.not_equal(index["split"], ""))
    rows = sum(len(pq.read_table(p, columns=[])) for p in dataset.shards.glob("s?/*.parquet"))
    assert rows == kept.num_rows


def test_shards_open_with_no_help(whole: tuple[Dataset, pa.Table]) -> None:
    dataset, _ = whole
    (path, *_) = dataset.split_shards("s2", "train")
    assert damage(path) is None
    assert pq.ParquetFile(path).metadata.row_group(0).num_rows <= 64


def test_equal_inputs_give_equal_bytes(whole: tuple[Dataset, pa.Table], tmp_path: Path) -> None:
    dataset, _ = whole
    other, index = indexed(tmp_path / "other")
    for task in reversed(plan_shards(other, index)):
        assemble_shard(pickle.loads(pickle.dumps(task)))
    files = {p.relative_to(dataset.shards): p.read_bytes() for p in dataset.shards.rglob("*.*")}
    assert files == {p.relative_to(other.shards): p.read_bytes() for p in other.shards.rglob("*.*")}


def test_up_to_date_shards_are_known(whole: tuple[Dataset, pa.Table]) -> None:
    dataset, index = whole
    tasks = plan_shards(dataset, index)
    assert all(is_whole(task) for task in tasks)
    # Relabelled patches make the shards they are in outdated.
    first = [p for p in PATCHES if p.sensor == "s1"][:70]
    changed = [Patch(p.sensor, p.column, p.row, p.label_mask ^ 1) for p in first]
    write_labels(dataset, "s1-00000", changed)
    outdated = {task.shard for task in plan_shards(dataset, index) if not is_whole(task)}
    assert outdated
    assert all(shard.startswith("shards/s1/") for shard in outdated)


@pytest.mark.parametrize(
    "damage_it",
    [
        lambda path: path.unlink(),
        lambda path: mark_path(path).unlink(),
        lambda path: mark_path(path).write_text("{}"),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
    ],
)
def test_incomplete_shards_are_made_again(
    whole: tuple[Dataset, pa.Table], damage_it: Callable[[Path], object]
) -> None:
    dataset, index = whole
    task = plan_shards(dataset, index)[0]
    path = dataset.root / task.shard
    before = path.read_bytes()
    damage_it(path)
    assert not is_whole(task)
    assemble_shard(task)
    assert is_whole(task)
    assert path.read_bytes() == before


def test_shards_of_another_numbering_are_removed(whole: tuple[Dataset, pa.Table]) -> None:
    dataset, index = whole
    tasks = [task.shard for task in plan_shards(dataset, index)]
    stale = dataset.shards / "s1" / "train-00007-of-00009.parquet"
    source = dataset.root / tasks[0]
    stale.write_bytes(source.read_bytes())
    mark_path(stale).write_bytes(mark_path(source).read_bytes())
    lone = dataset.shards / "s2" / "val-00003-of-00004.json"
    lone.write_text("{}")
    assert remove_others(dataset, tasks) == 2
    assert not stale.exists()
    assert not mark_path(stale).exists()
    assert not lone.exists()
    assert all((dataset.root / shard).exists() for shard in tasks)
    assert remove_others(dataset, []) == len(tasks)
    assert not (dataset.shards / "s1").exists()


def test_damaged_image_is_not_copied(tmp_path: Path) -> None:
    dataset, index = indexed(tmp_path / "data")
    task = plan_shards(dataset, index)[0]
    for path in dataset.patches.glob("s1-*.parquet"):
        start = ShardReader(path)._offsets
        assert start is not None
        data = bytearray(path.read_bytes())
        for place in start:
            data[int(place) + 40] ^= 1
        path.write_bytes(data)
    with pytest.raises(LandmarkError, match=r"s1-0000.*checksum"):
        assemble_shard(task)
    assert read_mark(dataset.root / task.shard) is None
    assert not (dataset.root / task.shard).exists()


def test_index_of_another_run_is_refused(tmp_path: Path) -> None:
    dataset, index = indexed(tmp_path / "data")
    tasks = plan_shards(dataset, index)
    dataset.index.write_bytes(index_bytes(index.slice(5)))
    with pytest.raises(LandmarkError, match="were planned"):
        assemble_shard(tasks[0])


def test_patches_of_an_earlier_version_are_put_together(tmp_path: Path) -> None:
    dataset, index = indexed(tmp_path / "early")
    task = plan_shards(dataset, index)[0]
    for path in dataset.patches.glob("*.parquet"):
        table = pq.read_table(path).drop_columns(["original"])
        place = table.column_names.index("provenance")
        fields = [field for field in table.schema.field(place).type if field.name != "notes"]
        rows = [
            {field.name: row[field.name] for field in fields}
            for row in table["provenance"].to_pylist()
        ]
        early = table.set_column(place, "provenance", pa.array(rows, pa.struct(fields)))
        pq.write_table(early, path)
    assemble_shard(task)
    made = pq.read_table(dataset.root / task.shard)
    assert made["original"].null_count == made.num_rows > 0
    assert made["provenance"][0].as_py()["notes"] is None
    assert made["provenance"][0].as_py()["provider"]
