"""A synthetic twelve-band Sentinel-2 scene of COGs, and the peers that cut patches from it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.windows import Window

from landmark.codec import replicate
from landmark.grid import PIXELS, SIZE_M, Frame
from landmark.manifest import S2_BANDS
from landmark.opening import GDAL_OPTIONS
from landmark.pixels import iter_patches, read_patches
from landmark.scenes import BandAsset, Scene
from landmark.schema import S2_RESOLUTION, s2_layout

LAYOUT = s2_layout(S2_BANDS)
EPSG, LEFT, TOP = 32632, 600_000.0, 5_100_000.0
BLOCK = 512
Patches = NDArray[np.uint16]


@dataclass(frozen=True)
class BenchScene:
    """The scene as landmark and as pystac see it.

    Attributes:
        root: Folder or URL of the files.
        side: Patches per side.
    """

    root: str
    side: int

    def href(self, band: str) -> str:
        """Return where a band's file is."""
        return f"{self.root}/{band}.tif"

    @property
    def scene(self) -> Scene:
        """The scene for landmark."""
        return Scene(
            sensor="s2",
            provider="bench",
            collection="bench",
            item="bench",
            platform="S2A",
            time="2023-07-04T10:10:31Z",
            bands=tuple(BandAsset(band, self.href(band)) for band in S2_BANDS),
            unit="dn",
            unit_source="item",
            quantity="reflectance",
        )

    @property
    def item(self) -> Any:
        """The scene for STAC readers, with all they need to open no header in advance."""
        import pystac
        from pyproj import Transformer

        extent = self.side * SIZE_M
        to_degrees = Transformer.from_crs(EPSG, 4326, always_xy=True)
        west, south, east, north = to_degrees.transform_bounds(
            LEFT, TOP - extent, LEFT + extent, TOP
        )
        ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
        item = pystac.Item(
            "bench",
            {"type": "Polygon", "coordinates": [ring]},
            [west, south, east, north],
            dt.datetime(2023, 7, 4, tzinfo=dt.UTC),
            {"proj:epsg": EPSG, "proj:code": f"EPSG:{EPSG}"},
            stac_extensions=["https://stac-extensions.github.io/projection/v1.1.0/schema.json"],
        )
        for band in S2_BANDS:
            size = S2_RESOLUTION[band]
            side = round(extent / size)
            fields = {
                "proj:shape": [side, side],
                "proj:transform": [size, 0, LEFT, 0, -size, TOP],
                "raster:bands": [{"nodata": 0, "data_type": "uint16"}],
            }
            item.add_asset(
                band,
                pystac.Asset(
                    self.href(band),
                    media_type=pystac.MediaType.COG,
                    roles=["data"],
                    extra_fields=fields,
                ),
            )
        return item

    def frames(self, cells: Sequence[tuple[int, int]]) -> list[Frame]:
        """Return the frames of cells (column, row)."""
        return [
            Frame(f"{column}-{row}", EPSG, LEFT + column * SIZE_M, TOP - row * SIZE_M)
            for column, row in cells
        ]


