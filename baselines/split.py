"""One sensor and split of a dataset as arrays, and its images row by row.

Masks and captions are read whole, 8 bytes a patch; ids once somebody asks for them; the images one
by one where they are asked for. Nothing is held as one Python object a patch.
"""

from __future__ import annotations

import bisect
import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from baselines.reading import Array, one_ahead, reading_pool
from landmark.errors import LandmarkError
from landmark.frame_reader import FrameReader
from landmark.grid import PIXELS
from landmark.schema import ImageLayout

_COLUMNS = ("label_mask", "known_mask", "caption")
_IDS = ("patch_id", "pair_id")
#: Patches read by `Split.batches` at a time unless told.
_BATCH = 256
#: Patches one thread takes at a time: few enough to share a step out, enough to be worth a call.
_CHUNK = 8


@dataclass(frozen=True)
class Batch:
    """What a step needs of one sensor.

    Attributes:
        rows: (n,) rows of the split.
        images: (n, bands, 120, 120) as stored, or packed: (n, values), native planes one after
            another (`baselines.scaling.unpack`).
    """

    rows: NDArray[np.intp]
    images: NDArray[np.generic]


class Split:
    """One sensor and split of a dataset. Close it, or use it as a context.

    Attributes:
        sensor: `s1` or `s2`.
        layout: What images hold; files may store them under different profiles.
        label_mask: (n,) uint16, bit = class present.
        known_mask: (n,) uint16, bit = class decided.
        captions: Unique captions, sorted.
        caption_id: (n,) index into `captions`: a text is embedded once, not once per patch.
        groups: None where single patches are read; else (n,) ascending: which row group, read
            whole, a patch lies in.
    """

    groups: NDArray[np.intp] | None = None

    def __init__(
        self, sensor: str, readers: Sequence[FrameReader], table: pa.Table | None = None
    ) -> None:
        """Take over open shards.

        Args:
            sensor: `s1` or `s2`.
            readers: At least one, none of them empty.
            table: The columns of all their rows, where they are known already.

        Raises:
            LandmarkError: The shards hold images of different layouts.
        """
        self.sensor = sensor
        self.layout: ImageLayout = readers[0].layout
        for reader in readers:
            if reader.layout.content != self.layout.content:
                raise LandmarkError(
                    f"{reader.path}: its images are laid out otherwise than those of "
                    f"{readers[0].path.name}; run `landmark harmonize` again"
                )
        self._readers = tuple(readers)
        # A plain list: searching it is several times faster than one value in numpy.
        self._edges: list[int] = np.cumsum([0, *(reader.rows for reader in readers)]).tolist()
        self._table = table
        self.label_mask: NDArray[np.uint16] = np.empty(len(self), np.uint16)
        self.known_mask: NDArray[np.uint16] = np.empty(len(self), np.uint16)
        self.caption_id: NDArray[np.integer] = np.empty(len(self), np.int32)
        self.captions: list[str] = self._read_columns()
        if table is not None:
            self._table = table.select(_IDS)

    @functools.cached_property
    def patch_id(self) -> pa.LargeStringArray:
        """(n,) ids; read when first asked for."""
        return self._ids("patch_id")

    @functools.cached_property
    def pair_id(self) -> pa.LargeStringArray:
        """(n,) id of the partner of the other sensor, or null; read when first asked for."""
        return self._ids("pair_id")

    def _ids(self, column: str) -> pa.LargeStringArray:
        parts = [table[column].combine_chunks() for table in self._tables((column,))]
        return pa.concat_arrays([part.cast(pa.large_string()) for part in parts])

    def _tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Give all rows of some columns in parts; a part is let go before the next is read."""
        if self._table is not None:
            yield self._table.select(list(columns))
            return
        for reader in self._readers:
            yield reader.table(columns)

    def _read_columns(self) -> list[str]:
        """Fill masks and caption numbers, shard by shard; return the captions."""
        # Tables of many shards are not kept side by side: each is 20 kB, whatever it holds.
        numbers: dict[str, int] = {}
        start = 0
        for table in self._tables(_COLUMNS):
            own = slice(start, start + table.num_rows)
            self.label_mask[own] = table["label_mask"].to_numpy()
            self.known_mask[own] = table["known_mask"].to_numpy()
            texts = table["caption"].combine_chunks().dictionary_encode()
            given = [numbers.setdefault(t, len(numbers)) for t in texts.dictionary.to_pylist()]
            self.caption_id[own] = np.array(given, np.int32)[texts.indices.to_numpy()]
            start = own.stop
        captions = sorted(numbers)
        rank = np.empty(len(captions), np.int32)
        rank[[numbers[text] for text in captions]] = np.arange(len(captions))
        self.caption_id = rank[self.caption_id]
        return captions

    def __len__(self) -> int:
        return self._edges[-1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the shard files."""
        for reader in self._readers:
            reader.close()

    def prefetch(self, rows: NDArray[np.integer]) -> None:
        """Be told which rows will be read next, in their order; nothing to do for local files."""

    def image(self, row: int, out: Array | None = None) -> Array:
        """Return (bands, 120, 120) of one row as stored, or put it in `out`."""
        reader, own = self._locate(row)
        return reader.image(own, out)

    def shape(self, count: int, *, packed: bool = False) -> tuple[int, ...]:
        """Return the shape of an array of `count` images."""
        if packed:
            return (count, self.layout.values)
        return (count, len(self.layout.bands), PIXELS, PIXELS)

    def read(
        self,
        rows: NDArray[np.integer],
        pool: ThreadPoolExecutor | None = None,
        *,
        out: Array | None = None,
        packed: bool = False,
    ) -> Array:
        """Return the images of some rows as stored; threads of `pool` decode.

        Args:
            rows: Rows of the split, in any order.
            pool: None: this thread decodes.
            out: Where to put them, of `shape` and the stored dtype (or, not packed, one it casts
                to safely); None: a new array.
            packed: Native planes one after another instead of (bands, 120, 120).

        Raises:
            LandmarkError: An image is damaged.
        """
        if out is None:
            out = np.empty(self.shape(len(rows), packed=packed), dtype=self.layout.dtype)
        images = out

        def fill(places: range) -> None:
            scratch = None if packed else np.empty(self.layout.values, self.layout.dtype)
            for place in places:
                reader, own = self._locate(int(rows[place]))
                if packed:
                    reader.packed(own, images[place])
                else:
                    reader.image(own, images[place], scratch)

        if pool is None:
            fill(range(len(rows)))
            return images
        parts = [range(i, min(i + _CHUNK, len(rows))) for i in range(0, len(rows), _CHUNK)]
        for _ in pool.map(fill, parts):
            pass
        return images

    def _locate(self, row: int) -> tuple[FrameReader, int]:
        shard = bisect.bisect_right(self._edges, row) - 1
        return self._readers[shard], row - self._edges[shard]

    def batches(self, size: int = _BATCH, workers: int | None = None) -> Iterator[Batch]:
        """Give all rows in order: evaluation, embedding. The next batch is read meanwhile."""
        rows = np.arange(len(self))
        parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        with reading_pool(workers) as pool:

            def read(part: NDArray[np.intp]) -> Batch:
                self.prefetch(rows[part[0] : part[0] + 2 * size])
                return Batch(part, self.read(part, pool))

            yield from one_ahead([functools.partial(read, part) for part in parts])


def partner_rows(split: Split, other: Split) -> NDArray[np.int32]:
    """Return (n,) the row of `other` that each patch's partner lies in; -1: in none."""
    rows = pc.index_in(split.pair_id, value_set=other.patch_id, skip_nulls=True)
    return rows.fill_null(-1).to_numpy()
