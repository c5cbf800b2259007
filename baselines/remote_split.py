"""A split behind a URL: patches come by row group, a bounded number of which is held in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from baselines.sampling import WINDOW
from baselines.split import Split
from landmark.remote_dataset import RemoteDataset
from landmark.remote_shards import RemoteShard, RowGroups

#: Row groups held: those shuffled together now, and those that follow. Of Sentinel-2 110 MB.
HELD = 2 * WINDOW


class RemoteSplit(Split):
    """One sensor and split behind a URL; otherwise as `Split`."""

    def __init__(
        self, sensor: str, shards: Sequence[RemoteShard], table: pa.Table, held: RowGroups
    ) -> None:
        """Take over open shards.

        Args:
            sensor: `s1` or `s2`.
            shards: At least one.
            table: Index rows of all their patches, in order.
            held: Where the shards keep their row groups; closed with the split.
        """
        super().__init__(sensor, shards, table)
        self._held = held
        sizes = [int(size) for shard in shards for size in np.diff(shard.starts)]
        self.groups: NDArray[np.intp] = np.repeat(np.arange(len(sizes)), sizes)
        # Row group -> its shard, and its first row there.
        self._places = [(shard, int(start)) for shard in shards for start in shard.starts[:-1]]

    def prefetch(self, rows: NDArray[np.integer]) -> None:
        """Begin to fetch the row groups of rows that will be read next, in their order."""
        distinct, first = np.unique(self.groups[rows], return_index=True)
        places = (self._places[group] for group in distinct[np.argsort(first)])
        self._held.prefetch(shard.wanted([start])[0] for shard, start in places)

    def close(self) -> None:
        """Let the row groups go."""
        self._held.close()


def open_remote_split(
    url: str, sensor: str, split: str, options: Mapping[str, Any] | None = None
) -> RemoteSplit | None:
    """Open a sensor and split of a dataset behind a URL; None if it has no patches.

    Args:
        url: The dataset's.
        sensor: `s1` or `s2`.
        split: `train`, `val` or `corpus`.
        options: For the file system (`landmark.remote_files.RemoteFolder`).

    Raises:
        InputError: There is no such dataset, or part of it is missing.
        LandmarkError: A file is damaged or cannot be read.
    """
    dataset = RemoteDataset(url, options)
    rows = dataset.rows(sensor, split)
    if not rows.num_rows:
        return None
    held = RowGroups(HELD)
    try:
        return RemoteSplit(sensor, dataset.open_shards(rows, held), rows, held)
    except BaseException:
        held.close()
        raise
