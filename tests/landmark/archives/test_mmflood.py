from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from affine import Affine

from landmark.archive_settings import Archive
from landmark.grid import Frame
from landmark.manifest import Sentinel1
from landmark.pixels import PatchPixels, read_patches
from landmark.sampling import from_degrees
from landmark.schema import s1_layout
from tests.landmark.archives.made import (
    make_mmflood,
    power,
    write_tif,
)
from tests.landmark.archives.reading import manifest_of, read_images, refused


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


def test_mmflood_pixels_that_are_not_square_and_hold_nan(tmp_path: Path) -> None:
    """On the grid of the real set; `hydro` and `DEM` may be there or not."""
    grid = Affine(0.00012879, 0, 10.0, 0, -0.0000899, 45.0)
    base = make_mmflood(tmp_path / "m", ("EMSR1-0",)) / "activations" / "EMSR1-0"
    values = power(2, 300, 360)
    values[:, :, :180] = np.nan
    tags = {"acquisition_date": "2020-05-03T00:00:00"}
    write_tif(base / "s1_raw" / "EMSR1-0-0.tif", values, grid, **tags)
    write_tif(base / "hydro" / "EMSR1-0-0.tif", np.zeros((1, 300, 360), np.uint8), grid)
    (image,) = read_images("mmflood", tmp_path / "m")
    scene = image.scene
    assert scene.grid is not None
    assert scene.grid.transform[0] != -scene.grid.transform[4]
    assert len(scene.bands) == 2
    # 1 200 m to the east of the half without data, and the same inside it.
    (x,), (y,) = from_degrees(32632, np.array([[10.0 + 200 * grid.a, 45.0 - 50 * 0.0000899]]))
    frames = [Frame("a", 32632, float(x), float(y)), Frame("b", 32632, float(x) - 1600, float(y))]
    there, blank = read_patches(scene, frames, lambda h: str(tmp_path / "m" / h), s1_layout())
    assert isinstance(there, PatchPixels)
    assert isinstance(blank, PatchPixels)
    assert there.valid_fraction > 0.99
    assert blank.valid_fraction == 0.0
    assert np.isnan(blank.planes[0]).all()


def test_mmflood_without_date_or_subset(tmp_path: Path) -> None:
    folder = make_mmflood(tmp_path / "m", ("EMSR1-0",))
    (folder / "activations.json").write_text('{"EMSR1": {}}')
    (image,) = read_images("mmflood", folder)
    assert (image.scene.split, image.scene.event.phase) == ("", "undated")  # type: ignore[union-attr]
    write_tif(folder / "activations/EMSR1-0/s1_raw/EMSR1-0-0.tif", power(2, 300, 360))
    assert "set nominal_date" in refused("mmflood", folder)
    (dated,) = read_images("mmflood", folder, nominal_date="2020-05-03")
    assert "date: nominal" in dated.scene.notes[0]
