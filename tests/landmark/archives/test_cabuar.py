from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from landmark import hdf5
from tests.landmark.archives.made import make_cabuar
from tests.landmark.archives.reading import NOMINAL, PLACE, read_images, refused


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


@pytest.mark.parametrize("fold", [b"chabud", np.bytes_(b"chabud"), "chabud"])
def test_cabuar_folds_may_be_text_of_any_kind(tmp_path: Path, fold: Any) -> None:
    make_cabuar(tmp_path / "chabud_test.h5", a_0={"fold": fold, "pre_fire": None})
    (image,) = read_images("cabuar", tmp_path, **NOMINAL)
    assert image.scene.split == "corpus"
    make_cabuar(tmp_path / "chabud_test.h5", a_0={"fold": "0", "pre_fire": None})
    (image,) = read_images("cabuar", tmp_path, **NOMINAL)
    assert image.scene.split == "val"


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
    make_cabuar(tmp_path / "512x512.hdf5", packed=False, **groups)
    whole = read_images("cabuar", tmp_path, **NOMINAL)
    part = read_images("cabuar", tmp_path, share=0.5, **NOMINAL)
    assert 0 < len(part) < len(whole)
    assert {i.scene.item for i in part} < {i.scene.item for i in whole}


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
