"""Reader of BigEarthNet v2 (reBEN) in its published folder layout.

    FOLDER/metadata.parquet                                one row per patch: patch_id, s1_name
    FOLDER/BigEarthNet-S2/<tile>/<patch_id>/<patch_id>_B02.tif
    FOLDER/BigEarthNet-S1/<scene>/<s1_name>/<s1_name>_VV.tif
    FOLDER/Reference_Maps/<tile>/<patch_id>/<patch_id>_reference_map.tif

`metadata.parquet` says which patches there are. Frames are computed, not read: a patch lies
column x 1200 m east and row x 1200 m south of its MGRS tile's corner (true of all patches of the
sample this was written against, both sensors), so a few headers per tile serve half a million
patches, and a tile whose headers disagree is read patch by patch.

A band that no looked-at patch has is the archive's lack and an error; a file that is missing
from a single patch shows when it is read, and becomes a hole with its name.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from landmark.errors import InputError
from landmark.grid import PIXELS, SIZE_M, Frame
from landmark.manifest import S1_BANDS, Manifest, Period
from landmark.pixels import low_percentiles, read_header
from landmark.radiometry import offset_evidence
from landmark.scenes import BandAsset, Scene, SourceGrid, Unit
from landmark.schema import S2_RESOLUTION

PROVIDER = "reben"
#: Community Data License Agreement, Permissive 1.0: what BigEarthNet is published under.
LICENCE = "CDLA-Permissive-1.0"
#: Patches whose dark pixels are looked at, one per Sentinel-2 acquisition.
_EVIDENCE_PATCHES = 32

_S2_NAME = re.compile(
    r"(?P<platform>S2[ABC])_MSIL2A_(?P<time>\d{8}T\d{6})_N\d{4}_R(?P<orbit>\d{3})"
    r"_T(?P<tile>\d{2}[A-Z]{3})_(?P<column>\d{1,3})_(?P<row>\d{1,3})"
)
_S1_NAME = re.compile(
    r"(?P<platform>S1[ABC])_IW_GRDH_1SDV_(?P<time>\d{8}T\d{6})"
    r"_(?P<tile>\d{2}[A-Z]{3})_(?P<column>\d{1,3})_(?P<row>\d{1,3})"
)


@dataclass(frozen=True)
class _Patch:
    """One patch of one sensor, as its name says."""

    name: str
    sensor: str
    platform: str
    time: str
    tile: str
    column: int
    row: int
    orbit: int | None
    reference: str

    @property
    def folder(self) -> str:
        """Folder of its band files, relative to the archive."""
        tokens = 2 if self.sensor == "s2" else 3
        parent = self.name.rsplit("_", tokens)[0]
        return f"BigEarthNet-{self.sensor.upper()}/{parent}/{self.name}"

    def file(self, band: str) -> str:
        """Path of a band file, relative to the archive."""
        return f"{self.folder}/{self.name}_{band}.tif"


def read_archive(folder: Path, manifest: Manifest) -> list[tuple[Scene, Frame]]:
    """Return every patch of the sensors the manifest asks for, as a scene and its frame.

    Args:
        folder: The archive; hrefs are relative to it.
        manifest: Says sensors, bands and time.

    Raises:
        InputError: There is no metadata, a name in it is malformed, the archive lacks a wanted
            band, or no file of a listed tile exists.
    """
    patches = [
        patch for patch in _listed(folder, manifest.sensors()) if _within(patch.time, manifest.time)
    ]
    bands = {"s1": S1_BANDS, "s2": manifest.s2.bands if manifest.s2 else ()}
    for sensor in manifest.sensors():
        _require_bands(folder, sensor, bands[sensor], [p for p in patches if p.sensor == sensor])
    frames = _frames(folder, patches, bands)
    offset = _offset_evidence(folder, manifest, [p for p in patches if p.sensor == "s2"])
    return [
        (_scene(patch, frame, bands[patch.sensor], manifest, offset), frame)
        for patch, frame in zip(patches, frames, strict=True)
    ]


def _listed(folder: Path, sensors: tuple[str, ...]) -> Iterator[_Patch]:
    path = folder / "metadata.parquet"
    try:
        table = pq.read_table(path, columns=["patch_id", "s1_name"])
    except FileNotFoundError:
        raise InputError(
            f"{folder}: holds no metadata.parquet; href must name the folder that holds it and "
            "BigEarthNet-S1, BigEarthNet-S2, Reference_Maps"
        ) from None
    except (pa.ArrowException, OSError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: is no table with patch_id and s1_name ({reason})") from None
    rows = sorted(set(zip(*(table[name].to_pylist() for name in table.column_names), strict=True)))
    for patch_id, s1_name in rows:
        s2 = _match(_S2_NAME, patch_id, path, "patch_id")
        tile = patch_id.rsplit("_", 2)[0]
        reference = f"Reference_Maps/{tile}/{patch_id}/{patch_id}_reference_map.tif"
        if "s1" in sensors:
            yield _patch("s1", _match(_S1_NAME, s1_name, path, "s1_name"), reference)
        if "s2" in sensors:
            yield _patch("s2", s2, reference)


def _match(pattern: re.Pattern[str], name: object, path: Path, column: str) -> re.Match[str]:
    match = pattern.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        raise InputError(f"{path}: {column} {name!r} is no BigEarthNet v2 patch name")
    return match


def _patch(sensor: str, match: re.Match[str], reference: str) -> _Patch:
    stamp = match["time"]
    try:
        time = dt.datetime.strptime(stamp, "%Y%m%dT%H%M%S").strftime("%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        raise InputError(f"patch name {match[0]!r}: {stamp} is no date and time") from None
    return _Patch(
        name=match[0],
        sensor=sensor,
        platform=match["platform"],
        time=time,
        tile=match["tile"],
        column=int(match["column"]),
        row=int(match["row"]),
        orbit=int(match["orbit"]) if sensor == "s2" else None,
        reference=reference,
    )


def _within(time: str, period: Period | None) -> bool:
    day = dt.date.fromisoformat(time[:10])
    return period is None or period.start <= day <= period.end


def _require_bands(
    folder: Path, sensor: str, wanted: tuple[str, ...], patches: list[_Patch]
) -> None:
    """Refuse an archive that lacks a wanted band altogether."""
    found: set[str] = set()
    looked = None
    for patch in _one_per(patches, lambda patch: str(PurePosixPath(patch.folder).parent), folder):
        names = {path.name for path in (folder / patch.folder).iterdir()}
        found |= {band for band in wanted if f"{patch.name}_{band}.tif" in names}
        looked = patch
    if patches and looked is None:
        raise InputError(f"{folder}: holds none of the {sensor} patches metadata.parquet lists")
    missing = [band for band in wanted if band not in found]
    if not patches or not missing:
        return
    have = ", ".join(band for band in wanted if band in found)
    mend = f"; set {sensor}.bands: [{have}]" if sensor == "s2" and have else ""
    raise InputError(f"{folder}: BigEarthNet-{sensor.upper()} lacks {', '.join(missing)}{mend}")


def _one_per(patches: list[_Patch], key: Callable[[_Patch], str], folder: Path) -> Iterator[_Patch]:
    """Yield the first patch of each key whose folder exists."""
    done: set[str] = set()
    for patch in patches:
        group = key(patch)
        if group not in done and (folder / patch.folder).is_dir():
            done.add(group)
            yield patch


def _frames(folder: Path, patches: list[_Patch], bands: dict[str, tuple[str, ...]]) -> list[Frame]:
    tiles: dict[str, list[_Patch]] = {}
    for patch in patches:
        tiles.setdefault(patch.tile, []).append(patch)
    corners = {tile: _tile_corner(folder, tile, members, bands) for tile, members in tiles.items()}
    frames = []
    for patch in patches:
        corner = corners[patch.tile]
        if corner is None:
            corner = _corner_by_header(folder, patch, bands[patch.sensor])
        if corner is None:
            raise InputError(
                f"{folder}: no file of patch {patch.name} exists to take its place on earth from; "
                "complete the archive or leave its row out of metadata.parquet"
            )
        epsg, x, y = corner
        frames.append(Frame(patch.name, epsg, x + patch.column * SIZE_M, y - patch.row * SIZE_M))
    return frames


_Corner = tuple[int, float, float]


def _tile_corner(
    folder: Path, tile: str, patches: list[_Patch], bands: dict[str, tuple[str, ...]]
) -> _Corner | None:
    """Return (EPSG, x, y) of a tile's corner if its first and last patches agree on it."""
    seen: list[_Corner] = []
    for order in (patches, patches[::-1]):
        corners = (_corner_by_header(folder, patch, bands[patch.sensor]) for patch in order)
        found = next((corner for corner in corners if corner is not None), None)
        if found is None:
            raise InputError(
                f"{folder}: metadata.parquet lists patches of tile T{tile}, but no file of them "
                "exists; complete the archive or leave them out of metadata.parquet"
            )
        seen.append(found)
    return seen[0] if seen[0] == seen[1] else None


