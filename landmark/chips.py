"""Chips: small images sorted into folders by class, as scene classification sets come.

    CHIPS/AnnualCrop/AnnualCrop_1.tif, CHIPS/Forest/Forest_1.tif, ...

A chip is brought to the 120 x 120 pixels of a patch without changing its ground sampling: smaller
ones are continued by mirroring at their borders, larger ones cut to their middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from landmark.errors import InputError
from landmark.grid import PIXELS
from landmark.pixels import read_whole

#: Order of the 13 bands in EuroSAT's files: B8A is last, not between B08 and B09.
EUROSAT_BANDS: tuple[str, ...] = (
    *(f"B{number:02d}" for number in range(1, 13)),
    "B8A",
)
S1_BANDS = frozenset({"VV", "VH"})
#: Reflectance of the brightest clouds stays below.
_MAX_REFLECTANCE = 3.0
_SUFFIXES = frozenset({".tif", ".tiff"})


@dataclass(frozen=True)
class Chip:
    """One labelled image.

    Attributes:
        path: Its file.
        class_name: Name of the folder it lies in.
    """

    path: Path
    class_name: str


def list_chips(folder: Path) -> tuple[Chip, ...]:
    """Return the GeoTIFF chips of a folder of class folders, sorted by class and name.

    Raises:
        InputError: The folder is missing, or holds fewer than two classes.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of chips")
    chips = tuple(
        Chip(path, own.name)
        for own in sorted(path for path in folder.iterdir() if path.is_dir())
        for path in sorted(own.iterdir())
        if path.suffix.lower() in _SUFFIXES
    )
    if len({chip.class_name for chip in chips}) < 2:
        raise InputError(
            f"{folder}: holds no two folders with .tif chips; give a folder with one folder a class"
        )
    return chips


def read_chip(chip: Chip, held: Sequence[str], wanted: Sequence[str]) -> NDArray[np.generic]:
    """Return a chip as a patch: (wanted bands, 120, 120), uint16 reflectance x 10000 or float32 dB.

    Args:
        chip: The chip.
        held: Bands of its file, in order.
        wanted: Bands of the patch, in order.

    Raises:
        InputError: The file has another number of bands, lacks a band, or is in another unit.
        LandmarkError: It cannot be read.
    """
    missing = [band for band in wanted if band not in held]
    if missing:
        raise InputError(
            f"{chip.path}: bands {', '.join(missing)} are needed, but its files hold "
            f"{', '.join(held)}; use a run trained on these bands"
        )
    stored = read_whole(str(chip.path))
    if len(stored) != len(held):
        raise InputError(
            f"{chip.path}: holds {len(stored)} bands, not the {len(held)} of the list "
            f"{', '.join(held)}; name its bands in order with --chip-bands"
        )
    values = stored[[held.index(band) for band in wanted]]
    return to_patch(_in_unit(values, S1_BANDS.issuperset(wanted), chip.path))


def to_patch(image: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return (bands, 120, 120) of an image of any size: mirrored outwards, or cut to its middle."""
    for axis in (1, 2):
        size = image.shape[axis]
        if size >= PIXELS:
            start = (size - PIXELS) // 2
            image = image.take(range(start, start + PIXELS), axis=axis)
        else:
            before = (PIXELS - size) // 2
            widths = [(0, 0)] * 3
            widths[axis] = (before, PIXELS - size - before)
            image = np.pad(image, widths, mode="symmetric")
    return image


def _in_unit(values: NDArray[np.generic], radar: bool, path: Path) -> NDArray[np.generic]:
    if radar:
        return values.astype(np.float32)
    if values.dtype.kind == "f":
        if float(np.nanmax(values, initial=0.0)) <= _MAX_REFLECTANCE:
            raise InputError(
                f"{path}: no value is above {_MAX_REFLECTANCE:g}, so these are reflectances; "
                "store them as integers of reflectance x 10000"
            )
        values = np.nan_to_num(values)
    if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
        raise InputError(f"{path}: values outside 0..65535 are no reflectance x 10000")
    return values.astype(np.uint16)
