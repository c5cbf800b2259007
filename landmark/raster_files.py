"""Label raster files: headers, windows, and the codes in them. Used through `landmark.rasters`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from landmark.errors import InputError
from landmark.grid import PIXELS, Frame
from landmark.projections import is_geographic, same_crs, transformer
from landmark.raster_opening import OpenRasters, opened_raster
from landmark.signing import NO_ACCESS, Access

#: Rasters kept open at a time: well under the usual limit of 1024 file descriptors.
_OPEN_FILES = 64
#: Codes of one raster may lie this far apart; a raster beyond that is no map of classes.
_CODE_RANGE = 1 << 16
NOTHING = np.iinfo(np.int32).min


@dataclass(frozen=True)
class RasterHeader:
    """What a raster's header states.

    Attributes:
        path: The file.
        crs: CRS as WKT.
        transform: Affine (a, b, c, d, e, f): pixel to CRS; may be flipped or rotated.
        width: Columns.
        height: Rows.
        nodata: Declared nodata value, or None.
        masked: Whether the file carries a mask band.
    """

    path: str
    crs: str
    transform: tuple[float, float, float, float, float, float]
    width: int
    height: int
    nodata: float | None
    masked: bool


def read_header(path: str | Path, bands: int = 1, access: Access = NO_ACCESS) -> RasterHeader:
    """Return the header of a raster: of one band, or of at least `bands`.

    Args:
        path: A file, or an unsigned URL.
        bands: Bands needed.
        access: How a URL is signed.

    Raises:
        InputError: The file is missing, no raster, has several bands, or no CRS.
    """
    with opened_raster(str(path), access) as dataset:
        return _header_of(dataset, str(path), bands)


def sample_codes(path: str | Path, side: int = 1024) -> NDArray[np.int32]:
    """Return codes of a raster from at most `side` x `side` pixels spread over it, ascending.

    For checks before the work; rare codes may be missed. Declared nodata is left out.
    """
    from rasterio.enums import Resampling

    with opened_raster(str(path)) as dataset:
        header = _header_of(dataset, str(path))
        shape = (min(side, dataset.height), min(side, dataset.width))
        block = _whole_numbers(
            dataset.read(1, out_shape=shape, resampling=Resampling.nearest), header
        )
    codes = np.unique(block)
    return codes[codes != _nodata_code(header)].astype(np.int32)


def lonlat_box(path: str | Path) -> tuple[float, float, float, float]:
    """Return west, south, east, north of a raster in degrees, a little too large.

    Raises:
        InputError: As `read_header`.
    """
    import math

    import rasterio.warp

    with opened_raster(str(path)) as dataset:
        box = rasterio.warp.transform_bounds(dataset.crs, "OGC:CRS84", *dataset.bounds)
    west, south, east, north = box
    if not all(map(math.isfinite, box)) or west > east:
        return (-180.0, -90.0, 180.0, 90.0)
    return (west - 0.1, south - 0.1, east + 0.1, north + 0.1)


class RasterLibrary:
    """The rasters of one call: headers once, at most `_OPEN_FILES` open."""

    def __init__(
        self, paths: Sequence[str | Path], bands: int = 1, access: Access = NO_ACCESS
    ) -> None:
        self.headers = [read_header(path, bands, access) for path in paths]
        self._rasters = OpenRasters(access, _OPEN_FILES)
        self._relations: dict[tuple[int, str], tuple[bool, bool]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._rasters.close()

    def warp(self, header: RasterHeader, frame: Frame) -> NDArray[np.int32]:
        """Return the codes `rasterio.warp.reproject` (nearest) puts on a frame, (120, 120).

        `NOTHING` lies outside the raster, on declared nodata and where the mask band says so.
        """
        codes = self._rasters.ask(header.path, lambda dataset: _warped(dataset, header, frame))
        return _whole_numbers(codes, header).astype(np.int32)

    def read(self, header: RasterHeader, window: tuple[int, int, int, int]) -> NDArray[Any]:
        """Return the codes of a window (column, row, width, height); mask band applied."""
        from rasterio.windows import Window

        def ask(dataset: Any) -> NDArray[Any]:
            values = dataset.read(1, window=Window(*window))
            block = _whole_numbers(values, header)
            if header.masked:
                mapped = dataset.read_masks(1, window=Window(*window)) != 0
                block = np.where(mapped, block.astype(np.int32), NOTHING)
            return block

        return self._rasters.ask(header.path, ask)

    def read_bands(
        self, header: RasterHeader, window: tuple[int, int, int, int], bands: int
    ) -> NDArray[np.float32]:
        """Return the first bands of a window, (bands, rows, columns), NaN where masked."""
        from rasterio.windows import Window

        def ask(dataset: Any) -> NDArray[np.float32]:
            numbers = list(range(1, bands + 1))
            planes: NDArray[np.float32] = dataset.read(numbers, window=Window(*window)).astype(
                np.float32
            )
            if header.masked:
                planes[:, dataset.read_masks(1, window=Window(*window)) == 0] = np.nan
            return planes

        planes = self._rasters.ask(header.path, ask)
        if header.nodata is not None and header.nodata != 0:
            planes[planes == np.float32(header.nodata)] = np.nan
        return planes

    def project(self, header: RasterHeader, epsg: int, x: Any, y: Any) -> NDArray[np.float64]:
        """Return (..., 2): column and row in the raster of points of a frame's CRS."""
        key = (epsg, header.crs)
        if key not in self._relations:
            self._relations[key] = (same_crs(epsg, header.crs), is_geographic(header.crs))
        same, geographic = self._relations[key]
        if not same:
            x, y = transformer(epsg, header.crs).transform(x, y)
        if geographic:
            # Points on both sides of the 180th meridian: count on eastwards from 180.
            with np.errstate(invalid="ignore"):
                span = x.max(axis=(1, 2), keepdims=True) - x.min(axis=(1, 2), keepdims=True)
            x = np.where((span > 180) & (x < 0), x + 360.0, x)
        inverse = _inverse(header.transform)
        return np.stack(
            [
                inverse[2] + x * inverse[0] + y * inverse[1],
                inverse[5] + x * inverse[3] + y * inverse[4],
            ],
            axis=-1,
        )

    def turns(self, header: RasterHeader, epsg: int) -> tuple[tuple[float, float], ...]:
        """Return the shifts (columns, rows) at which a raster may hold a point of a frame's CRS.

        A raster in degrees is the same ground 360 degrees further on, so that a frame on the 180th
        meridian finds the tiles of both sides, and rasters counted from 0 to 360 fit as well.
        """
        if not self._relations[(epsg, header.crs)][1]:
            return ((0.0, 0.0),)
        inverse = _inverse(header.transform)
        step = (360.0 * inverse[0], 360.0 * inverse[3])
        return ((0.0, 0.0), step, (-step[0], -step[1]))


