"""A shard behind a URL, read by row group: one request a group, each frame checked as ever.

The frames of a row group, their lengths and their checksums lie side by side in the file, so that
one range holds what 64 patches need (about 7 MB of Sentinel-2). `RowGroups` keeps the groups read
last, within a bound, and fetches those that will be needed next.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from landmark.codec import Buffer
from landmark.commits import CommitMark, decode_mark
from landmark.errors import InputError, LandmarkError
from landmark.frame_reader import FrameReader
from landmark.offsets import value_offsets
from landmark.remote_files import RangeFile, RemoteFolder, RemotePath
from landmark.schema import ImageLayout, layout_of
from landmark.shards import FRAMES, first_line, leaf_columns

#: Bytes read at the end of a file: holds the footer of a shard of 512 patches.
_TAIL = 1 << 17
#: Column chunks nearer to each other than this are read in one request.
_GAP = 1 << 16
#: Requests under way at once for a split.
_REQUESTS = 8
_SMALL = ("image_nbytes", "image_xxh3")

#: A row group of a file: (file, row group).
GroupKey = tuple[str, int]


@dataclass(frozen=True)
class FrameGroup:
    """The frames of one row group in memory."""

    frames: Sequence[Buffer]
    hashes: Sequence[int]


class RowGroups:
    """Row groups in memory: those used last, at most `limit`. Thread-safe.

    However many threads ask for a group, it is fetched once. One that could not be fetched is
    forgotten, so that it is fetched again when it is asked for again.
    """

    def __init__(self, limit: int, requests: int = _REQUESTS) -> None:
        self.limit = limit
        self._held: OrderedDict[GroupKey, Future[FrameGroup]] = OrderedDict()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(requests, thread_name_prefix="row-groups")

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: GroupKey, fetch: Callable[[], FrameGroup]) -> FrameGroup:
        """Return a group, fetched if it is not held."""
        future = self._ask(key, fetch)
        try:
            return future.result()
        except BaseException:
            with self._lock:
                if self._held.get(key) is future:
                    del self._held[key]
            raise

    def prefetch(self, wanted: Iterable[tuple[GroupKey, Callable[[], FrameGroup]]]) -> None:
        """Begin to fetch groups in the order they will be used, no more than can be held."""
        for _, (key, fetch) in zip(range(self.limit), wanted, strict=False):
            self._ask(key, fetch)

    def close(self) -> None:
        """Let everything go; what is under way is awaited."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        with self._lock:
            self._held.clear()

    def _ask(self, key: GroupKey, fetch: Callable[[], FrameGroup]) -> Future[FrameGroup]:
        with self._lock:
            future = self._held.get(key)
            if future is None:
                future = self._pool.submit(fetch)
                self._held[key] = future
            self._held.move_to_end(key)
            while len(self._held) > self.limit:
                # Not cancelled: another thread may be waiting for it.
                self._held.popitem(last=False)
        return future


