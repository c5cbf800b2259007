from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from landmark.radiometry import (
    backscatter_unit,
    class_fraction,
    contradicts,
    from_db,
    offset_evidence,
    pixel_offset,
    plainly_db,
    remove_offset,
    to_db,
    valid_fraction,
)


def slow_reflectance(dn: float, offset: int, nodata: float | None) -> tuple[int, bool]:
    if math.isnan(dn) or dn == 0 or (nodata is not None and dn == nodata):
        return 0, False
    shifted = round(round(dn, 6)) + offset
    return min(65535, max(1, shifted)), not 1 <= shifted <= 65535


@settings(max_examples=80, deadline=None)
@given(
    dn=hnp.arrays(np.uint16, (5, 7)),
    offset=st.sampled_from([0, -1000, 1000]),
    nodata=st.sampled_from([None, 0.0, 7.0, 65535.0, math.nan]),
)
def test_offsets_are_removed_pixel_by_pixel(
    dn: np.ndarray, offset: int, nodata: float | None
) -> None:
    reflectance, share = remove_offset(dn, offset, nodata)
    slow = [slow_reflectance(float(value), offset, nodata) for value in dn.ravel()]
    assert reflectance.dtype == np.uint16
    assert reflectance.ravel().tolist() == [value for value, _ in slow]
    valid = sum(value > 0 for value, _ in slow)
    assert share == pytest.approx(sum(clip for _, clip in slow) / max(1, valid))


@settings(max_examples=80, deadline=None)
@given(
    dn=hnp.arrays(
        np.float64, 20, elements=st.floats(0, 70000, allow_nan=False) | st.just(math.nan)
    ),
    offset=st.sampled_from([0, -1000]),
)
def test_warped_floats_are_rounded_to_nearest(dn: np.ndarray, offset: int) -> None:
    reflectance, _ = remove_offset(dn, offset, 0)
    assert reflectance.tolist() == [slow_reflectance(value, offset, 0)[0] for value in dn.tolist()]


def test_float_noise_decides_no_tie() -> None:
    halves = np.array([546.5 - 1e-11, 546.5, 546.5 + 1e-11, 547.5 - 1e-11])
    assert remove_offset(halves, 0, None)[0].tolist() == [546, 546, 546, 548]


def test_dark_valid_pixels_stay_valid_and_are_counted() -> None:
    dn = np.array([0, 1, 900, 1000, 1001, 1500], np.uint16)
    reflectance, share = remove_offset(dn, -1000, 0)
    assert reflectance.tolist() == [0, 1, 1, 1, 1, 500]
    assert share == pytest.approx(3 / 5)
    assert remove_offset(np.zeros(4, np.uint16), -1000, 0)[1] == 0


def test_decibels_are_rounded_once_from_double() -> None:
    rng = np.random.default_rng(0)
    power = rng.gamma(1.0, 0.1, 1000).astype(np.float32)
    slow = [np.float32(10 * math.log10(float(value))) for value in power]
    assert np.allclose(to_db(power), slow, rtol=1e-7, atol=0)
    assert to_db(power).dtype == np.float32


def test_what_is_no_power_becomes_nan() -> None:
    power = np.array([0.0, -1.0, np.nan, np.inf, -np.inf, -32768.0, 0.5, 1.0], np.float32)
    db = to_db(power, nodata=0.5)
    assert np.isnan(db[:7]).all()
    assert db[7] == 0.0
    assert np.isnan(from_db(np.array([np.nan, np.inf, -9999.0]), nodata=-9999.0)).all()


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.float32, 10, elements=st.floats(-60, 30, width=32)))
def test_decibels_and_power_are_inverse(db: np.ndarray) -> None:
    assert np.allclose(to_db(from_db(db)), db, rtol=1e-6, atol=1e-5)


def test_fractions_know_what_they_do_not_know() -> None:
    assert valid_fraction(np.array([True, False, True, True])) == 0.75
    scl = np.array([[0, 0, 4], [8, 9, 5]], np.uint8)
    assert class_fraction(scl, (3, 8, 9, 10)) == 0.5
    assert class_fraction(np.zeros((2, 2), np.uint8), (8,)) is None
    assert class_fraction(None, (8,)) is None


