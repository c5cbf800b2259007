"""The CORINE map an archive ships with each patch (BigEarthNet's reference maps).

Each patch has its own file on its own grid; 999 means that nothing is known of a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harmonize.corine import NODATA_CODES, to_clc
from landmark.grid import Frame
from landmark.rasters import Counts, codes_on_frame


def count(
    paths: Sequence[str | None],
    frames: Sequence[Frame],
    nodata: Sequence[int] = (),
    masks: NDArray[np.bool_] | None = None,
) -> Counts:
    """Return the level-3 codes of each frame's own map; a patch without one is not covered.

    Args:
        paths: One map per frame, or None.
        frames: Where; a map on another grid is taken by nearest neighbour.
        nodata: Further values that mean "not mapped".
        masks: (frames, s, s) True on pixels to leave out.

    Raises:
        InputError: A map cannot be read, or holds no CORINE codes.
    """
    found: list[dict[int, int]] = []
    for index, (path, frame) in enumerate(zip(paths, frames, strict=True)):
        if path is None:
            found.append({})
            continue
        codes, covered = codes_on_frame([path], frame, nodata=NODATA_CODES | set(nodata))
        if masks is not None:
            factor = covered.shape[0] // masks.shape[1]
            covered &= ~masks[index].repeat(factor, axis=0).repeat(factor, axis=1)
        values, pixels = np.unique(codes[covered], return_counts=True)
        own = to_clc(
            Counts(values.astype(np.int32), pixels[None].astype(np.int32), pixels[None].sum(1)),
            path,
        )
        found.append(dict(zip(own.codes.tolist(), own.counts[0].tolist(), strict=True)))
    return _together(found)


def _together(found: Sequence[dict[int, int]]) -> Counts:
    codes = sorted({code for patch in found for code in patch})
    counts = np.array([[patch.get(code, 0) for code in codes] for patch in found], np.int32)
    counts = counts.reshape(len(found), len(codes))
    return Counts(np.array(codes, np.int32), counts, counts.sum(axis=1, dtype=np.int32))
