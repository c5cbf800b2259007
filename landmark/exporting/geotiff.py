"""One GeoTIFF per patch: `<sensor>/<split>/<patch_id>.tif`, all bands on 10 m.

Sentinel-2 is uint16 reflectance x 10000 with nodata 0 and scale 0.0001, coarse bands repeated;
Sentinel-1 is float32 dB with nodata NaN. Labels, the classes that are known, captions, time and
provenance are tags; band names, scale and unit stand with the bands. A patch whose pixels are not
of 10 m (notes of its provenance say so) lies on its nominal frame.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import rasterio
from affine import Affine

from landmark.dataset import Dataset
from landmark.exporting.records import Record


def write(records: Iterator[Record], folder: Path, dataset: Dataset) -> int:
    """Write all records; return how many."""
    count = 0
    for record in records:
        path = folder / record.sensor / str(record.row["split"]) / f"{record.patch_id}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(record, path)
        count += 1
    return count


def _write(record: Record, path: Path) -> None:
    layout, row = record.layout, record.row
    bands, height, width = record.image.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=width,
        height=height,
        count=bands,
        dtype=layout.dtype,
        crs=f"EPSG:{row['epsg']}",
        transform=Affine(*row["transform"]),
        nodata=float("nan") if layout.nodata is None else layout.nodata,
        compress="deflate",
        predictor=3 if layout.dtype == "float32" else 2,
        interleave="band",
    ) as file:
        file.write(record.image)
        file.descriptions = layout.bands
        file.scales = (layout.scale,) * bands
        file.units = ("dB" if record.sensor == "s1" else "reflectance",) * bands
        file.update_tags(
            patch_id=record.patch_id,
            sensor=record.sensor,
            split=row["split"],
            datetime=row["datetime"].isoformat(),
            platform=row["platform"] or "",
            labels=", ".join(row["labels"]),
            known=", ".join(record.known),
            native_labels=json.dumps(row["native_labels"]),
            caption=row["caption"],
            caption_long=row["caption_long"],
            provenance=json.dumps(row["provenance"], sort_keys=True),
        )
