"""Patches off the pixel grid of a local file whose blocks are read by us: its pixels, warped.

GDAL hands out whatever is in its memory for a deflated strip that is damaged so that more comes
out of it than fits, and says nothing; a warp of that would be wrong pixels. The block reader
refuses such a strip.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from affine import Affine
from rasterio.crs import CRS
from rasterio.windows import Window

from landmark.bands import Band, Cut, Place
from landmark.cog.blocks import Windows, empty_planes
from landmark.cog.engine import Wanted, read_windows
from landmark.cog.files import ByteFile
from landmark.cog.images import PlacedImage
from landmark.errors import LandmarkError
from landmark.grid import Frame
from landmark.warping import Source, Transformers, shifted, source_window

#: Stored values of one band that are in memory at once.
_VALUES = 1 << 24

_Windows = dict[int, Window]


def read_warped(
    file: ByteFile, image: PlacedImage, bands: Mapping[int, Band], frames: Mapping[int, Frame]
) -> tuple[dict[int, dict[int, Cut]], dict[int, str]]:
    """Return bands of one file on frames that do not lie on its pixels.

    Args:
        file: Its bytes.
        image: Its header.
        bands: Of one size, by any number.
        frames: By any number.

    Returns:
        Per band: number of the frame -> its cut, (side, side) in the dtype and unit the band
        finishes planes in. And number of a frame -> why it could not be had; such frames may lack
        bands.
    """
    blocks, transform = image
    grid = Source(
        CRS.from_epsg(blocks.epsg), Affine(*transform), blocks.grid.width, blocks.grid.height
    )
    side = next(iter(bands.values())).side
    cuts: dict[int, dict[int, Cut]] = {number: {} for number in bands}
    windows, causes = _windows(frames, side, grid)
    outside = frames.keys() - windows.keys() - causes.keys()
    for number, band in bands.items():
        for index in sorted(outside):
            cuts[number][index] = band.beyond(blocks.dtype)
    samples = {number: band.asset.index - 1 for number, band in bands.items()}
    fill = next(iter(bands.values())).fill
    for chunk in _chunks(windows):
        # The engine's windows are squares; what they hold beyond what is wanted is cut off.
        size = max(max(window.width, window.height) for window in chunk.values())
        corners = [(window.row_off, window.col_off) for window in chunk.values()]
        planes = {
            sample: empty_planes(blocks.grid, corners, size, fill, blocks.dtype)
            for sample in set(samples.values())
        }
        (failed,) = read_windows([Wanted(file, blocks, Windows(corners, size, planes))], 1)
        for position, (index, window) in enumerate(chunk.items()):
            if position in failed:
                causes[index] = failed[position]
                continue
            place = Place(
                shifted(grid.transform, window.col_off, window.row_off), grid.crs, frames[index]
            )
            try:
                for number, band in bands.items():
                    stored = planes[samples[number]][position][: window.height, : window.width]
                    cuts[number][index] = band.warp(stored, blocks.nodata, place)
            except LandmarkError as error:
                causes[index] = str(error)
    return cuts, causes


def _windows(
    frames: Mapping[int, Frame], side: int, grid: Source
) -> tuple[_Windows, dict[int, str]]:
    """Return the part of the file each frame needs, if any, and why it cannot be told."""
    windows: _Windows = {}
    causes: dict[int, str] = {}
    transformers = Transformers()
    for index, frame in frames.items():
        try:
            window = source_window(frame, side, grid, transformers)
        except LandmarkError as error:
            causes[index] = str(error)
            continue
        if window is not None:
            windows[index] = window
    return windows, causes


def _chunks(windows: _Windows) -> Iterator[_Windows]:
    """Yield windows that fit into memory together; one at least."""
    chunk: _Windows = {}
    size = 0
    for index, window in windows.items():
        wider = max(size, window.width, window.height)
        if chunk and (len(chunk) + 1) * wider**2 > _VALUES:
            yield chunk
            chunk, wider = {}, max(window.width, window.height)
        chunk[index], size = window, wider
    if chunk:
        yield chunk
