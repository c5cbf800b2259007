"""Patches of archives: small files, each of them one band of just one frame, read at one go.

What else a file may be, and what is wrong with one, `landmark.band_files` reads and tells: here it
is only noticed.
"""

from __future__ import annotations

from collections.abc import Sequence

from landmark.bands import Band, Cut, Plane
from landmark.cog.decoding import DamagedBlockError, decode_block
from landmark.cog.files import read_small
from landmark.cog.headers import LayoutError
from landmark.cog.images import parse_image
from landmark.errors import LandmarkError
from landmark.grid import Frame
from landmark.opening import is_remote
from landmark.placing import corner


def read_one_patch(bands: Sequence[Band], frame: Frame) -> list[Cut] | None:
    """Return the bands on a frame, or None unless each of their files is the frame and no more.

    Args:
        bands: Bands of local files; others are left to `landmark.band_files`.
        frame: The patch: 1200 m in the CRS the files have to be of.

    Returns:
        A cut per band, (side, side) in the dtype and unit the band finishes planes in; or None,
        also where a file is missing, damaged, or holds what contradicts its scene.
    """
    cuts = []
    for band in bands:
        found = _stored(band, frame)
        if found is None:
            return None
        try:
            cuts.append(band.cut(*found))
        except LandmarkError:
            return None
    return cuts


def _stored(band: Band, frame: Frame) -> tuple[Plane, float | None] | None:
    """Return the stored values of a band and the nodata value of its file."""
    data = None if is_remote(band.path) else read_small(band.path)
    if data is None:
        return None
    try:
        image, transform = parse_image(data, lambda start, stop: data[start:stop])
    except LayoutError:
        return None
    block, side = image.only_block, band.side
    if block is None or not image.grid.width == image.grid.height == side:
        return None
    if not (image.samples == band.asset.index == 1 and band.accepts(image.dtype)):
        return None
    if corner(frame, side, image.epsg, transform) != (0, 0) or block.stop > len(data):
        return None
    try:
        part = memoryview(data)[block.start : block.stop]
        return decode_block(image, 0, part)[:side, :side, 0], image.nodata
    except DamagedBlockError:
        return None