def all_cells(side: int) -> list[tuple[int, int]]:
    """Return all cells, 8 x 8 at a time, as a plan orders them."""
    cells = [(column, row) for row in range(side) for column in range(side)]
    return sorted(cells, key=lambda cell: (cell[1] // 8, cell[0] // 8, cell[1], cell[0]))


def some_cells(side: int, count: int, seed: int) -> list[tuple[int, int]]:
    """Return random cells in a plan's order."""
    cells = all_cells(side)
    chosen = np.random.default_rng(seed).choice(len(cells), count, replace=False)
    return [cells[index] for index in sorted(chosen)]


def write_scene(folder: Path, side: int) -> BenchScene:
    """Write the COGs of a scene of side x side patches, unless they are there.

    Synthetic: smooth ground, fields with edges, and noise that grows with brightness; deflate
    makes of it about what it makes of real Level-2A bands (0.6 to 0.7 of the raw bytes).
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number, band in enumerate(S2_BANDS):
        path = folder / f"{band}.tif"
        if path.exists():
            continue
        size = S2_RESOLUTION[band]
        pixels = _ground(round(side * SIZE_M / size), number)
        profile = {
            "driver": "GTiff", "height": pixels.shape[0], "width": pixels.shape[1], "count": 1,
            "dtype": "uint16", "crs": CRS.from_epsg(EPSG), "nodata": 0,
            "transform": Affine(size, 0, LEFT, 0, -size, TOP),
        }  # fmt: skip
        with MemoryFile() as memory:
            with memory.open(**profile) as plain:
                plain.write(pixels, 1)
            with memory.open() as plain:
                rasterio.shutil.copy(
                    plain, path, driver="COG", compress="deflate", predictor="YES",
                    blocksize=BLOCK, overviews="NONE",
                )  # fmt: skip
    return BenchScene(str(folder), side)


def _ground(side: int, seed: int) -> NDArray[np.uint16]:
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(side // 64 + 2, side // 64 + 2))
    smooth = np.kron(coarse, np.ones((64, 64)))[:side, :side]
    smooth = (smooth + np.roll(smooth, 31, 0) + np.roll(smooth, 31, 1)) * 250 + 1800
    smooth += rng.normal(scale=12 + smooth.clip(0) / 60, size=smooth.shape)
    return smooth.clip(1, 15_000).astype(np.uint16)


def upsampled(planes: Sequence[NDArray[Any]], out: Patches) -> None:
    """Fill (12, 120, 120) from native planes, nearest."""
    for plane, band in zip(planes, out, strict=True):
        replicate(plane, band)


def ours(source: BenchScene, cells: Sequence[tuple[int, int]], *, native: bool) -> Any:
    """Cut with landmark: native planes per patch, or (patches, 12, 120, 120)."""
    frames = source.frames(cells)
    if native:
        return read_patches(source.scene, frames, lambda href: href, LAYOUT)
    out: Patches = np.empty((len(cells), len(S2_BANDS), PIXELS, PIXELS), np.uint16)
    for index, patch in iter_patches(source.scene, frames, lambda href: href, LAYOUT):
        assert not isinstance(patch, str), patch
        upsampled(patch.planes, out[index])
    return out


def _window(band: str, column: int, row: int, cells: int = 1) -> Window:
    side = PIXELS * 10 // S2_RESOLUTION[band]
    return Window(column * side, row * side, side * cells, side * cells)


def reopened(source: BenchScene, cells: Sequence[tuple[int, int]]) -> Patches:
    """Cut with rasterio, each file opened for each patch: the naive way."""
    out: Patches = np.empty((len(cells), len(S2_BANDS), PIXELS, PIXELS), np.uint16)
    with rasterio.Env(**GDAL_OPTIONS):
        for patch, (column, row) in zip(out, cells, strict=True):
            for plane, band in zip(patch, S2_BANDS, strict=True):
                with rasterio.open(source.href(band)) as file:
                    file.read(
                        1, window=_window(band, column, row), out=plane,
                        resampling=Resampling.nearest,
                    )  # fmt: skip
    return out


def kept_open(source: BenchScene, cells: Sequence[tuple[int, int]]) -> Patches:
    """Cut with rasterio, one patch after the other, files kept open."""
    out: Patches = np.empty((len(cells), len(S2_BANDS), PIXELS, PIXELS), np.uint16)
    with rasterio.Env(**GDAL_OPTIONS):
        files = [rasterio.open(source.href(band)) for band in S2_BANDS]
        for patch, (column, row) in zip(out, cells, strict=True):
            for plane, band, file in zip(patch, S2_BANDS, files, strict=True):
                file.read(
                    1, window=_window(band, column, row), out=plane, resampling=Resampling.nearest
                )
        for file in files:
            file.close()
    return out


def big_windows(source: BenchScene, cells: Sequence[tuple[int, int]], threads: int = 12) -> Patches:
    """Cut with rasterio from windows of 8 x 8 patches, one thread per band: the strong baseline."""
    out: Patches = np.empty((len(cells), len(S2_BANDS), PIXELS, PIXELS), np.uint16)
    groups: dict[tuple[int, int], list[int]] = {}
    for index, (column, row) in enumerate(cells):
        groups.setdefault((row // 8, column // 8), []).append(index)

    def cut_band(number: int) -> None:
        band = S2_BANDS[number]
        side = PIXELS * 10 // S2_RESOLUTION[band]
        with rasterio.Env(**GDAL_OPTIONS), rasterio.open(source.href(band)) as file:
            for members in groups.values():
                left = min(cells[index][0] for index in members)
                top = min(cells[index][1] for index in members)
                right = max(cells[index][0] for index in members) + 1
                bottom = max(cells[index][1] for index in members) + 1
                pixels = file.read(
                    1,
                    window=Window(
                        left * side, top * side, (right - left) * side, (bottom - top) * side
                    ),
                )
                for index in members:
                    x, y = (cells[index][0] - left) * side, (cells[index][1] - top) * side
                    replicate(pixels[y : y + side, x : x + side], out[index, number])

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(cut_band, range(len(S2_BANDS))))
    return out


def odc_scene(source: BenchScene, cells: Sequence[tuple[int, int]]) -> Patches:
    """Load the whole scene with odc-stac at 10 m, nearest, and slice it."""
    return _slice(_odc(source, (0, 0, source.side, source.side)), cells)


def odc_per_patch(source: BenchScene, cells: Sequence[tuple[int, int]]) -> Patches:
    """Load every patch by itself with odc-stac."""
    out: Patches = np.empty((len(cells), len(S2_BANDS), PIXELS, PIXELS), np.uint16)
    for patch, (column, row) in zip(out, cells, strict=True):
        loaded = _odc(source, (column, row, column + 1, row + 1))
        for plane, band in zip(patch, loaded, strict=True):
            plane[...] = band
    return out


def _odc(source: BenchScene, part: tuple[int, int, int, int]) -> list[NDArray[Any]]:
    import odc.stac
    from odc.geo.geobox import GeoBox

    left, top, right, bottom = part
    box = GeoBox(
        ((bottom - top) * PIXELS, (right - left) * PIXELS),
        Affine(10, 0, LEFT + left * SIZE_M, 0, -10, TOP - top * SIZE_M),
        f"EPSG:{EPSG}",
    )
    with rasterio.Env(**GDAL_OPTIONS):
        loaded = odc.stac.load(
            [source.item], bands=list(S2_BANDS), geobox=box, resampling="nearest", dtype="uint16"
        )
    return [loaded[band].values[0] for band in S2_BANDS]


def _slice(bands: Sequence[NDArray[Any]], cells: Sequence[tuple[int, int]]) -> Patches:
    out: Patches = np.empty((len(cells), len(S2_BANDS), PIXELS, PIXELS), np.uint16)
    for number, band in enumerate(bands):
        for patch, (column, row) in zip(out, cells, strict=True):
            x, y = column * PIXELS, row * PIXELS
            patch[number] = band[y : y + PIXELS, x : x + PIXELS]
    return out


def assert_equal(found: Patches, wanted: Patches, name: str) -> None:
    """End the benchmark if a subject did other work than was asked for."""
    if not np.array_equal(found, wanted):
        raise SystemExit(f"{name}: other pixels than rasterio's plain read; no figure is valid")


Cut = Callable[[BenchScene, Sequence[tuple[int, int]]], Patches]
