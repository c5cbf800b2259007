"""Made files and a slow, obvious reader, for tests of cutting and warping pixels."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import Resampling, reproject

from landmark.grid import PIXELS, SIZE_M, Frame
from landmark.pixels import PatchPixels, read_patches
from landmark.scenes import BandAsset, Scene
from landmark.schema import S2_RESOLUTION, s2_layout

BANDS = ("B01", "B02", "B05")
LAYOUT = s2_layout(BANDS)
LEFT, TOP = 600_000.0, 5_100_000.0
CELLS = 10  # more than one superblock of 8


def write(path: Path, values: np.ndarray, transform: Affine, epsg: int, **options: Any) -> Path:
    values = np.atleast_3d(values.T).T
    profile = {
        "driver": "GTiff",
        "count": values.shape[0],
        "height": values.shape[1],
        "width": values.shape[2],
        "dtype": values.dtype,
        "crs": CRS.from_epsg(epsg),
        "transform": transform,
        "compress": "deflate",
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
    } | options
    if not profile["tiled"]:
        del profile["blockxsize"]
        if "blockysize" not in options:
            del profile["blockysize"]
    with rasterio.open(path, "w", **profile) as file:
        file.write(values)
    return path


def ground(side: int, seed: int, dark: int = 1) -> np.ndarray:
    """Synthetic DN: noise on a slope, with a nodata corner and nodata specks."""
    rng = np.random.default_rng(seed)
    values = rng.integers(dark, 4000, (side, side), dtype=np.uint16)
    values += np.arange(side, dtype=np.uint16)[:, None] // 4
    values[: side // 12, : side // 9] = 0
    values[rng.random((side, side)) < 0.002] = 0
    return values


def make_scene(
    folder: Path,
    *,
    epsg: int = 32632,
    corner: tuple[float, float] = (LEFT, TOP),
    offset: int = 0,
    resolution: dict[str, int] = S2_RESOLUTION,
    **options: Any,
) -> Scene:
    assets = []
    for seed, band in enumerate((*BANDS, "SCL")):
        size = resolution[band]
        side = CELLS * 1200 // size
        values = ground(side, seed)
        if band == "SCL":
            values = (values % 12).astype(np.uint8)
        transform = Affine(size, 0, corner[0], 0, -size, corner[1])
        write(folder / f"{band}.tif", values, transform, epsg, **options)
        assets.append(BandAsset(band, f"{band}.tif"))
    return Scene(
        sensor="s2",
        provider="test",
        collection="test",
        item="scene",
        platform="S2A",
        time="2023-07-04T10:10:31Z",
        bands=tuple(assets[:-1]),
        scl=assets[-1],
        unit="dn",
        unit_source="item",
        quantity="reflectance",
        offset=offset,
        nodata=0,
    )


def cell(column: float, row: float, epsg: int = 32632) -> Frame:
    return Frame(f"c{column}_{row}", epsg, LEFT + column * SIZE_M, TOP - row * SIZE_M)


def read(scene: Scene, frames: list[Frame], folder: Path, layout: Any = LAYOUT) -> list[Any]:
    results = read_patches(scene, frames, lambda href: str(folder / href), layout)
    assert len(results) == len(frames)
    return results


# The oracle: whole files, one pixel rule after the other.


def slow_reflectance(values: np.ndarray, offset: int) -> np.ndarray:
    valid = np.isfinite(values) & (values != 0)
    shifted = np.clip(np.rint(np.round(np.where(valid, values, 0), 6)) + offset, 1, 65535)
    return np.where(valid, shifted, 0).astype(np.uint16)


@functools.lru_cache(maxsize=8)
def whole_file(path: Path, index: int) -> tuple[np.ndarray, Affine]:
    with rasterio.open(path) as source:
        return source.read(index), source.transform


def slow_cut(path: Path, frame: Frame, side: int, fill: float, index: int = 1) -> np.ndarray:
    whole, transform = whole_file(path, index)
    left, top = ~transform @ (frame.x_min, frame.y_max)
    around = np.pad(whole, 2 * side, constant_values=fill)
    row, column = round(top) + 2 * side, round(left) + 2 * side
    return around[row : row + side, column : column + side]


def slow_warp(path: Path, values: np.ndarray, frame: Frame, side: int) -> np.ndarray:
    target = np.full((side, side), np.nan)
    with rasterio.open(path) as source:
        reproject(
            values,
            target,
            src_transform=source.transform,
            src_crs=source.crs,
            src_nodata=math.nan,
            dst_nodata=math.nan,
            dst_transform=Affine(SIZE_M / side, 0, frame.x_min, 0, -SIZE_M / side, frame.y_max),
            dst_crs=CRS.from_epsg(frame.epsg),
            resampling=Resampling.bilinear,
        )
    return target


def check_cut(result: PatchPixels, scene: Scene, frame: Frame, folder: Path) -> None:
    assert isinstance(result, PatchPixels)
    assert result.resampling == "none"
    valid = np.ones((PIXELS, PIXELS), bool)
    for band, plane, (side, _) in zip(BANDS, result.planes, LAYOUT.shapes, strict=True):
        expected = slow_cut(folder / f"{band}.tif", frame, side, 0)
        expected = slow_reflectance(expected.astype(float), scene.offset)
        assert plane.dtype == np.uint16
        assert np.array_equal(plane, expected)
        valid &= np.kron(expected != 0, np.ones((PIXELS // side,) * 2, bool))
    assert np.array_equal(result.scl, slow_cut(folder / "SCL.tif", frame, 60, 0))
    assert result.valid_fraction == valid.mean()
