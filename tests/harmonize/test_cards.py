from __future__ import annotations

from pathlib import Path

import pyarrow.compute as pc
import pytest
import yaml

from harmonize.assembling import assemble_shard, plan_shards
from harmonize.gathering import gather
from harmonize.indexing import build_index
from harmonize.licences import SourceTerms
from harmonize.publishing import Publication, publish
from landmark.dataset import Dataset
from landmark.manifest import Manifest
from tests.harmonize.datasets import manifest, square, write


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write(tmp_path_factory.mktemp("card") / "data", square(12), manifest())


def publication(dataset: Dataset, rules: Manifest) -> Publication:
    names = sorted(path.stem for path in dataset.patches.glob("*.parquet"))
    gathered = gather(dataset, names, terms=SourceTerms.of(rules))
    index = build_index(gathered.table, rules)
    return Publication(rules, gathered.sources, index.table, index.warnings, index.kept_whole)


def card(dataset: Dataset, **changes: object) -> str:
    return publication(dataset, manifest(**changes)).texts["README.md"].decode()


def test_header_is_the_hubs(dataset: Dataset) -> None:
    text = card(dataset)
    header = yaml.safe_load(text.split("---\n")[1])
    assert header["pretty_name"] == "tiny"
    # The floods of the test data state no licence, and CORINE has terms of its own.
    assert header["license"] == ["other", "cc0-1.0"]
    assert header["size_categories"] == ["n<1K"]
    assert "synthetic" in header["tags"]
    assert [config["config_name"] for config in header["configs"]] == ["s1", "s2"]
    assert {file["split"] for file in header["configs"][0]["data_files"]} == {
        *("train", "val", "corpus")
    }


def test_counts_and_prevalences_are_those_of_the_index(dataset: Dataset) -> None:
    made = publication(dataset, manifest())
    text = made.texts["README.md"].decode()
    index = made.index.to_pylist()
    train = [r for r in index if r["sensor"] == "s1" and r["split"] == "train"]
    water = sum(r["label_mask"] & 1 for r in train)
    row = next(line for line in text.splitlines() if line.startswith("| Water |"))
    assert row.split(" | ")[1] == f"{water / len(train):.1%} ({water})"
    counts = next(line for line in text.splitlines() if line.startswith("| Sentinel-1 |"))
    assert counts.split(" | ")[1] == str(len(train))
    assert "| s1 | sandbox | sandbox-s1 | CC0-1.0 | 144 |" in text
    assert "| corine | 2018 | corine | abababababab | 288 |" in text


def test_synthetic_is_said_and_not_credited(dataset: Dataset) -> None:
    text = card(dataset)
    assert "**Synthetic data.**" in text
    assert "Copernicus Sentinel data" not in text


def test_real_sources_are_credited_without_paths_or_secrets(dataset: Dataset) -> None:
    text = card(
        dataset,
        catalog={"kind": "api", "href": "https://me:pw@stac.example.org/v1?sig=s3cret"},
        labels=[{"kind": "corine", "rasters": ["/home/somebody/maps/clc.tif"]}],
        events=[{"type": "flood", "file": "/home/somebody/floods.gpkg"}],
    )
    assert "Synthetic" not in text
    assert "synthetic" not in text
    assert "Contains modified Copernicus Sentinel data 2023." in text
    assert "CORINE Land Cover: European Union" in text
    assert "https://stac.example.org/v1" in text
    assert "clc.tif" in text
    for hidden in ("s3cret", "pw@", "/home/"):
        assert hidden not in text


def test_leaky_split_is_said(dataset: Dataset) -> None:
    assert "**This split leaks**" in card(dataset, splits={"method": "random"})
    assert "leaks" not in card(dataset)


def test_no_patch_is_lost_between_card_and_index(dataset: Dataset) -> None:
    made = publication(dataset, manifest())
    dropped = int(pc.sum(pc.not_equal(made.index["drop_reason"], "")).as_py())
    assert f"({dropped} dropped)" in made.texts["README.md"].decode()


def test_datasets_library_loads_the_folder_by_its_card(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    made = publication(dataset, manifest())
    publish(dataset, made, [])
    for task in plan_shards(dataset, made.index):
        assemble_shard(task)
    loaded = datasets.load_dataset(str(dataset.shards), "s2", cache_dir=str(tmp_path / "cache"))
    rows = made.index.filter(pc.equal(made.index["sensor"], "s2")).to_pylist()
    for split in ("train", "val", "corpus"):
        assert len(loaded[split]) == sum(row["split"] == split for row in rows)
    assert loaded["train"][0]["caption"] == next(
        row["caption"] for row in rows if row["split"] == "train"
    )
