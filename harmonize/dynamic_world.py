"""Dynamic World label rasters: 0..8, where 0 is water and must not be taken for nodata.

Exports that declare nodata = 0 have lost their water, unless the labels were exported as
label + 1; that cannot be seen in the pixels for certain, so the manifest must say it
(`label_shift: 1`). 255 means "not mapped" (clouds, outside the swath), and so does 0 of shifted
labels; other values that mean it are listed under `nodata`, and any that is left stops the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harmonize.odd_codes import refuse_code
from landmark.errors import InputError
from landmark.grid import Frame
from landmark.raster_files import read_header, sample_codes
from landmark.rasters import Counts, class_counts
from landmark.signing import NO_ACCESS, Access

LABELS: tuple[int, ...] = tuple(range(9))
NOT_MAPPED = 255


def check_raster(path: str | Path, label_shift: int = 0, nodata: Sequence[int] = ()) -> None:
    """Refuse a raster whose 0 or 9 cannot be trusted.

    Raises:
        InputError: It declares nodata 0 (or holds label 9), and no shift is declared.
    """
    header = read_header(path)
    if label_shift:
        return
    if header.nodata == 0:
        raise InputError(
            f"{path}: declares nodata 0, which is Dynamic World's water; if its labels were "
            "exported as label + 1, set label_shift: 1, else export it again with nodata 255"
        )
    _refuse_nine(np.setdiff1d(sample_codes(path), nodata), str(path))


def count(
    paths: Sequence[str],
    frames: Sequence[Frame],
    label_shift: int = 0,
    nodata: Sequence[int] = (),
    masks: NDArray[np.bool_] | None = None,
    access: Access = NO_ACCESS,
) -> Counts:
    """Return the labels 0..8 on frames.

    Args:
        paths: Label rasters, the first that covers a pixel decides.
        frames: Where.
        label_shift: 1 if the pixels hold label + 1.
        nodata: Values that mean "not mapped", besides 255 (as the pixels hold them).
        masks: Pixels to leave out, see `landmark.rasters.class_counts`.
        access: How rasters behind URLs are signed.

    Raises:
        InputError: Pixels hold 9, but no shift is declared; or another value that is no label.
    """
    nothing = {NOT_MAPPED, *nodata, *([0] if label_shift else [])}
    found = class_counts(paths, frames, nodata=nothing, masks=masks, access=access)
    if not label_shift:
        _refuse_nine(found.codes, ", ".join(Path(path).name for path in paths))
    for code in found.codes.tolist():
        if code - label_shift not in LABELS:
            refuse_code(code, paths, frames, "is no Dynamic World label (0..8)", access)
    return Counts(found.codes - np.int32(label_shift), found.counts, found.covered)


def _refuse_nine(codes: NDArray[np.int32], origin: str) -> None:
    if 9 in codes:
        raise InputError(
            f"{origin}: holds 9, which is no Dynamic World label (0..8); if its labels were "
            "exported as label + 1, set label_shift: 1"
        )
