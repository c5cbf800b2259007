from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
from affine import Affine

from landmark.archive_settings import Archive
from landmark.errors import InputError
from landmark.manifest import Sentinel1, Sentinel2
from landmark.pixels import PatchPixels, read_patches
from landmark.schema import S2_RESOLUTION, s2_layout
from tests.landmark.archives.made import write_tif
from tests.landmark.archives.reading import manifest_of, read_images

S2 = "S2A_MSIL2A_20170613T101031_26_57"
S1 = "S1B_IW_GRDH_1SDV_20170612T165809_33UUP_26_57"
BANDS = ("B01", "B02", "B05", "B12")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    for name, folder, bands in (
        (S2, "BigEarthNet-v1.0", BANDS),
        (S1, "BigEarthNet-S1-v1.0", ("VV", "VH")),
    ):
        for number, band in enumerate(bands):
            size = S2_RESOLUTION.get(band, 10)
            side = 1200 // size
            values = np.full((1, side, side), 300 + number, np.uint16)
            if name == S1:
                values = np.full((1, side, side), -12.5, np.float32)
            grid = Affine(size, 0, 300_000, 0, -size, 5_400_000)
            write_tif(tmp_path / folder / name / f"{name}_{band}.tif", values, grid, 32633)
        stated = {
            "labels": ["Mixed forest", "Water bodies"],
            "coordinates": {"ulx": 300_000, "uly": 5_400_000, "lrx": 301_200, "lry": 5_398_800},
            "projection": pyproj.CRS.from_epsg(32633).to_wkt("WKT1_GDAL"),
        }
        path = tmp_path / folder / name / f"{name}_labels_metadata.json"
        path.write_text(json.dumps(stated))
    return tmp_path


def read(folder: Path, **options: Any) -> list[Any]:
    own = Archive(format="bigearthnet-v1", href=str(folder))
    manifest = manifest_of(own, Sentinel1(), Sentinel2(bands=BANDS), **options)
    return read_images("bigearthnet-v1", folder, manifest)


def test_both_sensors_with_labels_and_frames_from_their_json(archive: Path) -> None:
    s1, s2 = read(archive)
    assert (s1.scene.item, s1.scene.unit, s1.scene.mgrs) == (S1, "db", "33UUP")
    assert (s2.scene.item, s2.scene.unit, s2.scene.time) == (S2, "dn", "2017-06-13T10:10:31Z")
    for image in (s1, s2):
        assert image.scene.tags == ("Mixed forest", "Water bodies")
        frame = image.frame
        assert (frame.epsg, frame.x_min, frame.y_max) == (32633, 300_000, 5_400_000)
    (result,) = read_patches(
        s2.scene, [s2.frame], lambda href: str(archive / href), s2_layout(BANDS)
    )
    assert isinstance(result, PatchPixels)
    assert [int(plane[0, 0]) for plane in result.planes] == [300, 301, 302, 303]
    assert result.resampling == "none"


def test_a_patch_without_json_takes_its_place_from_a_header(archive: Path) -> None:
    folder = archive / "BigEarthNet-v1.0" / S2
    (folder / f"{S2}_labels_metadata.json").unlink()
    (_, s2) = read(archive)
    assert (s2.frame.x_min, s2.frame.y_max, s2.scene.tags) == (300_000, 5_400_000, ())


def test_archives_that_are_wrong_give_one_line(archive: Path) -> None:
    table = archive / "BigEarthNet-v1.0" / S2 / f"{S2}_labels_metadata.json"
    stated = json.loads(table.read_text())
    table.write_text(json.dumps({**stated, "projection": "somewhere"}))
    with pytest.raises(InputError, match="states no place"):
        read(archive)
    table.write_text(json.dumps(stated))
    (archive / "BigEarthNet-v1.0" / "notes").mkdir()
    with pytest.raises(InputError, match="'notes' is no BigEarthNet v1 patch name"):
        read(archive)
    with pytest.raises(InputError, match=r"holds no BigEarthNet-S1-v1\.0 or BigEarthNet-v1\.0"):
        read(archive / "BigEarthNet-v1.0" / "notes")
