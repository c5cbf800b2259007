"""The patches of a dataset one after another, with all that an export needs of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from landmark.array_images import restore
from landmark.codec import decode_array, decode_scl
from landmark.commits import read_mark
from landmark.dataset import SPLITS, Dataset
from landmark.errors import InputError
from landmark.grid import PIXELS
from landmark.plan_file import PlanFile
from landmark.scenes import Scene
from landmark.schema import ImageLayout
from landmark.shards import ShardReader
from landmark.taxonomy import names_of

_SENSORS = ("s1", "s2")
_COLUMNS = (
    *("patch_id", "sensor", "platform", "datetime", "lon", "lat", "epsg", "transform", "split"),
    *("orbit_state", "relative_orbit", "polarisations", "mgrs"),
    *("labels", "native_labels", "label_mask", "known_mask", "fractions", "label_sources"),
    *("events", "caption", "caption_long", "pair_id", "pair_gap_s"),
    *("cloud_fraction", "valid_fraction", "clipped_fraction", "provenance"),
)


@dataclass(frozen=True)
class Record:
    """One patch.

    Attributes:
        row: Its small columns.
        image: (bands, 120, 120) as stored: uint16 reflectance x 10000, or float32 dB.
        scl: Scene classification (60, 60) uint8, or None.
        layout: Bands, scale and nodata of the image.
        original: The archive's own array where the image cannot give it back, or None.
        scene: The array image of an archive it is, or None.
    """

    row: dict[str, Any]
    image: NDArray[np.generic]
    scl: NDArray[np.uint8] | None
    layout: ImageLayout
    original: NDArray[np.float32] | None
    scene: Scene | None

    @property
    def patch_id(self) -> str:
        """Its id."""
        return str(self.row["patch_id"])

    @property
    def sensor(self) -> str:
        """`s1` or `s2`."""
        return str(self.row["sensor"])

    @property
    def known(self) -> tuple[str, ...]:
        """The classes whose presence was decided; of the others nothing is known."""
        return names_of(int(self.row["known_mask"]))

    def published_array(self) -> NDArray[np.float32]:
        """Return (bands, 120, 120) float32: the archive's own array, or the stored values."""
        return restore(self.image) if self.original is None else self.original


@dataclass(frozen=True)
class Selection:
    """The shards to read, and which patches of them.

    Attributes:
        dataset: The dataset.
        files: Committed shards, sensor by sensor and split by split.
        patch_ids: Only these; empty: all.
    """

    dataset: Dataset
    files: tuple[Path, ...]
    patch_ids: frozenset[str]

    @cached_property
    def scenes(self) -> dict[str, Scene]:
        """patch_id -> the array image of an archive it is."""
        found = {}
        for rows in PlanFile(self.dataset.plan).groups(["patch_id", "scene"], kept=True):
            scene = rows["scene"].combine_chunks()
            is_array = pc.match_substring(scene.dictionary, '"form":"array"')
            for row in rows.filter(is_array.take(scene.indices)).to_pylist():
                found[row["patch_id"]] = Scene.from_json(row["scene"])
        return found


def select(dataset: Dataset, patch_ids: Sequence[str]) -> Selection:
    """Return what to export.

    Raises:
        InputError: The dataset has no shards, or lacks a patch.
    """
    dataset.require(dataset.shards, "harmonize")
    files = tuple(
        path
        for sensor in _SENSORS
        for split in SPLITS
        for path in dataset.split_shards(sensor, split)
        if read_mark(path) is not None
    )
    if not files:
        raise InputError(f"{dataset.root}: holds no shards; run `landmark harmonize` first")
    wanted = frozenset(patch_ids)
    if wanted:
        held: set[str] = set()
        for path in files:
            held |= wanted & set(pq.read_table(path, columns=["patch_id"])["patch_id"].to_pylist())
        missing = sorted(wanted - held)
        if missing:
            raise InputError(f"{dataset.root}: holds no patch {missing[0]!r} in shards/")
    return Selection(dataset, files, wanted)


def count_records(chosen: Selection) -> int:
    """Return how many patches a selection holds."""
    if chosen.patch_ids:
        return len(chosen.patch_ids)
    return sum(pq.read_metadata(path).num_rows for path in chosen.files)


def read_records(chosen: Selection, progress: Any) -> Iterator[Record]:
    """Yield the patches of a selection, one shard open at a time."""
    for path in chosen.files:
        with ShardReader(path) as reader:
            rows = reader.table(list(_COLUMNS)).to_pylist()
            for number, row in enumerate(rows):
                if chosen.patch_ids and row["patch_id"] not in chosen.patch_ids:
                    continue
                layout = reader.layout
                kept = reader.value("original", number)
                coded = reader.value("scl", number) if layout.sensor == "s2" else None
                shape = (len(layout.bands), PIXELS, PIXELS)
                array = row["provenance"]["provider"] == "crisislandmark"
                if kept is not None:
                    shape = ((2 if layout.sensor == "s1" else 12), PIXELS, PIXELS)
                yield Record(
                    row=row,
                    image=reader.image(number),
                    scl=None if coded is None else decode_scl(coded),
                    layout=layout,
                    original=None if kept is None else decode_array(kept, shape),
                    scene=chosen.scenes.get(row["patch_id"]) if array else None,
                )
                progress.advance()
