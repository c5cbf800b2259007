"""The manifest's rules on patches, through `fetch`: what they reject is filtered, not a hole."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from affine import Affine

from landmark import patches
from landmark.codec import BITSHUFFLE_LZ4
from landmark.commits import Filtered, read_mark
from landmark.dataset import Dataset
from landmark.fetching import FetchOptions, FetchSummary, fetch
from landmark.manifest import Manifest, PatchRules, Sentinel2
from landmark.progress import Silent
from landmark.schema import s2_layout
from tests.landmark.made_pixels import write
from tests.landmark.made_scenes import grid, item, manifest, write_items

VEGETATION, CLOUD, SNOW = 4, 9, 11
#: What the SCL of each of 2 x 2 patches holds: rows of 60 of snow, of cloud.
HELD = {
    "32632_0500_4166": (60, 0),
    "32632_0501_4166": (30, 0),
    "32632_0500_4165": (6, 54),
    "32632_0501_4165": (0, 0),
}


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """A scene of 2 x 2 patches with snow, clouds, both and neither."""
    source = grid(pixels=240)
    scl = np.full((120, 120), VEGETATION, dtype=np.uint8)
    for (snow, cloud), (row, column) in zip(
        HELD.values(), [(0, 0), (0, 60), (60, 0), (60, 60)], strict=True
    ):
        scl[row : row + snow, column : column + 60] = SNOW
        scl[row + snow : row + snow + cloud, column : column + 60] = CLOUD
    made = item("snowy", source, **{"s2:processing_baseline": "03.01"})
    made["assets"] = {key: {"href": f"./{key}.tif"} for key in ("B02", "SCL")}
    values = np.full((240, 240), 4000, dtype=np.uint16)
    for name, pixels, size in (("B02", values, 10), ("SCL", scl, 20)):
        place = Affine(size, 0, source.transform[2], 0, -size, source.transform[5])
        write(tmp_path / f"{name}.tif", pixels, place, 32632)
    return write_items(tmp_path / "items.json", [made])


def fetched(catalog: Path, rules: PatchRules) -> tuple[FetchSummary, Dataset]:
    asked: Manifest = manifest(catalog, s2=Sentinel2(bands=("B02",)), patches=rules)
    root = catalog.parent / "data"
    return fetch(asked, root, FetchOptions(workers=1), Silent()), Dataset(root)


def test_snow_beyond_the_limit_is_filtered_apart_from_clouds(catalog: Path) -> None:
    summary, dataset = fetched(catalog, PatchRules(max_snow=0.4, max_cloud=1))
    assert summary.filtered == {"snow": 2}
    assert (summary.patches, summary.failures) == (2, 0)
    mark = read_mark(dataset.patch_shard("s2-00000"))
    assert mark is not None
    ending = "_s2_S2A_20230704T101031"
    assert set(mark.filtered) == {
        Filtered(f"32632_0500_4166{ending}", "snow", "1.000 snow > 0.4"),
        Filtered(f"32632_0501_4166{ending}", "snow", "0.500 snow > 0.4"),
    }
    made = pq.read_table(dataset.patch_shard("s2-00000"), columns=["patch_id", "cloud_fraction"])
    clouds = dict(zip(*(column.to_pylist() for column in made.columns), strict=True))
    assert clouds == {
        f"32632_0500_4165{ending}": pytest.approx(0.9),
        f"32632_0501_4165{ending}": 0.0,
    }


@pytest.mark.parametrize(
    ("limit", "filtered"), [(1.0, 0), (0.999, 1), (0.5, 1), (0.49, 2), (0.1, 2), (0.0, 3)]
)
def test_snow_up_to_the_limit_stays(catalog: Path, limit: float, filtered: int) -> None:
    summary, _ = fetched(catalog, PatchRules(max_snow=limit, max_cloud=1))
    assert summary.patches == 4 - filtered
    assert sum((summary.filtered or {}).values()) == filtered


def test_clouds_are_judged_before_snow_and_snow_is_no_cloud(catalog: Path) -> None:
    summary, _ = fetched(catalog, PatchRules(max_snow=0.05, max_cloud=0.5))
    assert summary.filtered == {"cloud": 1, "snow": 2}


def test_how_images_are_compressed_is_no_reason_to_fetch_them_again(
    catalog: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pixels do not depend on it, and `landmark migrate` changes it in place."""
    first, _ = fetched(catalog, PatchRules())
    layout = replace(s2_layout(("B02",)), codec=BITSHUFFLE_LZ4)
    monkeypatch.setattr(patches, "image_layout", lambda manifest, sensor: layout)
    again, _ = fetched(catalog, PatchRules())
    assert first.shards == 1
    assert (again.shards, again.shards_skipped) == (0, 1)


def test_patches_that_come_in_another_order_are_stored_in_the_plans(
    catalog: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A patch that a server gave only when it was asked again comes after the others."""
    _, dataset = fetched(catalog, PatchRules(max_cloud=1, max_snow=1))
    first = pq.read_table(dataset.patch_shard("s2-00000"))
    read = patches._read_scene

    def late(*given: Any) -> Iterator[Any]:
        first, *others = read(*given)
        yield from (*others, first)

    monkeypatch.setattr(patches, "_read_scene", late)
    shutil.rmtree(dataset.patches)
    fetched(catalog, PatchRules(max_cloud=1, max_snow=1))
    assert pq.read_table(dataset.patch_shard("s2-00000")).equals(first)
