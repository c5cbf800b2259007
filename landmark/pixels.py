"""Imagery: the only place where image files are opened.

Patches are cut grouped: neighbours are read as one window of whole 8 x 8 patches, so that each
block of a file is fetched and decoded about once, and sliced in memory. A patch is cut without
resampling where the frame lies on the band's own pixel grid, else warped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from landmark.array_images import read_array
from landmark.bands import Band, Cut, Place, Plane, SceneClasses, image_band, nodata_values
from landmark.codec import SCL_SIDE, replicate
from landmark.errors import InputError, LandmarkError
from landmark.grid import PIXELS, SIZE_M, Frame
from landmark.opening import is_remote, open_image, reading
from landmark.radiometry import valid_fraction
from landmark.scenes import Scene, SourceGrid
from landmark.schema import ImageLayout
from landmark.warping import Source, Transformers, shifted, source_window

Resolve = Callable[[str], str]

#: Patches per side of the squares that are read as one window.
BLOCK_CELLS = 8
# A window of a group is read whole unless its patches fill less than this share of it.
_SPARSE = 0.25
# How far off a file's pixel edges a frame may lie, in pixels: rounding of float64 coordinates
# (1e-9) passes, and any real shift does not.
_ON_GRID = 1e-4
#: Longest side of the overview that dark pixels are judged on.
_OVERVIEW_PIXELS = 512
_DARK_PERCENT = 1.0
#: Attempts to read a window of a remote file; GDAL itself does not retry a broken transfer.
_REMOTE_ATTEMPTS = 3
_PAUSE_S = 0.5


@dataclass(frozen=True)
class PatchPixels:
    """The pixels of one patch after the radiometry, ready to be encoded.

    Attributes:
        planes: One array per band of the layout at its native size: uint16 reflectance x 10000
            (0 = nodata) or float32 dB (NaN = nodata).
        scl: Scene classification (60, 60) uint8, or None where the scene has none.
        valid_fraction: Share of the 120 x 120 pixels that are valid in all bands.
        clipped_fraction: Share of the valid values that removing the offset clipped; None for
            Sentinel-1.
        resampling: `none`, or `bilinear` if any band was warped.
        original: An archive's own array where the planes cannot give it back, encoded.
    """

    planes: tuple[Plane, ...]
    scl: NDArray[np.uint8] | None
    valid_fraction: float
    clipped_fraction: float | None
    resampling: str
    original: bytes | None = None


def read_header(path: str, grid: SourceGrid | None = None) -> SourceGrid:
    """Return the pixel grid of a file as its header states it.

    Args:
        path: File or URL.
        grid: Where an array of an HDF5 file lies, which has no such header.

    Raises:
        InputError: A local file is missing, unreadable, or has no EPSG-coded CRS.
        LandmarkError: A URL cannot be read.
    """
    with open_image(path, grid) as source:
        epsg = source.crs.to_epsg() if source.crs is not None else None
        if epsg is None:
            raise InputError(
                f"{path}: states no CRS with an EPSG code (ground control points alone are not "
                "enough: use a terrain-corrected product)"
            )
        a, b, c, d, e, f = source.transform[:6]
        return SourceGrid(epsg, (a, b, c, d, e, f), source.width, source.height)


def read_tags(path: str) -> dict[str, str]:
    """Return the metadata tags of a file.

    Raises:
        InputError: A local file is missing or unreadable.
    """
    with open_image(path) as source:
        tags: dict[str, str] = source.tags()
        return tags


def low_percentiles(scene: Scene, resolve: Resolve) -> dict[str, float]:
    """Return the 1st percentile of the valid stored DN of each band: `offset_evidence`'s input.

    Read from the overview whose longest side is at most 512 px; a band without any valid pixel
    is left out.

    Args:
        scene: A Sentinel-2 scene.
        resolve: href -> path or URL to open.

    Raises:
        LandmarkError: A file cannot be read (InputError for a local one).
    """
    found = {}
    for asset in scene.bands:
        path = resolve(asset.href)
        with open_image(path, scene.grid) as source:
            shrink = max(1.0, max(source.shape) / _OVERVIEW_PIXELS)
            shape = tuple(max(1, math.ceil(size / shrink)) for size in source.shape)
            with reading(path):
                values = source.read(asset.index, out_shape=shape)
            valid = _masked(values, source.nodata, scene.nodata)
        if valid.size:
            found[asset.band] = float(np.percentile(valid, _DARK_PERCENT))
    return found


def read_patches(
    scene: Scene, frames: Sequence[Frame], resolve: Resolve, layout: ImageLayout
) -> list[PatchPixels | str]:
    """Return the pixels of several frames of one scene, in the order of `frames`.

    Memory: one window of at most 9 x 9 patches beside the results. Thread-safe.

    Args:
        scene: What the files hold (unit, offset, nodata).
        frames: Where to cut; neighbours next to each other read fastest.
        resolve: href -> path or URL to open.
        layout: Bands wanted and their native sizes.

    Returns:
        Per frame its pixels, or the one-line cause why this frame could not be read.

    Raises:
        LandmarkError: A file cannot be opened or is not what the scene says: no frame can be
            made (InputError for a local file).
    """
    if scene.form == "array":
        return [_whole_array(scene, resolve, layout) for _ in frames]
    assets = {asset.band: asset for asset in scene.bands}
    missing = [band for band in layout.bands if band not in assets]
    if missing:
        raise LandmarkError(f"{scene.item}: has no file for {', '.join(missing)}")
    causes: dict[int, str] = {}
    cuts = []
    for name, (side, _) in zip(layout.bands, layout.shapes, strict=True):
        band = image_band(scene, assets[name], side, resolve(assets[name].href))
        cuts.append(_read_band(band, frames, causes))
    scl: list[Cut | None] = [None] * len(frames)
    if scene.scl is not None:
        scl = _read_band(
            SceneClasses(scene, scene.scl, SCL_SIDE, resolve(scene.scl.href)), frames, causes
        )
    return [
        causes[index]
        if index in causes
        else _assemble([cut for band in cuts if (cut := band[index])], scl[index], layout)
        for index in range(len(frames))
    ]


def _read_band(band: Band, frames: Sequence[Frame], causes: dict[int, str]) -> list[Cut | None]:
    """Return one band of all frames; one that cannot be read gets a cause instead."""
    cuts: list[Cut | None] = [None] * len(frames)
    wanted = [index for index in range(len(frames)) if index not in causes]
    attempts = _REMOTE_ATTEMPTS if is_remote(band.path) else 1
    failed: dict[int, str] = {}
    for attempt in range(attempts):
        if attempt:
            time.sleep(_PAUSE_S * 2 ** (attempt - 1))
        failed = {}
        with open_image(band.path, band.scene.grid) as source:
            _check(band, source)
            for indices, read in _jobs(band, source, frames, wanted):
                try:
                    for index, cut in read():
                        cuts[index] = cut
                except LandmarkError as error:
                    failed.update(dict.fromkeys(indices, str(error)))
        wanted = sorted(failed)
        if not failed:
            break
    causes.update(failed)
    return cuts


def _check(band: Band, source: Any) -> None:
    """Refuse a file that cannot be the band it is listed as."""
    if band.asset.index > source.count:
        raise InputError(
            f"{band.path}: holds {source.count} bands, none of index {band.asset.index}"
        )
    dtype = _dtype(band, source)
    if not band.accepts(dtype):
        raise InputError(
            f"{band.path}: holds {dtype.name} values, which cannot be {band.asset.band} of "
            f"{band.scene.sensor} in {band.scene.unit}"
        )
    if source.crs is None:
        raise InputError(f"{band.path}: states no CRS; use a terrain-corrected product")


def _jobs(
    band: Band, source: Any, frames: Sequence[Frame], wanted: Sequence[int]
) -> Iterator[tuple[list[int], Callable[[], Iterator[tuple[int, Cut]]]]]:
    """Yield (frame indices, function that reads them): one window of neighbours each."""
    transformers = Transformers()
    epsg = source.crs.to_epsg()
    transform = source.transform[:6]
    cell = BLOCK_CELLS * band.side
    groups: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
    for index in wanted:
        corner = _corner(frames[index], band.side, epsg, transform)
        if corner is None:
            frame = frames[index]
            yield [index], partial(_warp_frame, band, source, index, frame, transformers)
        else:
            row, column = corner
            groups.setdefault((row // cell, column // cell), []).append((index, row, column))
    for members in groups.values():
        yield [member[0] for member in members], partial(_cut_group, band, source, members)


def _cut_group(
    band: Band, source: Any, members: list[tuple[int, int, int]]
) -> Iterator[tuple[int, Cut]]:
    """Yield (frame index, cut) of neighbours, from one window unless it is sparse."""
    side = band.side
    top = min(row for _, row, _ in members)
    left = min(column for _, _, column in members)
    height = max(row for _, row, _ in members) + side - top
    width = max(column for _, _, column in members) + side - left
    if len(members) * side * side < _SPARSE * height * width:
        for index, row, column in members:
            stored = _read_padded(band, source, row, column, side, side)
            yield index, band.cut(stored, source.nodata)
        return
    window = _read_padded(band, source, top, left, height, width)
    for index, row, column in members:
        y, x = row - top, column - left
        yield index, band.cut(window[y : y + side, x : x + side], source.nodata)


def _warp_frame(
    band: Band, source: Any, index: int, frame: Frame, transformers: Transformers
) -> Iterator[tuple[int, Cut]]:
    """Yield (frame index, cut) of one frame off the band's grid."""
    grid = Source(source.crs, source.transform, source.width, source.height)
    window = source_window(frame, band.side, grid, transformers)
    if window is None:
        outside = np.full((band.side, band.side), band.fill).astype(_dtype(band, source))
        yield index, Cut(band.cut(outside, None).plane, warped=True)
        return
    with reading(band.path):
        stored = source.read(band.asset.index, window=window)
        place = Place(
            shifted(source.transform, window.col_off, window.row_off),
            source.crs,
            frame,
        )
        cut = band.warp(stored, source.nodata, place)
    yield index, cut


