"""What a dense mask says of a frame: which pixels are affected, and which were looked at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harmonize.events import Mask
from harmonize.odd_codes import refuse_code
from landmark.grid import Frame
from landmark.rasters import codes_on_frame


@dataclass(frozen=True)
class MaskArea:
    """A mask on a frame, both (120, 120).

    Attributes:
        affected: Pixels the event covers.
        analysed: Pixels somebody looked at; affected ones are.
    """

    affected: NDArray[np.bool_]
    analysed: NDArray[np.bool_]


def area_on_frame(mask: Mask, frame: Frame) -> MaskArea:
    """Read a mask on a frame (nearest neighbour).

    Affected pixels of permanent water count as looked at and clear; where the raster of permanent
    water is not mapped, they are not known.

    Raises:
        InputError: The mask holds a value that is neither affected, clear nor nodata.
    """
    codes, covered = codes_on_frame([mask.path], frame)
    for code in np.unique(codes[covered]).tolist():
        # Negative values are how such masks write "no data" (Sen1Floods11: -1).
        if code not in (*mask.affected, *mask.clear, 255) and code >= 0:
            refuse_code(code, [mask.path], [frame], "is neither affected nor clear")
    affected = covered & np.isin(codes, mask.affected)
    analysed = affected | (covered & np.isin(codes, mask.clear))
    if mask.permanent is not None:
        water, mapped = codes_on_frame([mask.permanent], frame)
        permanent = mapped & np.isin(water, mask.permanent_codes)
        analysed &= mapped | ~affected
        affected &= mapped & ~permanent
    return MaskArea(affected, analysed)