class RemoteShard(FrameReader):
    """One shard behind a URL. Opening takes two requests; `groups` may serve many shards."""

    def __init__(self, folder: RemoteFolder, relative: str, groups: RowGroups) -> None:
        """Open a shard.

        Raises:
            InputError: It is not there, or not committed.
            LandmarkError: It is damaged, or cannot be read.
        """
        self.path: RemotePath = folder.path(relative)
        self._folder, self._relative, self._groups = folder, relative, groups
        self._mark = _read_mark(folder, relative)
        start = max(0, self._mark.nbytes - _TAIL)
        try:
            tail = folder.read_range(relative, start, self._mark.nbytes)
            self._tail = (start, tail)
            file = pq.ParquetFile(self._open())
            self._metadata = file.metadata
            self._schema: pa.Schema = file.schema_arrow
            self._leaves = leaf_columns(self._schema, file)
        except FileNotFoundError:
            raise InputError(f"{self.path}: is missing, though its commit mark is there") from None
        except (pa.ArrowException, OSError, ValueError) as error:
            raise LandmarkError(
                f"{self.path}: is no readable shard ({first_line(error)}); was it copied whole, "
                "and together with its commit mark?"
            ) from None
        self.rows: int = self._metadata.num_rows
        self.layout: ImageLayout = layout_of(self._schema.metadata, self.path.name)
        missing = [name for name in ("image", *_SMALL) if name not in self._leaves]
        if missing or self.rows != self._mark.rows:
            told = f"no column {missing[0]}" if missing else f"{self.rows} rows"
            raise LandmarkError(
                f"{self.path}: is no readable shard: it holds {told}, its commit mark says "
                f"{self._mark.rows} rows"
            )
        sizes = [self._metadata.row_group(i).num_rows for i in range(self._metadata.num_row_groups)]
        #: First row of each row group, and the number of rows.
        self.starts: NDArray[np.int64] = np.cumsum([0, *sizes], dtype=np.int64)

    def frame(self, row: int) -> Buffer:
        """Return the image frame of a row, checked by its checksum; fetches its row group."""
        self._require(row)
        number = self.group_of(row)
        group = self._groups.get(*self._wanted(number))
        own = row - int(self.starts[number])
        mend = "copy the file again"
        return self._checked(group.frames[own], row, group.hashes[own], mend)

    def group_of(self, row: int) -> int:
        """Return which row group a row lies in."""
        return int(np.searchsorted(self.starts, row, side="right")) - 1

    def wanted(self, rows: Iterable[int]) -> list[tuple[GroupKey, Callable[[], FrameGroup]]]:
        """Return what `RowGroups.prefetch` takes for some rows."""
        return [self._wanted(number) for number in dict.fromkeys(map(self.group_of, rows))]

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return all rows of some columns (None: all columns but the frames)."""
        if columns is None:
            columns = [name for name in self._schema.names if name not in FRAMES]
        with self._named():
            return self._parquet().read(list(columns))

    def value(self, column: str, row: int) -> bytes | None:
        """Return one value of a binary column such as `scl`; reads its whole row group."""
        self._require(row)
        group = self.group_of(row)
        with self._named():
            values = self._parquet().read_row_group(group, [column])[column]
        found: bytes | None = values[row - int(self.starts[group])].as_py()
        return found

    def close(self) -> None:
        """Nothing is held open; the row groups are their owner's."""

    def _wanted(self, number: int) -> tuple[GroupKey, Callable[[], FrameGroup]]:
        return (self._relative, number), partial(self._load, number)

    def _load(self, number: int) -> FrameGroup:
        group = self._metadata.row_group(number)
        chunk, *small = (group.column(self._leaves.index(n)) for n in ("image", *_SMALL))
        pieces = [
            (start, self._fetch(start, stop))
            for start, stop in _merged([_extent(column) for column in (chunk, *small)])
        ]
        with self._named():
            file = self._parquet(pieces)
            table = file.read_row_group(number, list(_SMALL))
            lengths: NDArray[np.uint32] = table["image_nbytes"].to_numpy()
            start, data = next(p for p in pieces if p[0] <= _extent(chunk)[0] < p[0] + len(p[1]))
            offsets = value_offsets(data, chunk, lengths, start)
            if offsets is None:  # another tool rewrote the file
                values = file.read_row_group(number, ["image"])["image"]
                frames = [memoryview(value.as_buffer() or b"") for value in values]
            else:
                view = memoryview(data)
                places = zip(offsets.tolist(), lengths.tolist(), strict=True)
                frames = [view[place : place + length] for place, length in places]
            return FrameGroup(frames, table["image_xxh3"].to_pylist())

    def _fetch(self, start: int, stop: int) -> bytes:
        return self._folder.read_range(self._relative, start, stop)

    def _open(self, pieces: Sequence[tuple[int, bytes]] = ()) -> RangeFile:
        return RangeFile(self._fetch, self._mark.nbytes, (*pieces, self._tail))

    def _parquet(self, pieces: Sequence[tuple[int, bytes]] = ()) -> pq.ParquetFile:
        # A file of its own for each use: position and buffers are not shared between threads.
        return pq.ParquetFile(self._open(pieces), metadata=self._metadata, pre_buffer=True)

    def _named(self) -> _Named:
        return _Named(str(self.path))


class _Named:
    """Turns pyarrow's errors into one line that names the file."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (pa.ArrowException, OSError, ValueError)):
            raise LandmarkError(
                f"{self._path}: is no readable shard ({first_line(error)})"
            ) from None


def _read_mark(folder: RemoteFolder, relative: str) -> CommitMark:
    sidecar = PurePosixPath(relative).with_suffix(".json")
    try:
        return decode_mark(folder.read(str(sidecar)), PurePosixPath(str(folder.path(str(sidecar)))))
    except FileNotFoundError:
        raise InputError(
            f"{folder.path(relative)} is not committed: {sidecar.name} is missing beside it; copy "
            "all of shards/"
        ) from None


def _extent(column: pq.ColumnChunkMetaData) -> tuple[int, int]:
    start = column.data_page_offset
    if column.has_dictionary_page:
        start = min(start, column.dictionary_page_offset)
    return start, start + column.total_compressed_size


def _merged(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return ranges in file order, neighbours as one."""
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(ranges):
        if merged and start - merged[-1][1] <= _GAP:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged
