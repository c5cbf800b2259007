"""What both versions of BigEarthNet share: names, places, scenes of its patches.

Frames are computed, not read: a patch lies column x 1200 m east and row x 1200 m south of its
MGRS tile's corner (true of all patches of the sample this was written against, both sensors), so a
few headers per tile serve half a million patches, and a tile whose headers disagree is read patch
by patch.
"""

from __future__ import annotations

import array
import datetime as dt
import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from landmark.archives.reading import ArchiveImage, Request, settle_offset, spread
from landmark.archives.tiles import SAMPLES, sample_values
from landmark.errors import InputError
from landmark.grid import PIXELS, SIZE_M, Frame
from landmark.pixels import read_header
from landmark.scenes import BandAsset, Scene, SourceGrid, Unit
from landmark.schema import S2_RESOLUTION

#: Community Data License Agreement, Permissive 1.0: what BigEarthNet is published under.
LICENCE = "CDLA-Permissive-1.0"
#: Patches whose dark pixels are looked at, one per Sentinel-2 acquisition.
_EVIDENCE_PATCHES = 32

_Corner = tuple[int, float, float]


@dataclass(frozen=True)
class Patch:
    """One patch of one sensor, as its name says.

    Attributes:
        name: Its name, which its files begin with.
        sensor: `s1` or `s2`.
        platform: `S2A`, `S1B`, ...
        time: Acquisition, ISO 8601 UTC.
        tile: What its column and row are counted in: an MGRS tile.
        column: Of the tile, eastwards.
        row: Of the tile, southwards.
        orbit: Relative orbit, or None.
        folder: Folder of its band files, relative to the archive.
        reference: Its label map, relative to the archive, or "".
        tags: Its labels.
        split: The split it is published in, in our words.
        corner: EPSG code, x and y of its upper-left corner where its metadata states them.
    """

    name: str
    sensor: str
    platform: str
    time: str
    tile: str
    column: int
    row: int
    orbit: int | None
    folder: str
    reference: str = ""
    tags: tuple[str, ...] = ()
    split: str = ""
    corner: _Corner | None = None

    def file(self, band: str) -> str:
        """Path of a band file, relative to the archive."""
        return f"{self.folder}/{self.name}_{band}.tif"


def match(pattern: re.Pattern[str], name: object, origin: str, version: str) -> re.Match[str]:
    """Return the parts of a patch name.

    Raises:
        InputError: It is none.
    """
    found = pattern.fullmatch(name) if isinstance(name, str) else None
    if found is None:
        raise InputError(f"{origin} {name!r} is no BigEarthNet {version} patch name")
    return found


def acquired(parts: re.Match[str]) -> str:
    """Return the acquisition time a patch name states, ISO 8601 UTC.

    Raises:
        InputError: It states none that exists.
    """
    try:
        return _time(parts["time"])
    except ValueError:
        raise InputError(f"patch name {parts[0]!r}: {parts['time']} is no date and time") from None


@functools.lru_cache(1024)
def _time(stamp: str) -> str:
    """Return a time as names state it, in ISO 8601: thousands of patches share each."""
    return f"{dt.datetime.fromisoformat(stamp).isoformat()}Z"


def images(request: Request, patches: Sequence[Patch], provider: str) -> Iterator[ArchiveImage]:
    """Yield patches as images of one frame each.

    Raises:
        InputError: The archive lacks a wanted band altogether, no file of a tile exists, or the
            values of Sentinel-1 do not show their unit.
    """
    for sensor in request.sensors:
        _require_bands(request, sensor, patches)
    tiles, radar = _tiles_and_radar(patches)
    corners = {tile: _tile_corner(request, tile, patches, own) for tile, own in tiles.items()}
    evidence = _evidence(request, _of_sensor("s2", patches), provider)
    units: dict[str, tuple[Unit, str]] = {"s2": ("dn", "archive")}
    if radar:
        units["s1"] = _unit(request, [patches[k] for k in spread(radar, 4 * SAMPLES)])
    for patch in patches:
        frame = _frame(request, patch, corners)
        scene = _scene(request, patch, frame, provider, units[patch.sensor], evidence)
        yield ArchiveImage(scene, frame)


def _of_sensor(sensor: str, patches: Iterable[Patch]) -> Iterator[Patch]:
    return (patch for patch in patches if patch.sensor == sensor)


def _require_bands(request: Request, sensor: str, patches: Iterable[Patch]) -> None:
    """Refuse an archive that lacks a wanted band altogether."""
    wanted = request.bands(sensor)
    found: set[str] = set()
    looked = None
    for patch in _one_per_parent(request, _of_sensor(sensor, patches)):
        names = set(request.files.names(patch.folder))
        found |= {band for band in wanted if f"{patch.name}_{band}.tif" in names}
        if len(found) == len(wanted):
            return
        looked = patch
    if looked is None:
        if next(_of_sensor(sensor, patches), None) is None:
            return
        raise InputError(f"{request.origin}: holds none of the {sensor} patches that are listed")
    missing = [band for band in wanted if band not in found]
    have = ", ".join(band for band in wanted if band in found)
    mend = f"; set {sensor}.bands: [{have}]" if sensor == "s2" and have else ""
    raise InputError(
        f"{request.origin}: BigEarthNet-{sensor.upper()} lacks {', '.join(missing)}{mend}"
    )


