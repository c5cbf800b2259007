"""Small fetched and labelled datasets for the tests of harmonize's steps 2 and 3."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
import shapely

from landmark.dataset import Dataset
from landmark.grid import utm_frame
from landmark.manifest import Manifest
from landmark.manifest_file import dump_manifest
from landmark.schema import label_schema, patch_schema, s1_layout, s2_layout
from landmark.shards import commit_shard, encode_image, frame_xxh3
from landmark.taxonomy import ALL_MASK, CLASSES, EVENT_CLASSES, names_of

BANDS = ("B02", "B03", "B04", "B08")
TIME = dt.datetime(2023, 7, 4, 10, 10, 31, tzinfo=dt.UTC)
_TO_DEGREES = pyproj.Transformer.from_crs(32632, "OGC:CRS84", always_xy=True)
LAYOUTS = {"s1": s1_layout(), "s2": s2_layout(BANDS)}


@dataclass(frozen=True)
class Patch:
    """One patch to be written: a lattice cell of zone 32, seen by one sensor."""

    sensor: str
    column: int
    row: int
    label_mask: int
    known_mask: int = ALL_MASK
    pair_id: str | None = None

    @property
    def patch_id(self) -> str:
        platform = "S1A" if self.sensor == "s1" else "S2B"
        return f"32632_{self.column:04d}_{self.row:04d}_{self.sensor}_{platform}_20230704T101031"


def manifest(**changes: Any) -> Manifest:
    base: dict[str, Any] = {
        "name": "tiny",
        "seed": 5,
        "catalog": {"kind": "sandbox", "size": "small"},
        "s1": {},
        "s2": {"bands": list(BANDS)},
        "splits": {"block_km": 6},
        "queries": {"min_relevant": 2, "max_combinations": 10},
        "shards": {"rows": 40},
    }
    return Manifest.model_validate(base | changes)


def square(side: int, seed: int = 0, sensors: Sequence[str] = ("s1", "s2")) -> list[Patch]:
    """Both sensors over a square of cells, labels drawn, every S1-S2 pair partners."""
    rng = np.random.default_rng(seed)
    patches = []
    for column in range(400, 400 + side):
        for row in range(4000, 4000 + side):
            mask = int((rng.random(12) < 0.25) @ (1 << np.arange(12)))
            for sensor in sensors:
                other = Patch({"s1": "s2", "s2": "s1"}[sensor], column, row, mask)
                partner = other.patch_id if len(sensors) > 1 else None
                patches.append(Patch(sensor, column, row, mask, pair_id=partner))
    return patches


def write(
    root: Path, patches: Sequence[Patch], rules: Manifest, rows_per_shard: int = 70
) -> Dataset:
    """Write manifest, plan, committed patch shards and labels."""
    dataset = Dataset(root)
    root.mkdir(parents=True, exist_ok=True)
    dataset.manifest.write_text(dump_manifest(rules))
    names = []
    for sensor in ("s1", "s2"):
        own = [patch for patch in patches if patch.sensor == sensor]
        for number, start in enumerate(range(0, len(own), rows_per_shard)):
            name = f"{sensor}-{number:05d}"
            chunk = own[start : start + rows_per_shard]
            commit_shard(dataset.patch_shard(name), _patch_table(chunk), f"patches {name}")
            write_labels(dataset, name, chunk)
            names += [name] * len(chunk)
    pq.write_table(pa.table({"shard": names}), dataset.plan)
    return dataset


def write_labels(dataset: Dataset, name: str, patches: Sequence[Patch]) -> None:
    table = pa.Table.from_pylist([_label_row(patch) for patch in patches], schema=label_schema())
    commit_shard(dataset.label_shard(name), table, f"labels {name}")


def image(patch: Patch) -> np.ndarray:
    """An image no other patch has."""
    layout = LAYOUTS[patch.sensor]
    value = (patch.column - 400) * 40 + (patch.row - 4000) + 1
    return np.full((len(layout.bands), 120, 120), value, dtype=layout.dtype)


def _patch_table(patches: Sequence[Patch]) -> pa.Table:
    layout = LAYOUTS[patches[0].sensor]
    return pa.Table.from_pylist(
        [_patch_row(patch) for patch in patches], schema=patch_schema(layout)
    )


def _patch_row(patch: Patch) -> dict[str, Any]:
    layout = LAYOUTS[patch.sensor]
    cell = utm_frame(32632, patch.column, patch.row)
    lon, lat = _TO_DEGREES.transform(cell.x_min + 600, cell.y_max - 600)
    frame = encode_image(list(image(patch)), layout)
    return {
        "patch_id": patch.patch_id,
        "sensor": patch.sensor,
        "platform": patch.patch_id.split("_")[4],
        "image": frame,
        "image_nbytes": len(frame),
        "image_xxh3": frame_xxh3(frame),
        "datetime": TIME,
        "lon": lon,
        "lat": lat,
        "epsg": cell.epsg,
        "transform": list(cell.transform()),
        "geometry": shapely.to_wkb(shapely.box(lon, lat, lon + 0.01, lat + 0.01)),
        "pair_id": patch.pair_id,
        "pair_gap_s": None if patch.pair_id is None else 60.0,
        "provenance": {
            "provider": "sandbox",
            "collection": f"sandbox-{patch.sensor}",
            "item": "scene",
            "hrefs": ["a.tif"],
            "licence": "CC0-1.0",
        },
    }


def _label_row(patch: Patch) -> dict[str, Any]:
    present = names_of(patch.label_mask)
    types = [kind for kind, name in EVENT_CLASSES.items() if name in present]
    return {
        "patch_id": patch.patch_id,
        "label_mask": patch.label_mask,
        "known_mask": patch.known_mask,
        "labels": list(present),
        "fractions": [1 / 12 if name in present else 0.0 for name in CLASSES],
        "label_sources": [
            {
                "source": "corine",
                "version": "2018",
                "crosswalk": "corine",
                "crosswalk_sha256": "ab" * 32,
                "covered_fraction": 1.0,
                "confidence": None,
            }
        ],
        "native_labels": [],
        "events": [
            {
                "type": kind,
                "id": f"{kind}-1",
                "phase": "during",
                "fraction": 0.1,
                "source": f"{kind}.geojson",
            }
            for kind in types
        ],
    }
