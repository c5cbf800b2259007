"""Class shares of patches from a label raster: landmark in bulk against one patch after another.

    python -m benchmarks.harmonize [--quick] [--runs N]

Cases: `corine` (100 m, EPSG:3035, codes 1..44) and `dynamic-world` (10 m, the neighbouring UTM
zone, labels 0..8), patches of 120 x 120 px in EPSG:32632. Peers, each at one patch a call:

- `warpedvrt`: a rasterio WarpedVRT on the patch's grid, read, counted (numpy).
- `exactextract`: shares of each code in the patch's polygon, weighted by covered area.
- `rasterstats`: zonal statistics of the polygon, categorical.
- `odc-geo`: the raster as xarray (read once), reprojected to the patch's grid, counted.

All give the same shares but for rounding at edges, which is checked before anything is timed.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import exactextract
import numpy as np
import odc.geo.xr
import pyproj
import rasterio
import rasterstats
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox
from rasterio.transform import Affine
from rasterio.vrt import WarpedVRT

from benchmarks.recording import (
    Report,
    Row,
    compare,
    interleaved,
    package_versions,
    parse_options,
    timed,
    write_results,
)
from landmark.grid import Frame, utm_frame
from landmark.projections import transformer
from landmark.rasters import class_counts

ZONE = 32632
Shares = Callable[[str, Frame], dict[int, float]]


@dataclass(frozen=True)
class Case:
    """A raster and the patches on it."""

    name: str
    path: str
    frames: list[Frame]


def main() -> None:
    options = parse_options(__doc__, runs=5)
    ours, each = (400, 20) if options.quick else (6400, 120)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for case in (corine(Path(folder), ours), dynamic_world(Path(folder), ours)):
            few = case.frames[:: len(case.frames) // each][:each]
            check(case.path, few[:10])
            subjects = {"ours": timed(partial(bulk, case))}
            for name, shares in PEERS.items():
                subjects[name] = timed(partial(one_by_one, shares, case.path, few))
            measured = interleaved(subjects, runs=options.runs)
            rows += compare(
                "harmonize",
                case.name,
                measured,
                "patches_per_cpu_s",
                lambda m: m.per_cpu_s,
                versions=package_versions(
                    "rasterio", "numba", "exactextract", "rasterstats", "odc-geo", "pyproj"
                ),
            )
    report = Report(
        "harmonize",
        "Class shares per patch",
        rows,
        text=(
            f"Synthetic maps (parcels of 300 m and 60 m). Ours counts {ours:,} patches of a "
            f"square a call (at most 1,600 on the 10 m map); each peer {each} of them, spread over "
            "it, one by one, as each is documented to be used. Before timing, shares are "
            "compared: those of warpedvrt and odc-geo must agree within 0.1 % of the patch; "
            "exactextract weights cells by area (2 %), rasterstats takes whole 100 m cells by "
            "their centre (10 %)."
        ),
        not_measured=("rasters over HTTP", "a GPU", "several patches a call of the peers"),
    )
    write_results(report, options)


def corine(folder: Path, patches: int) -> Case:
    """Return a CORINE-like map of 100 m in EPSG:3035 and a square of lattice cells on it."""
    frames = square(patches)
    west, south, east, north = extent(frames, 3035, 5_000)
    west, north = west // 100 * 100, north // 100 * 100
    size = (int((north - south) / 100), int((east - west) / 100))
    codes = parcels(size, 3, np.arange(1, 45))
    return write(folder / "corine.tif", codes, "EPSG:3035", west, north, 100, "corine", frames)


def dynamic_world(folder: Path, patches: int) -> Case:
    """Return a map of 10 m in the neighbouring zone; water is 0, nodata 255."""
    frames = square(min(patches, 1600))
    west, south, east, north = extent(frames, 32633, 2_000)
    west, north = west // 10 * 10, north // 10 * 10
    size = (int((north - south) / 10), int((east - west) / 10))
    codes = parcels(size, 6, np.arange(9))
    return write(folder / "dw.tif", codes, "EPSG:32633", west, north, 10, "dynamic-world", frames)


def square(patches: int) -> list[Frame]:
    """Return lattice cells of a square near 9 degrees east."""
    side = round(patches**0.5)
    return [utm_frame(ZONE, 416 + k % side, 4000 + k // side) for k in range(side * side)]


def extent(frames: list[Frame], epsg: int, margin: float) -> tuple[float, float, float, float]:
    """Return the bounds of all frames in another CRS."""
    west, south, east, north = np.array([frame.bounds for frame in frames]).T
    move = pyproj.Transformer.from_crs(ZONE, epsg, always_xy=True)
    bounds = move.transform_bounds(west.min(), south.min(), east.max(), north.max(), densify_pts=50)
    return (bounds[0] - margin, bounds[1] - margin, bounds[2] + margin, bounds[3] + margin)


def parcels(size: tuple[int, int], edge: int, codes: np.ndarray) -> np.ndarray:
    """Return a map of square parcels, `edge` pixels wide, of random codes."""
    rows, columns = (-(-n // edge) for n in size)
    draws = np.random.default_rng(0).choice(codes, (rows, columns)).astype("uint8")
    return draws.repeat(edge, 0).repeat(edge, 1)[: size[0], : size[1]]


def write(
    path: Path,
    codes: np.ndarray,
    crs: str,
    west: float,
    north: float,
    pixel: float,
    name: str,
    frames: list[Frame],
) -> Case:
    """Write a tiled, compressed GeoTIFF, as such maps are published."""
    profile = {
        "driver": "GTiff",
        "height": codes.shape[0],
        "width": codes.shape[1],
        "count": 1,
        "dtype": "uint8",
        "crs": crs,
        "transform": Affine(pixel, 0, west, 0, -pixel, north),
        "nodata": 255,
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        "compress": "deflate",
    }
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(codes, 1)
    return Case(name, str(path), frames)


def bulk(case: Case) -> float:
    """Count all patches of a case at once; return how many."""
    counts = class_counts([case.path], case.frames)
    assert (counts.covered == 14400).all()
    return len(case.frames)


def one_by_one(shares: Shares, path: str, frames: list[Frame]) -> float:
    """Take the shares of each patch by a peer; return how many."""
    for frame in frames:
        shares(path, frame)
    return len(frames)


def by_warpedvrt(path: str, frame: Frame) -> dict[int, float]:
    with (
        rasterio.open(path) as dataset,
        WarpedVRT(
            dataset,
            crs=rasterio.crs.CRS.from_epsg(frame.epsg),
            transform=Affine(*frame.transform()),
            width=120,
            height=120,
        ) as warped,
    ):
        return _of_pixels(warped.read(1))


def by_exactextract(path: str, frame: Frame) -> dict[int, float]:
    with rasterio.open(path) as dataset:
        feature = {
            "type": "Feature",
            "properties": {},
            "geometry": shapely.geometry.mapping(outline(frame, dataset.crs)),
        }
        (found,) = exactextract.exact_extract(dataset, [feature], ["unique", "frac"])
    own = found["properties"]
    return dict(zip(map(int, own["unique"]), map(float, own["frac"]), strict=True))


def by_rasterstats(path: str, frame: Frame) -> dict[int, float]:
    with rasterio.open(path) as dataset:
        polygon = outline(frame, dataset.crs)
    (found,) = rasterstats.zonal_stats(polygon, path, categorical=True, stats=["count"])
    total = found.pop("count")
    return {int(code): pixels / total for code, pixels in found.items()}


class OdcGeo:
    """odc-geo on a raster read once, as `rioxarray.open_rasterio` would give it."""

    def __init__(self) -> None:
        self._maps: dict[str, xr.DataArray] = {}

    def __call__(self, path: str, frame: Frame) -> dict[int, float]:
        """Return the shares of a patch."""
        if path not in self._maps:
            with rasterio.open(path) as dataset:
                box = GeoBox(dataset.shape, dataset.transform, dataset.crs)
                self._maps[path] = odc.geo.xr.wrap_xr(dataset.read(1), box, nodata=255)
        target = GeoBox((120, 120), Affine(*frame.transform()), f"EPSG:{frame.epsg}")
        near = self._maps[path].odc.crop(target.extent.buffer(200))
        warped = near.odc.reproject(target, resampling="nearest", dst_nodata=255).values
        return _of_pixels(warped.astype("uint8"))


def _of_pixels(codes: np.ndarray) -> dict[int, float]:
    pixels = np.bincount(codes.ravel(), minlength=256)
    return {int(code): pixels[code] / codes.size for code in np.flatnonzero(pixels)}


def outline(frame: Frame, crs: rasterio.crs.CRS) -> shapely.Polygon:
    """Return a patch's outline in a raster's CRS, its edges densified to 100 m."""
    box = shapely.segmentize(shapely.box(*frame.bounds), 100)
    move = transformer(frame.epsg, crs.to_wkt())  # kept from call to call
    return shapely.transform(box, lambda xy: np.column_stack(move.transform(*xy.T)))


def check(path: str, frames: list[Frame]) -> None:
    """Require that all subjects mean the same."""
    counts = class_counts([path], frames)
    for row, frame in enumerate(frames):
        own = dict(zip(counts.codes.tolist(), (counts.counts[row] / 14400).tolist(), strict=True))
        for name, shares in PEERS.items():
            theirs = shares(path, frame)
            moved = sum(abs(own.get(c, 0) - theirs.get(c, 0)) for c in {*own, *theirs}) / 2
            if moved > MOVED[name]:
                sys.exit(f"{name} gives other shares than ours: {moved:.3f} of the patch moved")


PEERS: dict[str, Shares] = {
    "warpedvrt": by_warpedvrt,
    "exactextract": by_exactextract,
    "rasterstats": by_rasterstats,
    "odc-geo": OdcGeo(),
}
#: How much of a patch may lie in other classes: rasterstats takes whole 100 m cells by their
#: centre, exactextract weights cells by the area covered, the others take the nearest cell.
MOVED = {"warpedvrt": 0.001, "exactextract": 0.02, "rasterstats": 0.1, "odc-geo": 0.001}

if __name__ == "__main__":
    main()
