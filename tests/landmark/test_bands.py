"""Stored values of one band become finished planes, value by value."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from landmark.bands import image_band
from landmark.errors import LandmarkError
from landmark.grid import Frame
from landmark.placing import corner
from landmark.scenes import BandAsset, Scene, Unit

NODATA = st.sampled_from([None, 0.0, 7.0, -9999.0, math.nan])


def band_of(unit: Unit, **facts: Any) -> Any:
    scene = Scene(
        sensor="s2" if unit == "dn" else "s1", provider="t", collection="t", item="t",
        platform="S2A", time="2023-07-04T10:10:31Z", bands=(BandAsset("B02", "a.tif"),),
        unit=unit, unit_source="item", quantity="unknown", **facts,
    )  # fmt: skip
    return image_band(scene)(scene, scene.bands[0], 4, "a.tif")


@given(
    stored=hnp.arrays(
        st.sampled_from([np.uint8, np.uint16, np.int16, np.int32]),
        (4, 4),
        elements=st.integers(0, 9),
    ),
    least=st.integers(0, 8),
    nodata=NODATA,
    stated=NODATA,
    offset=st.sampled_from([0, -1000]),
)
def test_reflectance(stored: Any, least: int, nodata: Any, stated: Any, offset: int) -> None:
    stored = np.maximum(stored, stored.dtype.type(least))
    cut = band_of("dn", nodata=stated, offset=offset).cut(stored, nodata)
    missing = [value for value in (0, nodata, stated) if value is not None]
    expected = [
        0 if value in missing else max(1, value + offset) for value in stored.ravel().tolist()
    ]
    assert cut.plane.dtype == np.uint16
    assert cut.plane.ravel().tolist() == expected
    assert not cut.complete or 0 not in expected
    clipped = [v for v in stored.ravel().tolist() if v not in missing and v + offset < 1]
    valid = [v for v in expected if v]
    assert cut.clipped == pytest.approx(len(clipped) / max(1, len(valid)))


@given(
    stored=hnp.arrays(
        st.sampled_from([np.float32, np.float64]),
        (4, 4),
        elements=st.one_of(
            st.floats(-30, -2, width=32),
            st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 7.0, -9999.0]),
        ),
    ),
    nodata=NODATA,
    stated=NODATA,
)
def test_decibels(stored: Any, nodata: Any, stated: Any) -> None:
    try:
        cut = band_of("db", nodata=stated).cut(stored, nodata)
    except LandmarkError:  # values that are power
        finite = stored[np.isfinite(stored)]
        assert np.median(finite[~np.isin(finite, [nodata, stated])]) >= 0
        return
    missing = [value for value in (nodata, stated) if value is not None]
    flat = [
        math.nan if value in missing or not math.isfinite(value) else value
        for value in stored.ravel().tolist()
    ]
    expected = np.array(flat, np.float32).reshape(4, 4)
    assert cut.plane.dtype == np.float32
    np.testing.assert_array_equal(cut.plane, expected)
    assert not cut.complete or not np.isnan(expected).any()


def test_whole_values_as_they_are_wanted_are_not_copied() -> None:
    for band, stored, nodata in (
        (band_of("dn", nodata=0), np.full((4, 4), 5, np.uint16), 0.0),
        (band_of("db"), np.full((4, 4), -5, np.float32), math.nan),
    ):
        cut = band.cut(stored, nodata)
        assert cut.plane is stored
        assert cut[1:] == (False, 0.0, True)


def test_a_coarser_file_with_the_frames_corner_is_not_the_frame() -> None:
    frame = Frame("f", 32632, 600_000.0, 5_100_000.0)
    for size in (10.0, 20.0, 10.001):
        place = (size, 0.0, frame.x_min, 0.0, -size, frame.y_max)
        assert (corner(frame, 120, 32632, place) == (0, 0)) == (size == 10)
