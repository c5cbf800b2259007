"""The files of a scene's bands, opened once: by the block reader where it can, else for GDAL."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from landmark.bands import Band, Cut
from landmark.cog.blocks import Windows, empty_planes
from landmark.cog.client import Address, HttpClient, shared_client
from landmark.cog.engine import Wanted, read_windows
from landmark.cog.faults import Patience
from landmark.cog.files import ByteFile, DiskFile, HttpFile
from landmark.cog.headers import LayoutError
from landmark.cog.images import PlacedImage, read_image
from landmark.errors import InputError, LandmarkError
from landmark.gdal_windows import check_dtype, read_cuts
from landmark.grid import Frame
from landmark.hdf5 import split_path
from landmark.opening import is_remote
from landmark.placing import corner
from landmark.signing import Signed, Signer
from landmark.warped_windows import read_warped

#: Requests one scene keeps under way; all scenes of a process share the bound per host.
_THREADS = 16


@dataclass(frozen=True)
class BandFile:
    """A file of one or more bands.

    Attributes:
        name: What errors call it: a path, or an href without any signature.
        sign: Gives what GDAL has to open, signed for this moment; None for a local file.
        file: Its bytes, where the block reader reads them.
        image: Its header, where the block reader reads it, else None.
    """

    name: str
    sign: Callable[[], Signed] | None = None
    file: ByteFile | None = None
    image: PlacedImage | None = None


@dataclass(frozen=True)
class OpenBand:
    """A band and the file it is in."""

    band: Band
    file: BandFile


@dataclass(frozen=True)
class Access:
    """How files are reached; shared by the files of one reading job.

    Attributes:
        client: For HTTP.
        signer: Signs URLs; None where anybody may read them.
        patience: How much waiting is left.
    """

    client: HttpClient
    signer: Signer | None
    patience: Patience


def access_for(signer: Signer | None, client: HttpClient | None = None) -> Access:
    """Return a new job's access; the client is by default the one of this process."""
    return Access(client or shared_client(), signer, Patience())


def open_file(path: str, access: Access, stack: contextlib.ExitStack) -> BandFile:
    """Open a path or an unsigned URL; where the block reader cannot, the file is GDAL's.

    Raises:
        LandmarkError: A server does not give the header.
        InputError: There is no such file.
    """
    if not is_remote(path):
        try:
            disk = stack.enter_context(DiskFile(path))
            return BandFile(path, None, disk, read_image(disk.head))
        except LayoutError:
            return BandFile(path)
        except OSError:
            plain, _ = split_path(path)
            if not path.startswith("/vsi") and not Path(plain).is_file():
                raise InputError(f"{plain}: no such file") from None
            return BandFile(path)
    address = Address(path, access.signer)
    if urlsplit(address.signed().url).scheme not in ("http", "https"):
        return BandFile(path, address.signed)
    file = HttpFile(address, access.client, access.patience)
    try:
        return BandFile(path, address.signed, file, read_image(file.head))
    except LayoutError:
        return BandFile(path, address.signed)


def open_bands(
    bands: Sequence[Band], access: Access, stack: contextlib.ExitStack
) -> list[OpenBand]:
    """Open the files of bands, each file once; headers of remote files are read at once.

    Args:
        bands: What to open.
        access: How.
        stack: Closes the files.

    Raises:
        LandmarkError: A server does not give a header.
        InputError: A file is not the band it is listed as.
    """
    paths = list(dict.fromkeys(band.path for band in bands))
    open_one = partial(open_file, access=access, stack=stack)
    if any(map(is_remote, paths)):
        with ThreadPoolExecutor(min(_THREADS, len(paths))) as pool:
            opened = list(pool.map(open_one, paths))
    else:
        opened = list(map(open_one, paths))
    files = dict(zip(paths, opened, strict=True))
    for band in bands:
        _check(band, files[band.path])
    return [OpenBand(band, files[band.path]) for band in bands]


