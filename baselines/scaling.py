"""Stored pixels -> network input, in one place: unit, standardisation, nodata, size.

Stored pixels are what shards hold: Sentinel-2 uint16 reflectance x 10000 (0 is nodata),
Sentinel-1 float32 dB (NaN is nodata). The network sees each band as (value - mean) / std in
physical units, nodata as the mean (0) or as the value its weights were trained with, brought to
the model's size.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn import functional as F

from landmark.errors import InputError
from landmark.grid import PIXELS
from landmark.schema import ImageLayout

#: Spreads below this (reflectance or dB) mean a constant band: standardised by 1 instead.
_MIN_STD = 1e-6
#: Reflectance of the brightest clouds stays below.
_MAX_REFLECTANCE = 3.0


class SensorInput(BaseModel):
    """What a model expects of one sensor's patches.

    Attributes:
        sensor: `s1` or `s2`.
        bands: Band names in order.
        scale: Physical value per stored unit (reflectance 1e-4; dB 1).
        nodata: Stored value without data, or None where NaN is.
        mean: Per band, in reflectance or dB, over valid training pixels.
        std: Per band, likewise.
        fill: Physical value put where there is no data; None: each band's mean.
        enlarge: How patches are brought to more than 120 pixels: `bilinear`, or `corners`
            (bilinear with the outer pixel centres aligned: kornia's default, which the published
            vision transformers were trained with).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sensor: str
    bands: tuple[str, ...]
    scale: float
    nodata: int | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fill: float | None = None
    enlarge: Literal["bilinear", "corners"] = "bilinear"


class Statistics:
    """Running per-band mean and spread of valid pixels, in float64 (Chan's parallel update)."""

    def __init__(self, layout: ImageLayout) -> None:
        self._layout = layout
        bands = len(layout.bands)
        self._count = np.zeros(bands)
        self._mean = np.zeros(bands)
        self._squares = np.zeros(bands)

    def add(self, image: NDArray[np.generic]) -> None:
        """Take in one patch, (bands, rows, columns) as stored."""
        for band, plane in enumerate(image):
            valid = (
                plane[plane != self._layout.nodata] if self._layout.nodata is not None else plane
            )
            values = valid.astype(np.float64)
            values = values[np.isfinite(values)] * self._layout.scale
            if not values.size:
                continue
            count, mean = values.size, float(values.mean())
            squares = float(np.square(values - mean).sum())
            total = self._count[band] + count
            shift = mean - self._mean[band]
            self._squares[band] += squares + shift**2 * self._count[band] * count / total
            self._mean[band] += shift * count / total
            self._count[band] = total

    def result(self) -> SensorInput:
        """Return the input description with what was measured."""
        std = np.sqrt(self._squares / np.maximum(self._count, 1))
        std[std < _MIN_STD] = 1.0
        return SensorInput(
            sensor=self._layout.sensor,
            bands=self._layout.bands,
            scale=self._layout.scale,
            nodata=self._layout.nodata,
            mean=tuple(round(float(value), 6) for value in self._mean),
            std=tuple(round(float(value), 6) for value in std),
        )


