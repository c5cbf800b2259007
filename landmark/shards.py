"""Shard files: one exact way to write them, and a reader that takes single patches.

    from landmark.shards import decode_image

    table = pyarrow.parquet.read_table("shards/s2/corpus-00000-of-00002.parquet")
    image = decode_image(table["image"][0].as_py(), table.schema)    # (bands, 120, 120)

Any Parquet reader opens a shard. The `image` column is written so that each value's place in the
file follows from the footer and `image_nbytes`; `ShardReader` maps the file and touches only the
bytes of the patch asked for, checks them by `image_xxh3`, and reads through pyarrow where
another tool rewrote the file.
"""

from __future__ import annotations

import importlib.metadata
import io
import logging
import mmap
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from landmark.codec import (
    Buffer,
    decode_image,
    decode_packed,
    decode_planes,
    decode_scl,
    encode_image,
    encode_scl,
    frame_xxh3,
)
from landmark.commits import CommitMark, Filtered, Hole, atomic_path, hash_file, write_mark
from landmark.errors import LandmarkError
from landmark.frame_reader import FrameReader
from landmark.offsets import value_offsets
from landmark.schema import (
    ROW_GROUP_ROWS,
    ImageLayout,
    layout_of,
    patch_schema,
    schema_metadata,
    shard_schema,
)

__all__ = [
    "ShardReader",
    "commit_shard",
    "decode_image",
    "decode_packed",
    "decode_planes",
    "decode_scl",
    "encode_image",
    "encode_scl",
    "frame_xxh3",
    "library_versions",
    "write_shard",
]

_log = logging.getLogger(__name__)

# Frames are compressed already: a dictionary or statistics of them would only cost.
_OPAQUE = ("image", "scl", "geometry", "original")
#: Columns that hold frames: not read unless asked for by name.
FRAMES = ("image", "scl", "original")
#: Bytes of a row group may never end a page early: one page per column chunk.
_ONE_PAGE = 1 << 30


def write_shard(path: Path, table: pa.Table) -> None:
    """Write a Parquet file in the exact form of this project; equal tables give equal bytes.

    Row groups of 64 rows; `image` PLAIN, not compressed, one page per row group; the other
    columns zstd with dictionaries. For files without images (labels) the same without `image`.
    """
    leaves = leaf_columns(table.schema)
    written = [leaf for leaf in leaves if leaf not in _OPAQUE]
    # One chunk per column, so that how a table was put together cannot show in the bytes.
    table = table.combine_chunks()
    with pq.ParquetWriter(
        path,
        table.schema,
        compression={leaf: "NONE" if leaf == "image" else "ZSTD" for leaf in leaves},
        use_dictionary=written or False,
        column_encoding={leaf: "PLAIN" for leaf in leaves if leaf in _OPAQUE} or None,
        write_statistics=written or False,
        data_page_size=_ONE_PAGE,
        data_page_version="1.0",
        version="2.6",
    ) as writer:
        writer.write_table(table, row_group_size=ROW_GROUP_ROWS)


def commit_shard(
    path: Path,
    table: pa.Table,
    fingerprint: str,
    filtered: Sequence[Filtered] = (),
    holes: Sequence[Hole] = (),
    notes: Mapping[str, Any] | None = None,
) -> CommitMark:
    """Write a shard whole, then its commit mark; return the mark.

    Args:
        path: Final place of the file.
        table: All rows, with the schema of `landmark.schema`.
        fingerprint: Hash of everything the file is a function of.
        filtered: Planned patches the manifest's rules rejected.
        holes: Planned patches that could not be made.
        notes: Further facts for the mark, plain JSON values.
    """
    with atomic_path(path) as temporary:
        write_shard(temporary, table)
        nbytes, xxh3 = temporary.stat().st_size, hash_file(temporary)
    mark = CommitMark(
        rows=table.num_rows,
        nbytes=nbytes,
        xxh3=xxh3,
        fingerprint=fingerprint,
        versions=library_versions(),
        filtered=tuple(filtered),
        holes=tuple(holes),
        notes=dict(notes or {}),
    )
    write_mark(path, mark)
    return mark


def library_versions() -> dict[str, str]:
    """Return the versions of what decides the bytes of a shard."""
    import rasterio

    names = ("landmark", "numpy", "pyarrow", "blosc2", "rasterio")
    versions = {name: _installed(name) for name in names}
    versions["gdal"] = rasterio.__gdal_version__
    return versions


@cache
def _installed(name: str) -> str:
    # Reading a package's metadata takes as long as writing a small shard.
    return importlib.metadata.version(name)


