"""Where on Earth -> a vector: real spherical harmonics and a sine network, as in SatCLIP.

SatCLIP counts the azimuth from the date line and the polar angle from the south pole, leaves the
Condon-Shortley phase out, and its published table of harmonics carries a factor pi on the zonal
terms (sqrt((2l+1)/4 pi) read as (2l+1)/4 times pi; the first entry is 0.886 where 0.282 is meant).
Its weights were trained on these values, so they are given to them unchanged (`Harmonics.zonal`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from landmark.errors import InputError

#: Factor on the terms of order 0 in SatCLIP's table.
SATCLIP_ZONAL = math.pi
#: Frequencies of the first and the other layers, of SIREN (2006.09661) and SatCLIP.
_FIRST_FREQUENCY = 30.0
_FREQUENCY = 1.0
_DROPOUT = 0.5
_SATCLIP = "nnet."


class LocationConfig(BaseModel):
    """How a location encoder is built.

    Attributes:
        degree: Number of degrees l of the harmonics, from 0: degree ** 2 features.
        hidden: Width of the hidden layers.
        layers: Number of hidden layers.
        width: Length of the vector.
        zonal: Factor on the terms of order 0; 1 for orthonormal harmonics.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    degree: int = Field(10, ge=1, le=100)
    hidden: int = Field(256, ge=1)
    layers: int = Field(2, ge=1)
    width: int = Field(256, ge=1)
    zonal: float = 1.0


def spherical_harmonics(lonlat: Tensor, degree: int) -> Tensor:
    """Return the real orthonormal spherical harmonics of places, without Condon-Shortley phase.

    The fully normalised Legendre functions are built by the standard upward recurrence in l, which
    neither over- nor underflows for the degrees used here (tested against scipy up to 100).

    Args:
        lonlat: (n, 2) degrees; azimuth is lon + 180, polar angle lat + 90 (from the south pole).
        degree: Degrees l = 0 .. degree - 1.

    Returns:
        (n, degree ** 2) float64: l = 0, 1, ... and within each m = -l .. l; sines for m < 0.
    """
    places = lonlat.to(torch.float64)
    azimuth = torch.deg2rad(places[:, 0] + 180.0)
    polar = torch.deg2rad(places[:, 1] + 90.0)
    cosine, sine = torch.cos(polar), torch.sin(polar)
    terms: dict[tuple[int, int], Tensor] = {}
    diagonal = torch.full_like(cosine, math.sqrt(1 / (4 * math.pi)))
    for m in range(degree):
        if m:
            diagonal = diagonal * sine * math.sqrt((2 * m + 1) / (2 * m))
        before, last = torch.zeros_like(cosine), diagonal
        for degree_l in range(m, degree):
            if degree_l > m:
                rise = math.sqrt((4 * degree_l**2 - 1) / (degree_l**2 - m**2))
                fall = math.sqrt(((degree_l - 1) ** 2 - m**2) / (4 * (degree_l - 1) ** 2 - 1))
                before, last = last, rise * (cosine * last - fall * before)
            if m == 0:
                terms[degree_l, 0] = last
            else:
                terms[degree_l, m] = math.sqrt(2) * last * torch.cos(m * azimuth)
                terms[degree_l, -m] = math.sqrt(2) * last * torch.sin(m * azimuth)
    return torch.stack([terms[key] for key in sorted(terms)], dim=1)


class SineLayer(nn.Module):
    """sin(frequency * (W x + b)), or the plain linear map for the last layer.

    Attributes:
        weight: (out, in).
        bias: (out,).
    """

    def __init__(self, width_in: int, width_out: int, frequency: float, *, last: bool) -> None:
        super().__init__()
        first = frequency == _FIRST_FREQUENCY
        # Bounds of SIREN: outputs of every layer keep the distribution of its inputs.
        bound = 1 / width_in if first else math.sqrt(6 / width_in) / frequency
        self.weight = nn.Parameter(torch.empty(width_out, width_in).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(width_out).uniform_(-bound, bound))
        self._frequency = frequency
        self._last = last

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (n, out) of (n, in)."""
        outputs = F.linear(inputs, self.weight, self.bias)
        if self._last:
            return outputs
        outputs = F.dropout(outputs, _DROPOUT, self.training)
        return torch.sin(self._frequency * outputs)


class LocationEncoder(nn.Module):
    """Places -> vectors. Layers are named as in SatCLIP (`layers.0.weight`, `last_layer.bias`)."""

    zonal: Tensor

    def __init__(self, config: LocationConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.degree**2] + [config.hidden] * config.layers
        self.layers = nn.ModuleList(
            SineLayer(a, b, _FIRST_FREQUENCY if not place else _FREQUENCY, last=False)
            for place, (a, b) in enumerate(pairwise(widths))
        )
        self.last_layer = SineLayer(config.hidden, config.width, _FREQUENCY, last=True)
        factors = torch.ones(config.degree**2)
        factors[[degree * (degree + 1) for degree in range(config.degree)]] = config.zonal
        self.register_buffer("zonal", factors, persistent=False)

    def forward(self, lonlat: Tensor) -> Tensor:
        """Return (n, width) float32 of (n, 2) longitudes and latitudes in degrees."""
        features = spherical_harmonics(lonlat, self.config.degree).float() * self.zonal
        for layer in self.layers:
            features = layer(features)
        outputs: Tensor = self.last_layer(features)
        return outputs


def satclip_layers(tensors: Mapping[str, Tensor], origin: str) -> dict[str, Tensor]:
    """Return the location encoder's tensors out of a SatCLIP checkpoint.

    Args:
        tensors: The whole state dict; keys such as `model.location.nnet.layers.0.weight`.
        origin: Named in errors.

    Raises:
        InputError: There is no location encoder with sine layers in it.
    """
    layers = {
        name[name.index(_SATCLIP) + len(_SATCLIP) :]: tensor
        for name, tensor in tensors.items()
        if _SATCLIP in name
    }
    if "last_layer.weight" not in layers or "layers.0.weight" not in layers:
        raise InputError(f"{origin}: holds no SatCLIP location encoder with sine (SIREN) layers")
    return layers


def location_config(layers: Mapping[str, Tensor], origin: str) -> LocationConfig:
    """Return how a location encoder with these tensors is built, read off their shapes.

    Raises:
        InputError: The first layer does not take spherical harmonics.
    """
    hidden, features = layers["layers.0.weight"].shape
    degree = math.isqrt(features)
    if degree**2 != features:
        raise InputError(f"{origin}: its location encoder takes {features} features, no square")
    return LocationConfig(
        degree=degree,
        hidden=hidden,
        layers=sum(name.startswith("layers.") and name.endswith("weight") for name in layers),
        width=len(layers["last_layer.weight"]),
        zonal=SATCLIP_ZONAL,
    )
