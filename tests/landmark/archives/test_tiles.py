"""Readers of tile archives: MMFlood, SEN12-FLOOD, CaBuAr, QuakeSet, Sen1Floods11."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from landmark import hdf5
from landmark.archive_settings import Archive, NominalPlace
from landmark.errors import InputError
from landmark.manifest import S2_BANDS, Sentinel1, Sentinel2
from tests.landmark.archives.made import (
    dark_dn,
    make_cabuar,
    make_mmflood,
    make_quakeset,
    power,
    write_tif,
)
from tests.landmark.archives.reading import manifest_of, read_images

PLACE = NominalPlace(epsg=32610, x_min=300_000, y_max=4_400_000)
NOMINAL: dict[str, Any] = {"nominal_place": PLACE, "nominal_date": "2020-01-01"}


def refused(archive_format: str, folder: Path, **settings: Any) -> str:
    with pytest.raises(InputError) as caught:
        read_images(archive_format, folder, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# MMFlood


def test_mmflood_states_unit_event_split_and_mask(tmp_path: Path) -> None:
    images = read_images("mmflood", make_mmflood(tmp_path / "m"))
    assert [image.scene.item for image in images] == ["EMSR1-0-0", "EMSR1-1-0"]
    scene = images[0].scene
    assert (scene.unit, scene.unit_source[:14]) == ("linear", "values: linear")
    assert (scene.time, scene.split) == ("2020-05-03T00:00:00Z", "val")
    assert scene.event is not None
    assert (scene.event.id, scene.event.phase) == ("EMSR1", "during")
    assert scene.reference is not None
    assert images[0].frame is None
    assert "only the day" in scene.notes[0]


def test_mmflood_in_decibel_is_seen_by_its_values(tmp_path: Path) -> None:
    folder = make_mmflood(tmp_path / "m")
    for path in folder.glob("activations/*/s1_raw/*.tif"):
        tags = {"acquisition_date": "2020-05-03T00:00:00"}
        write_tif(path, 10 * np.log10(power(2, 300, 360)), **tags)
    assert read_images("mmflood", folder)[0].scene.unit == "db"
    bad = next(folder.glob("activations/*/s1_raw/*.tif"))
    write_tif(bad, power(2, 300, 360), acquisition_date="2020-05-03")
    assert "do not show whether they are dB" in refused("mmflood", folder)
    own = Archive(format="mmflood", href=str(folder))
    trusted = read_images("mmflood", folder, manifest_of(own, Sentinel1(unit="db")))
    assert {image.scene.unit_source for image in trusted} == {"manifest"}


def test_mmflood_irregularities(tmp_path: Path) -> None:
    folder = make_mmflood(tmp_path / "m")
    notes: list[str] = []
    (folder / "activations" / "EMSR1-1" / "mask" / "EMSR1-1-0.tif").unlink()
    listed = json.loads((folder / "activations.json").read_text())
    listed["EMSR9"] = {}
    (folder / "activations.json").write_text(json.dumps(listed))
    images = read_images("mmflood", folder, notes=notes)
    assert images[1].scene.reference is None
    assert "no mask" in images[1].scene.notes[-1]
    assert "no tiles of 1 listed activations (EMSR9)" in notes[0]
    shutil.copytree(folder / "activations" / "EMSR1-0", folder / "activations" / "EMSR7-0")
    assert "EMSR7, which activations.json does not list" in refused("mmflood", folder)
    shutil.rmtree(folder / "activations" / "EMSR7-0")
    tile = folder / "activations" / "EMSR1-0" / "s1_raw" / "EMSR1-0-0.tif"
    tile.rename(tile.with_name("EMSR2-0-0.tif"))
    assert "of its folder" in refused("mmflood", folder)
    (folder / "activations.json").write_text('{"EMSR1": {}, "EMSR1": {}}')
    assert "lists 'EMSR1' twice" in refused("mmflood", folder)
    (folder / "activations.json").write_text("{")
    assert "is no JSON" in refused("mmflood", folder)


# SEN12-FLOOD


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
    from affine import Affine

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


# CaBuAr


def test_cabuar_tiles_have_nominal_places_and_folds(tmp_path: Path) -> None:
    make_cabuar(tmp_path / "512x512.hdf5", a_0={"fold": 0}, b_1={"fold": 3, "pre_fire": None})
    make_cabuar(tmp_path / "chabud_test.h5", c_0={"fold": "chabud"})
    images = read_images("cabuar", tmp_path, **NOMINAL)
    scenes = [image.scene for image in images]
    assert [s.item for s in scenes] == [
        *("a_0_pre_fire", "a_0_post_fire", "b_1_post_fire", "c_0_pre_fire", "c_0_post_fire"),
    ]
    assert [s.split for s in scenes] == ["val", "val", "train", "corpus", "corpus"]
    assert [s.tags for s in scenes[:2]] == [("pre-fire",), ()]
    assert [s.reference is None for s in scenes[:2]] == [True, False]
    corners = {s.grid.transform[2] for s in scenes if s.grid is not None}
    assert len(corners) == 3
    assert all("place: nominal" in s.notes[0] and "date: nominal" in s.notes[1] for s in scenes)
    assert scenes[0].bands[8].band == "B8A"
    assert scenes[0].bands[8].index == 9


def test_cabuar_whole_scenes_are_read_by_fold(tmp_path: Path) -> None:
    make_cabuar(tmp_path / "x.hdf5", a={})
    import h5py

    with (
        h5py.File(tmp_path / "x.hdf5") as source,
        h5py.File(tmp_path / "california_0.hdf5", "w") as file,
    ):
        source.copy("a", file.create_group("2"), "uid-1")
        file["2/uid-1"]["post_fire"].attrs["comments"] = "1-4"
        del file["2/uid-1/mask"]
        file["2/uid-1/mask"] = np.zeros((240, 240), np.uint16)
    (tmp_path / "x.hdf5").unlink()
    scenes = [image.scene for image in read_images("cabuar", tmp_path, **NOMINAL)]
    assert {s.split for s in scenes} == {"train"}
    assert "comments: 1-4" in scenes[1].notes


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ({"fold": 7}, "fold is 7"),
        ({"fold": None}, "fold is None"),
        ({"post_fire": None}, "lacks post_fire"),
        ({"mask": None}, "lacks mask"),
        ({"other": np.zeros((240, 240, 1))}, "holds 'other'"),
        ({"pre_fire": np.zeros((240, 240, 13), np.uint16)}, "not rows x columns x 12"),
        ({"mask": np.zeros((240, 241, 1), np.uint16)}, "differ in size"),
    ],
)
def test_cabuar_groups_that_are_wrong(tmp_path: Path, group: dict[str, Any], message: str) -> None:
    make_cabuar(tmp_path / "512x512.hdf5", a_0=group)
    assert message in refused("cabuar", tmp_path, **NOMINAL)


def test_cabuar_needs_a_place_a_date_and_whole_files(tmp_path: Path) -> None:
    path = make_cabuar(tmp_path / "512x512.hdf5", a_0={})
    assert "set nominal_place" in refused("cabuar", tmp_path)
    assert "set nominal_date" in refused("cabuar", tmp_path, nominal_place=PLACE)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    assert "is no whole HDF5 file" in refused("cabuar", tmp_path, **NOMINAL)
    path.unlink()
    make_cabuar(tmp_path / "512x512.hdf5", a_0={})
    make_cabuar(tmp_path / "copy.hdf5", a_0={})
    assert "lists 'a_0' twice" in refused("cabuar", tmp_path, **NOMINAL)


def test_share_draws_by_name(tmp_path: Path) -> None:
    groups: dict[str, Any] = {f"t_{n}": {"pre_fire": None} for n in range(12)}
    make_cabuar(tmp_path / "512x512.hdf5", **groups)
    whole = read_images("cabuar", tmp_path, **NOMINAL)
    part = read_images("cabuar", tmp_path, share=0.5, **NOMINAL)
    assert 0 < len(part) < len(whole)
    assert {i.scene.item for i in part} < {i.scene.item for i in whole}


# QuakeSet


def test_quakeset_skips_the_axes_and_keeps_labels_per_tile(tmp_path: Path) -> None:
    make_quakeset(tmp_path / "earthquakes.h5")
    images = read_images("quakeset", tmp_path, nominal_date="2020-01-01")
    scenes = [image.scene for image in images]
    assert [s.item for s in scenes] == ["611645479_patch_0_pre", "611645479_patch_0_post"]
    assert [s.tags for s in scenes] == [("not-affected",), ("affected",)]
    assert {(s.unit, s.split, s.tags_level) for s in scenes} == {("linear", "val", "tile")}
    assert "magnitude: 5.5" in scenes[0].notes
    grid = scenes[0].grid
    assert grid is not None
    assert grid.epsg == 4326
    np.testing.assert_allclose(grid.transform, (1e-4, 0, 10.0, 0, -1e-4, 45.0), atol=1e-9)


def test_quakeset_rows_that_run_north_are_turned(tmp_path: Path) -> None:
    from landmark.opening import open_image

    make_quakeset(tmp_path / "a" / "earthquakes.h5")
    make_quakeset(tmp_path / "b" / "earthquakes.h5", ascending=True)
    one, other = (
        read_images("quakeset", tmp_path / name, nominal_date="2020-01-01")[0].scene
        for name in "ab"
    )
    assert one.grid is not None
    assert other.grid is not None
    np.testing.assert_allclose(one.grid.transform, other.grid.transform)
    from rasterio.windows import Window

    window = Window(20, 30, 50, 40)
    with (
        open_image(f"{tmp_path}/a/{one.bands[0].href}", grid=one.grid) as a,
        open_image(f"{tmp_path}/b/{other.bands[0].href}", grid=other.grid) as b,
    ):
        assert (a.read(1) == b.read(1)).all()
        assert (a.read(2, window=window) == b.read(2, window=window)).all()
        assert (a.read(1, window=window) == a.read(1)[30:70, 20:70]).all()


def test_quakeset_groups_that_are_wrong(tmp_path: Path) -> None:
    import h5py

    path = make_quakeset(tmp_path / "earthquakes.h5")
    assert "set nominal_date" in refused("quakeset", tmp_path)

    def broken(change: Any) -> str:
        make_quakeset(path)
        with h5py.File(path, "r+") as file:
            change(file["611645479"])
        return refused("quakeset", tmp_path, nominal_date="2020-01-01")

    assert "holds 'extra'" in broken(lambda g: g.create_group("extra"))
    assert "lacks post" in broken(lambda g: g.__delitem__("patch_0/post"))
    assert "lacks y" in broken(lambda g: g.__delitem__("y"))

    def uneven(group: Any) -> None:
        group["x"][5] = 11.0

    assert "not evenly spaced" in broken(uneven)

    def shorter(group: Any) -> None:
        del group["x"]
        group["x"] = np.arange(10) * 1e-4

    assert "but x and y are 10 and 300 long" in broken(shorter)

    def metres(group: Any) -> None:
        values = group["x"][()]
        del group["x"]
        group["x"] = values * 1e5

    assert "no epsg is stated" in broken(metres)


# Sen1Floods11


def make_sen1floods11(folder: Path) -> Path:
    hand = folder / "v1.1" / "data" / "flood_events" / "HandLabeled"
    chip = "Spain_7370579"
    decibel = (10 * np.log10(power(2, 260, 300))).astype(np.float32)
    write_tif(hand / "S1Hand" / f"{chip}_S1Hand.tif", decibel)
    optical = np.concatenate([dark_dn(260, 300, n) for n in range(13)])
    write_tif(hand / "S2Hand" / f"{chip}_S2Hand.tif", optical)
    label = np.zeros((1, 260, 300), np.int16)
    label[:, :30], label[:, :, :40] = 1, -1
    write_tif(hand / "LabelHand" / f"{chip}_LabelHand.tif", label)
    dates = {"location": "Spain", "s1_date": "2019/09/17", "s2_date": "2019/09/18"}
    listed = {"type": "FeatureCollection", "features": [{"properties": dates}]}
    (folder / "v1.1" / "Sen1Floods11_Metadata.geojson").write_text(json.dumps(listed))
    splits = folder / "v1.1" / "splits" / "flood_handlabeled"
    splits.mkdir(parents=True)
    text = f"{chip}_S1Hand.tif,{chip}_LabelHand.tif\n"
    (splits / "flood_test_data.csv").write_text(text)
    return folder


def test_sen1floods11_chips(tmp_path: Path) -> None:
    folder = make_sen1floods11(tmp_path / "f")
    scenes = {i.scene.sensor: i.scene for i in read_images("sen1floods11", folder)}
    assert (scenes["s1"].unit, scenes["s1"].time[:10]) == ("db", "2019-09-17")
    assert (scenes["s2"].unit, scenes["s2"].time[:10]) == ("dn", "2019-09-18")
    assert {s.split for s in scenes.values()} == {"corpus"}
    order = {asset.band: asset.index for asset in scenes["s2"].bands}
    assert (order["B09"], order["B11"], order["B12"]) == (10, 12, 13)  # B10 is 11
    assert "L1C" in scenes["s2"].notes[-1]
    (folder / "v1.1" / "Sen1Floods11_Metadata.geojson").unlink()
    assert "set nominal_date" in refused("sen1floods11", folder)
    own = Archive(format="sen1floods11", href=str(folder), nominal_date="2019-09-17")
    manifest = manifest_of(own, s2=Sentinel2(bands=("B03", "B08")))
    (only,) = read_images("sen1floods11", folder, manifest, nominal_date="2019-09-17")
    assert [(a.band, a.index) for a in only.scene.bands] == [("B03", 3), ("B08", 8)]


def test_links_out_of_an_hdf5_file_are_not_followed(tmp_path: Path) -> None:
    import h5py

    from landmark.errors import LandmarkError

    make_cabuar(tmp_path / "secret.hdf5", a={})
    with h5py.File(tmp_path / "tile.hdf5", "w") as file:
        file["a"] = h5py.ExternalLink("secret.hdf5", "/a")
        file["b"] = h5py.SoftLink("/a")
    for name in "ab":
        with pytest.raises(LandmarkError, match="is a link"):
            hdf5.read_dataset(f"{tmp_path}/tile.hdf5#{name}/mask")
    with pytest.raises(LandmarkError, match="is a link"):
        read_images("cabuar", tmp_path, **NOMINAL)
