"""Writing rasters of the sandbox: GeoTIFFs without any trace of when or where they were made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.transform import Affine

Transform = tuple[float, float, float, float, float, float]


def write_cog(
    path: Path,
    pixels: NDArray[Any],
    epsg: int,
    transform: Transform,
    nodata: float | None = None,
    block: int = 512,
) -> None:
    """Write one band as a cloud-optimised GeoTIFF (DEFLATE, no overviews).

    Args:
        path: Where to; its folder is made.
        pixels: (rows, columns) of any raster type.
        epsg: CRS.
        transform: Affine (a, b, c, d, e, f).
        nodata: Nodata tag, or None for a file without one.
        block: Rows and columns of a block.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # libdeflate's lowest level: noise does not compress better, only slower.
    options = {"compress": "DEFLATE", "level": 1, "blocksize": block, "overviews": "NONE"}
    if pixels.dtype == np.float32:
        options["predictor"] = "FLOATING_POINT"
    with (
        rasterio.Env(GDAL_NUM_THREADS=1),
        rasterio.open(
            path,
            "w",
            driver="COG",
            height=pixels.shape[0],
            width=pixels.shape[1],
            count=1,
            dtype=pixels.dtype,
            crs=CRS.from_epsg(epsg),
            transform=Affine(*transform),
            nodata=nodata,
            **options,
        ) as file,
    ):
        file.write(pixels, 1)
