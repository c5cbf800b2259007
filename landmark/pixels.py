"""Imagery: the only way to the pixels of image files.

Patches are cut grouped: the blocks that neighbours need are read once and their pixels copied to
all of them (`landmark/cog/`); what the block reader does not read goes through GDAL
(`landmark/gdal_windows.py`). A patch is cut without resampling where the frame lies on the band's
own pixel grid, else warped.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from landmark.array_images import read_array
from landmark.band_files import OpenBand, access_for, open_bands, open_file, read_bands
from landmark.bands import Band, Cut, Plane, SceneClasses, image_band, nodata_values
from landmark.codec import SCL_SIDE, replicate
from landmark.cog.client import HttpClient
from landmark.cog.known import KnownHeaders
from landmark.errors import InputError, LandmarkError
from landmark.grid import PIXELS, Frame
from landmark.opening import is_remote, open_image, open_signed, reading
from landmark.patch_files import read_one_patch
from landmark.placing import is_usable
from landmark.radiometry import valid_fraction
from landmark.scenes import Scene, SourceGrid
from landmark.schema import ImageLayout
from landmark.signing import Signed, Signer

Resolve = Callable[[str], str]

#: Patches whose planes are in memory at once: 82 MB of twelve bands at native size. A shard of the
#: default size is one group, so no block is fetched twice for it.
_GROUP = 512
#: Longest side of the overview that dark pixels are judged on.
_OVERVIEW_PIXELS = 512
_DARK_PERCENT = 1.0


class PatchPixels(NamedTuple):
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


def read_header(
    path: str, signer: Signer | None = None, *, grid: SourceGrid | None = None
) -> SourceGrid:
    """Return the pixel grid of a file as its header states it.

    Args:
        path: A path or an unsigned URL.
        signer: Signs URLs; None where anybody may read them.
        grid: Where an array of an HDF5 file lies, which has no such header.

    Raises:
        InputError: A local file is missing, unreadable, or has no EPSG-coded CRS or no place.
        LandmarkError: A URL cannot be read.
    """
    with contextlib.ExitStack() as stack:
        opened = open_file(path, access_for(signer), stack)
        if opened.image is not None:
            blocks, transform = opened.image
            edge = max(blocks.grid.block_width, blocks.grid.block_height) if blocks.tiled else 0
            size = blocks.grid.width, blocks.grid.height
            return SourceGrid(blocks.epsg, transform, *size, edge)
        signed = Signed(path) if opened.sign is None else opened.sign()
        source = stack.enter_context(open_signed(signed, path, grid))
        epsg = source.crs.to_epsg() if source.crs is not None else None
        if epsg is None:
            raise InputError(
                f"{path}: states no CRS with an EPSG code (ground control points alone are not "
                "enough: use a terrain-corrected product)"
            )
        if not is_usable(source.transform[:6]):
            raise InputError(f"{path}: its pixels have no size or place; get the file anew")
        a, b, c, d, e, f = source.transform[:6]
        high, wide = source.block_shapes[0]
        block = high if high == wide else 0  # strips are as wide as the file
        return SourceGrid(epsg, (a, b, c, d, e, f), source.width, source.height, block)


def read_tags(path: str) -> dict[str, str]:
    """Return the metadata tags of a file.

    Raises:
        InputError: A local file is missing or unreadable.
    """
    with open_image(path) as source:
        tags: dict[str, str] = source.tags()
        return tags


def read_whole(path: str) -> NDArray[np.generic]:
    """Return all bands of a small local image, (bands, rows, columns) as stored.

    Raises:
        InputError: The file is missing or is no image.
        LandmarkError: Its pixels cannot be read.
    """
    with open_image(path) as source, reading(path):
        values: NDArray[np.generic] = source.read()
        return values


def low_percentiles(
    scene: Scene, resolve: Resolve, signer: Signer | None = None
) -> dict[str, float]:
    """Return the 1st percentile of the valid stored DN of each band: `offset_evidence`'s input.

    Read from the overview whose longest side is at most 512 px; a band without any valid pixel
    is left out.

    Args:
        scene: A Sentinel-2 scene.
        resolve: href -> path or unsigned URL.
        signer: Signs URLs; None where anybody may read them.

    Raises:
        LandmarkError: A file cannot be read (InputError for a local one).
    """
    found = {}
    for asset in scene.bands:
        path = resolve(asset.href)
        signed = Signed(path) if signer is None or not is_remote(path) else signer.sign(path)
        with open_signed(signed, path, scene.grid) as source:
            shrink = max(1.0, max(source.shape) / _OVERVIEW_PIXELS)
            shape = tuple(max(1, math.ceil(size / shrink)) for size in source.shape)
            with reading(signed.url, path):
                values = source.read(asset.index, out_shape=shape)
            valid = _masked(values, source.nodata, scene.nodata)
        if valid.size:
            found[asset.band] = float(np.percentile(valid, _DARK_PERCENT))
    return found


def read_patches(
    scene: Scene,
    frames: Sequence[Frame],
    resolve: Resolve,
    layout: ImageLayout,
    *,
    signer: Signer | None = None,
    client: HttpClient | None = None,
) -> list[PatchPixels | str]:
    """Return the pixels of several frames of one scene, in the order of `frames`.

    As `iter_patches`, all at once.
    """
    results: list[PatchPixels | str] = [""] * len(frames)
    patches = iter_patches(scene, frames, resolve, layout, signer=signer, client=client)
    for index, result in patches:
        results[index] = result
    return results


def iter_patches(
    scene: Scene,
    frames: Sequence[Frame],
    resolve: Resolve,
    layout: ImageLayout,
    *,
    signer: Signer | None = None,
    client: HttpClient | None = None,
    known: KnownHeaders | None = None,
) -> Iterator[tuple[int, PatchPixels | str]]:
    """Yield the pixels of several frames of one scene, group by group.

    Memory: the planes of at most 512 patches and a few reads of 4 MiB. Thread-safe.

    Args:
        scene: What the files hold (unit, offset, nodata).
        frames: Where to cut; neighbours next to each other read fastest.
        resolve: href -> path or unsigned URL.
        layout: Bands wanted and their native sizes.
        signer: Signs URLs, and again when a signature has expired; None where none is needed.
        client: Asks HTTP servers; default: the one of this process.
        known: Headers of local files read before; None where none was.

    Yields:
        Position in `frames`, and its pixels or the one-line cause why it could not be read.

    Raises:
        LandmarkError: A file cannot be opened or is not what the scene says: no frame can be
            made (InputError for a local file).
    """
    if scene.form == "array":
        for index in range(len(frames)):
            yield index, _whole_array(scene, resolve, layout)
        return
    bands = _bands(scene, resolve, layout)
    known = known or KnownHeaders()
    if len(frames) == 1 and (cuts := read_one_patch(bands, frames[0], known)):
        images = len(layout.bands)
        yield 0, _assemble(cuts[:images], cuts[images] if len(cuts) > images else None, layout)
        return
    with contextlib.ExitStack() as stack:
        opened = open_bands(bands, access_for(signer, client), stack)
        for start in range(0, len(frames), _GROUP):
            group = frames[start : start + _GROUP]
            for index, result in enumerate(_read_group(opened, group, layout)):
                yield start + index, result


def _bands(scene: Scene, resolve: Resolve, layout: ImageLayout) -> list[Band]:
    """Return the bands to read, in the layout's order; scene classes last, where there are any."""
    kind = image_band(scene)
    assets = {asset.band: asset for asset in scene.bands}
    missing = [band for band in layout.bands if band not in assets]
    if missing:
        raise LandmarkError(f"{scene.item}: has no file for {', '.join(missing)}")
    bands: list[Band] = []
    for name, (side, _) in zip(layout.bands, layout.shapes, strict=True):
        asset = assets[name]
        bands.append(kind(scene, asset, side, resolve(asset.href)))
    if scene.scl is not None:
        bands.append(SceneClasses(scene, scene.scl, SCL_SIDE, resolve(scene.scl.href)))
    return bands