def _read_padded(band: Band, source: Any, row: int, column: int, height: int, width: int) -> Plane:
    """Return a window of stored values; what lies outside the file is nodata."""
    top, left = max(0, row), max(0, column)
    bottom, right = min(source.height, row + height), min(source.width, column + width)
    if top < bottom and left < right:
        window = Window(left, top, right - left, bottom - top)
        with reading(band.path):
            inside: Plane = source.read(band.asset.index, window=window)
        if inside.shape == (height, width):
            return inside
    padded = np.full((height, width), band.fill).astype(_dtype(band, source))
    if top < bottom and left < right:
        padded[top - row : bottom - row, left - column : right - column] = inside
    return padded


def _corner(
    frame: Frame, side: int, epsg: int | None, transform: tuple[float, ...]
) -> tuple[int, int] | None:
    """Return (row, column) of a frame's upper-left pixel if it lies on a file's pixel grid."""
    size = SIZE_M / side
    a, b, c, d, e, f = transform
    if frame.epsg != epsg or b != 0 or d != 0:
        return None
    # Over the whole patch the two grids may not drift apart by more than the tolerance.
    if max(abs(a - size), abs(e + size)) * side > _ON_GRID * size:
        return None
    column, row = (frame.x_min - c) / size, (f - frame.y_max) / size
    if max(abs(column - round(column)), abs(row - round(row))) > _ON_GRID:
        return None
    return round(row), round(column)


