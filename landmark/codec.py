"""Image frames: the planes of one patch as one compressed run of bytes, and back.

A frame is one blosc2 buffer (bitshuffle + lz4, lossless) that holds the bands' native-resolution
planes one after another, in band order. What lies in it is not in the frame: the file's schema
metadata says it (`landmark.schema.ImageLayout`).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import blosc2
import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from landmark.errors import LandmarkError
from landmark.grid import PIXELS
from landmark.schema import ImageLayout, layout_of

Buffer = bytes | bytearray | memoryview

#: Rows and columns of a scene classification plane: 20 m over a 1200 m patch.
SCL_SIDE = 60

# Every parameter is set: blosc2's own choices depend on the machine (threads, cache sizes), and
# equal pixels must give equal bytes everywhere. On real patches of both sensors block sizes from
# 16 to 128 KiB differ by less than 1 % in size and speed.
_CLEVEL = 5
_BLOCK_BYTES = 65536
# Header of a blosc2 buffer: version, format, flags, typesize, then three little-endian u32:
# bytes before compression, block size, bytes after (C-Blosc2 README_CHUNK_FORMAT).
_HEADER = struct.Struct("<4xIII")


def encode_image(planes: Sequence[NDArray[np.generic]], layout: ImageLayout) -> bytes:
    """Return the frame of one patch; equal planes give equal bytes.

    Args:
        planes: One array per band of `layout`, each of its native shape and the layout's dtype.
        layout: What the planes are.

    Raises:
        ValueError: Number, shape or dtype of the planes is not the layout's.
    """
    if tuple(plane.shape for plane in planes) != layout.shapes:
        raise ValueError(f"planes of {[p.shape for p in planes]} do not fit {layout.shapes}")
    if any(plane.dtype != np.dtype(layout.dtype) for plane in planes):
        raise ValueError(f"planes are not all {layout.dtype}")
    return _compress(np.concatenate([plane.ravel() for plane in planes]))


def decode_planes(frame: Buffer, layout: ImageLayout) -> list[NDArray[np.generic]]:
    """Return the native-resolution planes of a frame, in band order.

    The arrays are views of one buffer, of the layout's dtype and shapes.

    Raises:
        LandmarkError: The frame is damaged or holds something else than `layout` says.
    """
    flat = _decompress(frame, layout.values, np.dtype(layout.dtype))
    planes = []
    start = 0
    for rows, columns in layout.shapes:
        planes.append(flat[start : start + rows * columns].reshape(rows, columns))
        start += rows * columns
    return planes


def decode_image(
    frame: Buffer,
    metadata: ImageLayout | pa.Schema | Mapping[bytes, bytes],
    out: NDArray[np.generic] | None = None,
) -> NDArray[np.generic]:
    """Return a patch as one array (bands, 120, 120); coarse bands are nearest-replicated.

    Args:
        frame: A value of the `image` column.
        metadata: The layout, or the Arrow schema (or its metadata) of the file it comes from.
        out: Where to put the pixels: (bands, 120, 120), C-contiguous, of any dtype the stored one
            casts to safely (uint16 -> float32). None: a new array of the stored dtype.

    Raises:
        LandmarkError: The frame or the metadata is damaged.
        ValueError: `out` has another shape or is not contiguous.
    """
    layout = _layout(metadata)
    shape = (len(layout.bands), PIXELS, PIXELS)
    if out is None:
        out = np.empty(shape, dtype=layout.dtype)
    elif out.shape != shape or not out.flags.c_contiguous:
        raise ValueError(f"out must be a C-contiguous array of shape {shape}")
    elif not np.can_cast(layout.dtype, out.dtype, "safe"):
        raise ValueError(f"out of {out.dtype} cannot hold {layout.dtype}")
    for band, plane in zip(out, decode_planes(frame, layout), strict=True):
        replicate(plane, band)
    return out


def replicate(plane: NDArray[np.generic], out: NDArray[np.generic]) -> None:
    """Fill `out` (C-contiguous) with `plane`, each pixel repeated to the whole factor of sizes."""
    rows, columns = plane.shape
    tall, wide = out.shape[0] // rows, out.shape[1] // columns
    out.reshape(rows, tall, columns, wide)[...] = plane[:, None, :, None]


def encode_scl(scl: NDArray[np.uint8]) -> bytes:
    """Return the frame of a scene classification plane, (60, 60) uint8."""
    if scl.shape != (SCL_SIDE, SCL_SIDE) or scl.dtype != np.uint8:
        raise ValueError(f"scl must be (60, 60) uint8, not {scl.shape} {scl.dtype}")
    return _compress(scl.ravel())


def decode_scl(frame: Buffer) -> NDArray[np.uint8]:
    """Return the scene classification (60, 60) uint8 of a frame of the `scl` column.

    Raises:
        LandmarkError: The frame is damaged.
    """
    flat = _decompress(frame, SCL_SIDE * SCL_SIDE, np.dtype(np.uint8))
    return flat.reshape(SCL_SIDE, SCL_SIDE).view(np.uint8)


def frame_xxh3(frame: Buffer) -> int:
    """Return the checksum of a frame, xxh3-64: the `image_xxh3` column."""
    return xxhash.xxh3_64_intdigest(frame)


def _layout(metadata: ImageLayout | pa.Schema | Mapping[bytes, bytes]) -> ImageLayout:
    if isinstance(metadata, ImageLayout):
        return metadata
    if isinstance(metadata, pa.Schema):
        metadata = metadata.metadata or {}
    return layout_of(dict(metadata))


def _compress(flat: NDArray[np.generic]) -> bytes:
    parameters = blosc2.CParams(
        codec=blosc2.Codec.LZ4,
        clevel=_CLEVEL,
        typesize=flat.dtype.itemsize,
        nthreads=1,
        blocksize=_BLOCK_BYTES,
        splitmode=blosc2.SplitMode.ALWAYS_SPLIT,
        filters=[blosc2.Filter.BITSHUFFLE],
        filters_meta=[0],
    )
    frame: bytes = blosc2.compress2(flat, cparams=parameters)
    return frame


def encode_array(values: NDArray[np.float32]) -> bytes:
    """Return a float32 array as one compressed run of bytes; its shape is the reader's to know."""
    if values.dtype != np.float32:
        raise ValueError(f"an array of {values.dtype} is not float32")
    return _compress(np.ascontiguousarray(values).ravel())


def decode_array(frame: Buffer, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the float32 array that `encode_array` wrote.

    Raises:
        LandmarkError: The bytes are damaged or hold another number of values.
    """
    flat = _decompress(frame, int(np.prod(shape)), np.dtype(np.float32))
    return flat.view(np.float32).reshape(shape)


def _decompress(frame: Buffer, values: int, dtype: np.dtype) -> NDArray[np.generic]:
    # decompress2 writes past a destination that is too small, so the header is checked first.
    nbytes = values * dtype.itemsize
    size = memoryview(frame).nbytes
    if size < _HEADER.size or _HEADER.unpack_from(frame)[0::2] != (nbytes, size):
        raise LandmarkError(f"image frame of {size} bytes does not hold {values} {dtype} values")
    flat = np.empty(values, dtype=dtype)
    try:
        blosc2.decompress2(frame, dst=flat, nthreads=1)
    except (ValueError, RuntimeError):
        raise LandmarkError(f"image frame of {size} bytes is damaged") from None
    return flat
