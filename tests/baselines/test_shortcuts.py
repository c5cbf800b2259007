"""Trivial statistics: what they hold, what harmonization takes out of them, what a probe finds."""

from __future__ import annotations

import numpy as np
import pytest

from baselines.shortcuts import _probe, _Sample, as_delivered, statistics_of
from landmark.taxonomy import ALL_MASK, bit


def test_statistics_are_plain_means_over_valid_pixels() -> None:
    image = np.arange(2 * 4 * 4, dtype=np.float64).reshape(2, 4, 4)
    missing = np.zeros((2, 4, 4), dtype=bool)
    missing[:, 0, 3] = True
    values = statistics_of(image, missing, resampled=True)
    kept = [np.delete(band.ravel(), 3) for band in image]
    assert values[:2] == pytest.approx([band.mean() for band in kept])
    assert values[2:4] == pytest.approx([band.std() for band in kept])
    assert values[4:] == pytest.approx([1 / 16, 0, 1 / 4, 0, 0, 1])


def test_what_is_wholly_missing_gives_zeros() -> None:
    image = np.full((2, 4, 4), np.nan)
    values = statistics_of(image, np.isnan(image), resampled=False)
    assert values == [0, 0, 0, 0, 1, 1, 1, 1, 1, 0]


def test_as_delivered_puts_offset_and_unit_back() -> None:
    stored = np.array([[[0, 1, 500]]], dtype=np.uint16)
    assert as_delivered(stored, "s2", -1000, "").tolist() == [[[0, 1001, 1500]]]
    assert as_delivered(stored, "s2", 0, "").tolist() == [[[0, 1, 500]]]
    decibel = np.array([[[-10.0, np.nan]]], dtype=np.float32)
    np.testing.assert_allclose(as_delivered(decibel, "s1", None, "linear"), [[[0.1, np.nan]]])
    assert as_delivered(decibel, "s1", None, "db") is decibel


def sample(rng: np.random.Generator, n: int) -> _Sample:
    """Two sources told apart by an offset before, and by nothing after; one crisis class tied."""
    source = rng.integers(0, 2, n)
    after = rng.normal(size=(n, 3))
    before = after + 10.0 * source[:, None]
    labels = np.where(source == 1, bit("Flooded Area"), 0).astype(np.int64)
    names = np.array(["old", "new"])[source]
    return _Sample(before, after, names, labels, np.full(n, ALL_MASK, dtype=np.int64))


def test_probe_finds_the_shortcut_and_its_removal() -> None:
    rng = np.random.default_rng(0)
    source, flood = _probe("s2", sample(rng, 400), sample(rng, 400))
    assert (source.target, source.metric, source.chance) == ("source", "balanced_accuracy", 0.5)
    assert source.before == 1.0
    assert 0.35 < source.after < 0.65
    assert (flood.target, flood.metric) == ("Flooded Area", "map")
    assert flood.before == 1.0
    assert flood.after == pytest.approx(flood.chance, abs=0.12)
