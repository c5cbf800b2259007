"""The commands on real data: pixels against plain rasterio, CORINE codes against their maps."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import yaml
from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import Resampling, reproject

import landmark.dataset
from landmark.dataset import Dataset
from landmark.opened import OpenDataset

pytestmark = pytest.mark.real

ALL_BANDS = (
    "B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12",
)  # fmt: skip
RGBN = ("B02", "B03", "B04", "B08")
SIDES = dict.fromkeys(ALL_BANDS, 60) | dict.fromkeys(RGBN, 120) | {"B01": 20, "B09": 20}
#: Items whose pixels hold +1000 (baseline 04.00 in their metadata).
WITH_OFFSET = {
    "S2A_MSIL2A_20220706T085611_R007_T33NZA_20220706T153419",
    "S2A_MSIL2A_20221005T115411_R023_T29UNU_20221005T164454",
}


def run(*words: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == code, done.stderr[-2000:]
    return done


def fetch(folder: Path, manifest: dict[str, Any], *words: str, code: int = 0) -> Path:
    path = folder / "manifest.yaml"
    path.write_text(yaml.safe_dump(manifest))
    run("fetch", path, "--out", folder / "data", "--quiet", *words, code=code)
    return folder / "data"


# An independent reader: whole files, plain rasterio, the documented radiometry.


def masked(path: Path) -> tuple[np.ndarray, Affine, CRS]:
    """Return a whole file as float64, nodata as NaN (DN 0 of Sentinel-2 too)."""
    with rasterio.open(path) as source:
        values = source.read(1).astype(np.float64)
        if source.nodata is not None:
            values[values == source.nodata] = np.nan
        if np.issubdtype(np.dtype(source.dtypes[0]), np.integer):
            values[values == 0] = np.nan
        return values, source.transform, source.crs


def on_frame(
    values: np.ndarray, transform: Affine, crs: CRS, row: dict[str, Any], side: int
) -> tuple[np.ndarray, str]:
    """Return values on a patch's frame, and how they were obtained."""
    x_min, y_max, size = row["transform"][2], row["transform"][5], 1200 / side
    column, line = (x_min - transform.c) / transform.a, (y_max - transform.f) / transform.e
    if (
        crs.to_epsg() == row["epsg"]
        and math.isclose(transform.a, size)
        and math.isclose(transform.e, -size)
        and max(abs(column - round(column)), abs(line - round(line))) < 1e-6
    ):
        column, line = round(column), round(line)
        return values[line : line + side, column : column + side], "none"
    warped = np.full((side, side), np.nan)
    reproject(
        values,
        warped,
        src_transform=transform,
        src_crs=crs,
        src_nodata=math.nan,
        dst_nodata=math.nan,
        dst_transform=Affine(size, 0, x_min, 0, -size, y_max),
        dst_crs=CRS.from_epsg(row["epsg"]),
        resampling=Resampling.bilinear,
    )
    return warped, "bilinear"


def reflectance(values: np.ndarray, offset: int) -> np.ndarray:
    # Documented: to nearest after rounding to 6 decimals, so that float noise decides no tie.
    shifted = np.clip(np.rint(np.round(values, 6)) + offset, 1, 65535)
    return np.where(np.isnan(values), 0, shifted).astype(np.uint16)


class Items:
    """The catalog's own item files, read without landmark."""

    def __init__(self, catalog: Path) -> None:
        self.files = {}
        for path in catalog.glob("*/*/*.json"):
            item = json.loads(path.read_text())
            if item.get("type") == "Feature":
                self.files[item["id"]] = (path.parent, item)

    def asset(self, item: str, key: str) -> Path:
        folder, content = self.files[item]
        return folder / content["assets"][key]["href"]

    def unit(self, item: str) -> str:
        return str(self.files[item][1]["properties"]["s1:unit"])


