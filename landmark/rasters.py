"""Categorical rasters on patch frames: which codes lie on a frame, and on how many pixels.

Codes are not given a meaning here. A pixel of a frame takes the raster pixel its centre falls
in (nearest neighbour, the only resampling that makes sense for codes). Pixels outside every
raster, and nodata pixels, are not covered: they are never counted as a code.

Frames are taken together by blocks of 12 x 12 km: one window is read per block and raster, nine
points of each frame are projected, and the coordinates between are interpolated. That moves at
most 3 of 14,400 pixels against `rasterio.warp.reproject`, the oracle `exact=True` asks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landmark.grid import PIXELS, RESOLUTION_M, SIZE_M, Frame
from landmark.raster_files import NOTHING, RasterHeader, RasterLibrary, lookup_codes
from landmark.signing import NO_ACCESS, Access

FRAME_PIXELS = PIXELS * PIXELS
#: Ten lattice cells: large enough that a block read costs little per patch, small in memory.
_BLOCK_M = 10 * SIZE_M
#: Many dates of one cell fall into one block; this bounds the memory of taking them together.
_BLOCK_FRAMES = 256
#: Pixels of one window read at most (64 MB as bytes); finer rasters are read frame by frame.
_WINDOW_PIXELS = 1 << 26
#: Positions of some frames, codes, and (frames, k, k, 2) where in these the frames' nodes lie.
_Piece = tuple[NDArray[np.intp], NDArray[Any], NDArray[np.float64]]


@dataclass(frozen=True)
class Counts:
    """Codes found on frames.

    Attributes:
        codes: (codes,) int32, ascending: every code found on any of the frames.
        counts: (frames, codes) int32, pixels of each code.
        covered: (frames,) int32, pixels with a code, of `FRAME_PIXELS`.
    """

    codes: NDArray[np.int32]
    counts: NDArray[np.int32]
    covered: NDArray[np.int32]


def class_counts(
    paths: Sequence[str | Path],
    frames: Sequence[Frame],
    *,
    nodata: Collection[int] = (),
    valid: Collection[int] | None = None,
    masks: NDArray[np.bool_] | None = None,
    exact: bool = False,
    access: Access = NO_ACCESS,
) -> Counts:
    """Count the pixels of each code on each frame.

    Args:
        paths: Rasters of one band; on each pixel the first that has a code there decides.
        frames: Where; any mix of projected CRSs.
        nodata: Values that mean "not mapped", besides each file's declared nodata.
        valid: If given, every other value means "not mapped" as well.
        masks: (frames, s, s) True on pixels to leave out (s divides 120, e.g. a 60 x 60 SCL).
        exact: Warp every frame by `rasterio.warp.reproject` (nearest), a hundred times slower.
        access: How rasters behind URLs are signed.

    Raises:
        InputError: A raster cannot be read as a map of classes; the message names it.
    """
    blocks = []
    with RasterLibrary(paths, access=access) as library:
        for members in frame_blocks(frames):
            group = [frames[i] for i in members]
            free = _free(len(group), None if masks is None else masks[members])
            image = np.empty((len(group), PIXELS, 0), np.int32)
            found = _take(library, group, free, image, set(nodata), valid, exact)
            blocks.append((members, found))
    codes = np.array(sorted({c for _, found in blocks for c in found}), np.int32)
    column = {int(code): k for k, code in enumerate(codes)}
    counts = np.zeros((len(frames), len(codes)), np.int32)
    for members, found in blocks:
        for code, pixels in found.items():
            counts[members, column[code]] = pixels
    return Counts(codes, counts, counts.sum(axis=1, dtype=np.int32))


def codes_on_frame(
    paths: Sequence[str | Path],
    frame: Frame,
    *,
    nodata: Collection[int] = (),
    valid: Collection[int] | None = None,
    exact: bool = False,
    access: Access = NO_ACCESS,
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Return the codes on one frame as a picture, (120, 120), and where they cover it.

    Codes are meaningless where the second array is False. Arguments as `class_counts`.
    """
    free = _free(1, None)
    image = np.full((1, PIXELS, PIXELS), NOTHING, np.int32)
    with RasterLibrary(paths, access=access) as library:
        _take(library, [frame], free, image, set(nodata), valid, exact)
    return image[0], ~free[0]


