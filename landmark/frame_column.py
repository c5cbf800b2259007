"""The column of image frames of a shard that is being made."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

_LARGEST = 2**31 - 1
#: Frames of a shard differ little in size; room beyond what the first one suggests.
_SPARE = 1.1


class FrameColumn:
    """Frames one after another, in Arrow's memory from the start.

    A list of them, made a column at the end, would hold every frame twice, and hand the memory of
    the first back to the system for every shard, to be cleared again for the next.
    """

    def __init__(self, expected: int) -> None:
        """Begin a column of about so many frames."""
        self._expected = max(1, expected)
        self._sizes: list[int] = []
        self._used = 0
        self._chunks: list[pa.Array] = []
        self._data: pa.Buffer | None = None

    def append(self, frame: bytes | pa.Buffer) -> None:
        """Add a frame."""
        size = len(frame)
        if self._used + size > _LARGEST:
            self._close_chunk()
        data = memoryview(self._reserved(size)).cast("B")
        data[self._used : self._used + size] = memoryview(frame).cast("B")
        self._used += size
        self._sizes.append(size)

    def finish(self, order: Sequence[int] | None = None) -> pa.ChunkedArray:
        """Return the column (binary).

        Args:
            order: Which frame stands where, by the place it came at; None: as they came.
        """
        self._close_chunk()
        column = pa.chunked_array(self._chunks, pa.binary())
        if order is None or list(order) == list(range(len(column))):
            return column
        # Arrow's `take` would first make one array of all, which holds 2 GB at most.
        ordered = FrameColumn(len(column))
        for place in order:
            ordered.append(column[place].as_buffer())
        return ordered.finish()

    def _reserved(self, size: int) -> pa.Buffer:
        """Return the memory of the open array, with room for so many bytes more."""
        if self._data is None:
            room = min(_LARGEST, int(size * self._expected * _SPARE))
            self._data = pa.allocate_buffer(max(size, room), resizable=True)
        elif self._used + size > self._data.size:
            self._data.resize(min(_LARGEST, max(self._used + size, 2 * self._data.size)))
        return self._data

    def _close_chunk(self) -> None:
        """Make an array of what is there; one array holds at most 2 GB."""
        if self._data is None:
            return
        ends = np.zeros(len(self._sizes) + 1, np.int32)
        np.cumsum(self._sizes, out=ends[1:])
        # Few came of many expected: what they leave is given back. Else a copy would cost more.
        self._data.resize(self._used, shrink_to_fit=self._used < self._data.size // 2)
        buffers = [None, pa.py_buffer(ends), self._data]
        self._chunks.append(pa.Array.from_buffers(pa.binary(), len(self._sizes), buffers))
        self._sizes, self._used, self._data = [], 0, None