def check_optical(opened: OpenDataset, patch_id: str, items: Items, bands: tuple[str, ...]) -> str:
    row = opened.row(patch_id)
    item = row["provenance"]["item"]
    offset = -1000 if item in WITH_OFFSET else 0
    assert row["provenance"]["offset"] == offset
    ways = []
    valid = np.ones((120, 120), bool)
    for band, plane in zip(bands, opened.planes(patch_id), strict=True):
        side = SIDES[band]
        values, way = on_frame(*masked(items.asset(item, band)), row, side)
        expected = reflectance(values, offset)
        assert np.array_equal(plane, expected), (patch_id, band)
        valid &= np.kron(expected > 0, np.ones((120 // side,) * 2, bool))
        ways.append(way)
    way = "bilinear" if "bilinear" in ways else "none"
    assert row["provenance"]["resampling"] == way
    assert row["valid_fraction"] == pytest.approx(valid.mean(), abs=1e-6)
    return way


def check_radar(opened: OpenDataset, patch_id: str, items: Items) -> str:
    row = opened.row(patch_id)
    item = row["provenance"]["item"]
    way = ""
    for key, plane in zip(("vv", "vh"), opened.planes(patch_id), strict=True):
        values, transform, crs = masked(items.asset(item, key))
        linear = items.unit(item) == "linear"
        power = values if linear else 10 ** (values / 10)
        power = np.where(power > 0, power, np.nan)
        power, way = on_frame(power, transform, crs, row, 120)
        with np.errstate(divide="ignore"):
            expected = (10 * np.log10(power)).astype(np.float32)
        assert np.array_equal(np.isnan(plane), np.isnan(expected)), patch_id
        if way == "none" and not linear:  # dB that need no warp are kept as they are
            exact, _ = on_frame(values, transform, crs, row, 120)
            assert np.array_equal(plane, exact.astype(np.float32), equal_nan=True)
        else:
            assert np.allclose(plane, expected, rtol=0, atol=2e-5, equal_nan=True), patch_id
    assert row["provenance"]["resampling"] == way
    return way


def catalog_manifest(shared_data: Path, **sensors: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "real",
        "catalog": {"kind": "local", "href": str(shared_data / "catalog" / "catalog.json")},
        "grid": "scene",
        "patches": {"min_valid": 0.0, "max_cloud": 1.0},
        "shards": {"rows": 16},
        **sensors,
    }


def plan_of(data: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(Dataset(data).plan).to_pylist()
    return rows


def test_every_patch_of_the_real_catalog_equals_a_plain_read(
    shared_data: Path, tmp_path: Path
) -> None:
    data = fetch(
        tmp_path,
        catalog_manifest(
            shared_data,
            s1={"collections": ["sentinel-1-rtc", "sentinel-1-db"], "quantity": "sigma0_tc"},
            s2={"collections": ["sentinel-2-l2a"]},
            duplicates="all",  # type: ignore[arg-type]
        ),
    )
    items = Items(shared_data / "catalog")
    plan = {row["patch_id"]: row for row in plan_of(data)}
    seen: Counter[tuple[str, str]] = Counter()
    with landmark.dataset.open(data) as opened:
        for patch_id in opened:
            sensor = opened.row(patch_id)["sensor"]
            if sensor == "s2":
                way = check_optical(opened, patch_id, items, ALL_BANDS)
            else:
                way = check_radar(opened, patch_id, items)
            assert plan[patch_id]["resampling"] == way
            assert plan[patch_id]["status"] == "keep"
            seen[sensor, way] += 1
        kept = {patch_id for patch_id, row in plan.items() if row["status"] == "keep"}
        assert set(opened) == kept
    # 25 + 9 of the two Major-TOM cells and 3 BigEarthNet patches lie on their own grid; the
    # SSL4EO-S12 and Sen1Floods11 pieces are in degrees.
    assert seen["s2", "none"] == 25 + 9 + 3
    assert seen["s2", "bilinear"] >= 2
    assert seen["s1", "none"] >= 3
    assert seen["s1", "bilinear"] >= 4


def test_the_real_sixty_metre_item_comes_out_at_native_size(
    shared_data: Path, tmp_path: Path
) -> None:
    bands = tuple(band for band in ALL_BANDS if band != "B08")
    data = fetch(
        tmp_path,
        catalog_manifest(
            shared_data, s2={"collections": ["sentinel-2-l2a-60m"], "bands": list(bands)}
        ),
    )
    items = Items(shared_data / "catalog")
    with landmark.dataset.open(data) as opened:
        assert len(opened) == 15 * 15
        for patch_id in list(opened)[::9]:
            assert check_optical(opened, patch_id, items, bands) == "bilinear"
            row = opened.row(patch_id)
            scl = opened.scl(patch_id)
            with rasterio.open(items.asset(row["provenance"]["item"], "SCL")) as source:
                column = round((row["transform"][2] - source.transform.c) / 20)
                line = round((source.transform.f - row["transform"][5]) / 20)
                window = rasterio.windows.Window(column, line, 60, 60)
                assert scl is not None
                assert np.array_equal(scl, source.read(1, window=window))
            known = scl[scl != 0]
            cloudy = np.isin(known, (3, 8, 9, 10)).mean() if known.size else None
            assert row["cloud_fraction"] == pytest.approx(cloudy)


# BigEarthNet v2


def reben_manifest(shared_data: Path, bands: tuple[str, ...] | None) -> dict[str, Any]:
    return {
        "name": "reben",
        "catalog": {"kind": "archive", "format": "reben", "href": str(shared_data / "reben")},
        "grid": "source",
        "s1": {},
        "s2": {} if bands is None else {"bands": list(bands)},
        "labels": [{"kind": "reference-map"}],
        "splits": {"method": "random"},
        "shards": {"rows": 32},
    }


@pytest.fixture(scope="module")
def reben(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reben")
    data = fetch(folder, reben_manifest(shared_data, RGBN))
    run("harmonize", data, "--quiet")
    return data


def test_all_real_archive_patches_are_the_archive_files(shared_data: Path, reben: Path) -> None:
    folder = shared_data / "reben"
    with landmark.dataset.open(reben) as opened:
        assert Counter(opened.rows["sensor"].to_pylist()) == {"s1": 90, "s2": 90}
        for patch_id in opened:
            row = opened.row(patch_id)
            assert row["provenance"]["resampling"] == "none"
            for href, plane in zip(
                row["provenance"]["hrefs"], opened.planes(patch_id), strict=True
            ):
                with rasterio.open(folder / href) as source:
                    assert np.array_equal(plane, source.read(1), equal_nan=True)
                    assert source.crs.to_epsg() == row["epsg"]
                    assert list(source.transform)[:6] == row["transform"]


def test_native_codes_are_those_of_the_reference_maps(shared_data: Path, reben: Path) -> None:
    maps = shared_data / "reben" / "Reference_Maps"
    metadata = {
        row[name]: row
        for row in pq.read_table(shared_data / "reben" / "metadata.parquet").to_pylist()
        for name in ("patch_id", "s1_name")
    }
    table = json.loads((shared_data / "corine" / "clc_metadata.json").read_text())
    names = ben19_names(table)
    with landmark.dataset.open(reben) as opened:
        for patch_id in opened:
            row = opened.row(patch_id)
            truth = metadata[row["provenance"]["item"]]
            name = truth["patch_id"]
            path = maps / name.rsplit("_", 2)[0] / name / f"{name}_reference_map.tif"
            with rasterio.open(path) as source:
                codes = set(np.unique(source.read(1)).tolist()) - {999}
            assert set(row["native_labels"]) == {f"clc:{code}" for code in codes}, patch_id
            found = {names[int(label.removeprefix("clc:"))] for label in row["native_labels"]}
            assert found - {None} == set(truth["labels"]), patch_id


def ben19_names(table: Any) -> dict[int, str | None]:
    """Return CLC code -> BigEarthNet-19 name (None = not labelled) of the publishers' table."""
    return {
        int(row["code"]): None if row["name_19"] == "UNLABELED" else row["name_19"]
        for row in table["clc_data"]
    }


def test_bands_the_archive_lacks_end_the_command(shared_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "manifest.yaml"
    path.write_text(yaml.safe_dump(reben_manifest(shared_data, None)))
    done = run("fetch", path, "--out", tmp_path / "data", "--quiet", code=2)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1
    for band in set(ALL_BANDS) - set(RGBN):
        assert band in lines[0]
    assert "s2.bands: [B02, B03, B04, B08]" in lines[0]
    assert not (tmp_path / "data").exists()
