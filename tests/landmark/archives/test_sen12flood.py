from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine

from landmark.archives.containers import open_path
from landmark.errors import InputError
from landmark.grid import Frame
from landmark.manifest import S2_BANDS
from landmark.pixels import read_patches
from landmark.schema import s2_layout
from tests.landmark.archives.made import (
    dark_dn,
    power,
    write_tif,
)
from tests.landmark.archives.reading import read_images, refused


def make_sen12(folder: Path) -> Path:
    product = "S1A_IW_GRDH_1SDV_20190204T052012_20190204T052037_025780_02DDFD_7D7C"
    single = product.replace("1SDV", "1SSV").replace("20190204", "20190301")
    s1 = {
        "0063": {
            "count": 2,
            "2": {"date": "2019-03-01", "FLOODING": True, "orbit": "ASCENDING", "filename": single},
            "1": {"date": "2019-02-04", "FLOODING": False, "orbit": "X", "filename": product},
            "folder": "61",
            "urls": [],
        }
    }
    days = {str(n): f"2019-02-{n:02d}" for n in (1, 2, 10)}
    s2: dict[str, Any] = {
        n: {"date": day, "FLOODING": n == "10", "FULL-DATA-COVERAGE": n != "2"}
        for n, day in days.items()
    }
    for n in ("1", "2"):
        s2[n]["filename"] = f"S2_{days[n]}"
    (folder / "61").mkdir(parents=True)
    (folder / "S1list.json").write_text(json.dumps(s1))
    (folder / "S2list.json").write_text(json.dumps({"0063": {**s2, "count": 2, "folder": "61"}}))
    decibel = (10 * np.log10(power(1, 260, 260))).astype(np.float32)
    for band in ("VV", "VH"):
        write_tif(folder / "61" / f"{product}_corrected_{band}.tif", decibel)
    write_tif(folder / "61" / f"{single}_corrected_VV.tif", decibel)
    grid = rasterio_grid()
    for day in ("2019-02-01", "2019-02-10"):
        for band in S2_BANDS:
            write_tif(folder / "61" / f"S2_{day}_{band}.tif", dark_dn(250, 250), grid, 32632)
    return folder


def rasterio_grid() -> Any:
    return Affine(10, 0, 500_000, 0, -10, 4_900_000)


def test_sen12flood_takes_what_the_files_bear_out(tmp_path: Path) -> None:
    notes: list[str] = []
    images = read_images("sen12flood", make_sen12(tmp_path / "s"), notes=notes)
    scenes = {image.scene.item: image.scene for image in images}
    assert "1 listed images have no files" in notes[0]
    assert sum(scene.sensor == "s2" for scene in scenes.values()) == 2
    late = scenes["61_2019-02-10_s2"]  # its entry has no filename, and lies beyond `count`
    assert (late.tags, late.tags_level) == (("flooding",), "tile")
    assert (late.unit, late.offset, late.offset_evidence) == ("dn", 0, "agrees")
    (single,) = [s for s in scenes.values() if "1SSV" in s.item]
    assert single.polarisations == ("VV",)
    (double,) = [s for s in scenes.values() if "1SDV" in s.item]
    assert (double.time, double.platform, double.unit) == ("2019-02-04T05:20:12Z", "S1A", "db")
    assert double.tags == ("no-flooding",)


def test_sen12flood_entries_come_by_date_and_say_what_they_lack(tmp_path: Path) -> None:
    folder = make_sen12(tmp_path / "s")
    # Numeric keys stand in lexicographic order ("1", "10", "2"): dates count.
    listed = json.loads((folder / "S2list.json").read_text())
    assert list(listed["0063"])[:2] == ["1", "2"]
    ordered = {key: listed["0063"][key] for key in sorted(listed["0063"])}
    ordered["10"]["FULL-DATA-COVERAGE"] = False
    ordered["note"] = "not a number"
    (folder / "S2list.json").write_text(json.dumps({"0063": ordered}))
    notes: list[str] = []
    scenes = [image.scene for image in read_images("sen12flood", folder, notes=notes)]
    optical = [scene for scene in scenes if scene.sensor == "s2"]
    assert [scene.time[:10] for scene in optical] == ["2019-02-01", "2019-02-10"]
    radar = [scene.time[:10] for scene in scenes if scene.sensor == "s1"]
    assert radar == ["2019-02-04", "2019-03-01"]  # listed the other way round
    assert "not complete" in optical[1].notes[-1]
    assert not any("complete" in note for note in optical[0].notes)
    assert any("key 'note' is not known" in note for note in notes)