def _corner_by_header(folder: Path, patch: _Patch, bands: tuple[str, ...]) -> _Corner | None:
    """Return the tile corner that follows from one patch's header, or None without a file."""
    for name in (*(patch.file(band) for band in bands), patch.reference):
        path = folder / name
        if path.is_file():
            grid = read_header(str(path))
            x, y = grid.transform[2], grid.transform[5]
            return grid.epsg, x - patch.column * SIZE_M, y + patch.row * SIZE_M
    return None


def _offset_evidence(folder: Path, manifest: Manifest, patches: list[_Patch]) -> str:
    """Return what dark pixels of a sample say of the offset, which no name states.

    The L1C inputs are older than baseline 04.00 and the L2A was computed by the publishers
    (N9999), so the pixels should hold no offset.
    """
    if manifest.s2 is None:
        return ""
    lowest: dict[str, float] = {}
    bands = manifest.s2.bands
    sample = _one_per(patches, lambda patch: str(PurePosixPath(patch.folder).parent), folder)
    for patch, _ in zip(sample, range(_EVIDENCE_PATCHES), strict=False):
        present = [band for band in bands if (folder / patch.file(band)).is_file()]
        frame = Frame(patch.name, 0, 0.0, 0.0)
        scene = _scene(patch, frame, tuple(present), manifest, "")
        for band, value in low_percentiles(scene, lambda href: str(folder / href)).items():
            lowest[band] = min(value, lowest.get(band, value))
    evidence = offset_evidence(lowest, 0)
    if evidence == "conflicts" and manifest.s2.on_conflict != "trust_metadata":
        raise InputError(
            f"{folder}: dark pixels show that +1000 is in the Sentinel-2 pixels, which "
            "BigEarthNet v2 does not have; check the files, or set s2.on_conflict: trust_metadata"
        )
    return evidence


