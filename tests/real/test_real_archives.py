"""The shared miniatures of published archives: from their files to labelled datasets.

Pixels are held against independent reads (h5py, `rasterio.warp.reproject` of the whole tile).
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 (registers the filters of the archives)
import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
from affine import Affine
from rasterio.warp import Resampling, reproject

from harmonize.pipeline import harmonize
from landmark.archive_settings import Archive, NominalPlace
from landmark.dataset import Dataset
from landmark.dataset import open as open_dataset
from landmark.exporting import export
from landmark.fetching import FetchOptions, fetch
from landmark.manifest import (
    S2_BANDS,
    Catalog,
    LabelSource,
    Manifest,
    PatchRules,
    Sentinel1,
    Sentinel2,
    Splits,
)
from landmark.progress import Silent
from tests.commands import run, run_json
from tests.real import repacked

pytestmark = pytest.mark.real

PLACE = NominalPlace(epsg=32610, x_min=300_000, y_max=4_400_000)


def build(root: Path, archive: Archive, **options: Any) -> Dataset:
    asked = Manifest(
        name="real",
        catalog=Catalog(kind="archive", archives=(archive,)),
        grid="source",
        **{
            "patches": PatchRules(min_valid=0.5),
            "labels": (LabelSource(kind="archive"),),
            "splits": Splits(method="random", train=0.5, val=0, corpus=0.5),
            **options,
        },
    )
    fetch(asked, root, FetchOptions(max_failed="100%"), Silent())
    harmonize(root, progress=Silent())
    return Dataset(root)


def warped(values: Any, transform: Affine, epsg: int, row: dict[str, Any], side: int) -> Any:
    target = np.full((side, side), np.nan)
    a, _, c, _, _, f = row["transform"]
    size = a * 120 / side
    reproject(
        values.astype(np.float64),
        target,
        src_transform=transform,
        src_crs=f"EPSG:{epsg}",
        src_nodata=np.nan,
        dst_transform=Affine(size, 0, c, 0, -size, f),
        dst_crs=f"EPSG:{row['epsg']}",
        dst_nodata=np.nan,
        resampling=Resampling.bilinear,
    )
    return target


def nearest(source: Any, row: dict[str, Any], fill: int) -> Any:
    codes = np.full((120, 120), fill, np.int16)
    reproject(
        source.read(1),
        codes,
        src_transform=source.transform,
        src_crs=source.crs,
        dst_transform=Affine(*row["transform"]),
        dst_crs=f"EPSG:{row['epsg']}",
        dst_nodata=fill,
        init_dest_nodata=True,
        resampling=Resampling.nearest,
    )
    return codes


def test_mmflood(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "archives" / "mmflood"
    dataset = build(tmp_path / "d", Archive(format="mmflood", href=str(folder)), s1=Sentinel1())
    with open_dataset(dataset.root) as opened:
        assert len(opened) == 19
        for name in opened:
            row = opened.row(name)
            tile = row["provenance"]["item"]
            path = folder / "activations" / tile.rsplit("-", 1)[0] / "s1_raw" / f"{tile}.tif"
            with rasterio.open(path) as source:
                for band, plane in enumerate(opened.image(name), start=1):
                    power = warped(source.read(band), source.transform, 4326, row, 120)
                    slow = (10 * np.log10(power)).astype(np.float32)
                    np.testing.assert_allclose(plane, slow, rtol=2e-6)
            mask = Path(str(path).replace("s1_raw", "mask"))
            with rasterio.open(mask) as source:
                codes = nearest(source, row, fill=255)
            share = float((codes == 1).mean())
            if row["known_mask"] >> 9 & 1:
                assert row["fractions"][9] == pytest.approx(share, abs=5e-4)
            assert row["events"][0]["id"] == tile.partition("-")[0]


def test_sen12flood(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "archives" / "sen12flood"
    archive = Archive(format="sen12flood", href=str(folder))
    dataset = build(tmp_path / "d", archive, s1=Sentinel1(), s2=Sentinel2())
    plan = pq.read_table(dataset.plan, columns=["status", "item"]).to_pylist()
    assert {r["status"] for r in plan if "1SSV" in r["item"]} == {"polarisation"}
    with open_dataset(dataset.root) as opened:
        sensors = Counter(opened.row(name)["sensor"] for name in opened)
        assert sensors == {"s2": 3 * 4, "s1": 2 * 4}
        for name in opened:
            row = opened.row(name)
            layout = opened.layout(name)
            for band, plane in zip(layout.bands, opened.planes(name), strict=True):
                href = row["provenance"]["hrefs"][layout.bands.index(band)]
                with rasterio.open(folder / href.partition("/")[2]) as source:
                    values, grid = source.read(1), source.transform
                    epsg = source.crs.to_epsg()
                if row["sensor"] == "s1":
                    power = warped(10 ** (values.astype(np.float64) / 10), grid, epsg, row, 120)
                    slow = (10 * np.log10(power)).astype(np.float32)
                    np.testing.assert_allclose(plane, slow, rtol=3e-6)
                elif plane.shape == (120, 120):
                    column = round((row["transform"][2] - grid.c) / 10)
                    line = round((grid.f - row["transform"][5]) / 10)
                    part = values[line : line + 120, column : column + 120]
                    assert (plane == part).all()
                else:
                    slow = warped(values, grid, epsg, row, len(plane))
                    assert np.abs(plane - slow).max() <= 0.51
    tags = [tag for row in pq_labels(dataset) for tag in row["native_labels"]]
    assert set(tags) == {"sen12flood:flooding", "sen12flood:no-flooding"}


def pq_labels(dataset: Dataset) -> list[dict[str, Any]]:
    return [
        row
        for path in sorted(dataset.labels.glob("*.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]


def test_cabuar(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "archives" / "cabuar"
    archive = Archive(
        format="cabuar", href=str(folder), nominal_place=PLACE, nominal_date="2020-01-01"
    )
    dataset = build(tmp_path / "d", archive, s2=Sentinel2(), splits=Splits(method="source"))
    with open_dataset(dataset.root) as opened:
        splits = Counter(opened.row(name)["split"] for name in opened)
        assert splits == {"train": 192, "val": 128, "corpus": 128}  # 1 + 2, 2 and 2 images
        for name in sorted(opened)[::29]:
            row = opened.row(name)
            file, _, inner = row["provenance"]["hrefs"][0].partition("/")[2].partition("#")
            with h5py.File(folder / file) as source:
                image = source[inner][()]
                mask = source[f"{inner.rpartition('/')[0]}/mask"][()][:, :, 0]
            line, column = (60 * int(part) for part in name.partition("_fire_")[2].split("_")[:2])
            part = (slice(line, line + 60), slice(column, column + 60))
            layout = opened.layout(name)
            for band in ("B05", "B06", "B07", "B8A", "B11", "B12"):
                plane = opened.planes(name)[layout.bands.index(band)]
                assert (plane == image[(*part, S2_BANDS.index(band))]).all()
            burned = float(mask[part].mean()) if "post" in name else None
            present = "Burned Area" in row["labels"]
            assert present == (burned is not None and burned >= 0.5 / 144)  # half a hectare
            if burned is not None:
                assert row["fractions"][10] == pytest.approx(burned, abs=1e-6)


def test_quakeset(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "archives" / "quakeset"
    archive = Archive(format="quakeset", href=str(folder), nominal_date="2020-01-01")
    labels = (LabelSource(kind="archive", tile_level="present"),)
    dataset = build(
        tmp_path / "d", archive, s1=Sentinel1(), labels=labels, splits=Splits(method="source")
    )
    with open_dataset(dataset.root) as opened, h5py.File(folder / "earthquakes.h5") as file:
        assert len(opened) == 128  # eight images, one of the three events has no `before`
        for name in sorted(opened)[::9]:
            row = opened.row(name)
            event, _, rest = row["provenance"]["item"].partition("_")
            image = rest.rpartition("_")[2]
            x, y = file[event]["x"][()], file[event]["y"][()]
            across, down = np.diff(x).mean(), np.diff(y).mean()
            grid = Affine(across, 0, x[0] - across / 2, 0, down, y[0] - down / 2)
            stored = file[event]["patch_0"][image][()]
            for band, plane in enumerate(opened.image(name)):
                power = warped(stored[:, :, band], grid, 4326, row, 120)
                slow = (10 * np.log10(power)).astype(np.float32)
                np.testing.assert_allclose(plane, slow, rtol=2e-5)
            assert ("Earthquake Damage" in row["labels"]) == (image == "post")


def test_real_pieces_with_missing_partners(shared_data: Path, tmp_path: Path) -> None:
    archive = Archive(format="reben", href=str(shared_data / "reben_12band"))
    labels = (LabelSource(kind="archive"),)
    dataset = build(tmp_path / "d", archive, s1=Sentinel1(), s2=Sentinel2(), labels=labels)
    holes = pq.read_table(dataset.failures).to_pylist()
    patches = pq_labels(dataset)
    assert (len(patches), len(holes)) == (7, 9)
    assert all("no such file" in hole["cause"] for hole in holes)
    assert not {row["patch_id"] for row in patches} & {hole["patch_id"] for hole in holes}
    assert all(row["native_labels"][0].startswith("reben:") for row in patches)


def test_sen1floods11(shared_data: Path, tmp_path: Path) -> None:
    folder = repacked.sen1floods11(shared_data, tmp_path / "f")
    archive = Archive(format="sen1floods11", href=str(folder))
    dataset = build(
        tmp_path / "d", archive, s1=Sentinel1(), s2=Sentinel2(), splits=Splits(method="source")
    )
    pieces = shared_data / "catalog" / "sen1floods11"
    with open_dataset(dataset.root) as opened:
        for name in opened:
            row = opened.row(name)
            item = row["provenance"]["item"].replace("_s", "_S")
            chip = item.rpartition("_")[0]
            for band, plane in zip(opened.layout(name).bands, opened.planes(name), strict=True):
                key = band.lower() if row["sensor"] == "s1" else band
                with rasterio.open(pieces / item / f"{key}.tif") as source:
                    values, grid = source.read(1).astype(np.float64), source.transform
                if row["sensor"] == "s1":
                    power = warped(10 ** (values / 10), grid, 4326, row, 120)
                    slow = (10 * np.log10(power)).astype(np.float32)
                    np.testing.assert_allclose(plane, slow, rtol=3e-6)
                    continue
                slow = warped(np.where(values == 0, np.nan, values), grid, 4326, row, len(plane))
                assert ((plane == 0) == np.isnan(slow)).all()
                assert np.abs(plane - np.nan_to_num(slow)).max() <= 0.5 + 1e-6
            with rasterio.open(pieces / f"{chip}_S1" / "label.tif") as source:
                codes = nearest(source, row, fill=-1)
            blind = round((1 - row["valid_fraction"]) * 14_400)
            wet, dry = int((codes == 1).sum()), int((codes == 0).sum())
            looked = wet + max(0, dry - blind)
            if row["known_mask"] & 1:
                assert row["fractions"][0] == pytest.approx(wet / looked, abs=5e-4)
                assert ("Water" in row["labels"]) == (wet / looked >= 0.02)
            else:
                assert looked / 14_400 < 0.25
            assert not row["known_mask"] >> 9 & 1  # surface water says nothing of a flood
            day = {"Spain_7370579_S1": "17", "Spain_7370579_S2": "18"}.get(item, "21")
            assert row["datetime"].strftime("%d") == day
            assert row["split"] == ("train" if chip.startswith("Spain") else "corpus")
        sensors = Counter(opened.row(name)["sensor"] for name in opened)
    assert sensors["s1"] > sensors["s2"] > 0


def test_bigearthnet_v1(shared_data: Path, tmp_path: Path) -> None:
    folder = repacked.bigearthnet_v1(shared_data, tmp_path / "f")
    archive = Archive(format="bigearthnet-v1", href=str(folder))
    # Blocks keep partners in one split; at random they would lose each other.
    dataset = build(
        tmp_path / "d", archive, s1=Sentinel1(), s2=Sentinel2(), splits=Splits(block_km=1.2)
    )
    with open_dataset(dataset.root) as opened:
        assert Counter(opened.row(name)["sensor"] for name in opened) == {"s1": 3, "s2": 3}
        pairs = {name: opened.row(name)["pair_id"] for name in opened}
        assert all(pairs[pair] == name for name, pair in pairs.items())
        for name in opened:
            row = opened.row(name)
            parent = "BigEarthNet-v1.0" if row["sensor"] == "s2" else "BigEarthNet-S1-v1.0"
            item = row["provenance"]["item"]
            for band, plane in zip(opened.layout(name).bands, opened.planes(name), strict=True):
                with rasterio.open(folder / parent / item / f"{item}_{band}.tif") as source:
                    assert np.array_equal(plane, source.read(1))
                    assert (row["epsg"], row["transform"][2], row["transform"][5]) == (
                        *(source.crs.to_epsg(), source.transform.c, source.transform.f),
                    )
            assert row["provenance"]["resampling"] == "none"
            stated = folder / parent / item / f"{item}_labels_metadata.json"
            words = json.loads(stated.read_text())["labels"]
            assert row["native_labels"] == [f"bigearthnet-v1:{word}" for word in words]
            assert row["labels"]


def test_sen12flood_in_the_stac_layout(shared_data: Path, tmp_path: Path) -> None:
    """Equal to the original layout, whose pixels are held against plain reads above."""
    folder = repacked.sen12flood_stac(shared_data, tmp_path / "f")
    labels = (LabelSource(kind="archive", tile_level="present"),)
    first, second = (
        build(
            tmp_path / name,
            Archive(format="sen12flood", href=str(place)),
            s1=Sentinel1(),
            s2=Sentinel2(),
            labels=labels,
        )
        for name, place in (("a", shared_data / "archives" / "sen12flood"), ("b", folder))
    )
    with open_dataset(first.root) as one, open_dataset(second.root) as other:

        def by_place(opened: Any) -> dict[Any, tuple[str, dict[str, Any]]]:
            rows = {name: opened.row(name) for name in opened}
            return {
                (row["sensor"], row["datetime"].date(), *row["transform"]): (name, row)
                for name, row in rows.items()
            }

        original, stac = by_place(one), by_place(other)
        assert len(original) == 20
        assert original.keys() == stac.keys()
        for key, (name, row) in original.items():
            twin, own = stac[key]
            for a, b in zip(one.planes(name), other.planes(twin), strict=True):
                assert np.array_equal(a, b, equal_nan=True)
            assert own["native_labels"] == row["native_labels"]
            assert (own["label_mask"], own["known_mask"]) == (row["label_mask"], row["known_mask"])
    plan = pq.read_table(second.plan, columns=["status", "item"]).to_pylist()
    assert {row["status"] for row in plan if row["item"].startswith("91_2019-09-17")} == {
        "polarisation"
    }


@pytest.mark.integration
@pytest.mark.timeout(1800)  # four commands, one of which trains: slow on a machine that is busy
def test_the_published_layout_trains_from_its_own_files(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "archives" / "crisislandmark"
    root = tmp_path / "d"
    manifest = tmp_path / "published.yaml"
    manifest.write_text(
        "name: published\n"
        f"catalog: {{kind: archive, format: crisislandmark, href: {folder}}}\n"
        "grid: source\ns1: {quantity: unknown}\ns2: {}\npatches: {min_valid: 0}\n"
        "labels: [{kind: archive}]\nsplits: {method: source}\nqueries: {source: published}\n"
    )
    assert run_json("fetch", manifest, "--out", root)["patches"] == 50
    run("harmonize", root)
    run("train-baseline", root, "--epochs", "1", "--batch", "4", "--quiet")
    rows = run_json("evaluate", root)
    assert {row["queries"] for row in rows} == {"published"}
    assert {row["run"] for row in rows} >= {"clip", "baseline:random"}
    dataset = Dataset(root)
    lines = [line.split("\t") for line in (dataset.qrels / "published.tsv").read_text().split("\n")]
    judged = Counter(line[0] for line in lines if len(line) == 4)
    for query in (folder / "qrels").iterdir():
        assert judged[query.stem] == len(query.read_text().splitlines()) - 1
    published = (folder / "queries.jsonl").read_text().splitlines()
    kept = dataset.queries.read_text().splitlines()
    texts = [json.loads(line)["query"] for line in published]
    assert [json.loads(line)["text"] for line in kept] == texts

    export(root, "crisislandmark-hdf5", tmp_path / "back", [], Silent())
    rows_of = pq.read_table(folder / "metadata.parquet").to_pylist()
    back = {
        row["key"]: row for row in pq.read_table(tmp_path / "back" / "metadata.parquet").to_pylist()
    }
    assert set(back) == {row["key"] for row in rows_of}
    with (
        h5py.File(folder / "crisislandmark.h5") as one,
        h5py.File(tmp_path / "back" / "crisislandmark.h5") as other,
    ):
        for row in rows_of:
            assert row == back[row["key"]]
            stored, written = one[row["key"]], other[row["key"]]
            assert (stored["image"][()] == written["image"][()]).all()
            for name in ("crs", "timestamp", "labels"):
                assert list(stored.attrs[name]) == list(written.attrs[name])
            np.testing.assert_allclose(written["coords"][()], stored["coords"][()], rtol=3e-7)
    for query in (folder / "qrels").iterdir():
        written_lines = (tmp_path / "back" / "qrels" / query.name).read_text().splitlines()
        assert sorted(written_lines) == sorted(query.read_text().splitlines())
