from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
from affine import Affine

from landmark.errors import InputError, LandmarkError
from landmark.grid import Frame
from landmark.manifest import Catalog, Manifest, Period, Sentinel1, Sentinel2
from landmark.pixels import PatchPixels, read_header, read_patches
from landmark.scenes import Scene
from landmark.schema import S2_RESOLUTION, s1_layout, s2_layout
from tests.landmark.archives.reading import read_images

RGBN = ("B02", "B03", "B04", "B08")
CORNER = (300_000.0, 5_400_000.0)
S2_TILE = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP"
S1_SCENE = "S1B_IW_GRDH_1SDV_20170612T165809"


def manifest(
    folder: Path, bands: tuple[str, ...] | None = RGBN, s1: bool = True, **options: object
) -> Manifest:
    sensors: dict[str, object] = {}
    if s1:
        sensors["s1"] = Sentinel1()
    if bands is not None:
        sensors["s2"] = Sentinel2(bands=bands)
    catalog = Catalog(kind="archive", format="reben", href=str(folder))
    return Manifest(
        name="test",
        catalog=catalog,
        grid="source",
        **(sensors | options),  # type: ignore[arg-type]
    )


def write(path: Path, column: int, row: int, dtype: str, value: float, size: int = 10) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    x, y = CORNER[0] + 1200 * column, CORNER[1] - 1200 * row
    side = 1200 // size
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=side,
        height=side,
        count=1,
        dtype=dtype,
        crs="EPSG:32633",
        transform=Affine(size, 0, x, 0, -size, y),
    ) as file:
        file.write(np.full((side, side), value, dtype), 1)