def _scene(
    patch: _Patch, frame: Frame, bands: tuple[str, ...], manifest: Manifest, evidence: str
) -> Scene:
    radar = patch.sensor == "s1"
    source = manifest.s1 if radar else manifest.s2
    resolution = min((S2_RESOLUTION.get(band, 10) for band in bands), default=10)
    side = PIXELS * 10 // resolution
    unit: Unit = "dn"
    unit_source = "archive"
    if radar and manifest.s1 is not None:
        # dB by value (real patches: VV about -12, VH about -19), stated nowhere in the files.
        unit = "db" if manifest.s1.unit == "item" else manifest.s1.unit
        unit_source = "archive" if manifest.s1.unit == "item" else "manifest"
    return Scene(
        sensor="s1" if radar else "s2",
        provider=PROVIDER,
        collection=f"BigEarthNet-{patch.sensor.upper()}",
        item=patch.name,
        platform=patch.platform,
        time=patch.time,
        bands=tuple(BandAsset(band, patch.file(band)) for band in bands),
        unit=unit,
        unit_source=unit_source,
        # Whether S1 is sigma0 or gamma0 is not stated by the publishers' files.
        quantity="unknown" if radar else "reflectance",
        mgrs=patch.tile,
        relative_orbit=patch.orbit,
        polarisations=bands if radar else (),
        offset=0,
        offset_evidence="" if radar else evidence,
        nodata=None if radar else 0,
        licence=(source.licence if source is not None else None) or LICENCE,
        grid=SourceGrid(
            frame.epsg,
            (float(resolution), 0.0, frame.x_min, 0.0, -float(resolution), frame.y_max),
            side,
            side,
        ),
        reference=BandAsset("reference_map", patch.reference),
    )
