"""Small image files with alike headers: the first is taken apart, the others are known again.

Files of an archive's patches differ in the point that ties them to the ground and, where they are
compressed, in where their blocks lie. Taking a header apart takes longer than reading the pixels
of such a file, so the rest of it is compared, and only those numbers are read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from landmark.cog.headers import LayoutError, Value, directory_values, read_tags
from landmark.cog.layouts import (
    NONE,
    TABLES,
    TIE_POINTS,
    BlockImage,
    Scale,
    Transform,
    image_of,
    scale_of,
    transform_of,
)

#: Headers that are remembered, and the bytes of the largest.
_REMEMBERED, _REMEMBERED_BYTES = 32, 4096
#: A tie point: column, row, level; x, y, z (GeoTIFF 1.1, section 7.1.2).
_TIE_POINT = struct.Struct("<6d")
#: TIFF types of the tables of blocks -> codes of `struct`.
_WHOLE = {3: "H", 4: "I"}

_Span = tuple[int, int]


class SmallImage(NamedTuple):
    """The only image of a file that is held whole.

    Attributes:
        kind: All that it shares with files like it: everything but its tables of blocks.
        starts: First byte of each block in the file; 0 where it is not stored.
        sizes: Bytes of each block.
        transform: Affine (a, b, c, d, e, f), metres or degrees of the image's CRS.
    """

    kind: BlockImage
    starts: tuple[int, ...]
    sizes: tuple[int, ...]
    transform: Transform


class KnownHeaders:
    """The headers of files seen so far. Not thread-safe: each shard that is made has its own."""

    def __init__(self) -> None:
        """Begin without any."""
        self._headers: list[_Header] = []

    def read(self, data: bytes) -> SmallImage:
        """Return the image of a file.

        Args:
            data: All bytes of the file.

        Raises:
            LayoutError: The file is not of a layout read here; the reason.
        """
        for place, known in enumerate(self._headers):
            if known.fits(data):
                if place:  # what comes next is most likely alike
                    self._headers.insert(0, self._headers.pop(place))
                return known.read(data)
        try:
            image, header = _taken_apart(data)
        except (IndexError, ValueError, OverflowError) as error:
            raise LayoutError(f"header not understood: {error}") from None
        if header is not None:
            del self._headers[_REMEMBERED - 1 :]
            self._headers.insert(0, header)
        return image


class _Header(NamedTuple):
    """A header that is remembered.

    Attributes:
        fixed: (first byte, bytes) of everything but the numbers that may differ.
        tie: Where its tie point stands.
        tables: Where the offsets and the byte counts stand, and how; none where all files that
            are alike have them alike.
        end: Where the last of these numbers ends.
        scale: Size of a pixel.
        first: The image it was learnt from.
    """

    fixed: tuple[tuple[int, bytes], ...]
    tie: int
    tables: tuple[tuple[int, struct.Struct], ...]
    end: int
    scale: Scale
    first: SmallImage

    def fits(self, data: bytes) -> bool:
        """Return whether a file has this header, but for the numbers that may differ."""
        for start, part in self.fixed:  # a loop of its own: runs once per file of each patch
            if not data.startswith(part, start):
                return False
        return len(data) >= self.end

    def read(self, data: bytes) -> SmallImage:
        """Return the image of a file that has this header."""
        transform = transform_of(self.scale, _TIE_POINT.unpack_from(data, self.tie))
        kind, starts, sizes, _ = self.first
        if self.tables:
            starts, sizes = (whole.unpack_from(data, at) for at, whole in self.tables)
        return SmallImage(kind, starts, sizes, transform)


def _taken_apart(data: bytes) -> tuple[SmallImage, _Header | None]:
    """Return the image of a file, and its header if it is one to be remembered."""
    tags = read_tags(lambda start, stop: data[start:stop], data)
    image, scale = image_of(tags), scale_of(tags)
    transform = transform_of(scale, tags.doubles(TIE_POINTS))
    starts, sizes = tuple(image.offsets.tolist()), tuple(image.counts.tolist())
    small = SmallImage(image, starts, sizes, transform)
    # Blocks that are not compressed are as long in every file.
    wanted = (TIE_POINTS, *(TABLES[image.tiled] if image.compression != NONE else ()))
    values = directory_values(data)
    varying = sorted((one for one in values if one.tag in wanted), key=lambda one: one.tag)
    fixed = _fixed(values, varying)
    if fixed is None or len(varying) != len(wanted):
        return small, None
    *tables, tie = varying
    if any(table.kind not in _WHOLE for table in tables):
        return small, None
    header = _Header(
        fixed=tuple((start, data[start:stop]) for start, stop in fixed),
        tie=tie.start,
        tables=tuple(
            (one.start, struct.Struct(f"<{one.count}{_WHOLE[one.kind]}")) for one in tables
        ),
        end=max(one.stop for one in varying),
        scale=scale,
        first=small,
    )
    return small, header


def _fixed(values: Sequence[Value], varying: Sequence[Value]) -> list[_Span] | None:
    """Return the bytes of a header that do not vary, or None where there are too many.

    Numbers that are something else as well are among them, and so do not vary.
    """
    if not values:  # of a BigTIFF
        return None
    number = values[0].entry - 2, values[0].entry
    kept = [(0, 8), number] + [span for one in values for span in one.spans(one not in varying)]
    small = sum(stop - start for start, stop in kept) <= _REMEMBERED_BYTES
    return list(_joined(sorted(kept))) if small else None


def _joined(spans: Sequence[_Span]) -> Iterator[_Span]:
    """Yield runs of bytes, those that touch as one."""
    start, stop = spans[0]
    for first, last in spans[1:]:
        if first > stop:
            yield start, stop
            start = first
        stop = max(stop, last)
    yield start, stop
