"""Which TIFF layouts the block reader reads, stated as assertions on the header.

What is not asserted here is read by GDAL instead: the question is never "would this probably
work", but "is this exactly the case that is tested equal to GDAL".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from landmark.cog.blocks import BlockGrid
from landmark.cog.headers import LayoutError, Tags

# Tag numbers: TIFF 6.0, GeoTIFF 1.1 (OGC 19-008), GDAL's own 42112 and 42113.
_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_FILL_ORDER, _SAMPLES, _STRIP_HEIGHT, _PLANAR, _PREDICTOR = 266, 277, 278, 284, 317
_TILE_WIDTH, _TILE_HEIGHT, _FORMAT = 322, 323, 339
#: Tags of where blocks begin and of how many bytes they are, of strips and of tiles.
TABLES = {False: (273, 279), True: (324, 325)}
_SCALE, TIE_POINTS, _TRANSFORMATION = 33550, 33922, 34264
_GEO_KEYS, _GEO_TEXT, _NODATA = 34735, 34737, 42113

# GeoKeys (OGC 19-008, annex B).
_MODEL_TYPE, _RASTER_TYPE, _VERTICAL, _PIXEL_IS_AREA, _USER_DEFINED = 1024, 1025, 4096, 1, 32767
#: Model type -> keys of the code of its CRS and of its units, and the unit: metre or degree.
_MODELS = {1: (3072, 3076, 9001), 2: (2048, 2054, 9102)}

#: TIFF compression codes: none, LZW, deflate (and its old code), Zstandard.
NONE, LZW, DEFLATE, OLD_DEFLATE, ZSTD = 1, 5, 8, 32946, 50000
_COMPRESSIONS = (NONE, LZW, DEFLATE, OLD_DEFLATE, ZSTD)
#: TIFF predictors: none, horizontal differences, floating point.
PLAIN, HORIZONTAL, FLOATING = 1, 2, 3
#: A block may not take more memory than this; GDAL reads parts of larger ones as well as any.
_MAX_BLOCK_BYTES = 64 << 20
#: Strips beyond this are GDAL's: of an uncompressed one it reads only the rows that are wanted.
_MAX_STRIP_BYTES = 4 << 20
#: Uncompressed strips one after the other are read as one where an image is no larger than this.
_JOINED_BYTES = 1 << 18
#: Rows of a strip, where the image is one strip (TIFF 6.0, section 8).
_ALL_ROWS = 2**32 - 1
_MAX_SAMPLES = 64
#: Metres or degrees of a pixel: far beyond any image on either side.
_LEAST_SIZE, _MOST_SIZE = 1e-9, 1e9
# Compression makes random bytes a little longer.
_MOST, _SLACK = 2, 4096
_KINDS = {1: "u", 2: "i", 3: "f"}

#: Affine (a, b, c, d, e, f); size of a pixel, across and up.
Transform = tuple[float, float, float, float, float, float]
Scale = tuple[float, float]


@dataclass(frozen=True, eq=False)
class BlockImage:
    """A TIFF image of tiles or strips: where its blocks lie and what they hold.

    Attributes:
        grid: Its size and the size of its blocks.
        tiled: Whether blocks are tiles, padded at the edges; else the last strip ends with the
            image.
        dtype: Of the pixels.
        samples: Bands.
        planar: Whether each band has blocks of its own (else a block holds all bands).
        compression: TIFF code, one of the module's constants.
        predictor: TIFF code, one of the module's constants.
        nodata: Value the file states, or None. Fills blocks that are not stored.
        epsg: Code of the CRS.
        offsets: First byte of each block; 0 where it is not stored.
        counts: Bytes of each block; 0 where it is not stored.
    """

    grid: BlockGrid
    tiled: bool
    dtype: np.dtype
    samples: int
    planar: bool
    compression: int
    predictor: int
    nodata: float | None
    epsg: int
    offsets: NDArray[np.uint64]
    counts: NDArray[np.uint64]

    @property
    def block_samples(self) -> int:
        """Bands in one block."""
        return 1 if self.planar else self.samples

    @cached_property
    def row_bytes(self) -> int:
        """Bytes of a row of a decoded block."""
        return self.grid.block_width * self.block_samples * self.dtype.itemsize

    @cached_property
    def block_bytes(self) -> int:
        """Bytes of a whole decoded block."""
        return self.row_bytes * self.grid.block_height

    @cached_property
    def most_bytes(self) -> int:
        """Bytes a block may take in the file; one that claims more is not a block."""
        return _MOST * self.block_bytes + _SLACK

    def rows(self, position: int) -> int:
        """Return how many rows a block stores, by its row-major position in the grid."""
        if self.tiled:
            return self.grid.block_height
        above = position // self.grid.across * self.grid.block_height
        return min(self.grid.block_height, self.grid.height - above)

    @property
    def sparse_value(self) -> float:
        """Value of the pixels of a block that is not stored: nodata, else 0, as in GDAL."""
        return 0.0 if self.nodata is None else self.nodata


def image_of(tags: Tags) -> BlockImage:
    """Return an image by its tags.

    Raises:
        LayoutError: The file is not of a layout read here; the reason.
        IndexError, ValueError, OverflowError: The tags are damaged.
    """
    if tags.number(_SUBFILE, 0) != 0:
        raise LayoutError("the first image is an overview or a mask")
    if tags.number(_PHOTOMETRIC) not in (1, 2):
        raise LayoutError("colours that GDAL interprets")
    if tags.number(_FILL_ORDER, 1) != 1:
        raise LayoutError("bits in reverse order")
    samples = tags.number(_SAMPLES, 1)
    planar = tags.number(_PLANAR, 1)
    if not 1 <= samples <= _MAX_SAMPLES or planar not in (1, 2):
        raise LayoutError(f"{samples} bands, planar configuration {planar}")
    dtype = _dtype(tags)
    compression, predictor = tags.number(_COMPRESSION, NONE), tags.number(_PREDICTOR, PLAIN)
    if compression not in _COMPRESSIONS:
        raise LayoutError(f"compression {compression}")
    if compression == NONE:
        predictor = PLAIN  # libtiff knows predictors only of its compressors
    if (predictor, dtype.kind) not in _PREDICTORS:
        raise LayoutError(f"predictor {predictor} of {dtype}")
    tiled = _TILE_WIDTH in tags.values
    if not tiled and compression != NONE and _rows_beyond(tags):
        raise LayoutError("a compressed strip that may be filled up beyond the image")
    offsets, counts = TABLES[tiled]
    image = BlockImage(
        grid=_grid(tags, tiled=tiled),
        tiled=tiled,
        dtype=dtype,
        samples=samples,
        planar=planar == 2 and samples > 1,
        compression=compression,
        predictor=predictor,
        nodata=_nodata(tags, dtype),
        epsg=_epsg(tags),
        offsets=_whole(tags.numbers(offsets)),
        counts=_whole(tags.numbers(counts)),
    )
    if image.block_bytes > (_MAX_BLOCK_BYTES if tiled else _MAX_STRIP_BYTES):
        raise LayoutError(f"blocks of {image.block_bytes} bytes")
    blocks = image.grid.across * image.grid.down * (samples if image.planar else 1)
    if not image.offsets.size == image.counts.size == blocks:
        raise LayoutError(f"{image.offsets.size} offsets of {blocks} blocks")
    return image if tiled else _with_strips(image)


def _grid(tags: Tags, *, tiled: bool) -> BlockGrid:
    width, height = tags.number(_WIDTH), tags.number(_HEIGHT)
    if tiled:
        block_width, block_height = tags.number(_TILE_WIDTH), tags.number(_TILE_HEIGHT)
    else:
        # Absent, or "all rows": the image is one strip (TIFF 6.0, section 8).
        block_width, block_height = width, min(height, tags.number(_STRIP_HEIGHT, height))
    if min(width, height, block_width, block_height) < 1:
        raise LayoutError("an image without pixels")
    return BlockGrid(width, height, block_width, block_height)


def _rows_beyond(tags: Tags) -> bool:
    """Return whether strips are said to have more rows than the image, but not "all"."""
    return tags.number(_HEIGHT) < tags.number(_STRIP_HEIGHT, _ALL_ROWS) < _ALL_ROWS


def _with_strips(image: BlockImage) -> BlockImage:
    """Return an image of strips, as few as possible: a small image stored as it is has but one.

    Raises:
        LayoutError: Its byte counts are such as GDAL mends: old writers got those of strips wrong.
    """
    offsets, counts = image.offsets.tolist(), image.counts.tolist()
    if any((start == 0) != (count == 0) for start, count in zip(offsets, counts, strict=True)):
        raise LayoutError("strips without a byte count")
    if image.compression != NONE:
        return image
    down = image.grid.down
    least = [image.block_bytes] * (down - 1) + [image.rows(down - 1) * image.row_bytes]
    least *= len(counts) // down
    if any(0 < count < wanted for count, wanted in zip(counts, least, strict=True)):
        raise LayoutError("uncompressed strips of too few bytes")
    # Counts of padded strips may go on beyond the end of the file: only the rows there are count.
    sizes = np.where(image.counts > 0, np.array(least, np.uint64), np.uint64(0))
    image = replace(image, counts=sizes)
    ends = [start + wanted for start, wanted in zip(offsets, least, strict=True)]
    whole = sum(least)
    if len(counts) != down or whole > _JOINED_BYTES or 0 in offsets or ends[:-1] != offsets[1:]:
        return image
    grid = replace(image.grid, block_height=image.grid.height)
    joined = np.array([whole], np.uint64)
    return replace(image, grid=grid, offsets=image.offsets[:1], counts=joined)


_PREDICTORS = {
    (PLAIN, "u"), (PLAIN, "i"), (PLAIN, "f"), (HORIZONTAL, "u"), (HORIZONTAL, "i"), (FLOATING, "f"),
}  # fmt: skip


def _whole(values: NDArray[np.generic] | None) -> NDArray[np.uint64]:
    if values is None or values.dtype.kind != "u":
        raise LayoutError("no table of blocks")
    return values.astype(np.uint64)


def _dtype(tags: Tags) -> np.dtype:
    bits, kind = tags.number(_BITS, 1), tags.number(_FORMAT, 1)
    if kind not in _KINDS or bits not in (8, 16, 32, 64) or (kind == 3 and bits < 32):
        raise LayoutError(f"pixels of {bits} bits in sample format {kind}")
    return np.dtype(f"<{_KINDS[kind]}{bits // 8}").newbyteorder("=")


def _nodata(tags: Tags, dtype: np.dtype) -> float | None:
    text = tags.text(_NODATA)
    if text is None:
        return None
    value = float(text.strip())
    if dtype.kind == "f":
        if not math.isnan(value) and float(dtype.type(value)) != value:
            raise LayoutError(f"nodata {text.strip()} is not exact in {dtype}")
        return value
    # 64-bit integers have nodata values that a float cannot tell apart.
    limits = np.iinfo(dtype)
    if dtype.itemsize == 8 or not limits.min <= value <= limits.max or value != int(value):
        raise LayoutError(f"nodata {text.strip()} is no value of {dtype}")
    return value


def scale_of(tags: Tags) -> Scale:
    """Return the size of a pixel.

    Raises:
        LayoutError: The image lies on the ground in another way.
    """
    if _TRANSFORMATION in tags.values:
        raise LayoutError("a transformation matrix")
    scale = tags.doubles(_SCALE)
    if len(scale) < 2 or not all(_LEAST_SIZE < size < _MOST_SIZE for size in scale[:2]):
        raise LayoutError("a pixel size that is none")
    return scale[0], scale[1]


def transform_of(scale: Scale, ties: tuple[float, ...]) -> Transform:
    """Return where an image lies, by its pixel size and its tie point.

    Raises:
        LayoutError: It has not one point that ties it, or a useless one.
    """
    if len(ties) != 6 or not all(map(math.isfinite, ties)):
        raise LayoutError("no single tie point")
    (across, up), (column, row, _, x, y, _) = scale, ties
    return (across, 0.0, x - column * across, 0.0, -up, y + row * up)


def _epsg(tags: Tags) -> int:
    directory = tags.numbers(_GEO_KEYS)
    if directory is None or directory.dtype != np.uint16 or directory.size < 4:
        raise LayoutError("no GeoKeys")
    if "ESRI PE String" in (tags.text(_GEO_TEXT) or ""):
        raise LayoutError("a CRS given as text")
    keys = {
        key: value
        for key, location, count, value in directory[4:].reshape(-1, 4).tolist()
        if location == 0 and count == 1
    }
    model = _MODELS.get(keys.get(_MODEL_TYPE, 0))
    if model is None or keys.get(_RASTER_TYPE, 1) != _PIXEL_IS_AREA:
        raise LayoutError("a CRS that is neither projected nor geographic, or points for pixels")
    code, units, unit = model
    if _VERTICAL in keys or keys.get(units, unit) != unit:
        raise LayoutError("a vertical CRS, or units other than metres and degrees")
    epsg = keys.get(code, _USER_DEFINED)
    if not 1024 <= epsg < _USER_DEFINED:
        raise LayoutError("a CRS without an EPSG code")
    return int(epsg)