def _one_per_parent(request: Request, patches: Iterable[Patch]) -> Iterator[Patch]:
    """Yield the first patch of each scene (parent folder) whose folder exists."""
    done: set[tuple[str, str]] = set()
    for patch in patches:
        group = (str(PurePosixPath(patch.folder).parent), patch.time)
        if group not in done and request.files.names(patch.folder):
            done.add(group)
            yield patch


def _frame(request: Request, patch: Patch, corners: Mapping[str, _Corner | None]) -> Frame:
    if patch.corner is not None:
        return Frame(patch.name, *patch.corner)
    corner = corners[patch.tile] or _corner_by_header(request, patch)
    if corner is None:
        raise InputError(
            f"{request.origin}: no file of patch {patch.name} exists to take its place on "
            "earth from; complete the archive or leave the patch out of its list"
        )
    epsg, x, y = corner
    return Frame(patch.name, epsg, x + patch.column * SIZE_M, y - patch.row * SIZE_M)


def _tiles_and_radar(
    patches: Sequence[Patch],
) -> tuple[dict[str, array.array[int]], array.array[int]]:
    """Return the patches of each tile that state no corner, and those of radar, by number."""
    tiles: dict[str, array.array[int]] = {}
    radar = array.array("q")
    for number, patch in enumerate(patches):
        if patch.corner is None:
            tiles.setdefault(patch.tile, array.array("q")).append(number)
        if patch.sensor == "s1":
            radar.append(number)
    return tiles, radar


def _tile_corner(
    request: Request, tile: str, patches: Sequence[Patch], own: Sequence[int]
) -> _Corner | None:
    """Return (EPSG, x, y) of a tile's corner if its first and last patches agree on it."""
    seen: list[_Corner] = []
    for order in (own, reversed(own)):
        corners = (_corner_by_header(request, patches[number]) for number in order)
        found = next((corner for corner in corners if corner is not None), None)
        if found is None:
            raise InputError(
                f"{request.origin}: lists patches of tile T{tile}, but no file of them exists; "
                "complete the archive or leave them out of its list"
            )
        seen.append(found)
    return seen[0] if seen[0] == seen[1] else None


def _corner_by_header(request: Request, patch: Patch) -> _Corner | None:
    """Return the tile corner that follows from one patch's header, or None without a file."""
    names = [patch.file(band) for band in request.bands(patch.sensor)]
    for name in (*names, *([patch.reference] if patch.reference else [])):
        if request.files.is_file(name):
            grid = read_header(request.path(request.files.href(name)))
            x, y = grid.transform[2], grid.transform[5]
            return grid.epsg, x - patch.column * SIZE_M, y + patch.row * SIZE_M
    return None


def _evidence(request: Request, patches: Iterable[Patch], provider: str) -> str:
    """Return what dark pixels of a sample say of the offset, which no name states."""
    samples = []
    sample = _one_per_parent(request, patches)
    for _, patch in zip(range(_EVIDENCE_PATCHES), sample, strict=False):
        frame = Frame(patch.name, 0, 0.0, 0.0)
        scene = _scene(request, patch, frame, provider, ("dn", "archive"))
        names = [patch.file(asset.band) for asset in scene.bands]
        held = [
            asset
            for asset, name in zip(scene.bands, names, strict=True)
            if request.files.is_file(name)
        ]
        samples.append(Scene(**{**vars(scene), "bands": tuple(held)}))
    return settle_offset(request, samples, "BigEarthNet") if samples else ""


def _unit(request: Request, patches: list[Patch]) -> tuple[Unit, str]:
    """Return the unit of radar files, which neither names nor files state, and why."""
    names = [patch.file("VV") for patch in patches]
    held = [name for name in names if request.files.is_file(name)]
    assets = [BandAsset("VV", request.files.href(name)) for name in spread(held, SAMPLES)]
    samples = sample_values(request, [(asset, None) for asset in assets])
    return request.unit(samples, "VV files")


def _scene(
    request: Request,
    patch: Patch,
    frame: Frame,
    provider: str,
    unit: tuple[Unit, str],
    evidence: str = "",
) -> Scene:
    radar = patch.sensor == "s1"
    bands = request.bands(patch.sensor)
    resolution = min((S2_RESOLUTION.get(band, 10) for band in bands), default=10)
    side = PIXELS * 10 // resolution
    files = request.files
    reference = patch.reference
    return Scene(
        sensor="s1" if radar else "s2",
        provider=provider,
        collection=f"BigEarthNet-{patch.sensor.upper()}",
        item=patch.name,
        platform=patch.platform,
        time=patch.time,
        bands=tuple(BandAsset(band, files.href(patch.file(band))) for band in bands),
        unit=unit[0],
        unit_source=unit[1],
        # Whether S1 is sigma0 or gamma0 is not stated by the publishers' files.
        quantity="unknown" if radar else "reflectance",
        mgrs=patch.tile if len(patch.tile) == 5 else "",
        relative_orbit=patch.orbit,
        polarisations=bands if radar else (),
        offset=0,
        offset_evidence="" if radar else evidence,
        nodata=None if radar else 0,
        licence=request.licence(patch.sensor, LICENCE),
        grid=SourceGrid(
            frame.epsg,
            (float(resolution), 0.0, frame.x_min, 0.0, -float(resolution), frame.y_max),
            side,
            side,
        ),
        reference=BandAsset("reference_map", files.href(reference)) if reference else None,
        tags=patch.tags,
        tags_level="image" if patch.tags else "",
        split=patch.split,
    )
