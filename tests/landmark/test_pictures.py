from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from landmark import pictures
from landmark.schema import s1_layout, s2_layout
from landmark.taxonomy import CLASSES


def test_true_colour_takes_red_green_blue_and_the_fixed_stretch() -> None:
    layout = s2_layout(("B02", "B03", "B04", "B08"))
    image = np.full((4, 120, 120), 9999, np.uint16)
    image[0], image[1], image[2] = 1500, 3000, 1  # blue half, green full, red none
    picture = pictures.true_colour(image, layout)
    assert picture.shape == (120, 120, 3)
    assert picture.dtype == np.uint8
    half = round(255 * 0.5**pictures.TRUE_COLOUR_GAMMA)
    assert picture[7, 9].tolist() == [2, 255, half]  # valid dark is not black


def test_nodata_is_grey_and_dark_pixels_are_not() -> None:
    layout = s2_layout(("B02", "B03", "B04"))
    image = np.ones((3, 120, 120), np.uint16)
    image[1, 0, 0] = 0
    picture = pictures.true_colour(image, layout)
    assert picture[0, 0].tolist() == [pictures.NODATA_GREY] * 3
    assert picture[0, 1].tolist() == [2, 2, 2]


@pytest.mark.parametrize("bands", [("B03", "B08"), ("B08", "B11"), ("B12",)])
def test_missing_bands_give_grey(bands: tuple[str, ...]) -> None:
    image = np.full((len(bands), 120, 120), 6000, np.uint16)
    image[0] = 1500
    picture = pictures.true_colour(image, s2_layout(bands))
    assert picture[5, 5].tolist() == [round(255 * 0.5**pictures.TRUE_COLOUR_GAMMA)] * 3


def test_radar_composite_of_known_values() -> None:
    image = np.stack([np.full((120, 120), -10.0), np.full((120, 120), -6.0)]).astype(np.float32)
    image[0, 3, 3] = np.nan
    picture = pictures.radar_composite(image)
    assert picture[0, 0].tolist() == [128, 255, 0]  # VV half way, VH at the top, VV - VH below
    assert picture[3, 3].tolist() == [pictures.NODATA_GREY] * 3
    alone = pictures.radar_composite(image[:1], ("VV",))
    assert alone[0, 0].tolist() == [128, 128, 128]


def test_picture_of_chooses_by_sensor() -> None:
    rng = np.random.default_rng(1)
    optical = rng.integers(1, 4000, (12, 120, 120)).astype(np.uint16)
    layout = s2_layout(tuple(f"B{i:02d}" for i in (1, 2, 3, 4, 5, 6, 7, 8)))
    np.testing.assert_array_equal(
        pictures.picture_of(optical[:8], layout), pictures.true_colour(optical[:8], layout)
    )
    radar = rng.uniform(-25, 0, (2, 120, 120)).astype(np.float32)
    np.testing.assert_array_equal(
        pictures.picture_of(radar, s1_layout()), pictures.radar_composite(radar)
    )


def test_png_round_trip_is_deterministic() -> None:
    rgb = np.random.default_rng(2).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    data = pictures.png_bytes(rgb)
    assert data == pictures.png_bytes(rgb.copy(order="F"))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), rgb)


def test_upscale_repeats_pixels() -> None:
    rgb = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    large = pictures.upscale(rgb, 3)
    assert large.shape == (6, 6, 3)
    np.testing.assert_array_equal(large[::3, ::3], rgb)
    np.testing.assert_array_equal(large[2::3, 2::3], rgb)


def test_class_picture_shows_each_class_and_unknown() -> None:
    codes = np.array([[0, 11, 255, -1]])
    picture = pictures.class_picture(codes)
    assert bytes(picture[0, 0]).hex() == pictures.CLASS_COLOURS["Water"][1:]
    assert bytes(picture[0, 1]).hex() == pictures.CLASS_COLOURS["Earthquake Damage"][1:]
    assert picture[0, 2].tolist() == picture[0, 3].tolist() == [pictures.NODATA_GREY] * 3
    assert len(set(pictures.CLASS_COLOURS.values())) == len(CLASSES)
