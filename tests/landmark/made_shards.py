"""Shards made of random planes, for the tests of frames and files."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from landmark.manifest import S2_BANDS
from landmark.schema import ImageLayout, patch_schema, s1_layout, s2_layout
from landmark.shards import encode_image, encode_scl, frame_xxh3

S2 = s2_layout(S2_BANDS)
S1 = s1_layout()


def random_planes(layout: ImageLayout, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    if layout.dtype == "float32":
        return [rng.normal(-12, 3, shape).astype(np.float32) for shape in layout.shapes]
    return [rng.integers(0, 4000, shape, dtype=np.uint16) for shape in layout.shapes]


def table_of(layout: ImageLayout, rows: int, seed: int = 0) -> pa.Table:
    schema = patch_schema(layout)
    frames = [encode_image(random_planes(layout, seed + row), layout) for row in range(rows)]
    columns = {
        "patch_id": [f"patch-{row}" for row in range(rows)],
        "sensor": [layout.sensor] * rows,
        "image": frames,
        "image_nbytes": [len(frame) for frame in frames],
        "image_xxh3": [frame_xxh3(frame) for frame in frames],
        "scl": [encode_scl(np.full((60, 60), row % 12, np.uint8)) for row in range(rows)],
        "datetime": [1_600_000_000_000_000 + row for row in range(rows)],
        "lon": [8.0] * rows,
        "lat": [46.0] * rows,
        "epsg": [32632] * rows,
        "transform": [[10.0, 0, 600_000, 0, -10, 5_100_000]] * rows,
        "geometry": [b"\x01"] * rows,
    }
    arrays = [
        pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(rows, f.type)
        for f in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)
