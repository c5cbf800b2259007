"""Croissant and STAC descriptions are valid by their own tools and agree with the index."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pystac
import pytest

from harmonize.assembling import assemble_shard, plan_shards
from harmonize.croissant import croissant_json
from harmonize.extent import extent_of
from harmonize.indexing import INDEX_SCHEMA
from harmonize.publishing import publish
from harmonize.stac_collection import collection_json
from harmonize.statistics import count_index
from landmark.dataset import Dataset
from tests.harmonize.datasets import manifest, square, write
from tests.harmonize.test_cards import publication


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    dataset = write(tmp_path_factory.mktemp("catalogue") / "data", square(12), manifest())
    made = publication(dataset, manifest())
    publish(dataset, made, [])
    for task in plan_shards(dataset, made.index):
        assemble_shard(task)
    return dataset


def document(dataset: Dataset, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((dataset.shards / name).read_text())
    return content


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_mlcroissant_finds_nothing_wrong_and_reads_the_records(dataset: Dataset) -> None:
    mlcroissant = pytest.importorskip("mlcroissant")
    described = mlcroissant.Dataset(jsonld=str(dataset.shards / "croissant.json"))
    issues = described.metadata.ctx.issues
    assert list(issues.errors) == []
    assert list(issues.warnings) == []
    records = list(described.records("patches"))
    index = publication(dataset, manifest()).index
    assert len(records) == index.num_rows
    assert [r["patches/patch_id"].decode() for r in records] == index["patch_id"].to_pylist()
    assert [r["patches/label_mask"] for r in records] == index["label_mask"].to_pylist()
    assert [
        [name.decode() if isinstance(name, bytes) else name for name in r["patches/licences"]]
        for r in records
    ] == index["licences"].to_pylist()


def test_geo_fields(dataset: Dataset) -> None:
    content = document(dataset, "croissant.json")
    assert content["conformsTo"] == [
        "http://mlcommons.org/croissant/1.1",
        "http://mlcommons.org/croissant/geo/1.0",
    ]
    south, west, north, east = map(float, content["spatialCoverage"]["geo"]["box"].split())
    for row in publication(dataset, manifest()).index.to_pylist():
        assert west < row["lon"] < east
        assert south < row["lat"] < north
    assert content["temporalCoverage"] == "2023-07-04T10:10:31Z/2023-07-04T10:10:31Z"
    bands = content["geocr:bandConfiguration"]
    expected = ["s1:VV", "s1:VH", "s2:B02", "s2:B03", "s2:B04", "s2:B08"]
    assert bands["geocr:bandNameList"] == expected
    assert bands["geocr:totalBands"] == 6
    spectral = {b["name"]: b for b in content["geocr:spectralBandMetadata"]}
    assert spectral["s2:B08"]["geocr:centerWavelength"]["value"] == 833


def test_listed_files_are_there_with_their_checksums(dataset: Dataset) -> None:
    for entry in document(dataset, "croissant.json")["distribution"]:
        if entry["@type"] == "cr:FileObject":
            data = (dataset.shards / entry["contentUrl"]).read_bytes()
            assert hashlib.sha256(data).hexdigest() == entry["sha256"]
        else:
            assert list(dataset.shards.glob(entry["includes"]))


def test_collection_is_valid_by_pystac(dataset: Dataset) -> None:
    collection = pystac.Collection.from_file(str(dataset.shards / "collection.json"))
    collection.validate()
    assert collection.license == "other"
    index = publication(dataset, manifest()).index
    (box,) = collection.extent.spatial.bboxes
    assert box[0] < min(index["lon"].to_pylist()) < max(index["lon"].to_pylist()) < box[2]
    for asset in collection.assets.values():
        path = asset.get_absolute_href()
        assert path is not None
        assert Path(path).exists(), asset.href


def test_each_zone_has_a_box_of_its_own(dataset: Dataset) -> None:
    index = publication(dataset, manifest()).index
    both = index.set_column(
        index.schema.get_field_index("epsg"),
        INDEX_SCHEMA.field("epsg"),
        pa.array([32632 + i % 2 for i in range(index.num_rows)], pa.int32()),
    )
    one, two = extent_of(index), extent_of(both)
    assert one is not None
    assert two is not None
    assert len(one.boxes) == 1
    assert len(two.boxes) == 3


def test_an_empty_corpus_has_no_extent_and_no_description() -> None:
    empty = INDEX_SCHEMA.empty_table()
    assert croissant_json(manifest(), empty, count_index(empty), {}) is None
    assert collection_json(manifest(), empty, count_index(empty)) is None
