"""Where the values of a binary Parquet column lie in the file, so that they can be read in place.

pyarrow cannot read less than a row group. A column that is PLAIN and not compressed by Parquet
holds its values one after another, each behind a 4-byte length, so positions follow from the
footer and the known lengths. Nothing is trusted: the page headers must agree with the arithmetic
(a file written with other settings gives wrong positions otherwise), else the lengths are walked
one by one, else the caller has to read through pyarrow.

Format: apache/parquet-format, `src/main/thrift/parquet.thrift`; Thrift compact protocol.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

_DATA_PAGE, _DATA_PAGE_V2 = 0, 3
_PLAIN = 0
_MAX_DEPTH = 8
_U32 = struct.Struct("<I")

Fields = dict[int, Any]
Bytes = bytes | memoryview


class _PageError(Exception):
    """The bytes are not what a page header looks like."""


@dataclass(frozen=True)
class _Page:
    start: int  # of the data, after the header
    size: int
    values: int
    header: int  # bytes of the header
    v1: bool


def value_offsets(
    data: Bytes, column: pq.ColumnChunkMetaData, lengths: NDArray[np.uint32], base: int = 0
) -> NDArray[np.int64] | None:
    """Return where in `data` each value of one column chunk lies, or None if it must be decoded.

    Args:
        data: The file from its byte `base` on, at least to the end of the chunk.
        column: Footer entry of the column chunk.
        lengths: Length of each value, bytes.
        base: 0: `data` is the whole file.
    """
    if column.compression != "UNCOMPRESSED" or column.has_dictionary_page:
        return None
    if column.physical_type != "BYTE_ARRAY" or column.num_values != len(lengths):
        return None
    try:
        start = column.data_page_offset - base
        by_footer = _arithmetic(data, start, column.total_compressed_size, lengths)
        if by_footer is not None:
            return by_footer
        return _walk(data, start, column.total_compressed_size, lengths)
    except (_PageError, IndexError, struct.error):
        return None


def fixed_start(data: Bytes, column: pq.ColumnChunkMetaData, width: int) -> int | None:
    """Return where the values of one chunk of a fixed-width column begin, or None.

    They then lie one behind the other without gaps: one PLAIN page, no levels, no compression.

    Args:
        data: The whole file.
        column: Footer entry of the column chunk.
        width: Bytes of each value.
    """
    if column.compression != "UNCOMPRESSED" or column.has_dictionary_page:
        return None
    if column.physical_type != "FIXED_LEN_BYTE_ARRAY":
        return None
    try:
        page = _page(data, column.data_page_offset)
    except (_PageError, IndexError, struct.error):
        return None
    whole = page.size == width * column.num_values and page.values == column.num_values
    return page.start if whole else None


def _arithmetic(
    data: Bytes, position: int, nbytes: int, lengths: NDArray[np.uint32]
) -> NDArray[np.int64] | None:
    ends = np.cumsum(4 + lengths.astype(np.int64))
    total = int(ends[-1]) if len(ends) else 0
    page = _page(data, position)
    if page.header != nbytes - total:
        return None
    if page.size != total or page.values != len(lengths):
        return None
    return page.start + ends - lengths


def _walk(
    data: Bytes, position: int, nbytes: int, lengths: NDArray[np.uint32]
) -> NDArray[np.int64] | None:
    offsets = np.empty(len(lengths), dtype=np.int64)
    end = position + nbytes
    index = 0
    while position < end:
        page = _page(data, position)
        stop = page.start + page.size
        if stop > end or index + page.values > len(lengths):
            return None
        start = page.start
        last = index + page.values
        values = _follow(data, start, stop, lengths[index:last])
        if values is None and page.v1:
            # A nullable column: definition levels stand before the values, behind their length.
            values = _follow(data, start + 4 + _word(data, start), stop, lengths[index:last])
        if values is None:
            return None
        offsets[index:last] = values
        index, position = last, stop
    return offsets if index == len(lengths) else None


def _follow(data: Bytes, position: int, stop: int, lengths: NDArray[np.uint32]) -> list[int] | None:
    """Return the value positions if every length word is the known one and all fill the page."""
    found = []
    for length in lengths.tolist():
        if position + 4 > stop or _word(data, position) != length:
            return None
        found.append(position + 4)
        position += 4 + length
    return found if position == stop else None


def _word(data: Bytes, position: int) -> int:
    word: int = _U32.unpack_from(data, position)[0]
    return word


def _page(data: Bytes, position: int) -> _Page:
    """Return a data page with PLAIN values and no nulls known of; anything else is refused."""
    fields, start = _thrift_struct(data, position, 0)
    kind = fields.get(1)
    inner = fields.get(5 if kind == _DATA_PAGE else 8)
    if kind not in (_DATA_PAGE, _DATA_PAGE_V2) or not isinstance(inner, dict):
        raise _PageError
    size = fields.get(3)
    if not isinstance(size, int) or size < 0 or fields.get(2) != size:
        raise _PageError
    if inner.get(2 if kind == _DATA_PAGE else 4) != _PLAIN or not isinstance(inner.get(1), int):
        raise _PageError
    levels = 0
    if kind == _DATA_PAGE_V2:
        levels = inner.get(5, 0) + inner.get(6, 0)
        if inner.get(2) != 0 or not 0 <= levels <= size:
            raise _PageError
    return _Page(
        start=start + levels,
        size=size - levels,
        values=inner[1],
        header=start + levels - position,
        v1=kind == _DATA_PAGE,
    )


def _thrift_struct(data: Bytes, position: int, depth: int) -> tuple[Fields, int]:
    """Return the fields of a compact-protocol struct by id, and the position behind it."""
    if depth > _MAX_DEPTH:
        raise _PageError
    fields: Fields = {}
    identifier = 0
    while True:
        head = data[position]
        position += 1
        if head == 0:
            return fields, position
        kind, delta = head & 0x0F, head >> 4
        if delta:
            identifier += delta
        else:
            identifier, position = _zigzag(data, position)
        fields[identifier], position = _thrift_value(data, position, kind, depth)


def _thrift_value(data: Bytes, position: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in (1, 2):  # true and false are in the type itself
        return kind == 1, position
    if kind == 3:  # i8
        return data[position], position + 1
    if kind in (4, 5, 6):  # i16, i32, i64
        return _zigzag(data, position)
    if kind == 7:  # double
        return None, position + 8
    if kind == 8:  # binary
        length, position = _varint(data, position)
        return None, position + length
    if kind == 12:
        return _thrift_struct(data, position, depth + 1)
    raise _PageError  # page headers hold no lists, sets or maps


def _zigzag(data: Bytes, position: int) -> tuple[int, int]:
    value, position = _varint(data, position)
    return (value >> 1) ^ -(value & 1), position


def _varint(data: Bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise _PageError
