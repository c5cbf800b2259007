"""Patches of archives: small files, each of them one band of just one frame, read at one go.

What else a file may be, and what is wrong with one, `landmark.band_files` reads and tells: here it
is only noticed.
"""

from __future__ import annotations

from collections.abc import Sequence

from landmark.bands import Band, Cut
from landmark.cog.decoding import DamagedBlockError, decode_small
from landmark.cog.files import read_small
from landmark.cog.headers import LayoutError
from landmark.cog.known import KnownHeaders, SmallImage
from landmark.errors import LandmarkError
from landmark.grid import Frame
from landmark.opening import is_remote
from landmark.placing import corner


def read_one_patch(bands: Sequence[Band], frame: Frame, known: KnownHeaders) -> list[Cut] | None:
    """Return the bands on a frame, or None unless each of their files is the frame and no more.

    Args:
        bands: Bands of local files; others are left to `landmark.band_files`.
        frame: The patch: 1200 m in the CRS the files have to be of.
        known: Headers of files read before; new ones are added.

    Returns:
        A cut per band, (side, side) in the dtype and unit the band finishes planes in; or None,
        also where a file is missing, damaged, or holds what contradicts its scene.
    """
    cuts = []
    for band in bands:
        data = None if is_remote(band.path) else read_small(band.path)
        if data is None:
            return None
        try:
            image = known.read(data)
            if not _is_frame(image, band, frame):
                return None
            kind, starts, sizes, _ = image
            stored = decode_small(kind, starts, sizes, data)
            if kind.tiled:  # and padded
                stored = stored[: band.side, : band.side]
            cuts.append(band.cut(stored, kind.nodata))
        except (LayoutError, DamagedBlockError, LandmarkError):
            return None
    return cuts


def _is_frame(image: SmallImage, band: Band, frame: Frame) -> bool:
    """Return whether an image is one band of a frame, and can be that band."""
    kind, side = image.kind, band.side
    return (
        kind.grid.width == kind.grid.height == side
        and kind.samples == band.asset.index == 1
        and band.accepts(kind.dtype)
        and corner(frame, side, kind.epsg, image.transform) == (0, 0)
    )
