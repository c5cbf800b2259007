"""A small synthetic dataset of committed shards whose labels can be learned from the pixels."""

from __future__ import annotations

import datetime as dt
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from baselines.text import TextConfig, TextTower
from landmark.dataset import Dataset
from landmark.grid import Frame
from landmark.schema import ImageLayout, s1_layout, s2_layout, shard_schema
from landmark.shards import commit_shard, encode_image, frame_xxh3
from landmark.taxonomy import ALL_MASK, names_of

BANDS = ("B02", "B04", "B08", "B11")
LAYOUTS: dict[str, ImageLayout] = {"s1": s1_layout(), "s2": s2_layout(BANDS)}
#: Water, Trees, Crops: what the patches can carry.
BITS = (0, 1, 4)


class WordEncoder:
    """A text tower for tests: the mean of one fixed random vector per word."""

    def __init__(self, width: int = 32) -> None:
        self._config = TextConfig(name="local:words", sha256="0" * 64, width=width)

    @property
    def config(self) -> TextConfig:
        return self._config

    def encode(self, texts: list[str]) -> np.ndarray:
        vectors = np.stack([self._vector(text) for text in texts])
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    def tokenise(self, texts: list[str]) -> list[list[int]]:
        raise NotImplementedError("a tower of words is never trained")

    def tower(self) -> TextTower:
        raise NotImplementedError("a tower of words is never trained")

    def _vector(self, text: str) -> np.ndarray:
        words = text.replace(".", " ").split() or [""]
        seeds = [int.from_bytes(hashlib.sha256(word.encode()).digest()[:8]) for word in words]
        width = self._config.width
        return np.mean([np.random.default_rng(s).standard_normal(width) for s in seeds], axis=0)


def make_learnable(root: Path, counts: dict[str, tuple[int, int]], rows: int = 16) -> Path:
    """Write shards; `counts` is split -> (patches of s1, patches of s2)."""
    for split, per_sensor in counts.items():
        for (sensor, layout), count in zip(LAYOUTS.items(), per_sensor, strict=True):
            seed = int.from_bytes(hashlib.sha256(f"{split}/{sensor}".encode()).digest()[:4])
            random = np.random.default_rng(seed)
            lines = [_row(random, layout, split, number) for number in range(count)]
            parts = [lines[start : start + rows] for start in range(0, count, rows)]
            for number, part in enumerate(parts):
                name = f"{split}-{number:05d}-of-{len(parts):05d}.parquet"
                path = Dataset(root).shards / sensor / name
                path.parent.mkdir(parents=True, exist_ok=True)
                commit_shard(path, pa.Table.from_pylist(part, shard_schema(layout)), "test")
    return root


def planes_of(random: np.random.Generator, layout: ImageLayout, mask: int) -> list[np.ndarray]:
    """Each class brightens its own band and leaves a share of the patch without data."""
    planes = []
    for band, shape in enumerate(layout.shapes):
        level = sum((mask >> bit & 1) * ((band + place) % 3) for place, bit in enumerate(BITS))
        if layout.sensor == "s2":
            plane = 1000 + 600 * level + random.normal(0, 150, shape)
            values = np.clip(plane, 1, 65535).astype(np.uint16)
            values[:2] = 0
        else:
            values = (-20 + 3 * level + random.normal(0, 1, shape)).astype(np.float32)
            values[:2] = np.nan
        planes.append(values)
    return planes


def _row(
    random: np.random.Generator, layout: ImageLayout, split: str, number: int
) -> dict[str, Any]:
    mask = 0
    while mask == 0:
        mask = sum((1 << bit) for bit in BITS if random.random() < 0.4)
    frame = encode_image(planes_of(random, layout, mask), layout)
    return {
        "patch_id": f"{split}_{number:04d}_{layout.sensor}",
        "sensor": layout.sensor,
        "image": frame,
        "image_nbytes": len(frame),
        "image_xxh3": frame_xxh3(frame),
        "datetime": dt.datetime(2023, 5, 1, tzinfo=dt.UTC),
        "lon": 9.0 + number / 50,
        "lat": 45.0,
        "epsg": 32632,
        "transform": list(Frame("f", 32632, 600000.0, 5000000.0).transform()),
        "geometry": b"",
        "pair_id": f"{split}_{number:04d}_{'s2' if layout.sensor == 's1' else 's1'}",
        "label_mask": mask,
        # Every third patch knows only what it carries.
        "known_mask": ALL_MASK if number % 3 else mask,
        "labels": list(names_of(mask)),
        "fractions": [float("nan")] * 12,
        "label_sources": [],
        "native_labels": [],
        "events": [],
        # Every tenth patch has no caption.
        "caption": "" if number % 10 == 9 else ". ".join(names_of(mask)).lower(),
        "caption_long": "",
        "split": split,
    }
