from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import sph_harm_y
from torch.nn import functional as F

from baselines.location import (
    SATCLIP_ZONAL,
    LocationConfig,
    LocationEncoder,
    location_config,
    satclip_layers,
    spherical_harmonics,
)
from landmark.errors import InputError

LON = st.floats(-180, 180)
LAT = st.floats(-90, 90)


def scipy_harmonics(lon: float, lat: float, degree: int) -> list[float]:
    """Real harmonics out of scipy's complex ones; (-1)^m takes the Condon-Shortley phase out."""
    azimuth, polar = math.radians(lon + 180), math.radians(lat + 90)
    values = []
    for n in range(degree):
        for m in range(-n, n + 1):
            whole = complex(sph_harm_y(n, abs(m), polar, azimuth))
            part = whole.real if m > 0 else whole.imag
            values.append(whole.real if m == 0 else (-1) ** m * math.sqrt(2) * part)
    return values


@settings(max_examples=15, deadline=None)
@given(lon=LON, lat=LAT)
def test_harmonics_are_those_of_scipy(lon: float, lat: float) -> None:
    got = spherical_harmonics(torch.tensor([[lon, lat]], dtype=torch.float64), 8)[0]
    np.testing.assert_allclose(got.numpy(), scipy_harmonics(lon, lat, 8), atol=1e-12)


@pytest.mark.parametrize("place", [(11.3, 44.5), (-170.0, -89.99), (179.9, 90.0)])
def test_high_degrees_keep_their_digits(place: tuple[float, float]) -> None:
    got = spherical_harmonics(torch.tensor([place], dtype=torch.float64), 100)[0]
    assert got.shape == (10_000,)
    np.testing.assert_allclose(got.numpy(), scipy_harmonics(*place, 100), atol=1e-9)


def test_the_first_terms_are_those_of_satclips_table() -> None:
    """Constants of the published table, in the order m = -1..1."""
    lon, lat = 20.0, 30.0
    azimuth, polar = math.radians(lon + 180), math.radians(lat + 90)
    encoder = LocationEncoder(LocationConfig(degree=2, zonal=SATCLIP_ZONAL))
    got = spherical_harmonics(torch.tensor([[lon, lat]]), 2)[0] * encoder.zonal
    expected = [
        0.886226925452758,
        0.48860251190292 * math.sin(polar) * math.sin(azimuth),
        1.53499006191973 * math.cos(polar),
        0.48860251190292 * math.sin(polar) * math.cos(azimuth),
    ]
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-6)


def test_the_network_is_two_sine_layers_and_a_linear_one() -> None:
    torch.manual_seed(0)
    encoder = LocationEncoder(LocationConfig(degree=4, hidden=8, layers=2, width=5)).eval()
    lonlat = torch.tensor([[9.0, 45.0], [-70.0, -33.0]]).double()
    weights = {name: tensor.double() for name, tensor in encoder.state_dict().items()}
    x = spherical_harmonics(lonlat, 4)
    for place, frequency in enumerate((30.0, 1.0)):
        linear = F.linear(x, weights[f"layers.{place}.weight"], weights[f"layers.{place}.bias"])
        x = torch.sin(frequency * linear)
    x = F.linear(x, weights["last_layer.weight"], weights["last_layer.bias"])
    torch.testing.assert_close(encoder(lonlat).double(), x, atol=1e-4, rtol=1e-4)
    assert encoder.train()(lonlat).shape == (2, 5)


def test_a_satclip_checkpoint_says_how_it_is_built() -> None:
    encoder = LocationEncoder(LocationConfig(degree=6, hidden=16, layers=3, width=10))
    lightning = {f"model.location.nnet.{n}": t for n, t in encoder.state_dict().items()}
    lightning["model.visual.conv1.weight"] = torch.zeros(1)
    layers = satclip_layers(lightning, "satclip.ckpt")
    config = location_config(layers, "satclip.ckpt")
    assert (config.degree, config.hidden, config.layers, config.width) == (6, 16, 3, 10)
    assert config.zonal == SATCLIP_ZONAL
    LocationEncoder(config).load_state_dict(layers)


def test_another_checkpoint_is_one_line() -> None:
    with pytest.raises(InputError, match=r"x\.ckpt: holds no SatCLIP location encoder"):
        satclip_layers({"fc.weight": torch.zeros(2, 2)}, "x.ckpt")
    layers = {"layers.0.weight": torch.zeros(8, 10), "last_layer.weight": torch.zeros(4, 8)}
    with pytest.raises(InputError, match="takes 10 features, no square"):
        location_config(layers, "x.ckpt")
