"""Where patches lie and which of the other sensor they belong to, for the terms that ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from baselines.loader import split_files
from baselines.objectives.base import Places
from baselines.sampling import Order
from baselines.split import Split, partner_rows
from landmark.shards import ShardReader

_COLUMNS = ("lon", "lat")


def read_places(root: Path, splits: Mapping[str, Split], split: str = "train") -> dict[str, Places]:
    """Return position and partner row of every patch; -1 where the partner is not in the splits.

    Args:
        root: Dataset directory.
        splits: Sensor -> its patches of that split.
        split: Its name.

    Raises:
        LandmarkError: A shard is damaged.
    """
    places = {}
    for sensor, own in splits.items():
        table = _columns(split_files(root, sensor, split))
        partner = np.full(len(own), -1)
        for other in splits.keys() - {sensor}:
            partner = partner_rows(own, splits[other])
        lonlat = np.stack([table["lon"].to_numpy(), table["lat"].to_numpy()], axis=1)
        places[sensor] = Places(lonlat.astype(np.float64), partner.astype(np.intp))
    return places


def _columns(paths: Sequence[Path]) -> pa.Table:
    tables = []
    for path in paths:
        with ShardReader(path) as reader:
            tables.append(reader.table(_COLUMNS))
    return pa.concat_tables(tables)


class PairedOrder(Order):
    """An order in which partners are drawn together.

    The larger sensor is drawn as ever. Of the other, a step holds the partners of these patches
    where they have one (and it is usable), else what `Order` would have drawn.

    Args:
        usable: Sensor -> the rows the objective can learn from.
        places: Sensor -> partners.
        batch: Patches per sensor and step at most.
        seed: Of the run.
    """

    def __init__(
        self,
        usable: Mapping[str, NDArray[np.intp]],
        places: Mapping[str, Places],
        batch: int,
        seed: int,
    ) -> None:
        super().__init__({sensor: len(rows) for sensor, rows in usable.items()}, batch, seed)
        self._leader = max(sorted(usable), key=lambda sensor: len(usable[sensor]))
        self._follower = next((sensor for sensor in sorted(usable) if sensor != self._leader), None)
        if self._follower is None:
            return
        place = {int(row): index for index, row in enumerate(usable[self._follower])}
        partners = places[self._leader].partner[usable[self._leader]]
        self._partner = np.array([place.get(int(row), -1) for row in partners], np.intp)

    def batch(self, epoch: int, step: int) -> dict[str, NDArray[np.intp]]:
        """Return per sensor the positions (0..count-1) drawn in a step, in order."""
        drawn = super().batch(epoch, step)
        if self._follower is not None:
            partners = self._partner[drawn[self._leader]]
            drawn[self._follower] = np.where(partners >= 0, partners, drawn[self._follower])
        return drawn
