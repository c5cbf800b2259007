"""Reader of the published CrisisLandMark: one HDF5 tree of external links over part files.

    crisislandmark.h5      /<source>/<key>: external links into
    benv2s1_part1.h5, ...  /<source>/<key>/{image, coords}, attributes crs, timestamp?, labels
    metadata.parquet       key (`source/key`), split (train, test), labels
    queries.jsonl, qrels/  see `landmark.archives.published`

`image` is (2 or 12, 120, 120) float32, `coords` the x and y of every pixel's centre in `crs`. An
image is one patch and is taken as it is, whatever its pixel size; a frame of 1.2 km around its
centre stands for images of another pixel size or CRS, and the patch says so. Labels are CORINE's
names in title case, or Dynamic World and crisis names in lower case.

The unit of Sentinel-1 differs between sources and is stated nowhere: it is taken from the values
of each source, and every image is held against it when it is read. The card says that channels
are VV, VH; whether CORINE is the only source of title-case names is not documented either.
"""

from __future__ import annotations

import datetime as dt
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from landmark import hdf5
from landmark.archives.about import About
from landmark.archives.reading import SPLIT_NAMES, ArchiveImage, Request, refuse_repeats, spread
from landmark.archives.tiles import SAMPLES
from landmark.errors import InputError, LandmarkError
from landmark.grid import PIXELS, SIZE_M, Frame, utm_epsg
from landmark.sampling import from_degrees, to_degrees
from landmark.scenes import BandAsset, Scene, SourceGrid

PROVIDER = "crisislandmark"
ABOUT = About(
    title="CrisisLandMark as published",
    licence="CC-BY-NC-4.0",
    source="https://huggingface.co/datasets/DarthReca/crisislandmark",
    size="about 327 GB as arrays (646 803 images with coordinates, computed)",
    hdf5=True,
)
#: Sources of each sensor: the first part of a key is the only mark of it.
SENSORS: dict[str, str] = {
    "benv2s2": "s2",
    "cabuar": "s2",
    "sen2flood": "s2",
    "benv2s1": "s1",
    "mmflood": "s1",
    "sen1flood": "s1",
    "quakeset": "s1",
    # What `landmark export` calls patches of sources the published corpus does not have.
    "landmarks1": "s1",
    "landmarks2": "s2",
}
_MAIN, _TABLE = "crisislandmark.h5", "metadata.parquet"
_TEN_M = 0.05
_BEN_NAME = re.compile(r"(?P<platform>S[12][ABC])_(?:MSIL2A|IW_GRDH_1SDV)_(?P<time>\d{8}T\d{6})_.*")


@dataclass(frozen=True)
class _Row:
    """A row of metadata.parquet."""

    key: str
    split: str
    labels: tuple[str, ...]

    @property
    def source(self) -> str:
        """The source it comes from: the first part of its key."""
        return self.key.partition("/")[0]


@dataclass(frozen=True)
class _Found:
    """What the HDF5 group of a key states."""

    file: str
    epsg: int
    grid: SourceGrid
    seconds: float | None


def read_images(request: Request) -> Iterator[ArchiveImage]:
    """Yield every image of the table.

    Raises:
        InputError: A file is missing or damaged, a key is listed twice, of no known source or in
            no file, or the values of a source do not show their unit.
    """
    listed = _table(request)
    rows = [r for r in listed if SENSORS[r.source] in request.sensors]
    rows = [r for r in rows if request.wants(SENSORS[r.source], r.key, _day(r.key))]
    files = _files(request)
    _tell_of_unlisted(request, listed, files)
    units: dict[str, tuple[Any, str]] = {}
    for source in sorted({row.source for row in rows}):
        if SENSORS[source] == "s1":
            units[source] = _unit(request, source, [r for r in rows if r.source == source], files)
        else:
            units[source] = ("dn", "archive")
    for group, members in _by_file(request, rows, files).items():
        with hdf5.open_file(request.hdf5(group)) as file:
            for row in members:
                found = _read_group(file, group, row, f"{request.origin}/{group}")
                yield _image(request, row, found, units[row.source])