def read_bands(
    opened: Sequence[OpenBand], frames: Sequence[Frame]
) -> tuple[list[dict[int, Cut]], dict[int, str]]:
    """Read bands on frames.

    Returns:
        Per band: position of the frame -> its cut. And position of a frame -> why it could not
        be read; such frames may lack bands.
    """
    cuts: list[dict[int, Cut]] = [{} for _ in opened]
    causes: dict[int, str] = {}
    blocks, warps, others = _share_out(opened, frames)
    remote = any(one.file.sign is not None for one in opened)
    threads = _THREADS if remote else 1
    failures = read_windows([part.wanted for part in blocks], threads)
    for part, failed in zip(blocks, failures, strict=True):
        causes.update({part.frames[window]: cause for window, cause in failed.items()})
        for number, sample in part.bands.items():
            band, plane = opened[number].band, part.wanted.windows.planes[sample]
            for window, index in enumerate(part.frames):
                if index in causes:
                    continue
                try:
                    cuts[number][index] = band.cut(plane[window], part.wanted.image.nodata)
                except LandmarkError as error:
                    causes[index] = str(error)
    for warp in warps:
        warped, failed = read_warped(warp.file, warp.image, warp.bands, warp.frames)
        causes.update(failed)
        for number, found in warped.items():
            cuts[number].update(found)
    numbers = list(others)
    read = partial(_through_gdal, opened, others, frames)
    if threads > 1 and len(numbers) > 1:
        with ThreadPoolExecutor(min(threads, len(numbers))) as pool:
            results = list(pool.map(read, numbers))
    else:
        results = list(map(read, numbers))
    for number, (found, failed) in zip(numbers, results, strict=True):
        cuts[number].update(found)
        causes.update(failed)
    return cuts, causes


@dataclass(frozen=True)
class _Part:
    """The windows of one file at one size: which frames they are, which bands they fill."""

    wanted: Wanted
    frames: list[int]
    bands: dict[int, int]


@dataclass(frozen=True)
class _Warp:
    """Bands of one file at one size by number, and by position the frames off its pixel grid."""

    file: ByteFile
    image: PlacedImage
    bands: dict[int, Band]
    frames: dict[int, Frame]


def _share_out(
    opened: Sequence[OpenBand], frames: Sequence[Frame]
) -> tuple[list[_Part], list[_Warp], dict[int, list[int]]]:
    """Return what the block reader reads, what it reads to be warped, and the rest: GDAL's.

    The rest is band -> positions of frames. Remote files are warped by GDAL: it asks servers for
    blocks that many small windows share once.
    """
    together: dict[tuple[int, int], list[int]] = {}
    others: dict[int, list[int]] = {}
    for number, one in enumerate(opened):
        if one.file.image is None:
            others[number] = list(range(len(frames)))
        else:
            together.setdefault((id(one.file), one.band.side), []).append(number)
    parts, warps = [], []
    for (_, side), numbers in together.items():
        first = opened[numbers[0]]
        file, image = first.file.file, first.file.image
        assert file is not None
        assert image is not None
        blocks = image.blocks
        places = [corner(frame, side, blocks.epsg, image.transform) for frame in frames]
        on_grid = [index for index, place in enumerate(places) if place is not None]
        off_grid = [index for index, place in enumerate(places) if place is None]
        corners = [place for place in places if place is not None]
        if off_grid and first.file.sign is None:
            wanted = {number: opened[number].band for number in numbers}
            warps.append(_Warp(file, image, wanted, {index: frames[index] for index in off_grid}))
        elif off_grid:
            others.update(dict.fromkeys(numbers, off_grid))
        bands = {number: opened[number].band.asset.index - 1 for number in numbers}
        planes = {
            sample: empty_planes(blocks.grid, corners, side, first.band.fill, blocks.dtype)
            for sample in set(bands.values())
        }
        windows = Windows(corners, side, planes)
        parts.append(_Part(Wanted(file, blocks, windows), on_grid, bands))
    return parts, warps, others


def _through_gdal(
    opened: Sequence[OpenBand],
    others: dict[int, list[int]],
    frames: Sequence[Frame],
    number: int,
) -> tuple[dict[int, Cut], dict[int, str]]:
    one = opened[number]
    wanted = {index: frames[index] for index in others[number]}
    return read_cuts(one.band, wanted, one.file.name, one.file.sign)


def _check(band: Band, opened: BandFile) -> None:
    if opened.image is None:
        return  # GDAL's windows check what they open
    image = opened.image.blocks
    if band.asset.index > image.samples:
        raise InputError(
            f"{opened.name}: holds {image.samples} bands, none of index {band.asset.index}"
        )
    check_dtype(band, image.dtype, opened.name)