def read_archive(folder: Path, manifest: Manifest) -> list[tuple[Scene, Frame]]:
    found = []
    for image in read_images("reben", folder, manifest):
        assert image.frame is not None
        found.append((image.scene, image.frame))
    return found


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Three synthetic patches in the published layout; all complete, four S2 bands."""
    rows = []
    for column, row in ((3, 5), (3, 6), (41, 60)):
        place = f"{column:02d}_{row:02d}"
        s2, s1 = f"{S2_TILE}_{place}", f"{S1_SCENE}_33UUP_{column}_{row}"
        for band in RGBN:
            file = tmp_path / "BigEarthNet-S2" / S2_TILE / s2 / f"{s2}_{band}.tif"
            write(file, column, row, "uint16", 300 + column)
        for band in ("VV", "VH"):
            file = tmp_path / "BigEarthNet-S1" / S1_SCENE / s1 / f"{s1}_{band}.tif"
            write(file, column, row, "float32", -12.5)
        name = tmp_path / "Reference_Maps" / S2_TILE / s2 / f"{s2}_reference_map.tif"
        write(name, column, row, "uint16", 311)
        rows.append({"patch_id": s2, "s1_name": s1})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "metadata.parquet")
    return tmp_path


def test_every_row_gives_both_sensors_with_frames_from_their_names(archive: Path) -> None:
    pairs = read_archive(archive, manifest(archive))
    assert len(pairs) == 6
    for scene, frame in pairs:
        header = read_header(str(archive / scene.bands[0].href))
        assert scene.grid == header
        assert (frame.epsg, frame.x_min, frame.y_max) == (
            header.epsg,
            header.transform[2],
            header.transform[5],
        )
        assert frame.name == scene.item
        assert scene.reference is not None
        assert (archive / scene.reference.href).is_file()
    s1, s2 = pairs[0][0], pairs[1][0]
    assert (s1.platform, s1.time, s1.unit) == ("S1B", "2017-06-12T16:58:09Z", "db")
    assert (s2.platform, s2.time, s2.unit) == ("S2A", "2017-06-13T10:10:31Z", "dn")
    assert (s2.mgrs, s2.relative_orbit, s2.offset) == ("33UUP", 22, 0)
    assert s2.offset_evidence == "agrees"
    assert s1.polarisations == ("VV", "VH")
    assert s1.quantity == "unknown"


def test_pixels_are_cut_without_resampling(archive: Path) -> None:
    for scene, frame in read_archive(archive, manifest(archive)):
        layout = s1_layout() if scene.sensor == "s1" else s2_layout(RGBN)
        (result,) = read_patches(scene, [frame], lambda href: str(archive / href), layout)
        assert isinstance(result, PatchPixels)
        assert (result.resampling, result.valid_fraction) == ("none", 1.0)


def test_only_the_sensors_and_days_asked_for_are_given(archive: Path) -> None:
    assert {s.sensor for s, _ in read_archive(archive, manifest(archive, None))} == {"s1"}
    assert {s.sensor for s, _ in read_archive(archive, manifest(archive, s1=False))} == {"s2"}
    day = Period(start=dt.date(2017, 6, 13), end=dt.date(2017, 6, 13))
    found = read_archive(archive, manifest(archive, time=day))
    assert {s.sensor for s, _ in found} == {"s2"}


def test_a_band_the_archive_lacks_is_named_with_the_mend(archive: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_archive(archive, manifest(archive, ("B01", *RGBN, "B12")))
    assert str(caught.value) == (
        f"{archive}: BigEarthNet-S2 lacks B01, B12; set s2.bands: [B02, B03, B04, B08]"
    )


def test_a_missing_patch_is_planned_and_shows_when_it_is_read(archive: Path) -> None:
    complete = read_archive(archive, manifest(archive))
    scene, frame = complete[3]
    shutil.rmtree((archive / scene.bands[0].href).parent)
    assert read_archive(archive, manifest(archive)) == complete
    with pytest.raises(InputError, match=frame.name):
        read_patches(scene, [frame], lambda href: str(archive / href), s2_layout(RGBN))


def test_tiles_whose_headers_disagree_are_read_patch_by_patch(archive: Path) -> None:
    last = read_archive(archive, manifest(archive))[-1][0]
    for band in last.bands:
        write(archive / band.href, 41, 59, "uint16", 300)  # one row north of its name
    frames = [frame for _, frame in read_archive(archive, manifest(archive, s1=False))]
    assert frames[-1].y_max == CORNER[1] - 59 * 1200
    assert frames[0].y_max == CORNER[1] - 5 * 1200


def test_pixels_with_an_offset_are_refused_unless_trusted(archive: Path) -> None:
    rows = pq.read_table(archive / "metadata.parquet").to_pylist()
    bands = (*RGBN, "B12")
    for row in rows:
        name = row["patch_id"]
        for band in bands:
            file = archive / "BigEarthNet-S2" / S2_TILE / name / f"{name}_{band}.tif"
            column, line = (int(token) for token in name.split("_")[-2:])
            write(file, column, line, "uint16", 1040, S2_RESOLUTION[band])
    with pytest.raises(InputError, match="dark pixels show"):
        read_archive(archive, manifest(archive, bands))
    trusting = Sentinel2(bands=bands, on_conflict="trust_metadata")
    found = read_archive(archive, manifest(archive, s2=trusting, s1=False))
    assert {scene.offset_evidence for scene, _ in found} == {"conflicts"}


def test_malformed_archives_give_one_line(archive: Path, tmp_path: Path) -> None:
    def message() -> str:
        with pytest.raises(InputError) as caught:
            read_archive(archive, manifest(archive))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    path = archive / "metadata.parquet"
    good = pq.read_table(path).to_pylist()

    def rewrite(**changes: object) -> None:
        pq.write_table(pa.Table.from_pylist([{**good[0], **changes}]), path)

    rewrite(patch_id="../../etc/passwd")
    assert "is no BigEarthNet v2 patch name" in message()
    rewrite(s1_name=None)
    assert "s1_name None" in message()
    rewrite(patch_id=good[0]["patch_id"].replace("20170613", "20171332"))
    assert "is no date and time" in message()
    rewrite(patch_id=good[0]["patch_id"].replace("33UUP", "34VER"))
    assert "listed" in message()
    path.write_bytes(b"PAR1 not really PAR1")
    assert "is no table" in message()
    path.unlink()
    assert "holds no metadata.parquet" in message()


def test_the_unit_of_sentinel_1_follows_from_its_values(archive: Path) -> None:
    (source,) = {s.unit_source for s, _ in read_archive(archive, manifest(archive, None))}
    assert source == "values: db, median -12.5 in 3 images"
    files = sorted(archive.glob("BigEarthNet-S1/*/*/*.tif"))
    for file in files:
        column, row = (int(token) for token in file.stem.split("_")[-3:-1])
        write(file, column, row, "float32", 0.05)
    linear = read_archive(archive, manifest(archive, None))
    assert {s.unit for s, _ in linear} == {"linear"}
    for file in files[:2]:
        column, row = (int(token) for token in file.stem.split("_")[-3:-1])
        write(file, column, row, "float32", -12.5)
    with pytest.raises(InputError, match="do not show whether they are dB"):
        read_archive(archive, manifest(archive, None))
    asked = manifest(archive, None).model_copy(update={"s1": Sentinel1(unit="db")})
    stated = read_archive(archive, asked)
    assert {(s.unit, s.unit_source) for s, _ in stated} == {("db", "manifest")}
    # What contradicts it when it is read is no patch, and no pixel of it is made up.
    causes = []
    for scene, frame in stated:
        (found,) = read_patches(scene, [frame], lambda href: str(archive / href), s1_layout())
        causes.append(found if isinstance(found, str) else "")
    assert [bool(cause) for cause in causes].count(True) == 2
    assert all("values are not db" in cause for cause in causes if cause)


def test_splits_and_labels_are_the_tables_and_the_second_table_is_not_read(archive: Path) -> None:
    path = archive / "metadata.parquet"
    rows = pq.read_table(path).to_pylist()
    splits = ("train", "validation", "test")
    stated = [
        {**row, "split": split, "labels": ["Pastures"], "contains_seasonal_snow": False}
        for row, split in zip(rows, splits, strict=True)
    ]
    pq.write_table(pa.Table.from_pylist(stated), path)
    snowy = [{"patch_id": "not a patch", "s1_name": "neither"}]
    other = archive / "metadata_for_patches_with_snow_cloud_or_shadow.parquet"
    pq.write_table(pa.Table.from_pylist(snowy), other)
    scenes = [scene for scene, _ in read_archive(archive, manifest(archive))]
    assert sorted(s.split for s in scenes) == sorted(["train", "val", "corpus"] * 2)
    assert {s.tags for s in scenes} == {("Pastures",)}
    assert {s.baseline for s in scenes} == {""}  # N9999 in a name is no baseline


def test_a_patch_listed_twice_is_refused_and_a_shared_radar_patch_is_taken_once(
    archive: Path,
) -> None:
    path = archive / "metadata.parquet"
    rows = pq.read_table(path).to_pylist()
    pq.write_table(pa.Table.from_pylist([*rows, rows[0]]), path)
    with pytest.raises(InputError, match=f"lists '{rows[0]['patch_id']}' twice"):
        read_archive(archive, manifest(archive))
    shared = [{**row, "s1_name": rows[0]["s1_name"]} for row in rows]
    pq.write_table(pa.Table.from_pylist(shared), path)
    scenes = [scene for scene, _ in read_archive(archive, manifest(archive))]
    assert [s.sensor for s in scenes].count("s1") == 1
    assert [s.sensor for s in scenes].count("s2") == 3


def test_a_band_file_that_is_cut_off_is_no_patch(archive: Path) -> None:
    (scene, frame), *_ = read_archive(archive, manifest(archive, s1=False))
    file = archive / scene.bands[1].href
    whole = file.read_bytes()
    for share in (0.9, 0.5, 0.001):
        file.write_bytes(whole[: int(len(whole) * share)])
        try:
            (found,) = read_patches(
                scene, [frame], lambda href: str(archive / href), s2_layout(RGBN)
            )
        except LandmarkError as error:
            found = str(error)
        assert isinstance(found, str)
        assert file.name in found


@pytest.mark.real
def test_frames_of_all_real_patches_equal_their_headers(shared_data: Path) -> None:
    folder = shared_data / "reben"
    pairs = read_archive(folder, manifest(folder))
    assert len(pairs) == 180
    for scene, frame in pairs:
        header = read_header(str(folder / scene.bands[0].href))
        assert scene.grid == header
        assert (frame.x_min, frame.y_max) == (header.transform[2], header.transform[5])
        assert (folder / scene.reference.href).is_file()
    assert {s.offset_evidence for s, _ in pairs if s.sensor == "s2"} == {"agrees"}


@pytest.mark.real
def test_a_real_incomplete_archive_is_planned_whole(shared_data: Path) -> None:
    folder = shared_data / "reben_12band"
    pairs = read_archive(folder, manifest(folder, tuple(S2_RESOLUTION)[:12]))
    assert len(pairs) == 16
    layouts = {"s1": s1_layout(), "s2": s2_layout(tuple(S2_RESOLUTION)[:12])}
    read = []
    for scene, frame in pairs:
        try:
            (result,) = read_patches(
                scene, [frame], lambda href: str(folder / href), layouts[scene.sensor]
            )
        except InputError:
            continue
        assert isinstance(result, PatchPixels)
        assert result.resampling == "none"
        read.append(scene.sensor)
    assert (read.count("s1"), read.count("s2")) == (4, 3)
