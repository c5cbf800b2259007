"""Sentinel-1 pixels: backscatter of the ground with speckle, as linear gamma0 power."""

from __future__ import annotations

import math

import numpy as np

from landmark.sandbox import fields
from landmark.sandbox.ground import Ground
from landmark.sandbox.optics import State
from landmark.sandbox.places import RADAR_MARGIN_NORTH_M, RADAR_MARGIN_WEST_M, Radar
from landmark.sandbox.surfaces import Surface, column

NODATA = -32768.0
#: Equivalent number of looks: speckle is multiplicative, gamma-distributed power.
_LOOKS = 4.4
#: Power of the sensor's own noise.
_FLOOR = 10.0**-3.1
_STRIP = 600
#: Mantissa bits dropped from float32 (a step of 0.001 dB) so that files compress.
_DROPPED_BITS = 12


def backscatter(ground: Ground, state: State, product: Radar, polarisation: str) -> fields.Field:
    """Return one polarisation of a product: float32 linear power, nodata -32768.

    The raster reaches `RADAR_MARGIN_*` beyond the place to the west and to the north, without
    data there, so that its grid starts elsewhere than Sentinel-2's, as real ones do.

    Args:
        ground: The ground.
        state: The ground at this date.
        product: The acquisition.
        polarisation: `VV` or `VH`.
    """
    place = ground.place
    name = f"{place.name}/{product.platform}/{product.time}/{polarisation}"
    speckle = fields.stream(ground.seed, f"{name}/speckle")
    grit = fields.stream(ground.seed, f"{place.name}/grit")
    wind = fields.smooth(ground.seed, f"{place.name}/{product.time}/wind", place.shape, 200.0, 2)
    mean, swing, rough = column(polarisation.lower()), column("swing"), column("grit")
    # Slopes towards the sensor are a little brighter, even after terrain correction.
    facing = 12.0 if product.orbit_state == "ascending" else -12.0
    north, west = RADAR_MARGIN_NORTH_M // 10, RADAR_MARGIN_WEST_M // 10
    size = place.size
    height = round(size * product.rows)
    image = np.full((height + north, size + west), NODATA, np.float32)
    for top in range(0, height, _STRIP):
        rows = np.s_[top : min(top + _STRIP, height)]
        surface = state.surface[rows]
        shape = surface.shape
        decibel = mean[surface]
        decibel += swing[surface] * state.stray[rows]
        decibel += rough[surface] * grit.standard_normal(shape, dtype=np.float32)
        slope = np.gradient(ground.relief[rows], axis=1) * np.float32(facing)
        decibel += np.clip(slope, -1.0, 1.0)
        waves = wind[rows] * np.float32(0.9)
        decibel += np.where(surface <= Surface.RIVER, waves, np.float32(0.25) * waves)
        decibel *= np.float32(math.log(10.0) / 10.0)
        power = np.exp(decibel, out=decibel)
        power += np.float32(_FLOOR)
        power *= speckle.standard_gamma(_LOOKS, shape, dtype=np.float32)
        power *= np.float32(1.0 / _LOOKS)
        image[north + top : north + top + shape[0], west:] = _round_mantissa(power)
    return image


def _round_mantissa(values: fields.Field) -> fields.Field:
    half = np.uint32(1 << (_DROPPED_BITS - 1))
    keep = np.uint32(0xFFFFFFFF << _DROPPED_BITS & 0xFFFFFFFF)
    rounded: fields.Field = ((values.view(np.uint32) + half) & keep).view(np.float32)
    return rounded
