"""Image frames: the planes of one patch as one compressed run of bytes, and back.

A frame is one blosc2 buffer that holds the bands' native-resolution planes one after another, in
band order. What lies in it is not in the frame: the file's schema metadata says it
(`landmark.schema.ImageLayout`; `landmark.profiles` names the choices). Decoding runs without the
interpreter lock, so threads of one process decode side by side.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import blosc2
import imagecodecs
import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from landmark.errors import LandmarkError
from landmark.frame_kernels import dequantise, spread
from landmark.grid import PIXELS
from landmark.schema import (
    BITSHUFFLE_LZ4,
    BITSHUFFLE_LZ4HC,
    SHUFFLE_LZ4,
    SHUFFLE_ZSTD,
    ImageLayout,
    layout_of,
)

# Threads of one process encode side by side only if blosc2 is told to release the interpreter lock.
blosc2.set_releasegil(True)

Buffer = bytes | bytearray | memoryview

#: Rows and columns of a scene classification plane: 20 m over a 1200 m patch.
SCL_SIDE = 60
#: Stored value of a quantised plane (`ImageLayout.step`) that means no data.
MISSING = -32768
_LARGEST = 32767


@dataclass(frozen=True)
class _Codec:
    kind: blosc2.Codec
    filtering: blosc2.Filter
    level: int
    block_bytes: int = 65536


# Every parameter is set: blosc2's own choices depend on the machine (threads, cache sizes), and
# equal pixels must give equal bytes everywhere. Codec, filter, level and block are
# benchmarks/size.py's. A whole patch of native Sentinel-2 planes (160,000 bytes) as one block lets
# bits of one rank from all bands stand together, and still fits the second-level cache.
_CODECS: dict[str, _Codec] = {
    BITSHUFFLE_LZ4: _Codec(blosc2.Codec.LZ4, blosc2.Filter.BITSHUFFLE, 5),
    BITSHUFFLE_LZ4HC: _Codec(blosc2.Codec.LZ4HC, blosc2.Filter.BITSHUFFLE, 1, 163840),
    SHUFFLE_LZ4: _Codec(blosc2.Codec.LZ4, blosc2.Filter.SHUFFLE, 5),
    SHUFFLE_ZSTD: _Codec(blosc2.Codec.ZSTD, blosc2.Filter.SHUFFLE, 3),
}
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
    dtype = np.dtype(layout.dtype)
    if tuple(plane.shape for plane in planes) != layout.shapes:
        raise ValueError(f"planes of {[p.shape for p in planes]} do not fit {layout.shapes}")
    if any(plane.dtype != dtype for plane in planes):
        raise ValueError(f"planes are not all {layout.dtype}")
    flat = np.concatenate([plane.ravel() for plane in planes])
    return _compress(flat if layout.step is None else _quantise(flat, layout.step), layout.codec)


def decode_packed(
    frame: Buffer, layout: ImageLayout, out: NDArray[np.generic] | None = None
) -> NDArray[np.generic]:
    """Return all values of a frame, the planes one after another: (layout.values,).

    Args:
        frame: A value of the `image` column.
        layout: What lies in it.
        out: Where to put them: C-contiguous, of the layout's dtype. None: a new array.

    Raises:
        LandmarkError: The frame is damaged or holds something else than `layout` says.
        ValueError: `out` is not such an array.
    """
    if out is None:
        out = np.empty(layout.values, dtype=layout.dtype)
    elif out.shape != (layout.values,) or out.dtype != layout.dtype or not out.flags.c_contiguous:
        raise ValueError(f"out must be a contiguous array of {layout.values} {layout.dtype} values")
    if layout.step is None:
        _decompress(frame, out)
    else:
        stored = np.empty(layout.values, dtype=np.int16)
        _decompress(frame, stored)
        dequantise(stored, layout.step, MISSING, out)
    return out


def decode_planes(frame: Buffer, layout: ImageLayout) -> list[NDArray[np.generic]]:
    """Return the native-resolution planes of a frame, in band order.

    The arrays are views of one buffer, of the layout's dtype and shapes.

    Raises:
        LandmarkError: The frame is damaged or holds something else than `layout` says.
    """
    flat = decode_packed(frame, layout)
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
    scratch: NDArray[np.generic] | None = None,
) -> NDArray[np.generic]:
    """Return a patch as one array (bands, 120, 120); coarse bands are nearest-replicated.

    Args:
        frame: A value of the `image` column.
        metadata: The layout, or the Arrow schema (or its metadata) of the file it comes from.
        out: Where to put the pixels: (bands, 120, 120), C-contiguous, of any dtype the stored one
            casts to safely (uint16 -> float32). None: a new array of the stored dtype.
        scratch: Working space of `decode_packed`'s kind, for callers that decode many in a row:
            fresh memory costs a quarter of a patch. None: a new array.

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
    if out.dtype == layout.dtype and layout.values == out.size:
        decode_packed(frame, layout, out.reshape(-1))
    else:
        spread(decode_packed(frame, layout, scratch), layout.sides, out)
    return out


