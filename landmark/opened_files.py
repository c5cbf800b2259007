"""The shard files of an opened dataset, on this machine or behind a URL: one interface to both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from landmark.commits import read_mark
from landmark.dataset import SPLITS, Dataset
from landmark.errors import InputError
from landmark.frame_reader import FrameReader
from landmark.remote_dataset import RemoteDataset
from landmark.remote_files import RemotePath
from landmark.remote_shards import RemoteShard, RowGroups
from landmark.schema import LABEL_FIELDS
from landmark.shards import ShardReader

SENSORS = ("s1", "s2")
#: Row groups of a remote dataset held in memory for look-ups here and there.
_HELD = 4


class Files(Protocol):
    """Parquet files with patches, in order."""

    @property
    def root(self) -> str:
        """The dataset, as errors should name it."""

    @property
    def files(self) -> Sequence[Path | RemotePath]:
        """Where they lie."""

    @property
    def counts(self) -> Sequence[int]:
        """Patches of each."""

    def ids(self, number: int) -> list[str]:
        """Return the patch ids of a file."""

    def columns(self, number: int) -> pa.Table:
        """Return all columns of a file but the frames."""

    def reader(self, number: int) -> FrameReader:
        """Open a file for its frames."""

    def close(self) -> None:
        """Give back what is held beside the readers."""


class LocalFiles:
    """Committed files of a dataset directory: shards/ where they are made, else patches/.

    Only commit marks are read at first, so that opening takes no longer than listing.
    """

    def __init__(self, dataset: Dataset, sensor: str | None, split: str | None) -> None:
        self._dataset = dataset
        self.root = str(dataset.root)
        self.files: list[Path] = _find_files(dataset, sensor, split)
        self.counts = [mark.rows for path in self.files if (mark := read_mark(path)) is not None]
        # Whether labels are to be joined: these are patches/, and some files have theirs.
        own = [path for path in self.files if path.parent == dataset.patches]
        self._labelled = any(read_mark(dataset.label_shard(p.stem)) is not None for p in own)

    def ids(self, number: int) -> list[str]:
        """Return the patch ids of a file."""
        table = pq.read_table(self.files[number], columns=["patch_id"])
        found: list[str] = table["patch_id"].to_pylist()
        return found

    def columns(self, number: int) -> pa.Table:
        """Return all columns of a file but the frames; labels are joined where they lie apart."""
        path = self.files[number]
        with ShardReader(path) as reader:
            table = reader.table()
        if self._labelled:
            labels = self._dataset.label_shard(path.stem)
            found = pq.read_table(labels) if read_mark(labels) is not None else None
            for field in LABEL_FIELDS:
                nulls = pa.nulls(table.num_rows, field.type)
                column = nulls if found is None else found[field.name]
                table = table.append_column(field.with_nullable(True), column)
        return table

    def reader(self, number: int) -> FrameReader:
        """Open a file for its frames."""
        return ShardReader(self.files[number])

    def close(self) -> None:
        """Nothing is held."""


class RemoteFiles:
    """Shards behind a URL; the index says which there are, and their ids."""

    def __init__(
        self, url: str, sensor: str | None, split: str | None, options: Mapping[str, Any] | None
    ) -> None:
        self._dataset = RemoteDataset(url, options)
        self.root = self._dataset.folder.shown
        self._rows = self._dataset.rows(sensor, split)
        if not self._rows.num_rows:
            wanted = " ".join(word for word in (sensor, split) if word)
            raise InputError(f"{self.root}: holds no {wanted + ' ' if wanted else ''}patches")
        counted = pc.value_counts(self._rows["shard_file"]).to_pylist()
        counts = {entry["values"]: entry["counts"] for entry in counted}
        names = sorted(counts, key=lambda name: _place(name))
        self.files: list[RemotePath] = [self._dataset.folder.path(name) for name in names]
        self.counts = [counts[name] for name in names]
        self._groups = RowGroups(_HELD)

    def ids(self, number: int) -> list[str]:
        """Return the patch ids of a file."""
        found: list[str] = self._own(number)["patch_id"].to_pylist()
        return found

    def columns(self, number: int) -> pa.Table:
        """Return all columns of a file but the frames."""
        return self.reader(number).table()

    def reader(self, number: int) -> RemoteShard:
        """Open a file for its frames."""
        return self._dataset.open_shards(self._own(number), self._groups)[0]

    def close(self) -> None:
        """Let the row groups go."""
        self._groups.close()

    def _own(self, number: int) -> pa.Table:
        name = self.files[number].relative
        return self._rows.filter(pc.equal(self._rows["shard_file"], name))


def _place(name: str) -> tuple[str, int, str]:
    """Return where a shard stands among all: by sensor, then split in the order of `SPLITS`."""
    _, sensor, file = name.split("/")
    return sensor, SPLITS.index(file.split("-")[0]), file


def _find_files(dataset: Dataset, sensor: str | None, split: str | None) -> list[Path]:
    sensors = (sensor,) if sensor else SENSORS
    splits = (split,) if split else SPLITS
    files = [path for one in sensors for part in splits for path in dataset.split_shards(one, part)]
    command = "harmonize"
    if not files and split is None:
        files = [
            path for one in sensors for path in sorted(dataset.patches.glob(f"{one}-*.parquet"))
        ]
        command = "fetch"
    files = [path for path in files if read_mark(path) is not None]
    if not files:
        dataset.require(dataset.shards if split else dataset.patches, command)
        wanted = " ".join(word for word in (sensor, split) if word)
        raise InputError(f"{dataset.root}: holds no {wanted + ' ' if wanted else ''}patches")
    return files
