from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from landmark.chip_texts import chip_texts, in_words
from landmark.chips import EUROSAT_BANDS, Chip, list_chips, read_chip, to_patch
from landmark.errors import InputError, LandmarkError

WANTED = ("B02", "B03", "B04", "B08", "B8A")


@pytest.fixture
def write(tmp_path: Path):
    def write(name: str, image: np.ndarray, folder: str = "Forest") -> Chip:
        path = tmp_path / folder / name
        path.parent.mkdir(exist_ok=True)
        count, height, width = image.shape
        georeference = rasterio.Affine(10, 0, 500000, 0, -10, 5000000)
        with rasterio.open(
            path, "w", driver="GTiff", count=count, height=height, width=width,
            dtype=image.dtype, crs="EPSG:32632", transform=georeference,
        ) as target:  # fmt: skip
            target.write(image)
        return Chip(path, folder)

    return write


def test_chips_are_listed_by_class_and_name(write, tmp_path: Path) -> None:
    image = np.ones((1, 4, 4), np.uint16)
    for folder, name in (("River", "b.tif"), ("River", "a.TIFF"), ("Forest", "c.tif")):
        write(name, image, folder)
    (tmp_path / "River" / "notes.txt").write_text("no chip")
    (tmp_path / "readme.tif").write_text("no class")
    found = list_chips(tmp_path)
    assert [(c.class_name, c.path.name) for c in found] == [
        ("Forest", "c.tif"), ("River", "a.TIFF"), ("River", "b.tif"),
    ]  # fmt: skip


def test_a_folder_that_holds_no_classes_is_refused(write, tmp_path: Path) -> None:
    write("a.tif", np.ones((1, 4, 4), np.uint16))
    with pytest.raises(InputError, match="one folder a class"):
        list_chips(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        list_chips(tmp_path / "nowhere")


def test_bands_are_taken_by_name_in_the_order_wanted(write) -> None:
    image = np.arange(1, 14, dtype=np.uint16)[:, None, None] * np.ones((13, 64, 64), np.uint16)
    patch = read_chip(write("a.tif", image), EUROSAT_BANDS, WANTED)
    assert patch.dtype == np.uint16
    assert patch.shape == (5, 120, 120)
    # B8A is EuroSAT's last band, B09 and B10 stand where it would be expected.
    assert patch[:, 60, 60].tolist() == [2, 3, 4, 8, 13]


def test_small_chips_are_mirrored_and_large_ones_cut_to_their_middle() -> None:
    small = np.arange(64 * 64, dtype=np.uint16).reshape(1, 64, 64)
    patch = to_patch(small)
    assert patch.shape == (1, 120, 120)
    assert (patch[0, 28:92, 28:92] == small[0]).all()
    assert (patch[0, :28] == patch[0, 28:56][::-1]).all()
    assert (patch[0, :, 92:] == patch[0, :, 64:92][:, ::-1]).all()
    large = np.arange(200 * 121).reshape(1, 200, 121)
    assert (to_patch(large) == large[:, 40:160, :120]).all()
    assert to_patch(np.ones((1, 20, 20))).shape == (1, 120, 120)  # mirrored more than once


def test_radar_chips_are_decibels(write) -> None:
    image = np.full((2, 30, 30), -12.5, np.float64)
    patch = read_chip(write("a.tif", image), ("VV", "VH"), ("VV", "VH"))
    assert patch.dtype == np.float32
    assert (patch == np.float32(-12.5)).all()


def test_what_does_not_fit_is_one_clear_line(write, tmp_path: Path) -> None:
    three = write("a.tif", np.ones((3, 8, 8), np.uint16))
    with pytest.raises(InputError, match=r"a\.tif: holds 3 bands, not the 13"):
        read_chip(three, EUROSAT_BANDS, WANTED)
    with pytest.raises(InputError, match="bands B08, B8A are needed"):
        read_chip(three, ("B02", "B03", "B04"), WANTED)
    reflectance = write("b.tif", np.full((3, 8, 8), 0.2, np.float32))
    with pytest.raises(InputError, match=r"b\.tif: no value is above 3"):
        read_chip(reflectance, ("B02", "B03", "B04"), ("B02",))
    negative = write("c.tif", np.full((1, 8, 8), -5, np.int16))
    with pytest.raises(InputError, match=r"outside 0\.\.65535"):
        read_chip(negative, ("B02",), ("B02",))
    broken = tmp_path / "Forest" / "d.tif"
    broken.write_bytes(b"no image")
    with pytest.raises(LandmarkError, match=r"d\.tif"):
        read_chip(Chip(broken, "Forest"), ("B02",), ("B02",))


def test_texts_of_classes_come_from_the_table_or_the_name(tmp_path: Path) -> None:
    found = chip_texts(["HerbaceousVegetation", "Sand_Dunes"])
    assert found == {
        "HerbaceousVegetation": ("grass", "shrub and scrub"),
        "Sand_Dunes": ("sand dunes",),
    }
    assert in_words("SeaLake") == "sea lake"
    own = tmp_path / "own.csv"
    own.write_text("class,text\nSeaLake,open water\n")
    assert chip_texts(["SeaLake", "River"], own) == {
        "SeaLake": ("open water",), "River": ("river",),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,text\n", "line 1: the columns must be class,text"),
        ("class,text\nRiver\n", "line 2: must hold a class and a text"),
        ("class,text\nLagoon,lagoon\n", "names none of the classes River"),
    ],
)
def test_damaged_tables_of_texts_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "own.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        chip_texts(["River"], path)
    with pytest.raises(InputError, match="cannot be read"):
        chip_texts(["River"], tmp_path / "missing.csv")


@pytest.mark.real
def test_real_chips_have_the_band_order_that_is_assumed(shared_data: Path) -> None:
    """Physics: cirrus (B10) is dark; over forest B8A is as bright as B08, B09 is not."""
    chips = list_chips(shared_data / "eurosat_ms")
    assert len(chips) == 140
    assert len(chip_texts({chip.class_name for chip in chips})) == 10
    bands = ("B04", "B08", "B8A", "B09", "B10")
    for chip in [chip for chip in chips if chip.class_name == "Forest"][:5]:
        red, near, narrow, vapour, cirrus = read_chip(chip, EUROSAT_BANDS, bands).mean(axis=(1, 2))
        assert cirrus < 0.1 * red
        assert near > 2 * red
        assert narrow == pytest.approx(near, rel=0.3)
        assert vapour < 0.5 * near