class Scaling(nn.Module):
    """Stored pixels of one sensor -> standardised float32 of the model's size."""

    offset: Tensor
    factor: Tensor
    filled: Tensor

    def __init__(self, expected: SensorInput, size: int) -> None:
        super().__init__()
        self.expected = expected
        self.size = size
        mean = torch.tensor(expected.mean, dtype=torch.float32).view(1, -1, 1, 1)
        std = torch.tensor(expected.std, dtype=torch.float32).view(1, -1, 1, 1)
        # Not persistent: the numbers live in the run's config, once.
        if expected.fill is not None:
            filled = (torch.full_like(mean, expected.fill) - mean) / std
            self.register_buffer("filled", filled, persistent=False)
        self.register_buffer("offset", mean / std, persistent=False)
        self.register_buffer("factor", expected.scale / std, persistent=False)

    def forward(self, stored: Tensor) -> Tensor:
        """Return (n, bands, size, size) float32, channels last, from (n, bands, 120, 120)."""
        values = stored.to(torch.float32)
        valid: Tensor | None = None
        nodata = self.expected.nodata
        if nodata is None:
            # A sum is not finite as soon as one value is not: one pass where all is well.
            if not torch.isfinite(values.sum()):
                valid = torch.isfinite(values)
        elif bool((values == nodata).any()):
            valid = values != nodata
        if valid is not None and self.expected.fill is not None:
            scaled = torch.where(valid, values * self.factor - self.offset, self.filled)
            return self._resize(scaled).contiguous(memory_format=torch.channels_last)
        if valid is not None:
            values = torch.where(valid, values, torch.zeros_like(values))
        # Resizing first is the same sum: a missing pixel adds neither its value nor the mean.
        scaled = self._resize(values) * self.factor
        scaled -= self.offset if valid is None else self.offset * self._resize(valid.float())
        return scaled.contiguous(memory_format=torch.channels_last)

    def _resize(self, pixels: Tensor) -> Tensor:
        if self.size == PIXELS:
            return pixels
        if self.size < PIXELS:
            return F.avg_pool2d(pixels, PIXELS // self.size)
        corners = self.expected.enlarge == "corners"
        return F.interpolate(pixels, size=self.size, mode="bilinear", align_corners=corners)


def unpack(packed: Tensor, layout: ImageLayout) -> Tensor:
    """Return (n, bands, 120, 120) of the same dtype from packed planes, on the packed's device.

    Args:
        packed: (n, layout.values), native planes one after another (`Reading.packed`).
        layout: Says where each plane lies; coarse pixels are replicated.
    """
    count = len(packed)
    images = packed.new_empty((count, len(layout.bands), PIXELS, PIXELS))
    start = 0
    for band, (rows, columns) in enumerate(layout.shapes):
        plane = packed[:, start : start + rows * columns].reshape(count, rows, 1, columns, 1)
        tall, wide = PIXELS // rows, PIXELS // columns
        blocks = images[:, band].view(count, rows, tall, columns, wide)
        blocks.copy_(plane.expand_as(blocks))
        start += rows * columns
    return images


def check_bands(expected: SensorInput, shape: tuple[int, ...], origin: str) -> None:
    """Refuse a batch that is not (n, bands, 120, 120) with the bands a model was trained on.

    Raises:
        InputError: Names the sensor and both band counts.
    """
    wanted = (len(expected.bands), PIXELS, PIXELS)
    if len(shape) == 4 and shape[1:] == wanted:
        return
    name = {"s1": "Sentinel-1", "s2": "Sentinel-2"}.get(expected.sensor, expected.sensor)
    if len(shape) == 4 and shape[2:] == wanted[1:]:
        raise InputError(
            f"{origin}: the model was trained on {wanted[0]} {name} bands "
            f"({', '.join(expected.bands)}), the patches have {shape[1]}"
        )
    raise InputError(
        f"{origin}: {name} patches must be an array of shape (n, {wanted[0]}, {PIXELS}, "
        f"{PIXELS}), got {tuple(shape)}"
    )


def check_unit(expected: SensorInput, batch: NDArray[np.generic], origin: str) -> None:
    """Refuse pixels that are plainly in another unit than a model expects.

    Raises:
        InputError: Reflectances where reflectance x 10000 is expected, or the reverse; linear
            backscatter where dB is expected.
    """
    if expected.sensor == "s1":
        valid = batch[np.isfinite(batch)]
        # Land and water scatter back less than all of the power: dB are below 0 nearly everywhere.
        if valid.size and not (valid < 0).any():
            raise InputError(
                f"{origin}: no value is negative, so these are linear backscatter; the model "
                "expects dB (10 * log10)"
            )
        return
    if expected.scale == 1.0 and batch.dtype.kind in "iu":
        raise InputError(f"{origin}: integers, but the model expects reflectance (0..1)")
    if expected.scale < 1.0 and batch.dtype.kind == "f":
        valid = batch[np.isfinite(batch)]
        if valid.size and float(valid.max()) <= _MAX_REFLECTANCE:
            raise InputError(
                f"{origin}: no value is above {_MAX_REFLECTANCE:g}, so these are reflectances; the "
                f"model expects them divided by {expected.scale:g}"
            )
