"""Bands read through GDAL: every layout the block reader does not assert, and remote warps.

Windows are whole super-blocks of the file's own blocks, so that each block is decoded about once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from rasterio.windows import Window

from landmark.bands import Band, Cut, Place
from landmark.cog.blocks import (
    BlockGrid,
    Part,
    Windows,
    empty_planes,
    needed_blocks,
    overlap,
    scatter,
)
from landmark.errors import InputError, LandmarkError
from landmark.grid import Frame
from landmark.opening import is_remote, open_signed, reading
from landmark.placing import corner, is_usable
from landmark.signing import Signed
from landmark.warping import Source, Transformers, shifted, source_window

#: Patches per side that a window spans at least: 960 px at 10 m.
_CELLS = 8
# A super-block is read whole unless its patches fill less than this share of it.
_SPARSE = 0.25
#: Blocks beyond this (a file in one strip) are not multiplied into super-blocks.
_BLOCK_PIXELS = 1 << 25
#: Attempts to read a window of a remote file; GDAL itself does not retry a broken transfer.
ATTEMPTS = 3
PAUSE_S = 0.5


def read_cuts(
    band: Band,
    frames: Mapping[int, Frame],
    name: str = "",
    sign: Callable[[], Signed] | None = None,
) -> tuple[dict[int, Cut], dict[int, str]]:
    """Return one band on frames, and why it could not be had on others.

    Args:
        band: Its rules; `band.path` is opened.
        frames: By any number.
        name: What errors call the file; "" for its path.
        sign: Gives what to open instead of the path, valid at this moment.

    Raises:
        LandmarkError: The file cannot be opened or is not the band (InputError for a local one).
    """
    cuts: dict[int, Cut] = {}
    causes: dict[int, str] = {}
    wanted = dict(frames)
    attempts = ATTEMPTS if is_remote(band.path) else 1
    for attempt in range(1, attempts + 1):
        try:
            found, causes = _attempt(band, wanted, name or band.path, sign)
        except InputError:
            raise
        except LandmarkError:
            if attempt == attempts:
                raise
            causes = dict.fromkeys(wanted, "")
            found = {}
        cuts.update(found)
        wanted = {index: frames[index] for index in causes}
        if not wanted or attempt == attempts:
            break
        time.sleep(PAUSE_S * 2 ** (attempt - 1))
    return cuts, causes


def _attempt(
    band: Band, frames: Mapping[int, Frame], name: str, sign: Callable[[], Signed] | None
) -> tuple[dict[int, Cut], dict[int, str]]:
    signed = Signed(band.path) if sign is None else sign()
    cuts: dict[int, Cut] = {}
    causes: dict[int, str] = {}
    with open_signed(signed, name, band.scene.grid) as source:
        check_source(band, source, name)
        for found, failed in _read(band, source, frames, name):
            cuts.update(found)
            causes.update(failed)
    return cuts, causes


def check_source(band: Band, source: Any, name: str) -> None:
    """Refuse a file that cannot be the band it is listed as.

    Raises:
        InputError: It lacks the band, or holds another kind of numbers, or no CRS or place.
    """
    if band.asset.index > source.count:
        raise InputError(f"{name}: holds {source.count} bands, none of index {band.asset.index}")
    check_dtype(band, _dtype(band, source), name)
    if source.crs is None:
        raise InputError(f"{name}: states no CRS; use a terrain-corrected product")
    if not is_usable(source.transform[:6]):
        raise InputError(f"{name}: its pixels have no size or place; get the file anew")


def check_dtype(band: Band, dtype: np.dtype, name: str) -> None:
    """Refuse numbers that cannot be what the band measures.

    Raises:
        InputError: They cannot.
    """
    if not band.accepts(dtype):
        raise InputError(
            f"{name}: holds {dtype.name} values, which cannot be {band.asset.band} of "
            f"{band.scene.sensor} in {band.scene.unit}"
        )


_Results = Iterator[tuple[dict[int, Cut], dict[int, str]]]


def _read(band: Band, source: Any, frames: Mapping[int, Frame], name: str) -> _Results:
    epsg, transform = source.crs.to_epsg(), source.transform[:6]
    placed = {index: corner(frame, band.side, epsg, transform) for index, frame in frames.items()}
    cuttable = {index: place for index, place in placed.items() if place is not None}
    if cuttable:
        yield _cut(band, source, cuttable, name)
    transformers = Transformers()
    for index, place in placed.items():
        if place is None:
            try:
                yield {index: _warp(band, source, frames[index], transformers, name)}, {}
            except LandmarkError as error:
                yield {}, {index: str(error)}


def _cut(
    band: Band, source: Any, corners: Mapping[int, tuple[int, int]], name: str
) -> tuple[dict[int, Cut], dict[int, str]]:
    """Return the cuts of frames on the file's own pixels."""
    indices, places = list(corners), list(corners.values())
    grid = _superblocks(source, band.side)
    plane = empty_planes(grid, places, band.side, band.fill, _dtype(band, source))
    windows = Windows(places, band.side, {0: plane})
    causes: dict[int, str] = {}
    for block, members in needed_blocks(grid, places, band.side).items():
        try:
            for part, users in _parts(grid.part(block), members, windows):
                window = Window(part.left, part.top, part.right - part.left, part.bottom - part.top)
                with reading(source.name, name):
                    pixels = source.read(band.asset.index, window=window)
                scatter(part, pixels, users, windows, plane)
        except LandmarkError as error:
            causes.update({indices[member]: str(error) for member in members})
    cuts: dict[int, Cut] = {}
    for index, stored in zip(indices, plane, strict=True):
        if index in causes:
            continue
        try:
            cuts[index] = band.cut(stored, source.nodata)
        except LandmarkError as error:
            causes[index] = str(error)
    return cuts, causes


def _parts(
    block: Part, members: Sequence[int], windows: Windows
) -> Iterator[tuple[Part, Sequence[int]]]:
    """Yield what to read of a super-block, and the windows each part serves."""
    parts = [overlap(block, windows.corners[member], windows.side) for member in members]
    around = Part(
        min(part.top for part in parts),
        min(part.left for part in parts),
        max(part.bottom for part in parts),
        max(part.right for part in parts),
    )
    if sum(map(_pixels, parts)) < _SPARSE * _pixels(around):
        for part, member in zip(parts, members, strict=True):
            yield part, [member]
    else:
        yield around, members


def _pixels(part: Part) -> int:
    return (part.bottom - part.top) * (part.right - part.left)


def _superblocks(source: Any, side: int) -> BlockGrid:
    """Return squares of whole blocks of the file, of at least 8 x 8 patches."""
    height, width = source.block_shapes[0]
    if height * width > _BLOCK_PIXELS:
        height = width = 1
    least = _CELLS * side
    return BlockGrid(
        source.width, source.height, -(-least // width) * width, -(-least // height) * height
    )


def _warp(band: Band, source: Any, frame: Frame, transformers: Transformers, name: str) -> Cut:
    """Return the cut of one frame off the band's grid."""
    grid = Source(source.crs, source.transform, source.width, source.height)
    window = source_window(frame, band.side, grid, transformers)
    if window is None:
        return band.beyond(_dtype(band, source))
    with reading(source.name, name):
        stored = source.read(band.asset.index, window=window)
        place = Place(shifted(source.transform, window.col_off, window.row_off), source.crs, frame)
        return band.warp(stored, source.nodata, place)


def _dtype(band: Band, source: Any) -> np.dtype:
    return np.dtype(source.dtypes[band.asset.index - 1])
