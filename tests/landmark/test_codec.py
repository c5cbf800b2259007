"""Image frames: what goes in comes out, and what does not fit is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from landmark.errors import LandmarkError
from landmark.manifest import S2_BANDS
from landmark.schema import patch_schema, s2_layout
from landmark.shards import (
    decode_image,
    decode_planes,
    decode_scl,
    encode_image,
    encode_scl,
)
from tests.landmark.made_shards import S1, S2, random_planes


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_planes_come_back_as_they_went_in(data: st.DataObject) -> None:
    bands = data.draw(st.lists(st.sampled_from(S2_BANDS), min_size=1, max_size=12, unique=True))
    layout = data.draw(st.sampled_from([s2_layout(tuple(bands)), S1]))
    elements = (
        st.integers(0, 65535)
        if layout.dtype == "uint16"
        else st.floats(width=32, allow_nan=True, allow_infinity=True)
    )
    planes = [
        data.draw(hnp.arrays(layout.dtype, shape, elements=elements, fill=elements))
        for shape in layout.shapes
    ]
    frame = encode_image(planes, layout)
    assert frame == encode_image(planes, layout)
    for back, plane in zip(decode_planes(frame, layout), planes, strict=True):
        assert back.dtype == plane.dtype
        # Bit patterns, so that NaN counts as equal to itself.
        assert back.tobytes() == plane.tobytes()


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(np.uint8, (60, 60)))
def test_scene_classes_come_back(scl: np.ndarray) -> None:
    assert np.array_equal(decode_scl(encode_scl(scl)), scl)


def test_an_image_is_the_planes_repeated_to_ten_metres() -> None:
    planes = random_planes(S2, 1)
    frame = encode_image(planes, S2)
    image = decode_image(frame, S2)
    assert image.shape == (12, 120, 120)
    assert image.dtype == np.uint16
    for band, plane in zip(image, planes, strict=True):
        factor = 120 // plane.shape[0]
        slow = [[plane[y // factor, x // factor] for x in range(120)] for y in range(120)]
        assert np.array_equal(band, np.array(slow))
    assert np.array_equal(decode_image(frame, patch_schema(S2)), image)
    assert np.array_equal(decode_image(frame, patch_schema(S2).metadata), image)
    out = np.empty((12, 120, 120), np.float32)
    assert decode_image(frame, S2, out) is out
    assert np.array_equal(out, image)


def test_a_wrong_target_is_refused() -> None:
    frame = encode_image(random_planes(S2, 1), S2)
    with pytest.raises(ValueError, match="shape"):
        decode_image(frame, S2, np.empty((11, 120, 120), np.uint16))
    with pytest.raises(ValueError, match="contiguous"):
        decode_image(frame, S2, np.empty((12, 120, 240), np.uint16)[:, :, ::2])
    with pytest.raises(ValueError, match="uint8"):
        decode_image(frame, S2, np.empty((12, 120, 120), np.uint8))


def test_planes_that_do_not_fit_the_layout_are_refused() -> None:
    planes = random_planes(S2, 1)
    with pytest.raises(ValueError, match="fit"):
        encode_image(planes[:-1], S2)
    with pytest.raises(ValueError, match="uint16"):
        encode_image([plane.astype(np.int16) for plane in planes], S2)
    with pytest.raises(ValueError, match="scl"):
        encode_scl(np.zeros((120, 120), np.uint8))


@pytest.mark.parametrize("cut", [0, 5, 40, 1000, -1])
def test_a_cut_frame_is_an_error(cut: int) -> None:
    frame = encode_image(random_planes(S2, 1), S2)
    with pytest.raises(LandmarkError, match="does not hold"):
        decode_planes(frame[:cut], S2)


def test_a_frame_of_another_layout_is_an_error() -> None:
    # blosc2 itself would write past the end of a destination that is too small.
    with pytest.raises(LandmarkError, match="does not hold"):
        decode_planes(encode_image(random_planes(S2, 1), S2), s2_layout(S2_BANDS[:11]))
