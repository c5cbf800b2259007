"""The patches that are ranked or counted: their labels, events and facts, without images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from landmark.dataset import Dataset
from landmark.errors import InputError
from landmark.shards import ShardReader
from landmark.taxonomy import EVENT_CLASSES

SENSORS: tuple[str, ...] = ("s1", "s2")
#: Columns every caller needs; all of them are small.
BASE_COLUMNS: tuple[str, ...] = ("patch_id", "sensor", "label_mask", "known_mask", "events")


@dataclass(frozen=True)
class Documents:
    """Patches sorted by patch_id, so that position order breaks ties as promised.

    Attributes:
        table: One row per patch, at least `BASE_COLUMNS`.
    """

    table: pa.Table

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def label_masks(self) -> NDArray[np.uint16]:
        """(n,) bits of the classes present."""
        return self.table["label_mask"].to_numpy()

    @cached_property
    def known_masks(self) -> NDArray[np.uint16]:
        """(n,) bits of the classes decided."""
        return self.table["known_mask"].to_numpy()

    @cached_property
    def sensors(self) -> NDArray[np.str_]:
        """(n,) `s1` or `s2`."""
        return np.array(self.table["sensor"].to_pylist(), dtype="U2")

    def of_sensor(self, sensor: str) -> Documents:
        """Return the patches of one sensor, in the same order; `both`: all."""
        if sensor == "both":
            return self
        return Documents(self.table.filter(pc.equal(self.table["sensor"], sensor)))

    def events(self) -> pa.Table:
        """Return one row per (patch, event): `row`, `type`, `id`, `phase`."""
        column = self.table["events"].combine_chunks()
        entries = column.flatten()
        return pa.table(
            {
                "row": column.value_parent_indices(),
                "type": entries.field("type"),
                "id": entries.field("id"),
                "phase": entries.field("phase"),
            }
        )


@dataclass(frozen=True)
class EventFlags:
    """Whether the events behind a patch's crisis class were there to learn from (train, val).

    Attributes:
        seen: (n,) at least one event of the class's type occurs there.
        unseen: (n,) the patch has events of that type, and none occurs there.
    """

    seen: NDArray[np.bool_]
    unseen: NDArray[np.bool_]


def read_documents(dataset: Dataset, split: str, columns: Sequence[str] = ()) -> Documents:
    """Return all patches of a split, both sensors, sorted by patch_id.

    Args:
        dataset: The dataset.
        split: `train`, `val` or `corpus`.
        columns: Columns wanted beside `BASE_COLUMNS`.

    Raises:
        InputError: The dataset holds no shards of that split.
    """
    wanted = list(dict.fromkeys((*BASE_COLUMNS, *columns)))
    tables = [
        _read(path, wanted) for sensor in SENSORS for path in dataset.split_shards(sensor, split)
    ]
    if not any(table.num_rows for table in tables):
        dataset.require(dataset.shards, "harmonize")
        raise InputError(
            f"{dataset.root}: split {split} holds no patches; run `landmark harmonize`, or give "
            f"splits.{split} a larger share"
        )
    table = pa.concat_tables(tables)
    order = pc.sort_indices(table, sort_keys=[("patch_id", "ascending")])
    return Documents(table.take(order))


def _read(path: Path, columns: list[str]) -> pa.Table:
    with ShardReader(path) as reader:
        return reader.table(columns).replace_schema_metadata(None)


def event_flags(documents: Documents, *learned: Documents) -> dict[str, EventFlags]:
    """Return, per crisis class, whose events were there to learn from and whose were not.

    An event counts as seen if any patch of `learned` lists its id, whatever the phase; a patch
    counts by its events of phase `during`, `after` or `undated` (before it, nothing shows).

    Args:
        documents: The patches told apart.
        learned: The splits a run was trained or chosen on.
    """
    own = documents.events()
    own = own.filter(pc.not_equal(pc.fill_null(own["phase"], ""), "before"))
    rows = own["row"].to_numpy()
    types = np.array(own["type"].to_pylist(), dtype=object)
    seen_keys = {
        key
        for known in (split.events() for split in learned)
        for key in zip(known["type"].to_pylist(), known["id"].to_pylist(), strict=True)
    }
    keys = zip(own["type"].to_pylist(), own["id"].to_pylist(), strict=True)
    is_seen = np.fromiter((key in seen_keys for key in keys), dtype=bool, count=len(rows))
    flags = {}
    for event_type, name in EVENT_CLASSES.items():
        of_type = types == event_type
        seen, listed = np.zeros(len(documents), bool), np.zeros(len(documents), bool)
        seen[rows[of_type & is_seen]] = True
        listed[rows[of_type]] = True
        flags[name] = EventFlags(seen=seen, unseen=listed & ~seen)
    return flags