def find_code(
    paths: Sequence[str | Path], frames: Sequence[Frame], code: int, access: Access = NO_ACCESS
) -> tuple[str, float, float] | None:
    """Return the file, longitude and latitude of a pixel with a code on frames, or None.

    Slow: to tell people where a wrong code lies.
    """
    from landmark.projections import transformer

    for frame in frames:
        for path in paths:
            picture, covered = codes_on_frame([path], frame, access=access)
            found = np.argwhere(covered & (picture == code))
            if len(found):
                row, column = found[0] + 0.5
                x, y = frame.x_min + column * RESOLUTION_M, frame.y_max - row * RESOLUTION_M
                lon, lat = transformer(frame.epsg, "OGC:CRS84").transform(x, y)
                return str(path), float(lon), float(lat)
    return None


def join_counts(parts: Sequence[tuple[NDArray[np.intp], Counts]], frames: int) -> Counts:
    """Return the counts of all frames from those of some; positions tell which."""
    codes = np.array(sorted({int(c) for _, part in parts for c in part.codes}), np.int32)
    counts = np.zeros((frames, len(codes)), np.int32)
    for rows, part in parts:
        counts[np.ix_(rows, np.searchsorted(codes, part.codes))] = part.counts
    return Counts(codes, counts, counts.sum(axis=1, dtype=np.int32))


def count_pictures(
    pictures: NDArray[np.int32],
    nothing: Collection[int] = (NOTHING,),
    masks: NDArray[np.bool_] | None = None,
) -> Counts:
    """Count the codes of pictures, (frames, 120, 120).

    Args:
        pictures: Codes.
        nothing: Codes that cover nothing.
        masks: As in `class_counts`.
    """
    free = _free(len(pictures), masks) & ~np.isin(pictures, list(nothing))
    codes = np.unique(pictures[free]).astype(np.int32)
    counts = np.zeros((len(pictures), len(codes)), np.int32)
    for row, (picture, own) in enumerate(zip(pictures, free, strict=True)):
        at = np.searchsorted(codes, picture[own])
        counts[row] = np.bincount(at, minlength=len(codes))
    return Counts(codes, counts, counts.sum(axis=1, dtype=np.int32))


def frame_positions(
    library: RasterLibrary, header: RasterHeader, frames: list[Frame]
) -> Iterator[
    tuple[NDArray[np.intp], tuple[int, int, int, int], NDArray[np.int32], NDArray[np.int32]]
]:
    """Yield frames (of one CRS) with a window of a raster and where in it their pixels lie.

    Yields:
        Positions of some frames; the window (column, row, width, height) to read; and the columns
        and rows in it of their pixels, (frames, 120, 120) int32, also outside the window.
    """
    from landmark.raster_kernels import STEP, TOLERANCE

    at = (np.arange(PIXELS) + 0.5) / STEP
    # Lagrange's parabola through the three nodes of an axis; along a row GDAL's line, as the
    # kernels take it.
    weights = np.stack([(at - 1) * (at - 2) / 2, at * (2 - at), at * (at - 1) / 2])
    run = np.arange(PIXELS) / (PIXELS - 1)
    line = np.outer(weights[:, 0], 1 - run) + np.outer(weights[:, -1], run)
    points = _project(library, header, frames, np.arange(0, PIXELS + 1, STEP))
    for turn in library.turns(header, frames[0].epsg):
        turned = points + turn
        for chosen, window in _windows(turned, header):
            local = turned[chosen] - np.array(window[:2], np.float64)
            bend = np.abs(local[:, :, 0] - 2 * local[:, :, 1] + local[:, :, 2]).sum(axis=-1) / 2
            along = line if bend.max() <= TOLERANCE else weights
            fine = np.einsum("nijk,ir,jc->nrck", local, weights, along)
            places = np.floor(fine + 1e-10).astype(np.int32)
            yield chosen, window, places[..., 0], places[..., 1]


def _take(
    library: RasterLibrary,
    frames: list[Frame],
    free: NDArray[np.bool_],
    image: NDArray[np.int32],
    nodata: set[int],
    valid: Collection[int] | None,
    exact: bool,
) -> dict[int, NDArray[np.int32]]:
    """Fill one block of frames (one CRS) from all rasters; return code -> pixels per frame."""
    from landmark.raster_kernels import take_nodes

    found: dict[int, NDArray[np.int32]] = {}
    for header in library.headers:
        wanting = np.flatnonzero(free.any(axis=(1, 2)))
        if wanting.size == 0:
            break
        look = _warped if exact else _looked_up
        for rows, block, points in look(library, header, frames, wanting):
            still = free[rows]
            picture = image[rows]
            block, low, codes, lookup = lookup_codes(block, header, nodata, valid)
            counts = np.zeros((len(rows), len(codes)), np.int32)
            take_nodes(block, points, low, lookup, still, counts, picture)
            free[rows] = still
            image[rows] = picture
            for k, code in enumerate(codes):
                if counts[:, k].any():
                    total = found.setdefault(code, np.zeros(len(frames), np.int32))
                    total[rows] += counts[:, k]
    return found


