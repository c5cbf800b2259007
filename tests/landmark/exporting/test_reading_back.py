"""What is exported, read by others' means, is what the dataset holds: value by value."""

from __future__ import annotations

import datetime as dt
import gc
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import webdataset

from landmark.archive_settings import Archive
from landmark.dataset import Dataset
from landmark.dataset import open as open_dataset
from landmark.exporting import export
from landmark.manifest import LabelSource, PatchRules, Sentinel1, Sentinel2, Splits
from landmark.opened import OpenDataset
from landmark.progress import Silent
from landmark.taxonomy import names_of
from tests.landmark.archives.made import make_cabuar, make_mmflood
from tests.landmark.archives.reading import NOMINAL
from tests.landmark.archives.test_fetching_archives import build, manifest

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Both sensors, events, shares, pixels without data, dates stated and nominal."""
    base = tmp_path_factory.mktemp("both")
    mm = make_mmflood(base / "mm", ("EMSR1-0",))
    make_cabuar(base / "cb" / "512x512.hdf5", a_0={"pre_fire": None})
    asked = manifest(
        Archive(format="mmflood", href=str(mm)),
        Archive(format="cabuar", href=str(base / "cb"), **NOMINAL),
        s1=Sentinel1(),
        s2=Sentinel2(bands=("B02", "B05", "B12")),
        labels=(LabelSource(kind="archive"),),
        patches=PatchRules(min_valid=0.5),
        splits=Splits(method="random", train=0.5, val=0.2, corpus=0.3),
    )
    return build(asked, base / "data")


def same(found: Any, stored: Any) -> bool:
    """Whether a JSON value says what a column holds: times as text, NaN as null."""
    if isinstance(stored, dict):
        return found.keys() == stored.keys() and all(same(found[k], stored[k]) for k in stored)
    if isinstance(stored, list | tuple | np.ndarray):
        return len(found) == len(stored) and all(map(same, found, stored))
    if isinstance(stored, dt.datetime):
        return dt.datetime.fromisoformat(found) == stored
    if isinstance(stored, float | np.floating) and math.isnan(stored):
        return found is None
    return bool(found == stored)


def check_image(opened: OpenDataset, patch_id: str, image: Any) -> None:
    stored = opened.image(patch_id)
    assert (image.dtype, image.shape) == (stored.dtype, stored.shape)
    assert np.array_equal(image, stored, equal_nan=image.dtype.kind == "f")


# The library leaves the files it has read to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_every_value_of_every_patch(dataset: Dataset, tmp_path: Path) -> None:
    summary = export(dataset.root, "webdataset", tmp_path / "w", [], Silent())
    urls = sorted(map(str, (tmp_path / "w").glob("*.tar")))
    assert len(urls) == summary.files
    samples = list(webdataset.WebDataset(urls, shardshuffle=False).decode())
    gc.collect()
    with open_dataset(dataset.root) as opened:
        assert sorted(s["json"]["patch_id"] for s in samples) == sorted(opened)
        for sample in samples:
            facts = sample["json"]
            patch_id = facts["patch_id"]
            row, layout = opened.row(patch_id), opened.layout(patch_id)
            check_image(opened, patch_id, sample["npy"])
            assert sample["txt"] == row["caption"]
            assert facts["split"] in sample["__url__"]
            assert sample["__key__"] == patch_id.replace(".", "-")
            own = set(facts) - {"bands", "scale", "nodata", "known"}
            assert own >= {"fractions", "events", "label_sources", "native_labels", "provenance"}
            for name in own:
                assert same(facts[name], row[name]), name
            assert facts["bands"] == list(layout.bands)
            assert (facts["scale"], facts["nodata"]) == (layout.scale, layout.nodata)
            assert facts["known"] == list(names_of(row["known_mask"]))
        assert any(None in s["json"]["fractions"] for s in samples)
        assert any(s["json"]["events"] for s in samples)


def test_geotiffs_read_every_value_of_every_patch(dataset: Dataset, tmp_path: Path) -> None:
    export(dataset.root, "geotiff", tmp_path / "g", [], Silent())
    files = {path.stem: path for path in (tmp_path / "g").rglob("*.tif")}
    with open_dataset(dataset.root) as opened:
        assert sorted(files) == sorted(opened)
        for patch_id, path in files.items():
            row, layout = opened.row(patch_id), opened.layout(patch_id)
            assert path.parent.relative_to(tmp_path / "g").parts == (row["sensor"], row["split"])
            with rasterio.open(path) as file:
                check_image(opened, patch_id, file.read())
                assert file.crs.to_epsg() == row["epsg"]
                assert list(file.transform)[:6] == row["transform"]
                assert file.descriptions == layout.bands
                assert set(file.scales) == {layout.scale}
                assert set(file.units) == {"dB" if row["sensor"] == "s1" else "reflectance"}
                if row["sensor"] == "s1":
                    assert math.isnan(file.nodata)
                else:
                    assert file.nodata == layout.nodata == 0
                tags = file.tags()
            assert dt.datetime.fromisoformat(tags["datetime"]) == row["datetime"]
            for name in ("patch_id", "sensor", "split", "caption", "caption_long"):
                assert tags.get(name, "") == (row[name] or "")  # GDAL keeps no empty tag
            assert tags.get("labels", "") == ", ".join(row["labels"])
            assert tags.get("known", "") == ", ".join(names_of(row["known_mask"]))
            assert json.loads(tags["native_labels"]) == row["native_labels"]
            assert same(json.loads(tags["provenance"]), row["provenance"])
