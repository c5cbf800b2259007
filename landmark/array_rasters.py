"""Masks that are arrays of an HDF5 file, on patch frames: codes, not meanings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from landmark import hdf5
from landmark.errors import InputError
from landmark.grid import PIXELS, RESOLUTION_M, Frame
from landmark.scenes import SourceGrid

NOTHING = np.iinfo(np.int32).min


def array_codes(path: str, grid: SourceGrid, frames: Sequence[Frame]) -> list[NDArray[np.int32]]:
    """Return the codes of a mask on frames of its own CRS, (120, 120) each, nearest neighbour.

    Pixels outside the mask are `NOTHING`.

    Args:
        path: `FILE.h5#DATASET` of shape (rows, columns) or (rows, columns, 1).
        grid: Where it lies; north up.
        frames: Where, in the mask's CRS.

    Raises:
        InputError: A frame is of another CRS, or the mask is no plane of whole numbers.
        LandmarkError: It cannot be read.
    """
    mask = hdf5.read_dataset(path)
    if mask.ndim == 3 and mask.shape[2] == 1:
        mask = mask[:, :, 0]
    if mask.shape != (grid.height, grid.width) or mask.dtype.kind not in "iub":
        raise InputError(f"{path}: is {mask.dtype} {mask.shape}, no mask of the images' size")
    a, _, c, _, e, f = grid.transform
    centres = (np.arange(PIXELS) + 0.5) * RESOLUTION_M
    taken = []
    for frame in frames:
        if frame.epsg != grid.epsg:
            raise InputError(f"{path}: lies in EPSG:{grid.epsg}, patch {frame.name} does not")
        columns = np.floor((frame.x_min + centres - c) / a).astype(np.int64)
        rows = np.floor((frame.y_max - centres - f) / e).astype(np.int64)
        inside = np.ix_((rows >= 0) & (rows < grid.height), (columns >= 0) & (columns < grid.width))
        codes = np.full((PIXELS, PIXELS), NOTHING, np.int32)
        codes[inside] = mask[
            np.ix_(
                rows[(rows >= 0) & (rows < grid.height)],
                columns[(columns >= 0) & (columns < grid.width)],
            )
        ]
        taken.append(codes)
    return taken
