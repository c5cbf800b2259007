"""Reader of QuakeSet: Sentinel-1 before and after earthquakes, in one HDF5 file.

    earthquakes.h5    /<event>/{x, y, patch_<i>/{before?, pre, post}}, attributes magnitude, split

Images are (rows, columns, 2) float32, VV then VH; `x` and `y` are the coordinates of the pixel
centres. The date and the unit are stated nowhere: the manifest gives a nominal date, and the unit
is taken from the values. The label holds for the image as a whole ("affected by the earthquake"
after it, not before): it is no map of damage.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landmark import hdf5
from landmark.archives.about import About
from landmark.archives.reading import SPLIT_NAMES, ArchiveImage, Request, spread
from landmark.archives.tiles import SAMPLES, sample_values
from landmark.errors import InputError
from landmark.sampling import frame_base
from landmark.scenes import BandAsset, Scene, SceneEvent, SourceGrid

PROVIDER = "quakeset"
ABOUT = About(
    title="QuakeSet",
    licence="OPENRAIL",
    source="https://huggingface.co/datasets/DarthReca/quakeset (earthquakes.h5)",
    size="about 11 GB as arrays (some 5 200 images of 512 x 512 x 2, computed)",
    hdf5=True,
)
_FILE, _OLDER = "earthquakes.h5", "earthquakes.parquet"
_AXES = ("x", "y")
_IMAGES = ("before", "pre", "post")
#: Coordinates may be rounded by this share of a pixel and still count as evenly spaced.
_EVEN = 0.05


def read_images(request: Request) -> Iterator[ArchiveImage]:
    """Yield every image of every event.

    Raises:
        InputError: The file is missing or damaged, a group is not what the layout says, the
            manifest gives no nominal date, or the values do not show their unit.
    """
    if "s1" not in request.sensors:
        return
    if request.files.is_file(_OLDER) and not request.files.is_file(_FILE):
        raise InputError(
            f"{request.origin}: holds {_OLDER}, QuakeSet's older release, which is not read; get "
            f"{_FILE}"
        )
    path = request.hdf5(_FILE)
    found = []
    with hdf5.open_file(path) as file:
        for event in file:
            group = hdf5.member(file, event, str(path))
            origin = f"{path}: {event}"
            grid, flipped = _grid(group, origin)
            for name in group:
                if name in _AXES:
                    continue
                images = _images(group[name], name, grid, origin)
                found += [(event, name, image, _facts(group), grid, flipped) for image in images]
    if not found:
        raise InputError(f"{path}: holds no event")
    chosen = [
        (event, name, image, grid)
        for event, name, image, _, grid, _ in found
        if image in ("pre", "post")
    ]
    samples = [
        (BandAsset("VV", f"{request.files.href(_FILE)}#{event}/{name}/{image}"), grid)
        for event, name, image, grid in spread(chosen, SAMPLES)
    ]
    unit = request.unit(sample_values(request, samples), "earthquakes.h5")
    for event, name, image, facts, grid, flipped in found:
        if request.wants("s1", f"{event}_{name}_{image}", ""):
            mark = "?flip" if flipped else ""
            href = f"{request.files.href(_FILE)}#{event}/{name}/{image}{mark}"
            yield ArchiveImage(_scene(request, event, name, image, facts, grid, href, unit), None)


def _facts(group: Any) -> tuple[float | None, str]:
    magnitude = hdf5.attribute(group, "magnitude")
    return (
        float(magnitude) if isinstance(magnitude, int | float) else None,
        str(hdf5.attribute(group, "split") or ""),
    )


def _images(node: Any, name: str, grid: SourceGrid, origin: str) -> tuple[str, ...]:
    if not name.startswith("patch_") or not hasattr(node, "keys"):
        raise InputError(f"{origin}: holds {name!r}, which QuakeSet does not have")
    unknown = sorted(set(node) - set(_IMAGES))
    if unknown:
        raise InputError(f"{origin}/{name}: holds {unknown[0]!r}, which QuakeSet does not have")
    missing = [image for image in ("pre", "post") if image not in node]
    if missing:
        raise InputError(f"{origin}/{name}: lacks {missing[0]}")
    for image in node:
        shape = hdf5.shape_of(node[image])
        if shape != (grid.height, grid.width, 2):
            raise InputError(
                f"{origin}/{name}/{image}: has shape {shape}, but x and y are "
                f"{grid.width} and {grid.height} long"
            )
    return tuple(image for image in _IMAGES if image in node)


def _grid(group: Any, origin: str) -> tuple[SourceGrid, bool]:
    """Return the grid of an event's images, and whether their first row is the southern one."""
    missing = [axis for axis in _AXES if axis not in group]
    if missing:
        raise InputError(f"{origin}: lacks {missing[0]}, so that its place is not known")
    x, y = (np.asarray(group[axis][()], dtype=np.float64) for axis in _AXES)
    across, down = _step(x, f"{origin}/x"), _step(y, f"{origin}/y")
    if across <= 0:
        raise InputError(f"{origin}/x: runs westwards")
    epsg = hdf5.attribute(group, "epsg")
    if epsg is None:
        if np.abs(x).max() > 360 or np.abs(y).max() > 90:
            raise InputError(f"{origin}: x and y are no degrees, and no epsg is stated")
        epsg = 4326
    north = float(max(y[0], y[-1])) + abs(down) / 2
    transform = (across, 0.0, float(x[0]) - across / 2, 0.0, -abs(down), north)
    return SourceGrid(int(epsg), transform, len(x), len(y)), down > 0


def _step(axis: NDArray[np.float64], origin: str) -> float:
    if axis.ndim != 1 or len(axis) < 2 or not np.isfinite(axis).all():
        raise InputError(f"{origin}: is no row of coordinates")
    step = float(axis[-1] - axis[0]) / (len(axis) - 1)
    if step == 0 or np.abs(np.diff(axis) - step).max() > _EVEN * abs(step):
        raise InputError(f"{origin}: is not evenly spaced")
    return step


def _scene(
    request: Request,
    event: str,
    name: str,
    image: str,
    facts: tuple[float | None, str],
    grid: SourceGrid,
    href: str,
    unit: tuple[Any, str],
) -> Scene:
    time, notes = request.date("", f"event {event}")
    magnitude, split = facts
    after = image == "post"
    return Scene(
        sensor="s1",
        provider=PROVIDER,
        collection="QuakeSet",
        item=frame_base(f"{event}_{name}_{image}"),
        platform="S1",
        time=time,
        bands=(BandAsset("VV", href), BandAsset("VH", href, 2)),
        unit=unit[0],
        unit_source=unit[1],
        # "Sigma0 ellipsoid" by the publishers' words; whether terrain corrected is not stated.
        quantity="unknown",
        polarisations=("VV", "VH"),
        licence=request.licence("s1", ABOUT.licence),
        grid=grid,
        tags=("affected" if after else "not-affected",),
        tags_level="tile",
        event=SceneEvent("earthquake", event, phase="after" if after else "before"),
        split=SPLIT_NAMES.get(split, ""),
        notes=(*notes, *((f"magnitude: {magnitude:g}",) if magnitude is not None else ())),
    )
