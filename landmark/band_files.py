"""The files of a scene's bands, opened once: by the block reader where it can, else for GDAL."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from urllib.parse import urlsplit

from landmark.bands import Band, Cut
from landmark.cog.blocks import Windows, empty_planes
from landmark.cog.client import Address, HttpClient, shared_client
from landmark.cog.engine import Wanted, read_windows
from landmark.cog.faults import Patience
from landmark.cog.files import ByteFile, DiskFile, HttpFile
from landmark.cog.headers import LayoutError
from landmark.cog.layouts import BlockImage, read_image
from landmark.errors import InputError
from landmark.gdal_windows import check_dtype, read_cuts
from landmark.grid import Frame
from landmark.opening import is_remote
from landmark.placing import corner
from landmark.scenes import SourceGrid

Resolve = Callable[[str], str]

#: Requests one scene keeps under way; all scenes of a process share the bound per host.
_THREADS = 16


@dataclass(frozen=True)
class BandFile:
    """A file of one or more bands.

    Attributes:
        name: What errors call it: a path, or an href without any signature.
        path: Gives what GDAL has to open, signed where that is needed.
        file: Its bytes, where the block reader reads them.
        image: Its header, where the block reader reads it, else None.
    """

    name: str
    path: Callable[[], str]
    file: ByteFile | None = None
    image: BlockImage | None = None


@dataclass(frozen=True)
class OpenBand:
    """A band and the file it is in."""

    band: Band
    file: BandFile


def open_bands(
    bands: Sequence[Band],
    resolve: Resolve,
    client: HttpClient | None,
    stack: contextlib.ExitStack,
) -> list[OpenBand]:
    """Open the files of bands, each file once; headers of remote files are read at once.

    Args:
        bands: What to open.
        resolve: href -> path or URL.
        client: For HTTP; default: the one of this process.
        stack: Closes the files.

    Raises:
        LandmarkError: A server does not give a header.
        InputError: A file is not the band it is listed as.
    """
    hrefs = {band.asset.href: band.path for band in bands}
    patience = Patience()
    open_one = partial(_open, resolve=resolve, client=client, patience=patience, stack=stack)
    if any(is_remote(path) for path in hrefs.values()):
        with ThreadPoolExecutor(min(_THREADS, len(hrefs))) as pool:
            opened = list(pool.map(open_one, hrefs, hrefs.values()))
    else:
        opened = list(map(open_one, hrefs, hrefs.values()))
    files = dict(zip(hrefs, opened, strict=True))
    for band in bands:
        _check(band, files[band.asset.href])
    return [OpenBand(band, files[band.asset.href]) for band in bands]


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
    blocks, others = _share_out(opened, frames)
    remote = any(one.file.file is None or one.file.file.remote for one in opened)
    threads = _THREADS if remote else 1
    failures = read_windows([part.wanted for part in blocks], threads)
    for part, failed in zip(blocks, failures, strict=True):
        causes.update({part.frames[window]: cause for window, cause in failed.items()})
        for number, sample in part.bands.items():
            band, plane = opened[number].band, part.wanted.windows.planes[sample]
            for window, index in enumerate(part.frames):
                if index not in causes:
                    cuts[number][index] = band.cut(plane[window], part.wanted.image.nodata)
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


def stated_grid(path: str) -> SourceGrid | None:
    """Return the pixel grid a file states, where the block reader understands its header.

    Raises:
        LandmarkError: The server does not give it.
    """
    with contextlib.ExitStack() as stack:
        opened = _open(path, path, lambda href: href, None, Patience(), stack)
        if opened.image is None:
            return None
        grid = opened.image.grid
        return SourceGrid(opened.image.epsg, opened.image.transform, grid.width, grid.height)


@dataclass(frozen=True)
class _Part:
    """The windows of one file at one size: which frames they are, which bands they fill."""

    wanted: Wanted
    frames: list[int]
    bands: dict[int, int]


def _share_out(
    opened: Sequence[OpenBand], frames: Sequence[Frame]
) -> tuple[list[_Part], dict[int, list[int]]]:
    """Return what the block reader reads, and band -> positions of frames for GDAL."""
    together: dict[tuple[int, int], list[int]] = {}
    others: dict[int, list[int]] = {}
    for number, one in enumerate(opened):
        if one.file.image is None:
            others[number] = list(range(len(frames)))
        else:
            together.setdefault((id(one.file), one.band.side), []).append(number)
    parts = []
    for (_, side), numbers in together.items():
        first = opened[numbers[0]]
        file, image = first.file.file, first.file.image
        assert file is not None
        assert image is not None
        places = [corner(frame, side, image.epsg, image.transform) for frame in frames]
        on_grid = [index for index, place in enumerate(places) if place is not None]
        off_grid = [index for index, place in enumerate(places) if place is None]
        corners = [place for place in places if place is not None]
        if off_grid:
            others.update(dict.fromkeys(numbers, off_grid))
        bands = {number: opened[number].band.asset.index - 1 for number in numbers}
        planes = {
            sample: empty_planes(image.grid, corners, side, first.band.fill, image.dtype)
            for sample in set(bands.values())
        }
        windows = Windows(corners, side, planes)
        parts.append(_Part(Wanted(file, image, windows), on_grid, bands))
    return parts, others


def _through_gdal(
    opened: Sequence[OpenBand],
    others: dict[int, list[int]],
    frames: Sequence[Frame],
    number: int,
) -> tuple[dict[int, Cut], dict[int, str]]:
    one = opened[number]
    # The signature of the moment: the one the band was made with may have expired.
    band = replace(one.band, path=one.file.path())
    return read_cuts(band, {index: frames[index] for index in others[number]}, one.file.name)


def _open(
    href: str,
    path: str,
    resolve: Resolve,
    client: HttpClient | None,
    patience: Patience,
    stack: contextlib.ExitStack,
) -> BandFile:
    if not is_remote(path):
        try:
            disk = stack.enter_context(DiskFile(path))
            return BandFile(path, lambda: path, disk, read_image(disk.head))
        except (OSError, LayoutError):
            return BandFile(path, lambda: path)
    if urlsplit(path).scheme not in ("http", "https"):
        return BandFile(href, lambda: resolve(href))
    # The first URL is there already: signing again would ask the signer twice per file.
    given = [path]
    address = Address(href, lambda: given.pop() if given else resolve(href))
    file = HttpFile(address, client or shared_client(), patience)
    try:
        return BandFile(href, lambda: address.url, file, read_image(file.head))
    except LayoutError:
        return BandFile(href, lambda: address.url)


def _check(band: Band, opened: BandFile) -> None:
    image = opened.image
    if image is None:
        return  # GDAL's windows check what they open
    if band.asset.index > image.samples:
        raise InputError(
            f"{opened.name}: holds {image.samples} bands, none of index {band.asset.index}"
        )
    check_dtype(band, image.dtype, opened.name)
