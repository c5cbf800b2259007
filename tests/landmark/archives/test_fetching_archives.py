"""From archives to datasets and back: whole steps, in one process, on small synthetic archives."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
from affine import Affine
from rasterio.warp import Resampling, reproject

from harmonize.explaining import explain
from harmonize.pipeline import harmonize
from landmark.archive_settings import Archive
from landmark.archives.about import MissingArchivesError
from landmark.dataset import Dataset
from landmark.dataset import open as open_dataset
from landmark.errors import InputError
from landmark.exporting import export
from landmark.fetching import FetchOptions, fetch
from landmark.manifest import (
    Catalog,
    LabelSource,
    Manifest,
    PatchRules,
    Queries,
    Sentinel1,
    Sentinel2,
    Splits,
)
from landmark.progress import Silent
from landmark.schema import S2_RESOLUTION
from tests.landmark.archives.made import (
    make_cabuar,
    make_crisislandmark,
    make_mmflood,
    published_image,
)
from tests.landmark.archives.reading import NOMINAL
from tests.landmark.archives.test_crisislandmark import FIRE, images

pytestmark = pytest.mark.integration


def manifest(*archives: Archive, **options: Any) -> Manifest:
    return Manifest(
        name="test",
        catalog=Catalog(kind="archive", archives=archives),
        grid="source",
        **{"patches": PatchRules(min_valid=0), **options},
    )


def build(asked: Manifest, root: Path) -> Dataset:
    fetch(asked, root, FetchOptions(max_failed="100%", workers=1), Silent())
    harmonize(root, workers=1, progress=Silent())
    return Dataset(root)


PUBLISHED: dict[str, Any] = {
    "labels": (LabelSource(kind="archive"),),
    "splits": Splits(method="source"),
    "queries": Queries(source="published"),
    "s1": Sentinel1(),
    "s2": Sentinel2(),
}


def test_the_published_layout_survives_a_round_trip_value_by_value(tmp_path: Path) -> None:
    given = images()
    odd = published_image("s2", 9)
    odd[3, 5, 5], odd[1, 0, 0] = np.nan, -3.0
    given["sen2flood/x_2020-01-01"] = {"image": odd, "labels": ["crops"], "timestamp": 1.5e9}
    first = make_crisislandmark(tmp_path / "first", given)
    archive = Archive(format="crisislandmark", href=str(first))
    dataset = build(manifest(archive, **PUBLISHED), tmp_path / "data")
    export(dataset.root, "crisislandmark-hdf5", tmp_path / "second", [], Silent())

    def read(folder: Path) -> dict[str, Any]:
        table = pq.read_table(folder / "metadata.parquet").to_pylist()
        found: dict[str, Any] = {}
        with h5py.File(folder / "crisislandmark.h5") as file:
            for row in table:
                group = file[row["key"]]
                facts = [group.attrs["crs"][0], list(group.attrs["labels"]), row["split"]]
                found[row["key"]] = group["image"][()], group["coords"][()], [*facts, row["labels"]]
        return found

    one, other = read(first), read(tmp_path / "second")
    assert one.keys() == other.keys() == given.keys()
    for key, (image, coords, facts) in one.items():
        assert other[key][0].dtype == np.float32
        assert np.array_equal(other[key][0], image, equal_nan=True)
        assert other[key][2] == facts
        np.testing.assert_allclose(other[key][1], coords, rtol=3e-7)
    for name in ("queries.jsonl", "qrels/q0.tsv"):
        lines = [sorted((f / name).read_text().splitlines()) for f in (first, tmp_path / "second")]
        assert lines[0] == lines[1]
    # And what was exported is an archive again, of equal patches.
    again = Archive(format="crisislandmark", href=str(tmp_path / "second"))
    twin = build(manifest(again, **PUBLISHED), tmp_path / "twin")
    with open_dataset(dataset.root) as a, open_dataset(twin.root) as b:
        assert set(a) == set(b)
        for patch_id in a:
            assert np.array_equal(a.image(patch_id), b.image(patch_id), equal_nan=True)
            left, right = a.row(patch_id), b.row(patch_id)
            for name in ("labels", "split", "native_labels", "known_mask"):
                assert left[name] == right[name]


def test_splits_queries_and_relevance_are_taken_over(tmp_path: Path) -> None:
    first = make_crisislandmark(tmp_path / "first", images())
    archive = Archive(format="crisislandmark", href=str(first))
    dataset = build(manifest(archive, **PUBLISHED), tmp_path / "data")
    rows = pq.read_table(dataset.index).to_pylist()
    splits = {row["patch_id"].split("_s")[0]: row["split"] for row in rows}
    assert sorted(splits.values()) == ["corpus", "corpus", "corpus", "train"]
    (query,) = [json.loads(line) for line in dataset.queries.read_text().splitlines()]
    assert (query["kind"], query["classes"]) == ("published", ["Water", "Trees"])
    lines = (dataset.qrels / "published.tsv").read_text().splitlines()
    grades = [line.rsplit("\t", 1)[1] for line in lines]
    assert sorted(grades) == ["0", "0", "1", "2"]
    assert all(len(line.split("\t")) == 4 for line in lines)


def test_published_queries_need_an_archive_that_has_them(tmp_path: Path) -> None:
    archive = Archive(format="mmflood", href=str(make_mmflood(tmp_path / "m")))
    options = {**PUBLISHED, "s2": None, "splits": Splits()}
    with pytest.raises(InputError, match="no archive of the catalog publishes queries"):
        build(manifest(archive, **options), tmp_path / "data")


def test_tiles_of_several_archives_become_one_dataset(tmp_path: Path) -> None:
    """Pixels against `rasterio.warp.reproject` of the whole tile, or against slices of it."""
    mm = make_mmflood(tmp_path / "mm")
    make_cabuar(tmp_path / "cb" / "512x512.hdf5", a_0={})
    asked = manifest(
        Archive(format="mmflood", href=str(mm)),
        Archive(format="cabuar", href=str(tmp_path / "cb"), **NOMINAL),
        s1=Sentinel1(),
        s2=Sentinel2(),
        labels=(LabelSource(kind="archive"),),
        patches=PatchRules(min_valid=0.9),
        splits=Splits(block_km=1.2, buffer_cells=0),
    )
    dataset = build(asked, tmp_path / "data")
    with h5py.File(tmp_path / "cb" / "512x512.hdf5") as file:
        post = file["a_0/post_fire"][()]
    with open_dataset(dataset.root) as opened:
        rows = {name: opened.row(name) for name in opened}
        burned = {n: r for n, r in rows.items() if r["sensor"] == "s2"}
        assert len(burned) == 2 * 16  # 240 px of 20 m are 4 x 4 patches, before and after
        for name, row in burned.items():
            assert row["provenance"]["resampling"] == "bilinear"
            place = name.partition("_fire_")[2].split("_")
            line, column = int(place[0]) * 60, int(place[1]) * 60
            if "post" in name:
                part = post[line : line + 60, column : column + 60]
                for band, index in (("B05", 4), ("B12", 11)):
                    plane = opened.planes(name)[opened.layout(name).bands.index(band)]
                    assert (plane == part[:, :, index]).all()
                expected = ["Burned Area"] if (line, column) == (0, 0) else []
                assert row["labels"] == expected
                assert S2_RESOLUTION["B05"] == 20
            assert "place: nominal, the archive states none" in row["provenance"]["notes"]
        floods = {n: r for n, r in rows.items() if r["sensor"] == "s1"}
        assert len(floods) > 4
        for name, row in floods.items():
            code = row["provenance"]["item"]
            folder = mm / "activations" / code.rsplit("-", 1)[0]
            with rasterio.open(folder / "s1_raw" / f"{code}.tif") as source:
                linear = source.read().astype(np.float64)
                target = np.full((2, 120, 120), np.nan)
                reproject(
                    linear,
                    target,
                    src_transform=source.transform,
                    src_crs=source.crs,
                    src_nodata=np.nan,
                    dst_transform=Affine(*row["transform"]),
                    dst_crs=f"EPSG:{row['epsg']}",
                    dst_nodata=np.nan,
                    resampling=Resampling.bilinear,
                )
            slow = (10 * np.log10(target)).astype(np.float32)
            np.testing.assert_allclose(opened.image(name), slow, rtol=2e-6)
            assert row["provenance"]["resampling"] == "bilinear"
            assert row["provenance"]["unit_source"].startswith("values: linear")
            assert (row["known_mask"] >> 9) & 1
    hrefs = {row["provenance"]["hrefs"][0].partition("/")[0] for row in rows.values()}
    assert hrefs == {"mmflood", "cabuar"}


def test_damaged_images_become_holes_with_their_cause(tmp_path: Path) -> None:
    first = make_crisislandmark(tmp_path / "first", images())
    with h5py.File(first / "cabuar_part1.h5", "r+") as file:
        del file[FIRE]["image"]
    archive = Archive(format="crisislandmark", href=str(first))
    dataset = build(manifest(archive, **PUBLISHED), tmp_path / "data")
    (hole,) = pq.read_table(dataset.failures).to_pylist()
    assert hole["patch_id"].startswith("cabuar.uuid_0")
    assert "holds no cabuar/uuid_0/image" in hole["cause"]
    assert str(tmp_path) not in hole["cause"].replace(str(first), "")
    assert len(pq.read_table(dataset.index)) == 3


def test_images_of_the_other_unit_become_holes_that_say_so(tmp_path: Path) -> None:
    folder = make_mmflood(tmp_path / "m")
    asked = manifest(
        Archive(format="mmflood", href=str(folder)),
        s1=Sentinel1(unit="db"),  # it is linear
        patches=PatchRules(min_valid=0.9),
    )
    summary = fetch(asked, tmp_path / "d", FetchOptions(max_failed="100%", workers=1), Silent())
    assert summary.patches == 0
    assert summary.holes > 0
    causes = pq.read_table(Dataset(tmp_path / "d").failures)["cause"].to_pylist()
    assert all("values are not db, which it is taken for (manifest)" in cause for cause in causes)
    assert not any(str(tmp_path) in cause for cause in causes)


def test_missing_archives_are_told_of_together(tmp_path: Path) -> None:
    asked = manifest(
        Archive(format="reben", href=str(tmp_path / "r")),
        Archive(format="quakeset", href=str(tmp_path / "q")),
        s1=Sentinel1(),
    )
    with pytest.raises(MissingArchivesError) as caught:
        fetch(asked, tmp_path / "data", FetchOptions(plan_only=True), Silent())
    assert [one.name for one in caught.value.missing] == ["reben", "quakeset"]
    assert all(one.about.licence and one.about.size for one in caught.value.missing)
    assert not (tmp_path / "data").exists()


def test_two_archives_with_the_same_images_are_refused(tmp_path: Path) -> None:
    folder = make_mmflood(tmp_path / "m")
    pair = [Archive(format="mmflood", href=str(folder), name=name) for name in ("a", "b")]
    with pytest.raises(InputError, match="must not hold the same images"):
        fetch(manifest(*pair, s1=Sentinel1()), tmp_path / "data", FetchOptions(), Silent())
    with pytest.raises(ValueError, match="two archives are called 'mmflood'"):
        manifest(*[Archive(format="mmflood", href=str(folder))] * 2, s1=Sentinel1())


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    base = tmp_path_factory.mktemp("small")
    first = make_crisislandmark(base / "first", images())
    archive = Archive(format="crisislandmark", href=str(first))
    return build(manifest(archive, **PUBLISHED), base / "data")


def test_explain_names_the_archive_as_the_reason(small: Dataset) -> None:
    with open_dataset(small.root) as opened:
        (flood,) = [name for name in opened if name.startswith("mmflood")]
    found = {name: (state, reason) for name, state, reason in explain(small.root, flood).crises}
    assert found["Flooded Area"] == ("present", "the archive's own labels say so")
    assert found["Burned Area"][0] == "unknown"


def test_export_to_webdataset(small: Dataset, tmp_path: Path) -> None:
    summary = export(small.root, "webdataset", tmp_path / "w", [], Silent())
    assert summary.patches == 4
    export(small.root, "webdataset", tmp_path / "again", [], Silent())
    with open_dataset(small.root) as opened:
        seen = set()
        for path in sorted((tmp_path / "w").iterdir()):
            assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
            with tarfile.open(path) as file:
                for member in file:
                    key, _, suffix = member.name.partition(".")
                    if suffix != "json":
                        continue
                    data = file.extractfile(member)
                    array = file.extractfile(f"{key}.npy")
                    assert data is not None
                    assert array is not None
                    row = json.load(data)
                    patch_id = row["patch_id"]
                    seen.add(patch_id)
                    image = np.load(io.BytesIO(array.read()))
                    assert np.array_equal(image, opened.image(patch_id), equal_nan=True)
                    assert row["split"] in path.name
                    assert row["labels"] == opened.row(patch_id)["labels"]
        assert seen == set(opened)


def test_export_to_geotiff_of_chosen_patches(small: Dataset, tmp_path: Path) -> None:
    with open_dataset(small.root) as opened:
        chosen = sorted(opened)[:2]
        summary = export(small.root, "geotiff", tmp_path / "g", chosen, Silent())
        files = {path.stem: path for path in (tmp_path / "g").rglob("*.tif")}
        assert sorted(files) == chosen
        assert summary.files == 2
        for patch_id, path in files.items():
            row = opened.row(patch_id)
            with rasterio.open(path) as file:
                assert np.array_equal(file.read(), opened.image(patch_id), equal_nan=True)
                assert file.crs.to_epsg() == row["epsg"]
                assert list(file.transform)[:6] == row["transform"]
                assert file.descriptions == opened.layout(patch_id).bands
                assert file.tags()["patch_id"] == patch_id


def test_exports_refuse_what_would_be_half_or_overwrite(small: Dataset, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    for folder, name, ids, message in (
        (tmp_path / "full", "geotiff", [], "not an empty folder"),
        (tmp_path / "n" / "n", "geotiff", [], "does not exist"),
        (tmp_path / "n", "zarr", [], "there are crisislandmark-hdf5"),
        (tmp_path / "n", "geotiff", ["none"], "holds no patch 'none'"),
    ):
        with pytest.raises(InputError, match=message):
            export(small.root, name, folder, ids, Silent())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full"]


def test_an_export_that_fails_leaves_nothing(
    small: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("landmark.exporting.geotiff._write", broken)
    with pytest.raises(OSError, match="disk full"):
        export(small.root, "geotiff", tmp_path / "g", [], Silent())
    assert list(tmp_path.iterdir()) == []
