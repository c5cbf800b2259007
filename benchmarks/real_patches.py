"""Real Sentinel patches for benchmarks, cut from the shared test data (`LANDMARK_TEST_DATA`).

Pixels are copied as they are, without resampling or radiometry: what is measured here is bytes
and speed. All pieces are small public samples (Major-TOM, SSL4EO-S12, BigEarthNet).
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

from landmark.grid import PIXELS
from landmark.manifest import S2_BANDS
from landmark.schema import S2_RESOLUTION

Planes = list[NDArray[np.generic]]


def shared_data() -> Path:
    """Return the folder of the shared real data.

    Raises:
        SystemExit: `LANDMARK_TEST_DATA` does not name it.
    """
    folder = Path(os.environ.get("LANDMARK_TEST_DATA", ""))
    if not (folder / "catalog" / "sentinel-2-l2a").is_dir():
        raise SystemExit("set LANDMARK_TEST_DATA to the folder of the shared real data")
    return folder


def s2_patches(data: Path) -> list[Planes]:
    """Return Sentinel-2 patches: 12 native planes (120, 60 or 20 px), uint16 digital numbers."""
    folders = sorted(p.parent for p in (data / "catalog/sentinel-2-l2a").glob("*/B02.tif"))
    patches = []
    for folder in folders:
        patches += _cut({band: folder / f"{band}.tif" for band in S2_BANDS})
    for first in sorted((data / "reben_12band/BigEarthNet-S2").rglob("*_B02.tif")):
        stem = first.name.removesuffix("_B02.tif")
        patches += _cut({band: first.with_name(f"{stem}_{band}.tif") for band in S2_BANDS})
    return patches


def s1_patches(data: Path) -> list[Planes]:
    """Return Sentinel-1 patches: VV and VH, (120, 120) float32 dB each."""
    patches = []
    for folder in sorted(p.parent for p in (data / "catalog/sentinel-1-db").glob("*/vv.tif")):
        patches += _cut({"VV": folder / "vv.tif", "VH": folder / "vh.tif"})
    for first in sorted((data / "reben/BigEarthNet-S1").rglob("*_VV.tif")):
        stem = first.name.removesuffix("_VV.tif")
        patches += _cut({"VV": first, "VH": first.with_name(f"{stem}_VH.tif")})
    return patches


def _cut(files: dict[str, Path]) -> list[Planes]:
    """Cut all whole patches out of the band files of one scene; coarse bands at their own size."""
    bands = {}
    for band, path in files.items():
        with rasterio.open(path) as source:
            bands[band] = source.read(1)
    finest = max((pixels.shape for pixels in bands.values()), key=lambda shape: shape[0])
    rows, columns = (size // PIXELS for size in finest)
    patches = []
    for row in range(rows):
        for column in range(columns):
            planes: Planes = []
            for band, pixels in bands.items():
                side = PIXELS * 10 // S2_RESOLUTION.get(band, 10)
                part = pixels[row * side : (row + 1) * side, column * side : (column + 1) * side]
                planes.append(np.ascontiguousarray(part))
            patches.append(planes)
    return patches