def _read_group(
    opened: Sequence[OpenBand], frames: Sequence[Frame], layout: ImageLayout
) -> Iterator[PatchPixels | str]:
    cuts, causes = read_bands(opened, frames)
    images = cuts[: len(layout.bands)]
    scl = cuts[len(layout.bands)] if len(cuts) > len(layout.bands) else None
    for index in range(len(frames)):
        if index in causes:
            yield causes[index]
        else:
            classes = None if scl is None else scl.pop(index)
            yield _assemble([band.pop(index) for band in images], classes, layout)


def _assemble(cuts: Sequence[Cut], scl: Cut | None, layout: ImageLayout) -> PatchPixels:
    valid: NDArray[np.bool_] | None = None
    clipped, values, warped = 0.0, 0, False
    for plane, warped_too, share, complete in cuts:
        count = plane.size
        if not (complete or _complete(plane)):
            good = _valid(plane)
            count = int(np.count_nonzero(good))
            wide = np.empty((PIXELS, PIXELS), dtype=bool)
            replicate(good, wide)
            valid = wide if valid is None else valid & wide
        clipped += share * count
        values += count
        warped |= warped_too
    return PatchPixels(
        planes=tuple([cut.plane for cut in cuts]),
        scl=None if scl is None else scl.plane,
        valid_fraction=1.0 if valid is None else valid_fraction(valid),
        clipped_fraction=clipped / max(1, values) if layout.sensor == "s2" else None,
        resampling="bilinear" if warped else "none",
    )


def _complete(plane: Plane) -> bool:
    """Return whether all of a finished plane is valid, which most are: one look for the least."""
    least = plane.min()  # of what holds NaN: NaN
    return bool(least == least if plane.dtype.kind == "f" else least > 0)


def _valid(plane: Plane) -> NDArray[np.bool_]:
    return ~np.isnan(plane) if plane.dtype.kind == "f" else plane != 0


def _whole_array(scene: Scene, resolve: Resolve, layout: ImageLayout) -> PatchPixels:
    """Return the one patch of an array image."""
    array = read_array(scene, resolve(scene.bands[0].href), layout)
    cuts = [Cut(plane, warped=False, clipped=array.clipped) for plane in array.planes]
    pixels = _assemble(cuts, None, layout)
    return pixels._replace(
        original=array.original,
        resampling="average" if array.averaged else pixels.resampling,
    )


def _masked(values: Plane, *nodata: float | None) -> Plane:
    """Return the valid DN of an array, flat: neither 0 nor a nodata value."""
    valid = values != 0
    for value in nodata_values(*nodata):
        valid &= values != value
    return values[valid]
