"""Dataset directories for benchmarks: committed shards of given planes, columns mostly empty."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from landmark.dataset import Dataset
from landmark.schema import ImageLayout, shard_schema
from landmark.shards import commit_shard, encode_image, frame_xxh3

Planes = Sequence[NDArray[np.generic]]
_START = dt.datetime(2023, 5, 1, 10, tzinfo=dt.UTC)


def write_split(
    root: Path,
    layout: ImageLayout,
    patches: Iterator[Planes],
    count: int,
    *,
    split: str = "train",
    rows: int = 512,
) -> int:
    """Write a sensor and split of `count` patches as committed shards; return their bytes."""
    files = -(-count // rows)
    size = 0
    for number in range(files):
        name = f"{split}-{number:05d}-of-{files:05d}.parquet"
        path = Dataset(root).shards / layout.sensor / name
        path.parent.mkdir(parents=True, exist_ok=True)
        start = number * rows
        lines = [
            _row(layout, start + index, planes, split)
            for index, planes in enumerate(islice(patches, min(rows, count - start)))
        ]
        table = pa.Table.from_pylist(lines, shard_schema(layout))
        size += commit_shard(path, table, "benchmark").nbytes
    return size


def _row(layout: ImageLayout, number: int, planes: Planes, split: str) -> dict[str, Any]:
    frame = encode_image(planes, layout)
    mask = 1 << number % 9
    return {
        "patch_id": f"{number:08d}_{layout.sensor}",
        "sensor": layout.sensor,
        "image": frame,
        "image_nbytes": len(frame),
        "image_xxh3": frame_xxh3(frame),
        "datetime": _START,
        "lon": 9.0,
        "lat": 45.0,
        "epsg": 32632,
        "transform": [10.0, 0.0, 600000.0, 0.0, -10.0, 5000000.0],
        "geometry": b"",
        "label_mask": mask,
        "known_mask": 4095,
        "labels": [],
        "fractions": [float("nan")] * 12,
        "label_sources": [],
        "native_labels": [],
        "events": [],
        "caption": f"class {number % 9}",
        "caption_long": "A patch.",
        "split": split,
    }