def _table(request: Request) -> list[_Row]:
    if not request.files.is_file(_TABLE):
        raise InputError(f"{request.origin}: holds no {_TABLE} of CrisisLandMark")
    origin = f"{request.origin}/{_TABLE}"
    try:
        table = pq.read_table(io.BytesIO(request.files.read(_TABLE)))
        columns = [table[name].to_pylist() for name in ("key", "split", "labels")]
    except (pa.ArrowException, OSError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{origin}: is no table with key, split, labels ({reason})") from None
    rows = [
        _Row(str(key), str(split or ""), tuple(labels or ()))
        for key, split, labels in zip(*columns, strict=True)
    ]
    refuse_repeats((row.key for row in rows), origin)
    for row in rows:
        name = row.key.partition("/")[2]
        if row.source not in SENSORS or not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
            raise InputError(
                f"{origin}: key {row.key!r} is not of a known source ({', '.join(SENSORS)})"
            )
        if row.split not in SPLIT_NAMES:
            raise InputError(
                f"{origin}: split {row.split!r} of {row.key} is neither train nor test"
            )
    return rows


def _tell_of_unlisted(request: Request, rows: list[_Row], files: dict[str, str]) -> None:
    """Say how many images have no row: without split and labels they are no patches."""
    unlisted = sorted(set(files) - {row.key for row in rows})
    if unlisted:
        request.note(
            f"{request.origin}: {len(unlisted)} images of the HDF5 files are not in {_TABLE} "
            f"(first: {unlisted[0]}); they are left out"
        )


def _files(request: Request) -> dict[str, str]:
    """Return key -> HDF5 file that holds it, following the links by name only."""
    found: dict[str, str] = {}
    names = [n for n in request.files.names() if n.endswith(".h5")]
    order = [_MAIN] if _MAIN in names else names
    for name in order:
        with hdf5.open_file(request.hdf5(name)) as file:
            for source in file:
                if source not in SENSORS:
                    raise InputError(
                        f"{request.origin}/{name}: holds source {source!r}, which "
                        f"CrisisLandMark does not have"
                    )
                group = hdf5.member(file, source, f"{request.origin}/{name}")
                for key in group:
                    link = group.get(key, getlink=True)
                    if hdf5.is_external(link):
                        expected = (f"/{source}/{key}", f"{source}/{key}")
                        if link.filename not in names or link.path not in expected:
                            raise InputError(
                                f"{request.origin}/{name}: {source}/{key} is a link to "
                                f"{link.filename!r}, which is no file beside it"
                            )
                        found[f"{source}/{key}"] = link.filename
                    else:
                        found[f"{source}/{key}"] = name
    return found


def _by_file(request: Request, rows: list[_Row], files: dict[str, str]) -> dict[str, list[_Row]]:
    lost = [row.key for row in rows if row.key not in files]
    if lost:
        raise InputError(
            f"{request.origin}/{_TABLE}: lists {len(lost)} keys that no HDF5 file holds (first: "
            f"{lost[0]}); complete the archive"
        )
    groups: dict[str, list[_Row]] = {}
    for row in rows:
        groups.setdefault(files[row.key], []).append(row)
    return groups


def _unit(
    request: Request, source: str, rows: list[_Row], files: dict[str, str]
) -> tuple[Any, str]:
    samples = []
    for row in spread([r for r in rows if r.key in files], SAMPLES):
        try:
            path = request.hdf5(files[row.key])
            samples.append(hdf5.read_dataset(f"{path}#{row.key}/image").ravel())
        except LandmarkError:
            continue  # it will be a hole with its cause
    return request.unit(samples, f"source {source}")


def _read_group(file: Any, name: str, row: _Row, origin: str) -> _Found:
    try:
        group = hdf5.member(file, row.key, origin)
        coords = np.asarray(hdf5.member(group, "coords", f"{origin}: {row.key}")[()], np.float64)
    except (OSError, LandmarkError) as error:
        raise InputError(f"{origin}: {row.key}: place cannot be read ({error})") from None
    crs = hdf5.attribute(group, "crs")
    code = crs[0] if isinstance(crs, list) and crs else crs
    if not isinstance(code, int | float) or code != code or coords.shape != (2, PIXELS, PIXELS):
        raise InputError(f"{origin}: {row.key}: states no crs, or coords are no 2 x 120 x 120")
    stamp = hdf5.attribute(group, "timestamp")
    seconds = stamp[0] if isinstance(stamp, list) and stamp else stamp
    return _Found(name, int(code), _grid(int(code), coords, f"{origin}: {row.key}"), seconds)


def _grid(epsg: int, coords: Any, origin: str) -> SourceGrid:
    """Return the grid that the coordinates of pixel centres span."""
    last = PIXELS - 1
    (west, east), (north, south) = coords[0, 0, [0, last]], coords[1, [0, last], 0]
    across, down = (east - west) / last, (south - north) / last
    if not (np.isfinite(coords).all() and across > 0 and down < 0):
        raise InputError(f"{origin}: coords are not north up and finite")
    if epsg != 4326:
        across, down = round(across, 1), round(down, 1)
    if _is_ten_m(epsg, across, down):
        # float32 northings are up to 0.5 m off, and corners of a 10 m grid are whole metres.
        x, y = float(round(west - across / 2)), float(round(north - down / 2))
        return SourceGrid(epsg, (across, 0.0, x, 0.0, down, y), PIXELS, PIXELS)
    transform = (across, 0.0, west - across / 2, 0.0, down, north - down / 2)
    return SourceGrid(epsg, tuple(float(v) for v in transform), PIXELS, PIXELS)  # type: ignore[arg-type]


def _image(request: Request, row: _Row, found: _Found, unit: tuple[Any, str]) -> ArchiveImage:
    sensor = SENSORS[row.source]
    frame, place = _frame(row.key.replace("/", ".", 1), found.grid)
    time, dated = _time(request, row, found)
    name = _BEN_NAME.fullmatch(row.key.partition("/")[2])
    bands = request.bands(sensor)
    href = f"{request.files.href(found.file)}#{row.key}/image"
    scene = Scene(
        sensor="s1" if sensor == "s1" else "s2",
        provider=PROVIDER,
        collection=f"CrisisLandMark {row.source}",
        item=row.key,
        platform=name["platform"] if name else sensor.upper(),
        time=time,
        bands=tuple(BandAsset(band, href, index) for index, band in enumerate(bands, start=1)),
        unit=unit[0],
        unit_source=unit[1],
        quantity="unknown" if sensor == "s1" else "reflectance",
        polarisations=("VV", "VH") if sensor == "s1" else (),
        nodata=None if sensor == "s1" else 0,
        licence=request.licence(sensor, ABOUT.licence),
        grid=found.grid,
        form="array",
        tags=row.labels,
        tags_level="image",
        split=SPLIT_NAMES[row.split],
        notes=(*dated, *place),
    )
    return ArchiveImage(scene, frame)


def _frame(name: str, grid: SourceGrid) -> tuple[Frame, tuple[str, ...]]:
    """Return the frame of an image, and a note where it only stands for it."""
    a, _, c, _, e, f = grid.transform
    metric = 32601 <= grid.epsg <= 32760
    if _is_ten_m(grid.epsg, a, e):
        return Frame(name, grid.epsg, c, f), ()
    centre = np.array([[c + a * PIXELS / 2, f + e * PIXELS / 2]])
    epsg = grid.epsg
    if not metric:
        lon, lat = to_degrees(epsg, centre) if epsg != 4326 else (centre[:, 0], centre[:, 1])
        epsg = utm_epsg(float(lon[0]), float(lat[0]))
        x, y = from_degrees(epsg, np.column_stack([lon, lat]))
        centre = np.column_stack([x, y])
    x_min, y_max = (round(v, -1) for v in (centre[0, 0] - SIZE_M / 2, centre[0, 1] + SIZE_M / 2))
    size = f"{a:g} x {-e:g} {'m' if metric else 'degrees'}"
    note = (
        f"place: pixels are {size} in EPSG:{grid.epsg}, as published; the frame is 1.2 km around "
        "their centre"
    )
    return Frame(name, epsg, float(x_min), float(y_max)), (note,)


def _is_ten_m(epsg: int, across: float, down: float) -> bool:
    return 32601 <= epsg <= 32760 and abs(across - 10) < _TEN_M and abs(down + 10) < _TEN_M


def _day(key: str) -> str:
    name = _BEN_NAME.fullmatch(key.partition("/")[2])
    return f"{name['time'][:4]}-{name['time'][4:6]}-{name['time'][6:8]}" if name else ""


def _time(request: Request, row: _Row, found: _Found) -> tuple[str, tuple[str, ...]]:
    """Return the acquisition time: of the key, else the timestamp, else nominal."""
    name = _BEN_NAME.fullmatch(row.key.partition("/")[2])
    if name is not None:
        stamp = dt.datetime.strptime(name["time"], "%Y%m%dT%H%M%S")
        return stamp.strftime("%Y-%m-%dT%H:%M:%SZ"), ()
    if found.seconds is None or not np.isfinite(found.seconds):
        return request.date("", row.key)
    stamp = dt.datetime.fromtimestamp(float(found.seconds), dt.UTC)
    return stamp.strftime("%Y-%m-%dT%H:%M:%SZ"), ("time: float32 seconds, within 64 s",)