def transcode(frame: Buffer, source: ImageLayout, target: ImageLayout) -> bytes:
    """Return the frame of the same planes under another codec or quantisation.

    Args:
        frame: Laid out as `source` says.
        source: Layout of the frame.
        target: The layout wanted; it may differ from `source` in `codec` and `step` only.

    Raises:
        LandmarkError: The frame is damaged.
        ValueError: The layouts hold different planes.
    """
    if source.content != target.content:
        raise ValueError("layouts of different planes: only codec and step may differ")
    if source == target:
        return bytes(frame)
    return encode_image(decode_planes(frame, source), target)


def replicate(plane: NDArray[np.generic], out: NDArray[np.generic]) -> None:
    """Fill `out` (C-contiguous) with `plane`, each pixel repeated to the whole factor of sizes."""
    rows, columns = plane.shape
    tall, wide = out.shape[0] // rows, out.shape[1] // columns
    lanes = out.reshape(rows, tall, columns, wide)
    # Copies of whole planes and rows: one assignment by broadcasting takes five times as long for
    # factor 2, because its inner loop is only that long.
    for lane in range(wide):
        lanes[:, 0, :, lane] = plane
    lanes[:, 1:] = lanes[:, :1]


def encode_scl(scl: NDArray[np.uint8]) -> bytes:
    """Return the frame of a scene classification plane, (60, 60) uint8."""
    if scl.shape != (SCL_SIDE, SCL_SIDE) or scl.dtype != np.uint8:
        raise ValueError(f"scl must be (60, 60) uint8, not {scl.shape} {scl.dtype}")
    return _compress(scl.ravel(), BITSHUFFLE_LZ4)


def decode_scl(frame: Buffer) -> NDArray[np.uint8]:
    """Return the scene classification (60, 60) uint8 of a frame of the `scl` column.

    Raises:
        LandmarkError: The frame is damaged.
    """
    scl = np.empty((SCL_SIDE, SCL_SIDE), dtype=np.uint8)
    _decompress(frame, scl)
    return scl


def frame_xxh3(frame: Buffer) -> int:
    """Return the checksum of a frame, xxh3-64: the `image_xxh3` column."""
    return xxhash.xxh3_64_intdigest(frame)


def _layout(metadata: ImageLayout | pa.Schema | Mapping[bytes, bytes]) -> ImageLayout:
    if isinstance(metadata, ImageLayout):
        return metadata
    if isinstance(metadata, pa.Schema):
        metadata = metadata.metadata or {}
    return layout_of(dict(metadata))


def _compress(flat: NDArray[np.generic], codec: str) -> bytes:
    frame: bytes = blosc2.compress2(flat, cparams=_parameters(codec, flat.dtype.itemsize))
    return frame


@functools.cache
def _parameters(codec: str, typesize: int) -> dict[str, Any]:
    """Return blosc2's parameters of a codec (making them anew takes as long as compressing)."""
    way = _CODECS[codec]
    return asdict(
        blosc2.CParams(
            codec=way.kind,
            clevel=way.level,
            typesize=typesize,
            nthreads=1,
            blocksize=way.block_bytes,
            splitmode=blosc2.SplitMode.ALWAYS_SPLIT,
            filters=[way.filtering],
            filters_meta=[0],
        )
    )


def encode_array(values: NDArray[np.float32]) -> bytes:
    """Return a float32 array as one compressed run of bytes; its shape is the reader's to know."""
    if values.dtype != np.float32:
        raise ValueError(f"an array of {values.dtype} is not float32")
    return _compress(np.ascontiguousarray(values).ravel(), BITSHUFFLE_LZ4)


def decode_array(frame: Buffer, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the float32 array that `encode_array` wrote.

    Raises:
        LandmarkError: The bytes are damaged or hold another number of values.
    """
    flat = np.empty(int(np.prod(shape)), dtype=np.float32)
    _decompress(frame, flat)
    return flat.reshape(shape)


def _decompress(frame: Buffer, out: NDArray[np.generic]) -> None:
    # The destination must be known to be large enough, so the header is checked first. A frame
    # names its own codec and filters: any of them is decoded.
    size = memoryview(frame).nbytes
    if size < _HEADER.size or _HEADER.unpack_from(frame)[0::2] != (out.nbytes, size):
        raise LandmarkError(
            f"image frame of {size} bytes does not hold {out.size} {out.dtype} values"
        )
    try:
        # Releases the interpreter lock; blosc2's own `decompress2` holds it.
        bytes_out = out.reshape(-1).view(np.uint8)
        # Whatever holds the frame (Arrow calls its bytes signed), it is read as unsigned bytes.
        data = np.frombuffer(frame, dtype=np.uint8)
        imagecodecs.blosc2_decode(data, numthreads=1, out=bytes_out)  # type: ignore[arg-type]
    except (ValueError, RuntimeError):
        raise LandmarkError(f"image frame of {size} bytes is damaged") from None


def _quantise(flat: NDArray[np.generic], step: float) -> NDArray[np.int16]:
    """Return the nearest multiples of `step`, NaN as `MISSING`, values beyond int16 clipped."""
    steps = np.clip(np.round(flat.astype(np.float64) / step), -_LARGEST, _LARGEST)
    steps[np.isnan(steps)] = MISSING
    return steps.astype(np.int16)