def test_a_sen12flood_image_that_lacks_a_file_is_no_patch(tmp_path: Path) -> None:
    folder = make_sen12(tmp_path / "s")
    (folder / "61" / "S2_2019-02-01_B05.tif").unlink()
    images = read_images("sen12flood", folder)
    (scene,) = [i.scene for i in images if i.scene.item == "61_2019-02-01_s2"]
    frame = Frame("a", 32632, 500_000, 4_900_000)
    with pytest.raises(InputError, match=r"S2_2019-02-01_B05\.tif: no such file"):
        read_patches(scene, [frame], lambda h: open_path(str(folder), h), s2_layout(S2_BANDS))


def test_sen12flood_in_the_stac_layout(tmp_path: Path) -> None:
    folder = tmp_path / "stac"
    for sensor, bands in (("s2", S2_BANDS), ("s1", ("VV", "VH"))):
        name = f"sen12floods_{sensor}_source_0063_2019_02_04"
        place = folder / f"sen12floods_{sensor}_source" / f"sen12floods_{sensor}_source" / name
        for band in bands:
            values = dark_dn(250, 250) if sensor == "s2" else power(1, 260, 260)
            if sensor == "s2":
                write_tif(place / f"{band}.tif", values, rasterio_grid(), 32632)
            else:
                write_tif(place / f"{band}.tif", values)
        labels = f"sen12floods_{sensor}_labels"
        label = folder / labels / labels / name.replace("_source", "_labels") / "stac.json"
        label.parent.mkdir(parents=True)
        properties = {"FLOODING": "False", "FULL-DATA-COVERAGE": "True"}
        label.write_text(json.dumps({"properties": properties}))
    images = read_images("sen12flood", folder)
    # bool("False") is True: the flag is text in this layout.
    assert {image.scene.tags for image in images} == {("no-flooding",)}
    assert {image.scene.sensor for image in images} == {"s1", "s2"}
    (folder / "sen12floods_s1_source").joinpath(
        "sen12floods_s1_source", "sen12floods_s1_source_0063_2019_02_04", "VH.tif"
    ).unlink()
    (radar,) = [i.scene for i in read_images("sen12flood", folder) if i.scene.sensor == "s1"]
    assert radar.polarisations == ("VV",)
    label.unlink()
    assert "stac.json" in refused("sen12flood", folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 9}, "count is 9, but it lists 3 images"),
        ({"folder": None}, "states no folder"),
        ({"folder": "../up"}, "would leave its folder"),
        ({"1": {"date": "2019-02-01"}}, "no date or no FLOODING"),
        ({"1": {"date": "2019-02-31", "FLOODING": True}}, "is no date"),
        ({"1": {"date": "2019-02-01", "FLOODING": "perhaps"}}, "neither true nor false"),
        (
            {"1": {"date": "2019-02-01", "FLOODING": True, "filename": "../../x"}},
            "would leave its folder",
        ),
        ({"2": {"date": "2019-02-01", "FLOODING": True}}, "lists 's2 61_2019-02-01' twice"),
    ],
)
def test_sen12flood_lists_that_are_wrong(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    folder = make_sen12(tmp_path / "s")
    listed = json.loads((folder / "S2list.json").read_text())
    listed["0063"].update(change)
    (folder / "S2list.json").write_text(json.dumps(listed))
    assert message in refused("sen12flood", folder)
