"""A reprocessed scene and its original give the same reflectance, whatever offset they hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio

from landmark.fetching import FetchOptions, fetch
from landmark.manifest_file import load_manifest
from landmark.progress import Silent
from landmark.shards import ShardReader
from tests.commands import write_manifest

pytestmark = pytest.mark.integration
#: The duplicate's acquisition; the sandbox keeps it in its original and a reprocessed form.
TWIN_TIME = "20210714T101031"


def patches_of(baseline: str, root: Path, folder: Path) -> dict[str, np.ndarray]:
    manifest = write_manifest(
        folder / f"{baseline}.yaml",
        s1=None,
        s2={
            "collections": ["sentinel-2-l2a"],
            "filter": f"\"s2:processing_baseline\" = '{baseline}'",
        },
        time={"start": "2021-07-14", "end": "2021-07-14"},
    )
    fetch(load_manifest(str(manifest)), root, FetchOptions(), Silent())
    images = {}
    for path in sorted((root / "patches").glob("*.parquet")):
        rows = pq.read_table(path, columns=["patch_id", "provenance"]).to_pylist()
        with ShardReader(path) as shard:
            for index, row in enumerate(rows):
                assert row["provenance"]["baseline"] == baseline
                assert row["provenance"]["offset"] == (-1000 if baseline >= "04.00" else 0)
                images[row["patch_id"]] = np.array(shard.image(index))
    return images


def test_twin_scenes_agree_in_reflectance(
    new_dataset: Callable[[str], Path], tmp_path: Path
) -> None:
    old = patches_of("03.01", new_dataset("old"), tmp_path)
    new = patches_of("05.10", new_dataset("new"), tmp_path)
    assert len(old) > 20
    assert old.keys() == new.keys(), "patch ids must be stable over reprocessings"
    for patch_id, image in old.items():
        assert TWIN_TIME in patch_id
        twin = new[patch_id]
        np.testing.assert_array_equal(image == 0, twin == 0, err_msg=patch_id)
        difference = np.abs(image.astype(int) - twin.astype(int))
        # Rounding, and the clip to 1 of what the offset would push to 0 or below.
        assert difference.max() <= 1, patch_id


def test_dark_valid_pixels_stay_valid(new_dataset: Callable[[str], Path], tmp_path: Path) -> None:
    root = new_dataset("dark")
    images = patches_of("05.10", root, tmp_path)
    item = next(
        path
        for path in (root / "cache" / "sandbox").rglob("B11.tif")
        if TWIN_TIME in path.as_posix() and "20231119" in path.as_posix()
    )
    with rasterio.open(item) as source:
        stored = source.read(1)
    assert (stored[stored > 0] <= 1000).any(), "the sandbox must hold pixels the offset would erase"
    assert all((image > 0).mean() > 0.9 for image in images.values())
    assert min(image[image > 0].min() for image in images.values()) == 1


def test_the_duplicate_is_planned_once(new_dataset: Callable[[str], Path], tmp_path: Path) -> None:
    root = new_dataset("duplicates")
    manifest = write_manifest(tmp_path / "m.yaml")
    fetch(load_manifest(str(manifest)), root, FetchOptions(plan_only=True), Silent())
    rows = [
        row
        for row in pq.read_table(root / "plan.parquet").to_pylist()
        if TWIN_TIME in row["patch_id"]
    ]
    kept = [row for row in rows if row["status"] == "keep"]
    lost = [row for row in rows if row["status"] == "duplicate"]
    assert {row["baseline"] for row in kept} == {"05.10"}
    assert {row["baseline"] for row in lost} == {"03.01"}
    assert len(kept) == len({row["patch_id"] for row in kept}) == len(lost)
    winner = kept[0]["item"]
    assert all(winner in row["reason"] and "baseline" in row["reason"] for row in lost)


def test_coarse_bands_align_in_the_south(
    new_dataset: Callable[[str], Path], tmp_path: Path
) -> None:
    root = new_dataset("south")
    manifest = write_manifest(
        tmp_path / "south.yaml",
        s1=None,
        time={"start": "2022-09-08", "end": "2022-09-08"},
    )
    fetch(load_manifest(str(manifest)), root, FetchOptions(), Silent())
    seen = 0
    for path in sorted((root / "patches").glob("*.parquet")):
        rows = pq.read_table(path).drop_columns(["image", "scl"]).to_pylist()
        with ShardReader(path) as shard:
            for index, row in enumerate(rows):
                assert row["epsg"] == 32736
                assert row["provenance"]["resampling"] == "none"
                planes = dict(zip(shard.layout.bands, shard.planes(index), strict=True))
                for band in ("B01", "B09"):
                    file = next((root / "cache" / "sandbox").rglob(f"*20220908*/{band}.tif"))
                    with rasterio.open(file) as source:
                        corner = (row["transform"][2], row["transform"][5])
                        column, line = ~source.transform @ corner
                        assert column == round(column)
                        assert line == round(line)
                        x, y = round(column), round(line)
                        window = rasterio.windows.Window(x, y, 20, 20)
                        stored = source.read(1, window=window).astype(int)
                    expected = np.where(stored == 0, 0, np.maximum(stored - 1000, 1))
                    np.testing.assert_array_equal(planes[band], expected)
                    seen += 1
    assert seen > 40
