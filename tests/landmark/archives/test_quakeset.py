from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from landmark.grid import Frame
from landmark.pixels import PatchPixels, read_patches
from landmark.sampling import from_degrees
from landmark.schema import s1_layout
from tests.landmark.archives.made import make_quakeset
from tests.landmark.archives.reading import read_images, refused


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


def test_quakeset_images_before_the_pair_are_not_affected(tmp_path: Path) -> None:
    import h5py

    path = make_quakeset(tmp_path / "earthquakes.h5")
    with h5py.File(path, "r+") as file:
        event = file["611645479"]
        values = event["patch_0/pre"][()]
        values[:, :100] = np.nan
        event["patch_0/before"] = values
        event.attrs["affected"] = True  # an attribute the reader does not know
    scenes = [i.scene for i in read_images("quakeset", tmp_path, nominal_date="2020-01-01")]
    assert [s.item.rpartition("_")[2] for s in scenes] == ["before", "pre", "post"]
    assert [s.tags for s in scenes] == [("not-affected",), ("not-affected",), ("affected",)]
    (x,), (y,) = from_degrees(32632, np.array([[10.0, 45.0]]))
    frame = Frame("a", 32632, float(x), float(y))
    (found,) = read_patches(scenes[0], [frame], lambda h: f"{tmp_path}/{h}", s1_layout())
    assert isinstance(found, PatchPixels)
    assert 0.2 < found.valid_fraction < 0.6  # NaN is no data


def test_quakeset_coordinates_may_be_metres_of_an_epsg_code_at_5_m(tmp_path: Path) -> None:
    import h5py

    path = make_quakeset(tmp_path / "earthquakes.h5", epsg=32632)
    with h5py.File(path, "r+") as file:
        event = file["611645479"]
        del event["x"], event["y"]
        event["x"], event["y"] = 500_002.5 + 5.0 * np.arange(320), 4.9e6 - 5.0 * np.arange(300)
    scene = read_images("quakeset", tmp_path, nominal_date="2020-01-01")[0].scene
    assert scene.grid is not None
    assert (scene.grid.epsg, scene.grid.transform[0]) == (32632, 5.0)
    frame = Frame("a", 32632, 500_000, 4_900_002.5)
    (found,) = read_patches(scene, [frame], lambda h: f"{tmp_path}/{h}", s1_layout())
    assert isinstance(found, PatchPixels)
    assert (found.resampling, found.valid_fraction) == ("bilinear", 1.0)


def test_quakeset_files_that_are_older_or_cut_off(tmp_path: Path) -> None:
    (tmp_path / "earthquakes.parquet").touch()
    assert "older release, which is not read" in refused("quakeset", tmp_path)
    path = make_quakeset(tmp_path / "earthquakes.h5")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    assert "is no whole HDF5 file" in refused("quakeset", tmp_path, nominal_date="2020-01-01")


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
