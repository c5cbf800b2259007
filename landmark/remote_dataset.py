"""A dataset behind a URL: its shards/, found through the index, for nothing can be listed there.

shards/index.json       the seal: whether the index is whole
shards/index.parquet    which patch lies in which row of which shard, its labels and caption
shards/s2/train-...     read by row group (`landmark.remote_shards`)
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from landmark.commits import hash_bytes
from landmark.errors import InputError, LandmarkError
from landmark.loose_files import SEAL, parse_seal
from landmark.remote_files import Patience, RemoteFolder
from landmark.remote_shards import RemoteShard, RowGroups

_INDEX = "index.parquet"
#: What a shard may be called: names of an index are strangers' words, and become parts of URLs.
_SHARD = re.compile(r"shards/(s1|s2)/(train|val|corpus)-[0-9]{5}-of-[0-9]{5}\.parquet")
#: Shards opened at once.
_OPENING = 8


class RemoteDataset:
    """Shards of a dataset behind a URL. Thread-safe; the index is read once, at its first use.

    Attributes:
        folder: The dataset's folder.
    """

    def __init__(
        self,
        url: str,
        options: Mapping[str, Any] | None = None,
        patience: Patience | None = None,
    ) -> None:
        """Make ready; nothing is read yet. Arguments are `RemoteFolder`'s."""
        self.folder = RemoteFolder(url, options, patience)

    @functools.cached_property
    def index(self) -> pa.Table:
        """Patches that lie in shards, in shard order: the columns a loader needs.

        Raises:
            InputError: There is no such dataset, or it has no shards.
            LandmarkError: The index is damaged, or not of this dataset.
        """
        try:
            seal = parse_seal(self.folder.read(f"shards/{SEAL}"))
            data = self.folder.read(f"shards/{_INDEX}")
        except FileNotFoundError as error:
            raise InputError(
                f"{error}: not found; a dataset behind a URL needs all of shards/, as `landmark "
                "harmonize` wrote it"
            ) from None
        place = self.folder.path(f"shards/{_INDEX}")
        if seal is None or seal.get(_INDEX, {}).get("xxh3") != hash_bytes(data):
            raise LandmarkError(f"{place}: does not match its checksum in {SEAL}; copy it again")
        columns = [
            *("patch_id", "sensor", "split", "shard_file", "shard_row"),
            *("label_mask", "known_mask", "caption", "pair_id"),
        ]
        table = pq.read_table(pa.BufferReader(data), columns=columns)
        table = table.filter(pc.not_equal(table["shard_file"], ""))
        strange = [n for n in pc.unique(table["shard_file"]).to_pylist() if not _SHARD.fullmatch(n)]
        if strange:
            raise LandmarkError(f"{place}: {strange[0]!r} is no name of a shard")
        return table.sort_by([("shard_file", "ascending"), ("shard_row", "ascending")])

    def rows(self, sensor: str | None = None, split: str | None = None) -> pa.Table:
        """Return the index of a sensor and split (None: all), in shard order."""
        table = self.index
        for column, value in (("sensor", sensor), ("split", split)):
            if value is not None:
                table = table.filter(pc.equal(table[column], value))
        return table

    def open_shards(self, rows: pa.Table, groups: RowGroups) -> list[RemoteShard]:
        """Open the shards some index rows lie in, side by side, in order.

        Raises:
            LandmarkError: A shard is damaged, or holds other rows than the index says.
        """
        counted = pc.value_counts(rows["shard_file"]).to_pylist()
        counts = {entry["values"]: entry["counts"] for entry in counted}
        with ThreadPoolExecutor(_OPENING, thread_name_prefix="open") as pool:
            shards = list(pool.map(lambda n: RemoteShard(self.folder, n, groups), sorted(counts)))
        for shard in shards:
            if shard.rows != counts[shard.path.relative]:
                raise LandmarkError(
                    f"{shard.path}: holds {shard.rows} rows, {_INDEX} says "
                    f"{counts[shard.path.relative]}; copy all of shards/ again"
                )
        return shards
