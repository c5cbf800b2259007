"""Making all files of a sandbox in a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pystac
from numpy.typing import NDArray

from landmark.manifest import S2_BANDS
from landmark.progress import Progress
from landmark.sandbox import catalog, labels, optics, radar
from landmark.sandbox.crises import Crisis, strike
from landmark.sandbox.files import write_cog
from landmark.sandbox.ground import Ground, build_ground
from landmark.sandbox.places import (
    Optical,
    Phase,
    Place,
    Radar,
    Size,
    places,
    scenes_of,
    window_of,
)

#: Files made at a time at most: each holds a few bands' worth of memory.
_MOST_THREADS = 4


@dataclass(frozen=True)
class _Made:
    """What one place adds to the catalog and to the event files."""

    items: list[pystac.Item]
    crises: tuple[Crisis, ...]


def make_sandbox(folder: Path, size: Size, seed: int, progress: Progress) -> None:
    """Write a whole sandbox into an empty folder, a pure function of size and seed.

    Args:
        folder: Existing, empty.
        size: How much ground.
        seed: Seed of everything random.
        progress: Told of every raster.
    """
    chosen = places(size)
    progress.start("Making the synthetic Earth", sum(_count_files(p) for p in chosen))
    with _pool() as pool:
        made = [_make_place(folder, place, seed, pool, progress) for place in chosen]
    labels.write_events(folder, [c for m in made for c in m.crises])
    catalog.write_catalog(folder, [i for m in made for i in m.items], seed)
    (folder / "README.md").write_text(_readme(size, seed))
    progress.finish()


def _count_files(place: Place) -> int:
    scenes = scenes_of(place)
    optical = sum(len(scene.optical) for scene in scenes) * (len(S2_BANDS) + 1)
    radar = sum(len(product.polarisations) for scene in scenes for product in scene.radar)
    return optical + radar + 3 + (place.name == "north")


@contextmanager
def _pool() -> Iterator[ThreadPoolExecutor]:
    """Give a pool that drops what has not begun when an error (or Ctrl-C) leaves the block."""
    with ThreadPoolExecutor(_threads()) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _threads() -> int:
    # The processors this process may use; not every system tells.
    affinity = getattr(os, "sched_getaffinity", None)
    usable = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min(_MOST_THREADS, usable))


def _make_place(
    folder: Path, place: Place, seed: int, pool: ThreadPoolExecutor, progress: Progress
) -> _Made:
    ground = build_ground(place, seed, _threads())
    after, crises = strike(ground)
    surfaces: dict[Phase, NDArray[np.uint8]] = {"before": ground.surface, "after": after}
    tasks: list[Callable[[], Any]] = [partial(labels.write_dynamic_world, folder, ground)]
    if place.name == "north":
        tasks.append(partial(labels.write_corine, folder, ground))
    tasks += [partial(labels.write_truth, folder, place, s, p) for p, s in surfaces.items()]
    _run(pool, tasks, progress)
    items = []
    for scene in scenes_of(place):
        part = ground.within(scene)
        for phase, surface in surfaces.items():
            shown = surface[window_of(scene, place)]
            items += _make_scene(folder, part, shown, phase, pool, progress)
    return _Made(items, crises)


def _make_scene(
    folder: Path,
    ground: Ground,
    surface: NDArray[np.uint8],
    phase: Phase,
    pool: ThreadPoolExecutor,
    progress: Progress,
) -> list[pystac.Item]:
    """Write what both sensors saw of one scene at one date."""
    scene = ground.place
    state = optics.make_state(ground, surface, phase)
    optical = [p for p in scene.optical if p.phase == phase]
    items = _make_optical(folder, ground, state, optical, pool, progress)
    sar = [p for p in scene.radar if p.phase == phase]
    tasks: list[Callable[[], Any]] = [
        partial(_write_radar, folder, ground, state, product, polarisation)
        for product in sar
        for polarisation in product.polarisations
    ]
    _run(pool, tasks, progress)
    return [*items, *(catalog.radar_item(scene, product) for product in sar)]


def _make_optical(
    folder: Path,
    ground: Ground,
    state: optics.State,
    products: list[Optical],
    pool: ThreadPoolExecutor,
    progress: Progress,
) -> list[pystac.Item]:
    """Write all processings of one acquisition: one sky, one noise, different offsets."""
    place, first = ground.place, products[0]
    sky = optics.make_sky(ground, first)
    scl = optics.scene_classes(ground, state, sky, first.phase)

    def path(product: Optical, key: str) -> Path:
        name = catalog.optical_id(place, product)
        return catalog.asset_path(folder, catalog.S2_COLLECTION, name, key)

    def write_band(band: str) -> int:
        dn = optics.reflectance_dn(ground, state, sky, first.phase, band)
        resolution = optics.RESOLUTION[band]
        seen = optics.seen_at(sky, resolution)
        for product in products:
            stored = optics.to_stored(dn, seen, product.offset)
            transform = place.transform(resolution)
            write_cog(path(product, band), stored, place.epsg, transform, nodata=0)
        return len(products)

    def write_scl() -> int:
        for product in products:
            write_cog(path(product, "SCL"), scl, place.epsg, place.transform(20), nodata=0)
        return len(products)

    _run(pool, [*(partial(write_band, band) for band in S2_BANDS), write_scl], progress)
    seen = int(np.count_nonzero(scl))
    cover = catalog.Cover(
        cloud=100.0 * int(np.isin(scl, optics.SCL_CLOUD).sum()) / max(seen, 1),
        nodata=100.0 * (1.0 - seen / scl.size),
    )
    return [catalog.optical_item(place, product, cover) for product in products]


def _write_radar(
    folder: Path, ground: Ground, state: optics.State, product: Radar, polarisation: str
) -> None:
    power = radar.backscatter(ground, state, product, polarisation)
    west, _, _, north = catalog.radar_bounds(ground.place, product)
    name, key = catalog.radar_id(product), polarisation.lower()
    path = catalog.asset_path(folder, catalog.S1_COLLECTION, name, key)
    transform = (10.0, 0.0, west, 0.0, -10.0, north)
    write_cog(path, power, ground.place.epsg, transform, nodata=radar.NODATA)


def _run(pool: ThreadPoolExecutor, tasks: list[Callable[[], Any]], progress: Progress) -> None:
    """Run tasks; the first error ends the run. A task returns how many files it wrote, or None."""
    futures: list[Future[Any]] = [pool.submit(task) for task in tasks]
    for future in as_completed(futures):
        progress.advance(future.result() or 1)


def _readme(size: str, seed: int) -> str:
    return f"""# A synthetic Earth

