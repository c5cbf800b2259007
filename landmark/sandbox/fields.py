"""Random fields: the raw material of the synthetic Earth.

Every field draws from its own Philox stream, keyed by the seed and the field's name, so that no
field depends on the order in which others were made. Only element-wise arithmetic is used (no
matrix products, no transforms), so thread counts cannot change a bit.
"""

from __future__ import annotations

import math

import numpy as np
import xxhash
from numpy.typing import NDArray

Field = NDArray[np.float32]


def stream(seed: int, name: str) -> np.random.Generator:
    """Return the random generator that belongs to a seed and a name, and to them alone."""
    key = xxhash.xxh3_128_intdigest(f"{seed}/{name}".encode())
    return np.random.Generator(np.random.Philox(key=key))


def white(seed: int, name: str, shape: tuple[int, int]) -> Field:
    """Return white noise, mean 0 and standard deviation 1, float32 of the given shape."""
    return stream(seed, name).standard_normal(shape, dtype=np.float32)


def smooth(
    seed: int, name: str, shape: tuple[int, int], wavelength: float, octaves: int = 2
) -> Field:
    """Return smooth noise, mean 0 and standard deviation 1, float32.

    Args:
        seed: Seed of the sandbox.
        name: Name of the field.
        shape: Rows, columns.
        wavelength: Typical size of a feature (trough and crest), pixels.
        octaves: Layers of noise; each halves the wavelength and the amplitude.
    """
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        spacing = wavelength / 2.0 / 2**octave
        knots = (math.ceil(shape[0] / spacing) + 4, math.ceil(shape[1] / spacing) + 4)
        grid = white(seed, f"{name}/{octave}", knots) * np.float32(0.5**octave)
        wide = np.ascontiguousarray(_stretch(np.ascontiguousarray(grid.T), shape[1], spacing).T)
        total += _stretch(wide, shape[0], spacing)
    total -= total.mean(dtype=np.float64)
    total /= max(float(total.std(dtype=np.float64)), 1e-6)
    return total


def curve(seed: int, name: str, size: int, wavelength: float) -> Field:
    """Return a smooth random line of `size` values, mean 0 and standard deviation about 1."""
    spacing = wavelength / 2.0
    knots = white(seed, name, (math.ceil(size / spacing) + 4, 1))
    return _stretch(knots, size, spacing)[:, 0] * np.float32(1.6)


def quantile(field: Field, share: float) -> float:
    """Return the value below which `share` of a field lies (estimated from every third pixel)."""
    return float(np.quantile(field[::3, ::3], share))


def scatter(
    seed: int, name: str, size: int, spacing: float, extras: int
) -> list[tuple[int, int, NDArray[np.float64]]]:
    """Return points on a jittered lattice as (row, column, `extras` uniform numbers).

    Args:
        seed: Seed of the sandbox.
        name: Name of the point set.
        size: Rows and columns of the square ground, pixels.
        spacing: Mean distance of the points, pixels.
        extras: Random numbers wanted per point, uniform in 0..1.
    """
    count = max(1, round(size / spacing))
    step = size / count
    draws = stream(seed, name).random((count, count, 2 + extras))
    return [
        (
            int((row + 0.2 + 0.6 * draws[row, column, 0]) * step),
            int((column + 0.2 + 0.6 * draws[row, column, 1]) * step),
            draws[row, column, 2:],
        )
        for row in range(count)
        for column in range(count)
    ]


def parcels(
    seed: int, name: str, shape: tuple[int, int], length: float, breadth: float
) -> NDArray[np.uint32]:
    """Return a random number per parcel of a warped, rotated lattice: uint32, equal in a parcel.

    Args:
        seed: Seed of the sandbox.
        name: Name of the parcel map.
        shape: Rows, columns.
        length: Long side of a parcel, pixels.
        breadth: Short side of a parcel, pixels.
    """
    angle = stream(seed, f"{name}/angle").uniform(0.2, 1.2)
    rows = np.arange(shape[0], dtype=np.float32)[:, None]
    columns = np.arange(shape[1], dtype=np.float32)[None, :]
    bend = smooth(seed, f"{name}/bend", shape, 300.0, 1) * np.float32(12.0)
    sine, cosine = np.float32(math.sin(angle)), np.float32(math.cos(angle))
    across = np.floor((rows * cosine - columns * sine + bend) / np.float32(breadth))
    # Rows of parcels are shifted against each other, so that corners do not meet in crosses.
    along = columns * cosine + rows * sine + bend + across * np.float32(0.37 * length)
    along = np.floor(along / np.float32(length))
    salt = np.uint32(stream(seed, f"{name}/salt").integers(1 << 32))
    mixed = along.astype(np.int32).view(np.uint32) * np.uint32(0x9E3779B1)
    mixed ^= across.astype(np.int32).view(np.uint32) * np.uint32(0x85EBCA77)
    return _scramble(mixed ^ salt)


def uniform_of(codes: NDArray[np.uint32], salt: int) -> Field:
    """Return numbers uniform in 0..1 that are a function of parcel codes and a salt, float32."""
    mixed = _scramble(codes ^ np.uint32(salt * 0x27D4EB2F & 0xFFFFFFFF))
    return (mixed >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def _scramble(codes: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Mix the bits of each number (the finaliser of MurmurHash3)."""
    codes = codes ^ (codes >> np.uint32(16))
    codes *= np.uint32(0x85EBCA6B)
    codes ^= codes >> np.uint32(13)
    codes *= np.uint32(0xC2B2AE35)
    codes ^= codes >> np.uint32(16)
    return codes


def _stretch(grid: Field, size: int, spacing: float) -> Field:
    """Interpolate axis 0 of a grid to `size` rows by a uniform cubic B-spline."""
    position = (np.arange(size) + 0.5) / spacing
    base = position.astype(np.int64)
    t = (position - base).astype(np.float32)[:, None]
    weights = (
        (1 - t) ** 3 / 6,
        (3 * t**3 - 6 * t**2 + 4) / 6,
        (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
        t**3 / 6,
    )
    result = np.zeros((size, grid.shape[1]), np.float32)
    for shift, weight in enumerate(weights):
        result += weight * grid[base + shift]
    return result
