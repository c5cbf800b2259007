"""Reading the synthetic Earth in tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pystac
import pystac.validation
import rasterio

from landmark.progress import Silent

SEED = 0
EVENT_TYPES = {"flood": 9, "fire": 10, "earthquake": 11}


class Counting(Silent):
    """A progress that counts."""

    def __init__(self) -> None:
        self.total = self.done = self.finished = 0

    def start(self, label: str, total: int) -> None:
        self.total += total

    def advance(self, units: int = 1, holes: int = 0) -> None:
        self.done += units

    def finish(self) -> None:
        self.finished += 1


def read(item: pystac.Item, key: str) -> np.ndarray:
    with rasterio.open(item.assets[key].get_absolute_href()) as file:
        return file.read(1)


def raster(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read(1)


def optical(items: dict[str, pystac.Item], tile: str = "") -> list[pystac.Item]:
    chosen = [i for i in items.values() if i.properties.get("s2:mgrs_tile", "-").endswith(tile)]
    return [i for i in chosen if i.collection_id == "sentinel-2-l2a"]


def radar(items: dict[str, pystac.Item]) -> list[pystac.Item]:
    return [i for i in items.values() if i.collection_id == "sentinel-1-rtc"]


def place_radar(item: pystac.Item, key: str) -> np.ndarray:
    """The part of a radar raster that lies over its place."""
    return read(item, key)[7:, 13:]


def truth_of(sandbox: Path, item: pystac.Item) -> np.ndarray:
    epsg = item.properties["proj:code"].split(":")[1]
    phase = "after" if item.datetime.month >= 11 else "before"
    return raster(sandbox / "truth" / f"landcover_{epsg}_{phase}.tif")


def decibels(power: np.ndarray) -> float:
    return float(10 * np.log10(power.astype(float).mean()))