Everything in this folder is SYNTHETIC. No pixel, label, polygon, date or event is an observation;
places and times only give the files a realistic form. Made by `landmark.sandbox`, size `{size}`,
seed {seed}; equal size, seed, library versions and kind of processor give equal bytes. Licence:
{catalog.LICENCE}.

- `catalog.json`: static STAC catalog; every asset lies beside its item.
- `sentinel-2-l2a/`: 12 bands (uint16, reflectance x 10000, nodata 0) and SCL. From processing
  baseline 04.00 on the pixels hold +1000. One acquisition is there twice, in two processings.
- `sentinel-1-rtc/`: `vv` and `vh`, linear gamma0 power, float32, nodata -32768; one scene has `vv`
  alone.
- `labels/corine.tif`: CORINE-like, EPSG:3035, 100 m, grid codes 1..44, 48 = not mapped; covers
  part of the northern place.
- `labels/dynamic_world_EPSG.tif`: Dynamic-World-like labels 0..8, nodata 255, from before the
  crises.
- `events/TYPE.geojson`, `events/TYPE_analysed.geojson`: affected areas, and areas looked at;
  attributes `id`, `type`, `start`, `end`.
- `truth/landcover_EPSG_PHASE.tif`: the true class per pixel, positions 0..11 in the taxonomy.

How it is made: smooth random fields decide relief, rivers, lakes, towns, woods and parcels of
farmland; a table gives each kind of ground its spectrum and backscatter, which stray with season,
parcel and slope; haze, clouds with shadows and sensor noise cover the optical scenes, gamma
speckle the radar scenes. Between the two dates floods, fires and earthquakes change the ground
inside of the event polygons.
"""
