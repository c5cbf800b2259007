"""Images that are one 120 x 120 array each, as the published CrisisLandMark stores them.

Such an array is the patch: it is not resampled, whatever its pixel size. Sentinel-2 bands are
kept at their native 10, 20 or 60 m planes where the array repeats pixels (which gives it back
exactly) and averaged where it does not; Sentinel-1 is converted to dB. Where the finished planes
cannot give the array back bit for bit, the array itself is kept beside them, compressed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landmark import hdf5
from landmark.codec import encode_array, replicate
from landmark.errors import LandmarkError
from landmark.grid import PIXELS
from landmark.manifest import S1_BANDS, S2_BANDS
from landmark.radiometry import backscatter_unit, to_db
from landmark.scenes import Scene
from landmark.schema import ImageLayout

_UINT16_MAX = 65535.0


@dataclass(frozen=True)
class ArrayPlanes:
    """An array as finished planes.

    Attributes:
        planes: One per band of the layout.
        original: The array as stored, encoded, or None where the planes give it back exactly.
        clipped: Share of the valid values that were out of range (Sentinel-2).
        averaged: Whether a plane averages pixels that differ.
    """

    planes: tuple[NDArray[np.generic], ...]
    original: bytes | None
    clipped: float
    averaged: bool


def read_array(scene: Scene, path: str, layout: ImageLayout) -> ArrayPlanes:
    """Return the planes of an array image.

    Raises:
        LandmarkError: The file lacks the array, it has another shape, or its values contradict
            the unit the plan states.
    """
    name, _ = hdf5.split_path(path)
    stored = hdf5.read_dataset(path)
    bands = S1_BANDS if scene.sensor == "s1" else S2_BANDS
    if stored.shape != (len(bands), PIXELS, PIXELS) or stored.dtype.kind != "f":
        raise LandmarkError(
            f"{name}: {scene.item}: image is {stored.dtype} {stored.shape}, not float32 "
            f"({len(bands)}, {PIXELS}, {PIXELS})"
        )
    stored = stored.astype(np.float32, copy=False)
    if scene.sensor == "s1":
        return _backscatter(scene, stored, name)
    return _reflectance(stored, layout)


def restore(planes: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return the array that decoded planes stand for: (bands, 120, 120) float32."""
    return planes.astype(np.float32)


def _backscatter(scene: Scene, stored: NDArray[np.float32], name: str) -> ArrayPlanes:
    found = backscatter_unit(stored)
    if found is not None and found != scene.unit:
        raise LandmarkError(
            f"{name}: {scene.item}: values are {found}, but its source is {scene.unit}"
        )
    if scene.unit == "db":
        finished = np.where(np.isfinite(stored), stored, np.float32(np.nan))
    else:
        finished = to_db(stored)
    same = np.array_equal(restore(finished), stored, equal_nan=True)
    return ArrayPlanes(tuple(finished), None if same else encode_array(stored), 0.0, False)


def _reflectance(stored: NDArray[np.float32], layout: ImageLayout) -> ArrayPlanes:
    valid = np.isfinite(stored) & (stored != 0)
    whole = np.clip(np.rint(np.where(valid, stored, 0.0)), np.where(valid, 1.0, 0.0), _UINT16_MAX)
    clipped = np.count_nonzero(valid & (np.abs(whole - stored) > 0.5)) / max(1, valid.sum())
    planes: list[NDArray[np.generic]] = []
    averaged = False
    wide = np.zeros((len(S2_BANDS), PIXELS, PIXELS), np.uint16)
    for number, band in enumerate(S2_BANDS):
        if band not in layout.bands:
            wide[number] = whole[number]
            continue
        side = layout.shapes[layout.bands.index(band)][0]
        plane, mixed = _native(whole[number], valid[number], side)
        averaged |= mixed
        planes.append(plane)
        replicate(plane, wide[number])
    complete = len(planes) == len(S2_BANDS)
    same = complete and np.array_equal(restore(wide), stored, equal_nan=True)
    return ArrayPlanes(
        tuple(planes), None if same else encode_array(stored), float(clipped), averaged
    )


def _native(
    values: NDArray[np.float32], valid: NDArray[np.bool_], side: int
) -> tuple[NDArray[np.uint16], bool]:
    """Return a band at its native size, and whether pixels that differ were averaged."""
    step = PIXELS // side
    blocks = values.reshape(side, step, side, step).swapaxes(1, 2).reshape(side, side, -1)
    first = blocks[:, :, :1]
    if (blocks == first).all():
        return first[:, :, 0].astype(np.uint16), False
    good = valid.reshape(side, step, side, step).swapaxes(1, 2).reshape(side, side, -1)
    count = good.sum(axis=2)
    mean = np.where(good, blocks, 0).sum(axis=2, dtype=np.float64) / np.maximum(count, 1)
    rounded = np.where(count > 0, np.maximum(np.rint(mean), 1), 0)
    return rounded.astype(np.uint16), True
