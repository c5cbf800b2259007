from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Transformer

from landmark.errors import InputError
from landmark.grid import Frame, check_name, utm_cell, utm_epsg, utm_frame


@given(
    zone=st.integers(1, 60),
    south=st.booleans(),
    column=st.integers(84, 760),
    row=st.integers(0, 8300),
)
def test_frames_align_with_10_20_and_60_m_pixels(
    zone: int, south: bool, column: int, row: int
) -> None:
    frame = utm_frame((32700 if south else 32600) + zone, column, row)
    # Sentinel-2 tiles are laid from x = 99 960 + k * 60 (here: 0 mod 60) and from N = 0 or
    # N = 10 000 000 m.
    origin = 10_000_000 if south else 0
    for size in (10, 20, 60):
        assert frame.x_min % size == 0
        assert (origin - frame.y_max) % size == 0


@given(
    epsg=st.sampled_from([32632, 32736]),
    x=st.floats(100_000, 900_000),
    y=st.floats(0, 9_999_999),
)
def test_a_point_lies_in_its_cell(epsg: int, x: float, y: float) -> None:
    west, south, east, north = utm_frame(epsg, *utm_cell(epsg, x, y)).bounds
    assert west <= x < east
    assert south <= y < north


@given(lon=st.floats(-180, 180), lat=st.floats(-80, 84))
def test_zone_agrees_with_its_projection(lon: float, lat: float) -> None:
    epsg = utm_epsg(lon, lat)
    x, _ = Transformer.from_crs(4326, epsg, always_xy=True).transform(lon, lat)
    assert 166_000 < x < 834_001  # six degrees are 334 km to each side at the equator


def test_names() -> None:
    assert utm_frame(32632, 231, 4012).name == "32632_0231_4012"
    assert Frame("a", 32632, 0.0, 1200.0).transform(20) == (20, 0, 0, 0, -20, 1200)
    for bad in ("../x", "", "a b", ".hidden", "a/b", "a\n"):
        with pytest.raises(InputError, match="cannot be used"):
            check_name(bad, "item")
