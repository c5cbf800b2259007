"""The header of an image file: what lies in its blocks, and where on the ground.

The patches of an archive are files whose headers differ in one point on the ground alone, and
taking a header apart takes longer than reading the pixels of such a file. So what a header says
is remembered by its very bytes, that point left out.
"""

from __future__ import annotations

import functools
import struct
from typing import NamedTuple

from landmark.cog.headers import FIRST_BYTES, LayoutError, Read, read_tags, stored_apart
from landmark.cog.layouts import (
    TIE_POINTS,
    BlockImage,
    Scale,
    Transform,
    image_of,
    scale_of,
    transform_of,
)

#: Headers that are remembered, and the bytes of the largest: half a megabyte at most.
_REMEMBERED, _REMEMBERED_BYTES = 64, 4096
_CLASSIC = b"II\x2a\x00"
#: A tie point: column, row, level; x, y, z (GeoTIFF 1.1, section 7.1.2).
_TIE_POINT = struct.Struct("<6d")


class PlacedImage(NamedTuple):
    """An image and its place.

    Attributes:
        blocks: How it is stored.
        transform: Affine (a, b, c, d, e, f), metres of the image's CRS.
    """

    blocks: BlockImage
    transform: Transform


def read_image(read: Read) -> PlacedImage:
    """Read the header of a file.

    Raises:
        LayoutError: The file is not of a layout read here; the reason.
    """
    return parse_image(read(0, FIRST_BYTES), read)


def parse_image(head: bytes, read: Read) -> PlacedImage:
    """Return what the header of a file says.

    Args:
        head: Its first `FIRST_BYTES`, or more, or all it has.
        read: Reads further parts of it.

    Raises:
        LayoutError: The file is not of a layout read here; the reason.
    """
    try:
        span = _tie_points(head)
        if span is None:
            tags = read_tags(read, head)
            transform = transform_of(scale_of(tags), tags.doubles(TIE_POINTS))
            return PlacedImage(image_of(tags), transform)
        start, stop, end = span
        blocks, scale = _remembered(head[:start], head[stop:end])
        return PlacedImage(blocks, transform_of(scale, _TIE_POINT.unpack(head[start:stop])))
    except (IndexError, ValueError, OverflowError) as error:
        raise LayoutError(f"header not understood: {error}") from None


def _tie_points(head: bytes) -> tuple[int, int, int] | None:
    """Return first and last byte of the only tie point and the end of all the header.

    None where the header is not one to be remembered: large, unusual or cut off.
    """
    if head[:4] != _CLASSIC:
        return None
    start = int.from_bytes(head[4:8], "little")
    length = 2 + 12 * int.from_bytes(head[start : start + 2], "little")
    directory = head[start : start + length]
    if length > _REMEMBERED_BYTES or len(directory) < length:
        return None
    span = _span(start, directory)
    return span if span is not None and span[2] <= len(head) else None


@functools.lru_cache(_REMEMBERED)
def _span(start: int, directory: bytes) -> tuple[int, int, int] | None:
    """The same, of a directory at `start`: it follows from where the directory puts its values."""
    others = [(0, 8), (start, start + len(directory))]
    ties: list[tuple[int, int]] = []
    for tag, first, size in stored_apart(directory):
        (ties if tag == TIE_POINTS else others).append((first, first + size))
    end = max(last for _, last in (*others, *ties))
    if len(ties) != 1 or end > _REMEMBERED_BYTES:
        return None
    ((first, last),) = ties
    # Bytes that are something else as well are no place alone.
    if last - first != _TIE_POINT.size or any(a < last and first < b for a, b in others):
        return None
    return first, last, end


@functools.lru_cache(_REMEMBERED)
def _remembered(before: bytes, after: bytes) -> tuple[BlockImage, Scale]:
    """Return what a header says, by its bytes before and after its tie point."""
    header = before + bytes(_TIE_POINT.size) + after
    tags = read_tags(lambda start, stop: header[start:stop], header)
    if len(tags.doubles(TIE_POINTS)) != 6:
        raise LayoutError("no single tie point")
    return image_of(tags), scale_of(tags)