class ShardReader(FrameReader):
    """One open shard file. Reading is thread-safe; a pickled reader opens the file again.

    Attributes:
        path: The file.
        rows: Number of patches.
        layout: How their images lie in the frames.
        direct: Whether single frames are read from the mapped file (else through pyarrow).
    """

    def __init__(self, path: Path) -> None:
        self.path: Path = path
        try:
            with path.open("rb") as stream:
                self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise LandmarkError(f"{path}: cannot be opened: {first_line(error)}") from None
        self._bytes = memoryview(self._map)
        try:
            file = pq.ParquetFile(pa.BufferReader(self._map))
            self.rows: int = file.metadata.num_rows
            self.layout: ImageLayout = layout_of(file.schema_arrow.metadata, path.name)
            small = file.read(["image_nbytes", "image_xxh3"])
            self._lengths: NDArray[np.uint32] = small["image_nbytes"].to_numpy()
            self._hashes: NDArray[np.uint64] = small["image_xxh3"].to_numpy()
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise LandmarkError(
                f"{path}: is no readable shard ({first_line(error)}); "
                "`landmark verify` names every damaged file"
            ) from None
        self._starts = _group_starts(file.metadata)
        self._offsets = self._find_offsets(file)
        self.direct: bool = self._offsets is not None
        if not self.direct:
            _log.debug("%s was rewritten by another tool: whole row groups are read", path)
        # Footer and schema (150 kB) take more memory than all else here, and are not needed to find
        # single frames: thousands of shards may be open.
        self._file: pq.ParquetFile | None = None if self.direct else file
        self._decoded: tuple[int, pa.ChunkedArray] | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[type[ShardReader], tuple[Path]]:
        return ShardReader, (self.path,)

    def close(self) -> None:
        """Close the file; frames still held keep its mapping alive."""
        if self._file is not None:
            self._file.close()

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return all rows of some columns (None: all columns but the frames)."""
        with self._lock:
            file = self._parquet()
            if columns is None:
                columns = [n for n in file.schema_arrow.names if n not in FRAMES]
            return file.read(list(columns))

    def schema_with(self, layout: ImageLayout) -> pa.Schema:
        """Return the schema of this file for images stored as `layout` says."""
        own: pa.Schema = self._parquet().schema_arrow
        for schema in (patch_schema(layout), shard_schema(layout)):
            # What Parquet gives back names list items otherwise: equal rows, other bytes.
            if schema.names == own.names:
                return schema
        return own.with_metadata({**own.metadata, **schema_metadata(layout)})

    def value(self, column: str, row: int) -> bytes | None:
        """Return one value of a binary column such as `scl`; reads its whole row group."""
        self._require(row)
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        with self._lock:
            values = self._parquet().read_row_group(group, [column])[column]
        found: bytes | None = values[row - int(self._starts[group])].as_py()
        return found

    def frame(self, row: int) -> Buffer:
        """Return the image frame of a row, checked by its checksum.

        Raises:
            IndexError: There is no such row.
            LandmarkError: The bytes do not match `image_xxh3`.
        """
        self._require(row)
        if self._offsets is not None:
            start = int(self._offsets[row])
            frame = self._bytes[start : start + int(self._lengths[row])]
        else:
            frame = self._frame_by_pyarrow(row)
        mend = "remove the file and its mark and run again"
        return self._checked(frame, row, int(self._hashes[row]), mend)

    def _parquet(self) -> pq.ParquetFile:
        return self._file or pq.ParquetFile(pa.BufferReader(self._map))

    def _find_offsets(self, file: pq.ParquetFile) -> NDArray[np.int64] | None:
        metadata = file.metadata
        leaf = leaf_columns(file.schema_arrow, file).index("image")
        found = []
        for group in range(metadata.num_row_groups):
            lengths = self._lengths[self._starts[group] : self._starts[group + 1]]
            column = metadata.row_group(group).column(leaf)
            offsets = value_offsets(self._bytes, column, lengths)
            if offsets is None:
                return None
            found.append(offsets)
        return np.concatenate(found) if found else np.empty(0, dtype=np.int64)

    def _frame_by_pyarrow(self, row: int) -> memoryview:
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        with self._lock:
            # One row group is kept: neighbours are mostly read together.
            if self._decoded is None or self._decoded[0] != group:
                self._decoded = (group, self._parquet().read_row_group(group, ["image"])["image"])
            column = self._decoded[1]
        value = column[row - int(self._starts[group])].as_buffer()
        return memoryview(value if value is not None else b"")


def _group_starts(metadata: pq.FileMetaData) -> NDArray[np.int64]:
    """Return the first row of each row group, and the number of rows."""
    sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    return np.cumsum([0, *sizes], dtype=np.int64)


def leaf_columns(schema: pa.Schema, file: pq.ParquetFile | None = None) -> list[str]:
    """Return the Parquet paths of all leaf columns, e.g. `provenance.item`."""
    if file is None:
        empty = io.BytesIO()
        pq.write_table(schema.empty_table(), empty)
        file = pq.ParquetFile(empty)
    footer = file.metadata
    if footer.num_row_groups:
        # Not by `file.schema`: footer and schema then hold each other, and 150 kB stay in memory
        # until the garbage collector comes by.
        group = footer.row_group(0)
        return [group.column(i).path_in_schema for i in range(footer.num_columns)]
    return [file.schema.column(i).path for i in range(len(file.schema))]


def first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
