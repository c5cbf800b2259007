from __future__ import annotations

import numpy as np
import pytest
import torch

from baselines.scaling import Scaling, SensorInput, Statistics, check_bands
from landmark.errors import InputError
from landmark.schema import s1_layout, s2_layout
from tests.baselines.learnable import LAYOUTS, planes_of

S2 = SensorInput(
    sensor="s2", bands=("B02", "B03"), scale=1e-4, nodata=0, mean=(0.1, 0.2), std=(0.05, 0.1)
)
S1 = SensorInput(sensor="s1", bands=("VV",), scale=1.0, nodata=None, mean=(-12.0,), std=(3.0,))


@pytest.mark.parametrize("sensor", ["s1", "s2"])
def test_statistics_equal_numpy_over_valid_pixels(sensor: str) -> None:
    random = np.random.default_rng(0)
    layout = s2_layout(("B02", "B03")) if sensor == "s2" else s1_layout()
    images = [np.stack(planes_of(random, layout, mask)) for mask in (1, 2, 16)]
    statistics = Statistics(layout)
    for image in images:
        statistics.add(image)
    result = statistics.result()
    together = np.concatenate(images, axis=1).reshape(2, -1).astype(np.float64)
    for band in range(2):
        values = together[band][np.isfinite(together[band]) & (together[band] != 0)] * layout.scale
        assert result.mean[band] == pytest.approx(values.mean(), abs=1e-6)
        assert result.std[band] == pytest.approx(values.std(), abs=1e-6)


def test_a_constant_or_empty_band_is_not_divided_by_zero() -> None:
    statistics = Statistics(LAYOUTS["s1"])
    image = np.full((2, 120, 120), np.nan, np.float32)
    image[0] = -7.0
    statistics.add(image)
    result = statistics.result()
    assert (result.mean, result.std) == ((-7.0, 0.0), (1.0, 1.0))


def test_reflectance_is_standardised_and_nodata_becomes_the_mean() -> None:
    stored = np.full((1, 2, 120, 120), 1500, np.uint16)
    stored[0, 0, 0, 0] = 0
    out = Scaling(S2, 120)(torch.from_numpy(stored))
    assert out.shape == (1, 2, 120, 120)
    assert out[0, 0, 0, 0] == 0
    assert out[0, 0, 5, 5].item() == pytest.approx((0.15 - 0.1) / 0.05, abs=1e-5)
    assert out[0, 1, 5, 5].item() == pytest.approx((0.15 - 0.2) / 0.1, abs=1e-5)


def test_decibels_are_standardised_and_nan_becomes_the_mean() -> None:
    stored = np.full((1, 1, 120, 120), -9.0, np.float32)
    stored[0, 0, :60] = np.nan
    out = Scaling(S1, 60)(torch.from_numpy(stored))
    assert out.shape == (1, 1, 60, 60)
    assert torch.equal(out[0, 0, :30], torch.zeros(30, 60))
    assert out[0, 0, 40, 7].item() == pytest.approx(1.0, abs=1e-5)


def test_the_largest_stored_value_stays_exact() -> None:
    stored = np.full((1, 2, 120, 120), 65535, np.uint16)
    out = Scaling(S2, 120)(torch.from_numpy(stored))
    assert out[0, 0, 0, 0].item() == pytest.approx((6.5535 - 0.1) / 0.05, rel=1e-6)


def test_wrong_bands_are_refused_in_words() -> None:
    with pytest.raises(
        InputError,
        match=r"trained on 2 Sentinel-2 bands \(B02, B03\), the patches have 4",
    ):
        check_bands(S2, (5, 4, 120, 120), "runs/clip")
    with pytest.raises(InputError, match=r"shape \(n, 1, 120, 120\), got \(1, 120, 120\)"):
        check_bands(S1, (1, 120, 120), "runs/clip")


@pytest.mark.parametrize("sensor", ["s1", "s2"])
def test_scaling_equals_the_plain_way(sensor: str) -> None:
    random = np.random.default_rng(1)
    layout = s2_layout(("B02", "B03")) if sensor == "s2" else s1_layout()
    image = np.stack(planes_of(random, layout, 17))
    hidden = random.random(image.shape) < 0.2
    image[hidden] = 0 if sensor == "s2" else np.nan
    statistics = Statistics(layout)
    statistics.add(image)
    expected = statistics.result()
    mean = np.array(expected.mean)[:, None, None]
    std = np.array(expected.std)[:, None, None]
    plain = (image.astype(np.float64) * layout.scale - mean) / std
    plain[hidden | ~np.isfinite(plain) | (image == layout.nodata)] = 0
    pooled = plain.reshape(2, 40, 3, 40, 3).mean(axis=(2, 4))
    out = Scaling(expected, 40)(torch.from_numpy(image[None]))[0].numpy()
    np.testing.assert_allclose(out, pooled, atol=2e-5)