def _looked_up(
    library: RasterLibrary, header: RasterHeader, frames: list[Frame], wanting: NDArray[np.intp]
) -> Iterator[_Piece]:
    """Yield frames with the window to take them from, and where in it their nodes lie."""
    from landmark.raster_kernels import STEP

    nodes = np.arange(0, PIXELS + 1, STEP)
    points = _project(library, header, [frames[i] for i in wanting], nodes)
    for turn in library.turns(header, frames[0].epsg):
        turned = points + turn
        for chosen, window in _windows(turned, header):
            block = library.read(header, window)
            yield wanting[chosen], block, turned[chosen] - np.array(window[:2], np.float64)


def _warped(
    library: RasterLibrary, header: RasterHeader, frames: list[Frame], wanting: NDArray[np.intp]
) -> Iterator[_Piece]:
    """Yield frames one by one, each warped already: its nodes lie on its own pixels."""
    from landmark.raster_kernels import STEP

    at = np.arange(0.0, PIXELS + 1, STEP)
    own = np.stack(np.meshgrid(at, at), axis=-1)
    for row in wanting:
        yield np.array([row]), library.warp(header, frames[row]), own[None]


def _project(
    library: RasterLibrary,
    header: RasterHeader,
    frames: list[Frame],
    at: NDArray[np.integer],
) -> NDArray[np.float64]:
    """Return (frames, k, k, 2): where pixel corners of frames (rows, columns) lie in a raster."""
    shape = (len(frames), len(at), len(at))
    west = np.array([frame.x_min for frame in frames])[:, None, None]
    north = np.array([frame.y_max for frame in frames])[:, None, None]
    x = np.broadcast_to(west + at[None, None, :] * RESOLUTION_M, shape)
    y = np.broadcast_to(north - at[None, :, None] * RESOLUTION_M, shape)
    return library.project(header, frames[0].epsg, x, y)


def _windows(
    points: NDArray[np.float64], header: RasterHeader
) -> Iterator[tuple[NDArray[np.intp], tuple[int, int, int, int]]]:
    """Yield which frames to take from which window (column, row, width, height) of a raster.

    Frames off the raster, or that the projection cannot reach, are in none.
    """
    reachable = np.isfinite(points)
    size = np.array([header.width, header.height])
    low = np.floor(np.where(reachable, points, np.inf).min(axis=(1, 2))) - 1
    high = np.floor(np.where(reachable, points, -np.inf).max(axis=(1, 2))) + 2
    low, high = np.maximum(low, 0), np.minimum(high, size)
    inside = np.flatnonzero((low < high).all(axis=1))
    if inside.size == 0:
        return
    start, stop = low[inside].min(axis=0), high[inside].max(axis=0)
    small = np.prod(stop - start) <= _WINDOW_PIXELS
    for group in [inside] if small else np.split(inside, inside.size):
        start, stop = low[group].min(axis=0), high[group].max(axis=0)
        width, height = stop - start
        yield group, (int(start[0]), int(start[1]), int(width), int(height))


def _free(n: int, masks: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Return (n, 120, 120), True where a pixel is to be taken."""
    if masks is None:
        return np.ones((n, PIXELS, PIXELS), np.bool_)
    factor = PIXELS // masks.shape[1]
    return ~masks.repeat(factor, axis=1).repeat(factor, axis=2)


def frame_blocks(frames: Sequence[Frame]) -> list[NDArray[np.intp]]:
    """Group frames of one CRS that lie in the same 12 x 12 km; return their positions."""
    groups: dict[tuple[int, int, int], list[int]] = {}
    for index, frame in enumerate(frames):
        key = (frame.epsg, int(frame.x_min // _BLOCK_M), int(frame.y_max // _BLOCK_M))
        groups.setdefault(key, []).append(index)
    return [
        np.array(members[start : start + _BLOCK_FRAMES], np.intp)
        for members in groups.values()
        for start in range(0, len(members), _BLOCK_FRAMES)
    ]
