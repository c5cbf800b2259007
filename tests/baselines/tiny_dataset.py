"""A tiny synthetic dataset of committed shards, and a fake run that reads labels off the pixels."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa

from landmark.dataset import Dataset
from landmark.grid import Frame
from landmark.schema import ImageLayout, s1_layout, s2_layout, shard_schema
from landmark.shards import commit_shard, encode_image, frame_xxh3
from landmark.taxonomy import ALL_MASK, CLASSES, CRISIS_MASK, mask_of, names_of

BANDS = ("B02", "B03", "B04", "B08")
LAYOUTS: dict[str, ImageLayout] = {"s1": s1_layout(), "s2": s2_layout(BANDS)}
START = dt.datetime(2023, 5, 1, 10, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Patch:
    """One row of a shard, as little as tests need to say."""

    patch_id: str
    sensor: str
    label_mask: int
    known_mask: int = ALL_MASK
    events: tuple[tuple[str, str, str], ...] = ()  # type, id, phase
    facts: dict[str, Any] = field(default_factory=dict)
    marker: int | None = None  # mask written into the pixels; None: the label mask


def make_dataset(root: Path, splits: dict[str, Sequence[Patch]], rows: int = 8) -> Dataset:
    """Write shards of at most `rows` patches for every sensor and split."""
    dataset = Dataset(root)
    for split, patches in splits.items():
        for sensor, layout in LAYOUTS.items():
            own = [patch for patch in patches if patch.sensor == sensor]
            parts = [own[start : start + rows] for start in range(0, len(own), rows)]
            for number, part in enumerate(parts):
                name = f"{split}-{number:05d}-of-{len(parts):05d}.parquet"
                path = dataset.shards / sensor / name
                path.parent.mkdir(parents=True, exist_ok=True)
                lines = [_row(patch, layout, split) for patch in part]
                commit_shard(path, pa.Table.from_pylist(lines, shard_schema(layout)), "test")
    return dataset


def write_queries(dataset: Dataset, queries: Sequence[dict[str, Any]]) -> None:
    lines = [json.dumps({"absent": [], "paraphrase_of": None, **query}) for query in queries]
    dataset.queries.write_text("\n".join(lines) + "\n", encoding="utf-8")


def single_queries() -> list[dict[str, Any]]:
    return [
        {"id": f"single-{i:02d}", "text": name.lower(), "kind": "single", "classes": [name]}
        for i, name in enumerate(CLASSES)
    ]


def mask(*names: str) -> int:
    return mask_of(names)


def random_patches(count: int, split: str, seed: int, **same: Any) -> list[Patch]:
    """Patches of both sensors: land cover at random, a flood on every fifth."""
    generator = np.random.default_rng(seed)
    patches = []
    for number in range(count):
        labels = int(generator.integers(1, 512)) & int(generator.integers(1, 512)) or 1
        events: tuple[tuple[str, str, str], ...] = ()
        if number % 5 == 0:
            labels |= mask("Flooded Area")
            events = (("flood", f"F{number % 2}", "during"),)
        for sensor in LAYOUTS:
            name = f"{split}_{generator.integers(1 << 30):010d}_{sensor}"
            patches.append(Patch(name, sensor, labels, events=events, **same))
    return patches


def _row(patch: Patch, layout: ImageLayout, split: str) -> dict[str, Any]:
    image = encode_image(_planes(patch, layout), layout)
    frame = Frame("f", 32632, 600000.0, 5000000.0)
    facts = {
        "platform": "sentinel",
        "orbit_state": "ascending",
        "relative_orbit": 22,
        "epsg": 32632,
        "datetime": START,
        "collection": "c",
        **patch.facts,
    }
    return {
        "patch_id": patch.patch_id,
        "sensor": patch.sensor,
        "platform": facts["platform"],
        "orbit_state": facts["orbit_state"],
        "relative_orbit": facts["relative_orbit"],
        "image": image,
        "image_nbytes": len(image),
        "image_xxh3": frame_xxh3(image),
        "datetime": facts["datetime"],
        "lon": 9.0,
        "lat": 45.0,
        "epsg": facts["epsg"],
        "transform": list(frame.transform()),
        "geometry": b"",
        "provenance": {"provider": "p", "collection": facts["collection"], "resampling": "none"},
        "label_mask": patch.label_mask,
        "known_mask": patch.known_mask,
        "labels": list(names_of(patch.label_mask)),
        "fractions": [float("nan")] * 12,
        "label_sources": [],
        "native_labels": [],
        "events": [{"type": t, "id": i, "phase": p} for t, i, p in patch.events],
        "caption": ". ".join(names_of(patch.label_mask)).lower(),
        "caption_long": "A patch.",
        "split": split,
    }


def _planes(patch: Patch, layout: ImageLayout) -> list[np.ndarray]:
    marker = patch.label_mask if patch.marker is None else patch.marker
    bits = np.array([1 + 1000 * (marker >> position & 1) for position in range(12)])
    planes = [np.full(shape, 500, layout.dtype) for shape in layout.shapes]
    planes[0][0, :12] = bits
    if layout.sensor == "s1":
        planes[1][:] = -20  # dB that are nowhere negative would be taken for linear backscatter
    return planes


class FakeModel:
    """Reads the class bits off the pixels; vectors are sums of class directions."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.calls = 0
        self.directions = np.eye(12, 16, dtype=np.float32)

    def _bits(self, batch: np.ndarray) -> np.ndarray:
        assert batch.ndim == 4
        assert batch.shape[2:] == (120, 120)
        self.calls += 1
        return (batch[:, 0, 0, :12] > 500).astype(np.float32)

    def encode_images(self, sensor: str, batch: np.ndarray) -> np.ndarray:
        vectors = self._bits(batch) @ self.directions
        vectors[:, 15] = 0.1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        named = [[name.lower() in text.lower() for name in CLASSES] for text in texts]
        vectors = np.array(named, np.float32) @ self.directions
        vectors[:, 14] = 0.1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def class_logits(self, sensor: str, batch: np.ndarray) -> np.ndarray:
        return (self._bits(batch) * 6 - 3).astype(np.float32)


class FakeRuns:
    """Opens fake runs; `model.safetensors` and `config.yaml` are stand-ins with some content."""

    def __init__(self, root: Path, kinds: dict[str, str]) -> None:
        self.runs = {}
        for name, kind in kinds.items():
            folder = root / "runs" / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "model.safetensors").write_bytes(name.encode())
            (folder / "config.yaml").write_text(kind)
            recipe = "multilabel" if kind == "classes" else "clip"
            self.runs[name] = SimpleNamespace(
                name=name,
                kind=kind,
                model=FakeModel(kind),
                text_encoder=None,
                config=SimpleNamespace(recipe_name=recipe),
                bands={"s1": ("VV", "VH"), "s2": BANDS},
            )

    def __call__(self, root: Path, name: str) -> Any:
        return self.runs[name]


LAND = ALL_MASK & ~CRISIS_MASK