def lookup_codes(
    block: NDArray[Any], header: RasterHeader, nodata: set[int], valid: Collection[int] | None
) -> tuple[NDArray[Any], int, list[int], NDArray[np.int32]]:
    """Return the block, its lowest value, the codes that cover, and value - lowest -> code."""
    from landmark.raster_kernels import seen_codes

    skipped = nodata | {NOTHING, _nodata_code(header)}
    low, high = int(block.min()), int(block.max())
    if high - low >= _CODE_RANGE:
        block, low, high = _near_values(block, header, [s for s in skipped if s is not None])
        skipped.add(low)
    seen = np.zeros(high - low + 1, np.bool_)
    seen_codes(block, low, seen)
    present = [int(value) + low for value in np.flatnonzero(seen)]
    codes = [c for c in present if c not in skipped and (valid is None or c in valid)]
    lookup = np.full(seen.size, -1, np.int32)
    lookup[[code - low for code in codes]] = np.arange(len(codes))
    return block, low, codes, lookup


def _near_values(
    block: NDArray[Any], header: RasterHeader, skipped: list[int]
) -> tuple[NDArray[Any], int, int]:
    """Move far-away nodata (-2147483648 beside small codes) to the value below the codes.

    Returns the block, that value, and the highest code.
    """
    nothing = np.isin(block, skipped)
    kept = block[~nothing]
    if kept.size == 0:
        return np.zeros(block.shape, np.int32), 0, 0
    low, high = int(kept.min()), int(kept.max())
    if high - low >= _CODE_RANGE:
        raise InputError(f"{header.path}: holds values {low} to {high}; a map of classes is needed")
    return np.where(nothing, low - 1, block).astype(np.int32), low - 1, high


