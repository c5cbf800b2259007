"""From the bytes of a block to its pixels; the work is imagecodecs', outside the GIL."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from landmark.cog.layouts import DEFLATE, FLOATING, HORIZONTAL, LZW, NONE, OLD_DEFLATE, BlockImage

Buffer = bytes | memoryview


class DamagedBlockError(Exception):
    """The bytes are not a block of the image they come from."""


def block_buffer(image: BlockImage) -> NDArray[np.uint8]:
    """Return memory for one decoded block, to be used for one after another."""
    return np.empty(image.block_bytes, np.uint8)


def decode_block(
    image: BlockImage, position: int, data: Buffer, buffer: NDArray[np.uint8] | None = None
) -> NDArray[Any]:
    """Return the pixels of a block, (rows, block_width, samples in the block).

    All blocks have `block_height` rows but the last strip of an image; some writers fill that one
    up as well.

    Deflate carries a checksum, so damage is found; the other codecs mostly notice damage by
    the length that comes out. Thread-safe for different buffers.

    Args:
        image: What the block belongs to.
        position: Of the block in the grid, row-major.
        data: Its bytes as stored.
        buffer: From `block_buffer`; may hold the result until the next call. None: a new one.

    Raises:
        DamagedBlockError: `data` cannot be decoded, or to another number of bytes.
    """
    rows = image.rows(position)
    least = rows * image.row_bytes
    shape = (rows, image.grid.block_width, image.block_samples)
    if image.compression == NONE:
        if len(data) < least or (len(data) > least and image.tiled):
            raise DamagedBlockError(f"{len(data)} bytes instead of {least}")
        return np.frombuffer(data, image.dtype, least // image.dtype.itemsize).reshape(shape)
    if buffer is None:
        buffer = block_buffer(image)
    try:
        size = _decompress(image.compression, data, buffer)
    except (RuntimeError, ValueError, TypeError) as error:
        raise DamagedBlockError(str(error)) from None
    if not least <= size <= buffer.size:
        raise DamagedBlockError(f"{size} bytes come out instead of {least}")
    return _summed(image, buffer[:least].view(image.dtype).reshape(shape))


def decode_small(
    image: BlockImage, starts: Sequence[int], sizes: Sequence[int], data: bytes
) -> NDArray[Any]:
    """Return the pixels of the only band of a file in memory, (height, width); a tile is padded.

    Args:
        image: The band: one block (padded where it is a tile), or strips that are compressed.
        starts: First byte of each block in `data`; 0 where it is not stored.
        sizes: Bytes of each.
        data: The file.

    Raises:
        DamagedBlockError: As `decode_block`; also where blocks are not stored or lie otherwise.
    """
    if 0 in starts or 0 in sizes or max(sizes) > image.most_bytes:
        raise DamagedBlockError("blocks that are not stored, or claim more than they can be")
    if max(map(operator.add, starts, sizes)) > len(data):
        raise DamagedBlockError("the file ends within a block")
    if len(starts) == 1:
        start, stop = starts[0], starts[0] + sizes[0]
        if image.compression == NONE and not image.tiled:  # most files: rows as they are
            shape = image.grid.height, image.grid.width
            return np.frombuffer(data, image.dtype, shape[0] * shape[1], start).reshape(shape)
        return decode_block(image, 0, memoryview(data)[start:stop])[:, :, 0]
    if image.tiled or image.grid.across > 1 or image.compression == NONE:
        raise DamagedBlockError("several blocks that are not compressed strips")
    return _decode_strips(image, starts, sizes, memoryview(data))[:, :, 0]


def _decode_strips(
    image: BlockImage, starts: Sequence[int], sizes: Sequence[int], data: memoryview
) -> NDArray[Any]:
    """Return the pixels of compressed strips, (height, width, samples)."""
    out = np.empty(image.grid.height * image.row_bytes, np.uint8)
    step, first = image.block_bytes, 0
    for start, size in zip(starts, sizes, strict=True):
        strip = out[first : first + step]
        try:
            decoded = _decompress(image.compression, data[start : start + size], strip)
        except (RuntimeError, ValueError, TypeError) as error:
            raise DamagedBlockError(str(error)) from None
        if decoded != strip.size:
            raise DamagedBlockError(f"{decoded} bytes come out instead of {strip.size}")
        first += step
    shape = (image.grid.height, image.grid.width, image.samples)
    return _summed(image, out.view(image.dtype).reshape(shape))


def _summed(image: BlockImage, pixels: NDArray[Any]) -> NDArray[Any]:
    """Return decoded rows (rows, width, samples) without the predictor; may be done in place."""
    if image.predictor == HORIZONTAL:
        # Rows are summed up by the size of the pixel, wrapping around: as unsigned numbers.
        unsigned = pixels.view(f"u{image.dtype.itemsize}")
        imagecodecs.delta_decode(unsigned, axis=1, out=unsigned)
    elif image.predictor == FLOATING:
        decoded: NDArray[Any] = imagecodecs.floatpred_decode(pixels.copy(), axis=1)
        return decoded
    return pixels


def _decompress(compression: int, data: Buffer, buffer: NDArray[np.uint8]) -> int:
    """Fill `buffer`; return how many bytes came out."""
    decode: Any = imagecodecs.zstd_decode
    if compression in (DEFLATE, OLD_DEFLATE):
        decode = imagecodecs.deflate_decode
    elif compression == LZW:
        decode = imagecodecs.lzw_decode
    return len(decode(data, out=buffer))
