"""CORINE Land Cover rasters: grid codes 1..44 or level-3 codes 111..523, and what is no code.

Values of both encodings, and the nodata values in circulation, are told apart by the sets below,
which do not overlap: 48 is the NODATA row of the EEA raster's attribute table, 128 and -128 its
signed-byte build, 255 and 0 redistributed copies, 999 the unlabelled code of BigEarthNet's maps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harmonize.odd_codes import refuse_code
from landmark.errors import InputError
from landmark.grid import Frame
from landmark.raster_files import sample_codes
from landmark.rasters import Counts, class_counts
from landmark.signing import NO_ACCESS, Access

#: Level-3 codes in the order of the grid codes 1..44 (CLC nomenclature).
CLC_CODES: tuple[int, ...] = (
    *(111, 112, 121, 122, 123, 124, 131, 132, 133, 141, 142),
    *(211, 212, 213, 221, 222, 223, 231, 241, 242, 243, 244),
    *(311, 312, 313, 321, 322, 323, 324, 331, 332, 333, 334, 335),
    *(411, 412, 421, 422, 423, 511, 512, 521, 522, 523),
)
NODATA_CODES = frozenset({0, 48, 128, 255, -128, 999})
_GRID = dict(enumerate(CLC_CODES, start=1))
_CLC = frozenset(CLC_CODES)


def detect_encoding(codes: Iterable[int], origin: str) -> str:
    """Return `grid` (1..44) or `clc` (111..523); `clc` where no code is left to judge by.

    Args:
        codes: Values found, declared nodata left out; the known nodata values are ignored.
        origin: File name for the message.

    Raises:
        InputError: Values of neither, or of both encodings.
    """
    values = {int(code) for code in codes} - NODATA_CODES
    if values <= _CLC:
        return "clc"
    if values <= _GRID.keys():
        return "grid"
    odd = sorted(values - _CLC - _GRID.keys())
    if odd:
        raise InputError(
            f"{origin}: holds {', '.join(map(str, odd[:5]))}, neither grid codes (1..44) nor "
            "CORINE level-3 codes (111..523); list values that mean `not mapped` under nodata"
        )
    raise InputError(f"{origin}: mixes grid codes (1..44) with level-3 codes (111..523)")


def check_raster(path: str | Path, nodata: Iterable[int] = ()) -> str:
    """Return a raster's encoding, judged by a sample of its pixels.

    Raises:
        InputError: The file is no CORINE raster.
    """
    codes = {int(code) for code in sample_codes(path)} - set(nodata)
    return detect_encoding(codes, str(path))


def count(
    paths: Sequence[str],
    frames: Sequence[Frame],
    nodata: Iterable[int] = (),
    masks: NDArray[np.bool_] | None = None,
    access: Access = NO_ACCESS,
) -> Counts:
    """Return the level-3 codes on frames, whatever the encoding of the rasters.

    Args:
        paths: CORINE rasters, the first that covers a pixel decides.
        frames: Where.
        nodata: Further values that mean "not mapped".
        masks: Pixels to leave out, see `landmark.rasters.class_counts`.
        access: How rasters behind URLs are signed.

    Raises:
        InputError: A value is no CORINE code.
    """
    found = class_counts(
        paths, frames, nodata=NODATA_CODES | set(nodata), masks=masks, access=access
    )
    for code in sorted(set(found.codes.tolist()) - _CLC - _GRID.keys()):
        refuse_code(
            code, paths, frames, "is neither a grid code (1..44) nor a level-3 code", access
        )
    return to_clc(found, ", ".join(Path(path).name for path in paths))


def to_clc(found: Counts, origin: str) -> Counts:
    """Translate counts of either encoding to level-3 codes, ascending.

    Each raster holds one encoding (`check_raster`), but several rasters need not agree.

    Raises:
        InputError: A value is no CORINE code.
    """
    for code in found.codes:
        detect_encoding([int(code)], origin)
    native = [_GRID.get(int(code), int(code)) for code in found.codes]
    codes = np.array(sorted(set(native)), np.int32)
    counts = np.zeros((len(found.counts), len(codes)), np.int32)
    for column, code in enumerate(native):
        counts[:, np.searchsorted(codes, code)] += found.counts[:, column]
    return Counts(codes, counts, found.covered)


def to_clc_codes(codes: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return a picture of codes with grid codes translated; other values stay."""
    table = np.arange(45, dtype=np.int32)
    table[1:] = CLC_CODES
    small = (codes >= 1) & (codes <= len(CLC_CODES))
    return np.where(small, table[np.where(small, codes, 0)], codes)