def _assemble(cuts: Sequence[Cut], scl: Cut | None, layout: ImageLayout) -> PatchPixels:
    valid = np.ones((PIXELS, PIXELS), dtype=bool)
    wide = np.empty_like(valid)
    clipped, values = 0.0, 0
    for cut in cuts:
        good = cut.plane != 0 if layout.sensor == "s2" else ~np.isnan(cut.plane)
        count = int(np.count_nonzero(good))
        clipped += cut.clipped * count
        values += count
        if count < good.size:
            replicate(good, wide)
            valid &= wide
    return PatchPixels(
        planes=tuple(np.ascontiguousarray(cut.plane) for cut in cuts),
        scl=None if scl is None else scl.plane,
        valid_fraction=valid_fraction(valid),
        clipped_fraction=clipped / max(1, values) if layout.sensor == "s2" else None,
        resampling="bilinear" if any(cut.warped for cut in cuts) else "none",
    )


def _whole_array(scene: Scene, resolve: Resolve, layout: ImageLayout) -> PatchPixels:
    """Return the one patch of an array image."""
    array = read_array(scene, resolve(scene.bands[0].href), layout)
    cuts = [Cut(plane, warped=False, clipped=array.clipped) for plane in array.planes]
    pixels = _assemble(cuts, None, layout)
    return replace(
        pixels,
        original=array.original,
        resampling="average" if array.averaged else pixels.resampling,
    )


def _masked(values: Plane, *nodata: float | None) -> Plane:
    """Return the valid DN of an array, flat: neither 0 nor a nodata value."""
    valid = values != 0
    for value in nodata_values(*nodata):
        valid &= values != value
    return values[valid]


def _dtype(band: Band, source: Any) -> np.dtype:
    return np.dtype(source.dtypes[band.asset.index - 1])
