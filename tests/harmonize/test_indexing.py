from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harmonize.event_sources import prior_names
from harmonize.gathering import gather
from harmonize.indexing import INDEX_SCHEMA, build_index, index_bytes, without_shards
from harmonize.text_codes import coded_schema
from landmark.dataset import Dataset
from landmark.errors import LandmarkError
from landmark.label_settings import EventSource
from landmark.schema import label_schema, patch_schema
from landmark.shards import commit_shard
from tests.harmonize.datasets import LAYOUTS, Patch, manifest, square, write, write_labels


def shard_names(dataset: Dataset) -> list[str]:
    return sorted(path.stem for path in dataset.patches.glob("*.parquet"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write(tmp_path_factory.mktemp("index") / "data", square(12), manifest())


def index_of(dataset: Dataset, **changes: object) -> pa.Table:
    return build_index(gather(dataset, shard_names(dataset)).table, manifest(**changes)).table


def test_every_patch_has_one_row_that_finds_its_image(dataset: Dataset) -> None:
    index = index_of(dataset)
    written = pq.read_table(pa.BufferReader(index_bytes(index)))
    assert index.schema.equals(coded_schema(INDEX_SCHEMA), check_metadata=True)
    assert written.schema.metadata == INDEX_SCHEMA.metadata
    assert not any(pa.types.is_dictionary(field.type) for field in written.schema)
    assert written.to_pylist() == index.to_pylist()
    assert sorted(index["patch_id"].to_pylist()) == sorted(p.patch_id for p in square(12))
    for name in shard_names(dataset):
        ids = pq.read_table(dataset.patch_shard(name), columns=["patch_id"])["patch_id"]
        own = index.filter(pa.compute.equal(index["patch_file"], f"patches/{name}.parquet"))
        assert own["patch_id"].to_pylist() == ids.take(own["patch_row"]).to_pylist()


def test_events_that_decide_nothing_tie_nothing(dataset: Dataset) -> None:
    names = shard_names(dataset)
    usgs = EventSource(kind="comcat", file="quakes/flood.json", version="2024")
    own = EventSource(kind="vector", type="flood", file="other.json")
    priors = prior_names([usgs, own])
    assert priors == {"flood.json (2024)"}
    same = EventSource(kind="vector", type="earthquake", file="own/flood.json", version="2024")
    assert prior_names([usgs, own, same]) == frozenset()
    every = gather(dataset, names).table["event_ids"].to_pylist()
    assert any("flood:flood-1" in ids for ids in every)
    without = gather(dataset, names, priors={"flood.geojson"}).table["event_ids"].to_pylist()
    assert without == [[name for name in ids if name != "flood:flood-1"] for ids in every]


def test_shards_are_numbered_without_gaps_and_balanced(dataset: Dataset) -> None:
    index = index_of(dataset).to_pylist()
    by_file: dict[str, list[int]] = {}
    for row in index:
        if row["split"]:
            assert row["shard_file"].startswith(f"shards/{row['sensor']}/{row['split']}-")
            by_file.setdefault(row["shard_file"], []).append(row["shard_row"])
        else:
            assert (row["shard_file"], row["shard_row"]) == ("", -1)
            assert row["drop_reason"] == "buffer"
    for rows in by_file.values():
        assert rows == list(range(len(rows)))
        assert len(rows) <= 40
    trains = sorted(name for name in by_file if "s1/train" in name)
    count = len(trains)
    assert count > 1
    assert trains == [f"shards/s1/train-{i:05d}-of-{count:05d}.parquet" for i in range(count)]
    sizes = [len(by_file[name]) for name in trains]
    assert max(sizes) - min(sizes) <= 1


def test_rows_are_mixed(dataset: Dataset) -> None:
    index = index_of(dataset)
    train = [r for r in index.to_pylist() if r["sensor"] == "s1" and r["split"] == "train"]
    ids = [row["patch_id"] for row in train]
    assert ids != sorted(ids)
    assert len({row["patch_file"] for row in train[:20]}) > 1


def test_equal_inputs_give_equal_bytes_and_the_seed_matters(dataset: Dataset) -> None:
    assert index_bytes(index_of(dataset)) == index_bytes(index_of(dataset))
    assert index_bytes(index_of(dataset)) != index_bytes(index_of(dataset, seed=6))


def test_how_patches_are_cut_into_files_does_not_matter(dataset: Dataset, tmp_path: Path) -> None:
    other = write(tmp_path / "data", square(12), manifest(), rows_per_shard=33)
    one, two = index_of(dataset), index_of(other)
    same = [name for name in one.schema.names if not name.startswith("patch_")]
    assert one.select(["patch_id", *same]).equals(two.select(["patch_id", *same]))


@pytest.mark.parametrize("method", ["blocks", "random"])
def test_partners_share_a_split(dataset: Dataset, method: str) -> None:
    index = index_of(dataset, splits={"method": method, "block_km": 6})
    split_of = dict(zip(index["patch_id"].to_pylist(), index["split"].to_pylist(), strict=True))
    pairs = [row for row in index.to_pylist() if row["pair_id"]]
    assert pairs
    for row in pairs:
        assert row["split"] == split_of[row["pair_id"]] != ""
    if method == "blocks":
        assert len(pairs) == sum(1 for split in split_of.values() if split)
    else:
        assert len(pairs) < index.num_rows


def test_partner_that_does_not_exist_is_null(tmp_path: Path) -> None:
    lone = [Patch("s2", 400, 4000, 1, pair_id="32632_0400_4000_s1_S1A_20230704T000000")]
    dataset = write(tmp_path / "data", lone, manifest())
    assert index_of(dataset)["pair_id"].to_pylist() == [None]


def test_patch_shards_without_patches_are_fine(tmp_path: Path) -> None:
    dataset = write(tmp_path / "data", square(3), manifest())
    for name, schema in (("s2-00001", patch_schema(LAYOUTS["s2"])), ("labels", label_schema())):
        path = dataset.patch_shard(name) if name != "labels" else dataset.label_shard("s2-00001")
        commit_shard(path, schema.empty_table(), "empty")
    index = index_of(dataset)
    assert index.num_rows == 18
    assert "patches/s2-00001.parquet" not in index["patch_file"].to_pylist()


def test_nothing_at_all_is_fine() -> None:
    index = build_index(gather(Dataset(Path("nowhere")), []).table, manifest()).table
    assert index.num_rows == 0
    written = pq.read_table(pa.BufferReader(index_bytes(index)))
    assert written.schema.names == INDEX_SCHEMA.names


def test_labels_of_other_patches_are_refused(tmp_path: Path) -> None:
    patches = square(3)
    dataset = write(tmp_path / "data", patches, manifest())
    write_labels(dataset, "s1-00000", [p for p in patches if p.sensor == "s1"][::-1])
    with pytest.raises(LandmarkError, match=r"s1-00000.*does not hold the patches"):
        gather(dataset, shard_names(dataset))


def test_without_shards(dataset: Dataset) -> None:
    index = index_of(dataset)
    keep = index["shard_file"].to_pylist()[0]
    cut = without_shards(index, frozenset({keep}))
    assert set(cut["shard_file"].to_pylist()) == {keep, ""}
    for row in cut.to_pylist():
        assert (row["shard_row"] >= 0) == (row["shard_file"] == keep)
    assert cut.drop(["shard_file", "shard_row"]).equals(index.drop(["shard_file", "shard_row"]))


def test_sources_and_years_are_gathered(dataset: Dataset) -> None:
    sources = gather(dataset, shard_names(dataset)).sources
    assert {s.sensor: n for s, n in sources.pixels.items()} == {"s1": 144, "s2": 144}
    assert [(s.source, n) for s, n in sources.labels.items()] == [("corine", 288)]
    assert sources.years == (2023,)
