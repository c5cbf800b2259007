"""What a search shows of a patch: its labels, date and place, and where its image lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from baselines.embedding import Embeddings
from baselines.scanning import Found
from landmark.dataset import Dataset
from landmark.errors import InputError, LandmarkError
from landmark.shards import ShardReader

_COLUMNS = ("patch_id", "sensor", "labels", "caption", "datetime", "lon", "lat")


@dataclass(frozen=True)
class Hit:
    """One patch found.

    Attributes:
        rank: From 1.
        score: Larger is better; what it measures depends on the run.
        patch_id: The patch.
        sensor: `s1` or `s2`.
        labels: Classes it carries.
        caption: Its short caption.
        acquired: Acquisition time, ISO 8601, UTC.
        lon: Longitude of its centre, degrees.
        lat: Latitude of its centre, degrees.
        shard: Shard file, relative to the dataset.
        row: Row in that file.
    """

    rank: int
    score: float
    patch_id: str
    sensor: str
    labels: tuple[str, ...]
    caption: str
    acquired: str
    lon: float
    lat: float
    shard: str
    row: int


@dataclass(frozen=True)
class Place:
    """Where the image of a patch lies.

    Attributes:
        sensor: `s1` or `s2`.
        shard: Shard file.
        row: Row in that file.
    """

    sensor: str
    shard: Path
    row: int


def hits_of(dataset: Dataset, files: Sequence[Embeddings], found: Sequence[Found]) -> list[Hit]:
    """Return hits in the order found.

    Raises:
        LandmarkError: Embeddings and shards do not hold the same patches.
    """
    hits = []
    for rank, one in enumerate(found, start=1):
        hit = hit_at(dataset, _place(files[one.file], one.row), rank, one.score)
        if hit.patch_id != one.patch_id:
            raise _strangers()
        hits.append(hit)
    return hits


def hit_at(dataset: Dataset, place: Place, rank: int, score: float) -> Hit:
    """Return the patch at a place as a hit."""
    with ShardReader(place.shard) as reader:
        raw: dict[str, Any] = reader.table(_COLUMNS).slice(place.row, 1).to_pylist()[0]
    return Hit(
        rank=rank,
        score=score,
        patch_id=raw["patch_id"],
        sensor=raw["sensor"],
        labels=tuple(raw["labels"]),
        caption=raw["caption"],
        acquired=raw["datetime"].strftime("%Y-%m-%dT%H:%M:%SZ"),
        lon=raw["lon"],
        lat=raw["lat"],
        shard=place.shard.relative_to(dataset.root).as_posix(),
        row=place.row,
    )


def find_patch(dataset: Dataset, patch_id: str, sensors: Sequence[str]) -> Place:
    """Return where a patch lies, whatever its split.

    Raises:
        InputError: No shard holds it.
    """
    for sensor in sensors:
        for shard in dataset.split_shards(sensor, "*"):
            with ShardReader(shard) as reader:
                row = pc.index(reader.table(["patch_id"])["patch_id"], patch_id).as_py()
            if row >= 0:
                return Place(sensor, shard, row)
    raise InputError(
        f"--like {patch_id}: {dataset.shards} holds no such patch of sensor "
        f"{' or '.join(sensors)}; ids are the column patch_id of shards/index.parquet"
    )


def _place(file: Embeddings, row: int) -> Place:
    start = 0
    for shard in file.shards:
        rows = pq.read_metadata(shard).num_rows
        if row < start + rows:
            return Place(file.sensor, shard, row - start)
        start += rows
    raise _strangers()


def _strangers() -> LandmarkError:
    return LandmarkError("embeddings and shards hold different patches; remove runs/*/embeddings")