def _warped(dataset: Any, header: RasterHeader, frame: Frame) -> NDArray[Any]:
    """Return codes as they lie on a frame, (120, 120), of the raster's kind of number."""
    import rasterio
    from rasterio.transform import Affine
    from rasterio.warp import Resampling, reproject

    target = {
        "dst_transform": Affine(*frame.transform()),
        "dst_crs": f"EPSG:{frame.epsg}",
        "resampling": Resampling.nearest,
        "tolerance": 0,
    }
    exact = dataset.dtypes[0] in ("float32", "float64", "int64", "uint64", "uint32")
    codes = np.full((PIXELS, PIXELS), NOTHING, np.float64 if exact else np.int32)
    reproject(rasterio.band(dataset, 1), codes, dst_nodata=NOTHING, **target)
    if header.masked:
        mask = np.zeros((PIXELS, PIXELS), np.uint8)
        plane = dataset.read_masks(1)
        reproject(plane, mask, src_transform=dataset.transform, src_crs=dataset.crs, **target)
        codes[mask == 0] = NOTHING
    return codes


def _inverse(transform: tuple[float, ...]) -> tuple[float, float, float, float, float, float]:
    """Return the affine from CRS to pixel, by GDAL's own arithmetic (GDALInvGeoTransform).

    A point on a pixel's edge must fall on the same side here as there.
    """
    a, b, c, d, e, f = transform
    if not b and not d:
        return 1.0 / a, 0.0, -c / a, 0.0, 1.0 / e, -f / e
    k = 1.0 / (a * e - b * d)
    return e * k, -b * k, (b * f - c * e) * k, -d * k, a * k, (c * d - a * f) * k


def _whole_numbers(block: NDArray[Any], header: RasterHeader) -> NDArray[Any]:
    """Return integer codes; floats (exports cast by some tools) must hold whole numbers."""
    if block.dtype.kind in "iu" and block.dtype.itemsize <= 4 and block.dtype != np.uint32:
        return block
    if block.dtype.kind in "iuf":
        known = np.isfinite(block)
        if header.nodata is not None:
            known &= block != header.nodata
        values = np.where(known, block, 0)
        if (values == np.rint(values)).all() and np.abs(values).max(initial=0) < 2**31:
            return np.where(known, values.astype(np.int32), NOTHING)
    raise InputError(f"{header.path}: holds {block.dtype} values that are no class codes")


def _nodata_code(header: RasterHeader) -> int | None:
    nodata = header.nodata
    return int(nodata) if nodata is not None and float(nodata).is_integer() else None


def _header_of(dataset: Any, path: str, bands: int = 1) -> RasterHeader:
    from rasterio.enums import MaskFlags

    if bands == 1 and dataset.count != 1:
        raise InputError(f"{path}: holds {dataset.count} bands; a label raster has one")
    if dataset.count < bands:
        raise InputError(f"{path}: holds {dataset.count} bands, not {bands}")
    if dataset.crs is None:
        raise InputError(f"{path}: states no CRS; write one with gdal_edit -a_srs EPSG:...")
    a, b, c, d, e, f = tuple(dataset.transform)[:6]
    if a * e == b * d:
        raise InputError(f"{path}: has a grid of no area; write a transform with gdal_edit -a_ullr")
    return RasterHeader(
        path=path,
        crs=dataset.crs.to_wkt(),
        transform=(a, b, c, d, e, f),
        width=dataset.width,
        height=dataset.height,
        nodata=dataset.nodata,
        masked=MaskFlags.per_dataset in dataset.mask_flag_enums[0],
    )