@pytest.mark.parametrize(
    ("low", "found"),
    [
        ({}, None),
        ({"B02": 240, "B12": 900}, 0),
        ({"B02": 950, "B04": 1010, "B11": 1100, "B12": 1050}, 1000),
        ({"B02": 1000, "B04": 2500, "B11": 4000, "B12": 3800}, None),  # desert
        ({"B02": 6500, "B04": 6800, "B11": 1000, "B12": 800}, None),  # snow
        ({"B02": 1000, "B03": 1000}, None),  # nothing seen of the infrared
        ({"B02": 650, "B12": 660}, None),
    ],
)
def test_dark_pixels_tell_the_offset(low: dict[str, float], found: int | None) -> None:
    assert pixel_offset(low) == found
    verdict = {0: "agrees", 1000: "conflicts", None: "inconclusive"}[found]
    assert offset_evidence(low, 0) == verdict
    turned = {0: "conflicts", 1000: "agrees", None: "inconclusive"}[found]
    assert offset_evidence(low, -1000) == turned


# Items of the real catalog: what is known of their pixels, and what the dark pixels show.
REAL_L2A = {
    "S2A_MSIL2A_20170617T113321_36_85": (0, "agrees"),
    "S2A_MSIL2A_20170617T113321_4_55": (0, "agrees"),
    "S2A_MSIL2A_20171221T112501_56_35": (0, "agrees"),
    "S2A_MSIL2A_20220706T085611_R007_T33NZA_20220706T153419": (-1000, "inconclusive"),
    "S2B_MSIL2A_20200223T032739_R018_T48QUE_20230924T183543": (0, "agrees"),
    "S2B_MSIL2A_20200604T054639_R048_T43RCP_20200604T094332": (0, "agrees"),
    "S2B_MSIL2A_20200813T054639_R048_T43RCP_20200813T083230": (0, "agrees"),
    "S2A_MSIL2A_20221005T115411_R023_T29UNU_20221005T164454": (-1000, "agrees"),
}


@pytest.mark.real
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_evidence_on_every_real_l2a_item(shared_data: Path) -> None:
    seen = {}
    for folder in ("sentinel-2-l2a", "sentinel-2-l2a-60m"):
        for file in sorted((shared_data / "catalog" / folder).glob("*/*.json")):
            item = json.loads(file.read_text())
            if item.get("type") != "Feature":
                continue
            low = {}
            for key, asset in item["assets"].items():
                if key.startswith("B") and len(key) == 3:
                    with rasterio.open(file.parent / asset["href"]) as source:
                        values = source.read(1)
                    low[key] = float(np.percentile(values[values > 0], 1))
            offset = REAL_L2A[item["id"]][0]
            seen[item["id"]] = (offset, offset_evidence(low, offset))
    assert seen == REAL_L2A


@given(
    st.lists(
        st.floats(-60, 60, width=32) | st.floats(0, 2, width=32) | st.just(math.nan), max_size=30
    )
)
def test_a_contradiction_of_the_unit_is_what_the_values_show(values: list[float]) -> None:
    """The quick look at the least value changes nothing; slivers prove nothing."""
    stored = np.array([*values, math.nan], np.float32)
    shown = backscatter_unit(stored)
    enough = np.isfinite(stored).mean() >= 0.5
    assert contradicts(stored, "db") == (shown == "linear" and enough)
    assert contradicts(stored, "linear") == (shown == "db" and enough)


def test_a_few_bright_pixels_at_a_swaths_edge_are_no_proof() -> None:
    sliver = np.full((120, 120), np.nan, np.float32)
    sliver[0, :5] = [0.1, 0.9, 1.5, 2.2, 3.4]
    assert backscatter_unit(sliver) == "linear"
    assert not contradicts(sliver, "db")


@given(
    values=hnp.arrays(
        np.float32,
        (3, 4),
        elements=st.one_of(
            st.floats(-40, 5, width=32),
            st.sampled_from([-0.1, 0.0, 1e30, -1e30, math.inf, -math.inf, math.nan]),
        ),
    )
)
def test_what_is_plainly_db_is_finite_and_contradicts_nothing(values: np.ndarray) -> None:
    least = np.float32(-0.1) if not np.isfinite(values).all() else values.min()
    expected = bool(np.isfinite(values).all() and float(least) <= -0.1)
    assert plainly_db(values) == expected
    assert not (plainly_db(values) and contradicts(values, "db"))
