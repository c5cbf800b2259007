from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from landmark.archive_settings import Archive
from landmark.manifest import Sentinel2
from tests.landmark.archives.made import (
    dark_dn,
    power,
    write_tif,
)
from tests.landmark.archives.reading import manifest_of, read_images, refused


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


def test_sen1floods11_lists_that_are_wrong(tmp_path: Path) -> None:
    folder = make_sen1floods11(tmp_path / "f")
    splits = folder / "v1.1" / "splits" / "flood_handlabeled"
    shutil.copyfile(splits / "flood_test_data.csv", splits / "flood_train_data.csv")
    assert "Spain_7370579 is in two splits" in refused("sen1floods11", folder)
    (splits / "flood_train_data.csv").unlink()
    hand = folder / "v1.1" / "data" / "flood_events" / "HandLabeled"
    (hand / "LabelHand" / "Spain_7370579_LabelHand.tif").rename(hand / "LabelHand" / "other.tif")
    images = read_images("sen1floods11", folder)
    assert all(image.scene.reference is None for image in images)
    assert all("no label of this chip" in image.scene.notes[-1] for image in images)
    (hand / "S1Hand" / "chip.tif").touch()
    assert "chip.tif is no <place>_<number>_S1Hand.tif" in refused("sen1floods11", folder)
    shutil.rmtree(hand / "LabelHand")
    assert "holds no HandLabeled/LabelHand" in refused("sen1floods11", folder)
