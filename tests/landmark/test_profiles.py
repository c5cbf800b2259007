from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from landmark.codec import decode_image, decode_packed, decode_planes, encode_image, transcode
from landmark.errors import LandmarkError
from landmark.frame_kernels import spread
from landmark.manifest import S2_BANDS
from landmark.profiles import PROFILES, profiles_of, with_profile
from landmark.schema import (
    BITSHUFFLE_LZ4,
    BITSHUFFLE_LZ4HC,
    SHUFFLE_LZ4,
    SHUFFLE_ZSTD,
    ImageLayout,
    layout_of,
    patch_schema,
    s1_layout,
    s2_layout,
)

S1, S2 = s1_layout(), s2_layout(S2_BANDS)
LAYOUTS = [with_profile(layout, name) for layout in (S1, S2) for name in PROFILES]
#: As schema version 1 wrote it, and as `training` was before lz4hc.
OLD = replace(S1, codec=BITSHUFFLE_LZ4)
OLD_S2 = replace(S2, codec=BITSHUFFLE_LZ4)


def planes_of(layout: ImageLayout, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    if layout.dtype == "float32":
        return [rng.normal(-12, 3, shape).astype(np.float32) for shape in layout.shapes]
    return [rng.integers(0, 4000, shape, dtype=np.uint16) for shape in layout.shapes]


@pytest.mark.parametrize("layout", [*LAYOUTS, OLD, OLD_S2])
def test_every_profile_gives_its_planes_back_through_every_reader(layout: ImageLayout) -> None:
    planes = planes_of(layout)
    frame = encode_image(planes, layout)
    # The layout as a reader has it: from the file's own metadata.
    stated = layout_of(patch_schema(layout).metadata)
    assert stated == layout
    back = decode_planes(frame, stated)
    tolerance = 0.5 * layout.step * 1.001 if layout.step else 0.0
    for plane, original in zip(back, planes, strict=True):
        assert plane.dtype == original.dtype
        assert np.abs(plane.astype(float) - original).max() <= tolerance
    packed = decode_packed(frame, stated)
    assert np.array_equal(packed, np.concatenate([plane.ravel() for plane in back]))
    slow = [np.kron(p, np.ones((120 // p.shape[0],) * 2, p.dtype)) for p in back]
    for dtype in {layout.dtype, "float32"}:
        out = np.empty((len(layout.bands), 120, 120), dtype)
        assert np.array_equal(decode_image(frame, stated, out), np.stack(slow))


def test_profiles_differ_in_size_as_they_promise() -> None:
    # Smooth fields with noise in the low bits, as imagery is.
    rng = np.random.default_rng(1)
    smooth = np.add.outer(np.arange(120.0), np.arange(120.0)) * 0.02
    planes = [(smooth + rng.normal(-14, 1, (120, 120))).astype(np.float32) for _ in range(2)]
    sizes = {n: len(encode_image(planes, with_profile(S1, n))) for n in PROFILES}
    assert sizes["compact"] < 0.6 * sizes["storage"] <= 0.6 * sizes["training"]


def test_a_layout_knows_its_profiles() -> None:
    assert profiles_of(S1) == ("training",)
    assert profiles_of(with_profile(S2, "compact")) == ("storage", "compact")
    assert profiles_of(with_profile(S1, "compact")) == ("compact",)
    assert profiles_of(S2) == ("training",)
    assert profiles_of(OLD) == profiles_of(OLD_S2) == ()


def test_each_codec_name_is_one_way_of_writing_for_good() -> None:
    """Bytes of a fixed frame: a codec that changes needs a name of its own, or files mix ways."""
    # Many levels of noise, so that level and block size show in the bytes.
    rng = np.random.Generator(np.random.PCG64(5))
    ramp = np.add.outer(np.arange(120), np.arange(120)) * 4
    planes = [
        (ramp[:rows, :columns] + (rng.integers(0, 1 << 8, (rows, columns)) >> band % 8)).astype(
            np.uint16
        )
        for band, (rows, columns) in enumerate(S2.shapes)
    ]
    sizes = {
        codec: len(encode_image(planes, replace(S2, codec=codec)))
        for codec in (BITSHUFFLE_LZ4, BITSHUFFLE_LZ4HC, SHUFFLE_LZ4, SHUFFLE_ZSTD)
    }
    assert sizes == {
        BITSHUFFLE_LZ4: 76719,
        BITSHUFFLE_LZ4HC: 73875,
        SHUFFLE_LZ4: 91556,
        SHUFFLE_ZSTD: 79898,
    }


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.float32, (2, 120, 120), elements=st.floats(width=32, allow_nan=True)))
def test_quantised_decibels_are_near_and_missing_stays_missing(values: np.ndarray) -> None:
    layout = with_profile(S1, "compact")
    back = decode_image(encode_image(list(values), layout), layout)
    assert np.array_equal(np.isnan(back), np.isnan(values))
    wanted = np.clip(values.astype(np.float64), -327.67, 327.67)
    held = ~np.isnan(values)
    assert (np.abs(back[held] - wanted[held]) <= 0.00502).all()
    # What was quantised once stays as it is.
    again = decode_image(encode_image(list(back), layout), layout)
    assert np.array_equal(again, back, equal_nan=True)


def test_frames_change_their_profile_and_nothing_else() -> None:
    frame = encode_image(planes_of(S1), OLD)
    stored = transcode(frame, OLD, with_profile(S1, "storage"))
    assert stored == encode_image(planes_of(S1), with_profile(S1, "storage"))
    assert transcode(stored, with_profile(S1, "storage"), OLD) == frame
    assert transcode(frame, OLD, OLD) == frame
    with pytest.raises(ValueError, match="different planes"):
        transcode(frame, OLD, s2_layout(S2_BANDS[:3]))


def test_version_one_metadata_is_read_and_newer_refused() -> None:
    old = b'{"schema": 1, "image": {"sensor": "s1", "dtype": "float32", "bands": ["VV"], "shapes": '
    old += b'[[120, 120]], "scale": 1.0, "nodata": null, "codec": "blosc2:bitshuffle+lz4"}}'
    layout = layout_of({b"landmark": old})
    assert (layout.codec, layout.step) == (BITSHUFFLE_LZ4, None)
    with pytest.raises(LandmarkError, match="newer than this program"):
        layout_of({b"landmark": old.replace(b'"schema": 1', b'"schema": 9')})


def test_a_target_that_does_not_fit_is_refused() -> None:
    frame = encode_image(planes_of(S2), S2)
    for out in (np.empty(5, np.uint16), np.empty(S2.values, np.float32)):
        with pytest.raises(ValueError, match="contiguous array"):
            decode_packed(frame, S2, out)


@settings(max_examples=30, deadline=None)
@given(
    sides=st.lists(
        st.sampled_from([(20, 20), (60, 60), (120, 120), (40, 24)]), min_size=1, max_size=4
    ),
    seed=st.integers(0, 99),
    target=st.sampled_from([np.uint16, np.float32]),
)
def test_spreading_equals_the_slow_way(
    sides: list[tuple[int, int]], seed: int, target: type
) -> None:
    rng = np.random.default_rng(seed)
    planes = [rng.integers(0, 65535, shape, dtype=np.uint16) for shape in sides]
    out = np.empty((len(planes), 120, 120), target)
    spread(np.concatenate([p.ravel() for p in planes]), np.array(sides, np.intp), out)
    for band, plane in zip(out, planes, strict=True):
        factors = 120 // plane.shape[0], 120 // plane.shape[1]
        assert np.array_equal(band, plane.repeat(factors[0], 0).repeat(factors[1], 1))


def test_a_schema_needs_our_metadata() -> None:
    with pytest.raises(LandmarkError, match="no landmark schema metadata"):
        decode_image(b"", pa.schema([]))
