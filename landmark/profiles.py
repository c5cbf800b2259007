"""How images are stored: three named choices between decoding speed, size and loss.

| profile | Sentinel-2 | Sentinel-1 | |
|---|---|---|---|
| `training` | bitshuffle + lz4hc 1 | shuffle + lz4 | fast to decode; `fetch` writes it |
| `storage` | shuffle + zstd | shuffle + zstd | smallest lossless |
| `compact` | shuffle + zstd | int16 of 0.01 dB, shuffle + zstd | **lossy** for Sentinel-1 |

Chosen on real patches (`benchmarks/size.py`). lz4hc at its lowest level, a whole patch as one
block, decodes as fast as lz4 in blocks of 64 KiB and is 2.4 % smaller, for about 0.4 ms more of
writing; higher levels take longer to write than the patch takes to cut. A file states its choice
in its schema metadata; every reader reads all of them, gives the same dtypes, and also reads what
`training` was before (Sentinel-2 as bitshuffle + lz4; `landmark migrate` renews it).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from landmark.schema import BITSHUFFLE_LZ4HC, SHUFFLE_LZ4, SHUFFLE_ZSTD, ImageLayout

Profile = Literal["training", "storage", "compact"]
PROFILES: tuple[Profile, ...] = ("training", "storage", "compact")

#: Quantisation of Sentinel-1 in `compact`, dB: its error of 0.005 dB is far under the speckle
#: (about 1 dB for a multi-looked GRD pixel) and the radiometric accuracy (1 dB, 3 sigma;
#: Sentinel-1 product specification).
COMPACT_STEP_DB = 0.01


def with_profile(layout: ImageLayout, profile: Profile) -> ImageLayout:
    """Return the same planes stored as a profile says."""
    if profile == "training":
        codec = SHUFFLE_LZ4 if layout.sensor == "s1" else BITSHUFFLE_LZ4HC
        return replace(layout, codec=codec, step=None)
    step = COMPACT_STEP_DB if profile == "compact" and layout.sensor == "s1" else None
    return replace(layout, codec=SHUFFLE_ZSTD, step=step)


def profiles_of(layout: ImageLayout) -> tuple[Profile, ...]:
    """Return the profiles a layout follows: none for an old codec, two where they agree."""
    return tuple(name for name in PROFILES if with_profile(layout, name) == layout)
