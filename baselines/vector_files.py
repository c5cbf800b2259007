"""Vectors of patches as Parquet that is searched in place, through a memory map.

Columns: `patch_id`, what searches filter on, `image_xxh3` (whose pixels the vector describes), and
`vector`, the float32 values as bytes of fixed length. Vectors are PLAIN, not compressed, one page
per row group, so that a block of them is a range of the file; each block has a checksum in the
footer, because a mapped range bypasses Parquet's own. A file that another tool rewrote is read
through pyarrow.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from numpy.typing import NDArray

from landmark.errors import LandmarkError
from landmark.offsets import fixed_start

#: Rows of a block: 384-d float32 vectors of one block take 25 MB.
BLOCK_ROWS = 16384

_MODEL, _BLOCKS = b"landmark:model", "landmark:blocks"
#: One page per column chunk.
_ONE_PAGE = 1 << 30

#: What filters need of a patch, beside its id.
FACTS = pa.schema(
    [
        pa.field("patch_id", pa.string(), nullable=False),
        pa.field("image_xxh3", pa.uint64(), nullable=False),
        pa.field("datetime", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("lon", pa.float64(), nullable=False),
        pa.field("lat", pa.float64(), nullable=False),
        pa.field("events", pa.list_(pa.string()), nullable=False),
    ]
)


class VectorWriter:
    """Writes a file block by block.

    Args:
        path: The file.
        width: Values of a vector.
        model: Hash of what made the vectors.
    """

    def __init__(self, path: Path, width: int, model: str) -> None:
        vector = pa.field("vector", pa.binary(4 * width), nullable=False)
        self._schema = FACTS.append(vector).with_metadata({_MODEL: model.encode()})
        self._width = width
        self._checksums: list[str] = []
        self._facts: list[pa.Table] = []
        self._vectors: list[NDArray[np.float32]] = []
        self._waiting = 0
        small = {name: "ZSTD" for name in FACTS.names if name != "events"}
        self._writer = pq.ParquetWriter(
            path,
            self._schema,
            compression={**small, "events.list.element": "ZSTD", "vector": "NONE"},
            use_dictionary=["events.list.element"],
            column_encoding={"vector": "PLAIN"},
            write_statistics=False,
            data_page_size=_ONE_PAGE,
            data_page_version="1.0",
            write_page_checksum=True,
            version="2.6",
        )

    def add(self, facts: pa.Table, vectors: NDArray[np.float32]) -> None:
        """Add patches.

        Args:
            facts: n rows of `FACTS`.
            vectors: (n, width) float32.
        """
        self._facts.append(facts.select(FACTS.names).cast(FACTS))
        self._vectors.append(np.ascontiguousarray(vectors, dtype="<f4"))
        self._waiting += len(vectors)
        while self._waiting >= BLOCK_ROWS:
            self._flush(BLOCK_ROWS)

    def close(self) -> None:
        """Write what is left, the checksums and the footer."""
        if self._waiting:
            self._flush(self._waiting)
        self._writer.add_key_value_metadata({_BLOCKS: json.dumps(self._checksums)})
        self._writer.close()

    def _flush(self, rows: int) -> None:
        facts, vectors = pa.concat_tables(self._facts), np.concatenate(self._vectors)
        block = np.ascontiguousarray(vectors[:rows])
        self._checksums.append(xxhash.xxh3_64_hexdigest(block.data))
        column = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(4 * self._width), rows, [None, pa.py_buffer(block)]
        )
        # One chunk per column, so that how rows were added cannot show in the bytes.
        own = facts.slice(0, rows).combine_chunks()
        table = own.append_column(self._schema.field("vector"), column)
        self._writer.write_table(table.cast(self._schema), row_group_size=rows)
        self._facts, self._vectors = [facts.slice(rows)], [vectors[rows:]]
        self._waiting -= rows


@dataclass(frozen=True)
class Block:
    """A row group.

    Attributes:
        number: Its place in the file.
        start: Row of the file it begins with.
        rows: How many it holds.
    """

    number: int
    start: int
    rows: int


class VectorFile:
    """A file of vectors, mapped. May be read by several threads.

    Args:
        path: The file.

    Raises:
        LandmarkError: It is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = pq.ParquetFile(path, memory_map=True, page_checksum_verification=True)
            with path.open("rb") as stream:
                self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError, pa.ArrowException):
            raise self._damaged() from None
        self._bytes = memoryview(self._map)
        schema = self._file.schema_arrow
        if schema.names != [*FACTS.names, "vector"]:
            raise self._damaged()
        self.width: int = schema.field("vector").type.byte_width // 4
        self.model: str = (schema.metadata or {}).get(_MODEL, b"").decode()
        self._column = self._file.metadata.num_columns - 1
        footer = self._file.metadata.metadata or {}
        self._checksums: list[str] = json.loads(footer.get(_BLOCKS.encode(), b"[]"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the map goes with the last array that lies in it."""
        self._file.close()

    @property
    def rows(self) -> int:
        """How many patches there are."""
        return int(self._file.metadata.num_rows)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The row groups in order."""
        metadata = self._file.metadata
        sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        starts = np.cumsum([0, *sizes])
        return tuple(
            Block(i, int(start), rows)
            for i, (start, rows) in enumerate(zip(starts, sizes, strict=False))
        )

    def facts(self, columns: list[str]) -> pa.Table:
        """Return columns of `FACTS` for all rows.

        Raises:
            LandmarkError: The file is damaged.
        """
        try:
            return self._file.read(columns, use_threads=False)
        except (OSError, pa.ArrowException):
            raise self._damaged() from None

    def patch_ids(self, block: Block) -> pa.ChunkedArray:
        """Return the patch ids of a block."""
        try:
            # A reader of its own: threads ask for other blocks at the same time.
            with pq.ParquetFile(self.path, memory_map=True) as own:
                return own.read_row_group(block.number, ["patch_id"], use_threads=False)["patch_id"]
        except (OSError, pa.ArrowException):
            raise self._damaged() from None

    def vectors(
        self,
        block: Block,
        rows: NDArray[np.intp] | None = None,
        out: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Return (rows, width) vectors of a block, checked against its checksum.

        Args:
            block: Which.
            rows: Only these rows of it; None: all. Their neighbours are not read, so that nothing
                is checked.
            out: (at least as many rows, width) to put them in; None: a new array.

        Raises:
            LandmarkError: The file is damaged.
        """
        stored = self._stored(block)
        count = block.rows if rows is None else len(rows)
        target = np.empty((count, self.width), "<f4") if out is None else out[:count]
        if rows is None:
            # Mapped values begin at any byte; arithmetic is fast on aligned ones.
            target.reshape(-1).view(np.uint8)[:] = stored
            self._check(block, target)
        else:
            lines = stored.reshape(block.rows, 4 * self.width)
            np.take(lines, rows, axis=0, out=target.view(np.uint8))
        return target

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return (n, width) vectors of rows of the file, in that order."""
        out = np.empty((len(rows), self.width), "<f4")
        for block in self.blocks:
            own = np.flatnonzero((rows >= block.start) & (rows < block.start + block.rows))
            if len(own):
                out[own] = self.vectors(block)[rows[own] - block.start]
        return out

    def _stored(self, block: Block) -> NDArray[np.uint8]:
        """Return the bytes of a block's vectors, in place where they can be."""
        chunk = self._file.metadata.row_group(block.number).column(self._column)
        size = 4 * self.width * block.rows
        start = fixed_start(self._bytes, chunk, 4 * self.width)
        if start is not None and start + size <= len(self._bytes):
            return np.frombuffer(self._bytes, np.uint8, size, start)
        try:
            with pq.ParquetFile(self.path, page_checksum_verification=True) as own:
                column = own.read_row_group(block.number, ["vector"], use_threads=False)["vector"]
        except (OSError, pa.ArrowException):
            raise self._damaged() from None
        return np.frombuffer(b"".join(value.as_buffer() for value in column), np.uint8)

    def _check(self, block: Block, vectors: NDArray[np.float32]) -> None:
        if block.number >= len(self._checksums):
            return  # rewritten by another tool, which checks pages
        if xxhash.xxh3_64_hexdigest(vectors.data) != self._checksums[block.number]:
            raise self._damaged()

    def _damaged(self) -> LandmarkError:
        return LandmarkError(f"{self.path} is damaged; remove it and run again")


def batches(path: Path) -> Iterator[NDArray[np.float32]]:
    """Yield (n, width) vectors block by block, in constant memory.

    Raises:
        LandmarkError: The file is damaged.
    """
    with VectorFile(path) as file:
        for block in file.blocks:
            yield file.vectors(block)
