"""Synthetic archives in reBEN's layout: real GeoTIFF files of a few drawn patches, repeated."""

from __future__ import annotations

import os
import struct
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import rasterio
from affine import Affine

BANDS = ("B02", "B03", "B04", "B08")
_TILE_CELLS = 90
_CORNER = (300_000.0, 5_400_000.0)
_PATTERNS = 16


def make_archive(folder: Path, pairs: int, every: int = 1, compress: str | None = None) -> None:
    """Write a synthetic archive of S1-S2 pairs in reBEN's layout.

    Args:
        folder: Where to; made if it is not there.
        pairs: How many its table lists.
        every: One pair in so many has files.
        compress: How GDAL compresses the strips of a file, or None.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = np.random.default_rng(7)
    templates: dict[str, list[tuple[bytes, int]]] = {}
    for band in (*BANDS, "VV", "VH"):
        radar = band in ("VV", "VH")
        templates[band] = []
        for _ in range(_PATTERNS):
            base = drawn.normal(size=(15, 15)).repeat(8, 0).repeat(8, 1)
            base = base + 0.2 * drawn.normal(size=(120, 120))
            values = (-13 + 3 * base).astype(np.float32)
            if not radar:
                values = np.clip(900 + 400 * base, 30, 6000).astype(np.uint16)
            templates[band].append(_template(values, compress))
    rows = []
    for number in range(pairs):
        tile, cell = divmod(number, _TILE_CELLS**2)
        row, column = divmod(cell, _TILE_CELLS)
        grid = f"33U{chr(65 + tile % 26)}P"
        scene = f"S2A_MSIL2A_20170613T101031_N9999_R022_T{grid}"
        s2 = f"{scene}_{column:02d}_{row:02d}"
        s1 = f"S1B_IW_GRDH_1SDV_20170612T165809_{grid}_{column}_{row}"
        x, y = _CORNER[0] + 1200 * column, _CORNER[1] - 1200 * row - 120_000 * (tile % 26)
        places = {"s2": folder / "BigEarthNet-S2" / scene / s2}
        places["s1"] = folder / "BigEarthNet-S1" / s1.rsplit("_", 3)[0] / s1
        rows.append({"patch_id": s2, "s1_name": s1, "labels": ["Pastures"], "split": "train"})
        if number % every:
            continue
        for sensor, bands in (("s2", BANDS), ("s1", ("VV", "VH"))):
            os.makedirs(places[sensor], exist_ok=True)  # noqa: PTH103
            for band in bands:
                data, at = templates[band][number % _PATTERNS]
                own = data[:at] + struct.pack("<2d", x, y) + data[at + 16 :]
                path = f"{places[sensor]}/{places[sensor].name}_{band}.tif"
                with open(path, "wb") as stream:  # noqa: PTH123
                    stream.write(own)
    pq.write_table(pa.Table.from_pylist(rows), folder / "metadata.parquet")


def _template(values: np.ndarray[Any, Any], compress: str | None) -> tuple[bytes, int]:
    """Return a GeoTIFF and where the two doubles of its corner stand."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "a.tif"
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            width=120,
            height=120,
            count=1,
            dtype=values.dtype.name,
            crs="EPSG:32633",
            transform=Affine(10, 0, _CORNER[0], 0, -10, _CORNER[1]),
            **({} if compress is None else {"compress": compress}),
        ) as file:
            file.write(values, 1)
        data = path.read_bytes()
    mark = struct.pack("<2d", *_CORNER)
    assert data.count(mark) == 1
    return data, data.index(mark)
