"""The first directory of a TIFF file as plain tags: classic and BigTIFF, little-endian.

Only what is written in the file is read, never followed further than the first directory; a
header may come from anybody, so every size is checked before it is used.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Reads bytes start..stop of a file; shorter where the file ends before `stop`.
Read = Callable[[int, int], bytes]

#: Bytes read at first: holds the whole header of a Sentinel-2 tile with 512 px blocks (484 blocks
#: of 12 bytes and some 600 bytes of tags), and is one round trip whatever its size.
FIRST_BYTES = 16384
#: A tag that claims more is taken for damage: 2 M blocks of BigTIFF offsets.
_MAX_TAG_BYTES = 1 << 24
_MAX_TAGS = 1024

# TIFF 6.0, section 2, and BigTIFF's three additions: type code -> numpy dtype. Rationals (5, 10)
# are left out: no tag needed here holds one.
_TYPES = {
    code: np.dtype(text)
    for code, text in {
        1: "u1", 2: "S1", 3: "<u2", 4: "<u4", 6: "i1", 7: "u1", 8: "<i2", 9: "<i4",
        11: "<f4", 12: "<f8", 13: "<u4", 16: "<u8", 17: "<i8", 18: "<u8",
    }.items()
}  # fmt: skip
_TEXT, _DOUBLE = 2, 12
_UNSIGNED = (1, 3, 4, 7, 13, 16, 18)
_CLASSIC, _CLASSIC_ENTRY = b"II\x2a\x00", struct.Struct("<HHI4s")


class LayoutError(Exception):
    """This file is not one the block reader reads: GDAL has to, or has to say what is wrong."""


@dataclass(frozen=True)
class Tags:
    """The tags of a TIFF directory: number -> type code and value as stored.

    Numbers are made of bytes when they are asked for: an archive has a header a band and patch.
    """

    values: dict[int, tuple[int, bytes]]

    def numbers(self, tag: int) -> NDArray[np.generic] | None:
        """Return the numbers of a tag, or None where it is absent."""
        found = self.values.get(tag)
        if found is None:
            return None
        kind, raw = found
        if kind == _TEXT:
            raise LayoutError(f"tag {tag} holds text")
        return np.frombuffer(raw, _TYPES[kind])

    def doubles(self, tag: int) -> tuple[float, ...]:
        """Return the numbers of a tag that the format has as doubles; none where it is absent."""
        kind, raw = self.values.get(tag, (_DOUBLE, b""))
        if kind != _DOUBLE:
            raise LayoutError(f"tag {tag} holds no doubles")
        return struct.unpack(f"<{len(raw) // 8}d", raw)

    def number(self, tag: int, default: int | None = None) -> int:
        """Return the one whole number of a tag (the first of equal ones)."""
        kind, raw = self.values.get(tag, (0, b""))
        if kind == _TEXT:
            raise LayoutError(f"tag {tag} holds text")
        if not raw:
            if default is None:
                raise LayoutError(f"tag {tag} is missing")
            return default
        size = _TYPES[kind].itemsize
        if kind not in _UNSIGNED or raw != raw[:size] * (len(raw) // size):
            raise LayoutError(f"tag {tag} holds different numbers")
        return int.from_bytes(raw[:size], "little")

    def text(self, tag: int) -> str | None:
        """Return the text of a tag, or None where it is absent."""
        if tag not in self.values:
            return None
        kind, raw = self.values[tag]
        if kind != _TEXT:
            raise LayoutError(f"tag {tag} holds numbers")
        return raw.split(b"\0", 1)[0].decode("latin-1")


@dataclass(frozen=True)
class Value:
    """Where the value of a tag stands in a classic TIFF.

    Attributes:
        tag: Number of the tag.
        kind: Type code.
        count: Numbers in it.
        entry: First byte of its entry in the directory.
        start: First byte of the value; within the entry where it fits there.
        stop: Byte after its last.
    """

    tag: int
    kind: int
    count: int
    entry: int
    start: int
    stop: int

    def spans(self, whole: bool) -> list[tuple[int, int]]:
        """Return the bytes of entry and value, or of all but the value."""
        end = self.entry + _CLASSIC_ENTRY.size
        if self.start == self.entry + 8 and self.stop <= end:
            return [(self.entry, end)] if whole else [(self.entry, self.start), (self.stop, end)]
        return [(self.entry, end), *([(self.start, self.stop)] if whole else [])]


class _Bytes:
    """The start of a file, extended by further reads where a header needs them."""

    def __init__(self, read: Read, head: bytes) -> None:
        self._read = read
        self._head = head

    def get(self, start: int, size: int) -> bytes:
        """Return `size` bytes from `start`.

        Raises:
            LayoutError: The file ends before.
        """
        stop = start + size
        if stop <= len(self._head):
            return self._head[start:stop]
        if start <= len(self._head) + FIRST_BYTES and len(self._head) >= FIRST_BYTES:
            # Headers lie together: one larger read serves the tags that follow as well.
            self._head += self._read(len(self._head), stop + FIRST_BYTES)
            part = self._head[start:stop]
        else:
            part = self._read(start, stop)
        if len(part) < size:
            raise LayoutError("the file ends within its header")
        return part


def directory_values(data: bytes) -> list[Value]:
    """Return where the values of a directory stand, in its order; none of a BigTIFF.

    Args:
        data: A classic TIFF that `read_tags` has read.
    """
    if not data.startswith(_CLASSIC):
        return []
    (start,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, start)
    found = []
    for entry in range(start + 2, start + 2 + entries * _CLASSIC_ENTRY.size, _CLASSIC_ENTRY.size):
        tag, kind, count, raw = _CLASSIC_ENTRY.unpack_from(data, entry)
        size = count * _TYPES[kind].itemsize if kind in _TYPES else 0
        at = int.from_bytes(raw, "little") if size > len(raw) else entry + 8
        found.append(Value(tag, kind, count, entry, at, at + size))
    return found


def read_tags(read: Read, head: bytes) -> Tags:
    """Read the first directory of a file.

    Args:
        read: Reads parts of it; not called for most files.
        head: Its first `FIRST_BYTES`, or all it has.

    Raises:
        LayoutError: It is no little-endian TIFF, or its header is damaged.
    """
    data = _Bytes(read, head)
    magic = data.get(0, 8)
    if magic[:4] == _CLASSIC:
        number, entry, place = struct.Struct("<H"), _CLASSIC_ENTRY, struct.Struct("<I")
        (start,) = struct.unpack("<I", magic[4:8])
    elif magic == b"II\x2b\x00\x08\x00\x00\x00":
        number, entry, place = struct.Struct("<Q"), struct.Struct("<HHQ8s"), struct.Struct("<Q")
        (start,) = struct.unpack("<Q", data.get(8, 8))
    else:
        raise LayoutError("no little-endian TIFF")
    (entries,) = number.unpack(data.get(start, number.size))
    if not 0 < entries <= _MAX_TAGS:
        raise LayoutError(f"a directory of {entries} tags")
    table = data.get(start + number.size, entries * entry.size)
    values: dict[int, tuple[int, bytes]] = {}
    for tag, kind, count, raw in entry.iter_unpack(table):
        if kind not in _TYPES:
            continue
        size = count * _TYPES[kind].itemsize
        if size > _MAX_TAG_BYTES:
            raise LayoutError(f"tag {tag} claims {size} bytes")
        if size > place.size:
            (offset,) = place.unpack(raw)
            values[tag] = kind, data.get(offset, size)
        else:
            values[tag] = kind, raw[:size]
    return Tags(values)
