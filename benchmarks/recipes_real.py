"""The real corpus of the study: 90 reBEN pairs (`LANDMARK_TEST_DATA`), cut into tiles of 30 px.

Labels of a tile are those of its own pixels of the CORINE reference map, through the shipped
crosswalk and the default threshold of 5 %; crisis classes are not decided. Tiles of one MGRS tile
of Sentinel-2 always lie in one split.
"""

from __future__ import annotations

import csv
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from baselines.objectives.texts import subset_text
from baselines.queries import Query
from baselines.scaling import SensorInput, Statistics
from benchmarks.real_patches import shared_data
from benchmarks.recipes_corpus import (
    SENSORS,
    Corpus,
    open_patches,
    standardised,
    write_patches,
)
from harmonize.corine import NODATA_CODES
from harmonize.crosswalks import load_crosswalk
from landmark.commits import write_atomic
from landmark.schema import ImageLayout, s1_layout, s2_layout
from landmark.synonyms import load_synonyms
from landmark.taxonomy import CLASSES, LAND_COVER, LAND_COVER_MASK, mask_of, names_of

TILE = 30
#: Tiles that must carry a class, and a set of classes, for a query to ask for it.
FEWEST, FEWEST_OF_SET = 40, 40
#: Sets of classes asked for at most, the most frequent first.
MOST_SETS = 24

_BANDS = ("B02", "B03", "B04", "B08")
_RADAR = ("VV", "VH")
_PRESENT = 0.05
_PER_SIDE = 120 // TILE


def prepare_real(folder: Path) -> None:
    """Cut the reBEN pairs into tiles and write them as arrays; once."""
    if (folder / "done").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    data = shared_data() / "reben"
    with (data / "index.csv").open(newline="", encoding="utf-8") as stream:
        rows = sorted(csv.DictReader(stream), key=lambda row: row["patch_id"])
    shares = np.concatenate([_shares(data, row["patch_id"]) for row in rows])
    masks = ((shares >= _PRESENT) @ (1 << np.arange(len(CLASSES)))).astype(np.uint16)
    layouts = {"s1": s1_layout(), "s2": s2_layout(_BANDS)}
    for sensor in SENSORS:
        images = np.stack([_image(data, sensor, row) for row in rows])
        expected = _statistics(images, layouts[sensor])
        tiles = _tiles(standardised(images, expected))
        count = len(tiles)
        columns: dict[str, NDArray[np.generic]] = {
            "patch_id": np.array([f"{i:05d}-{sensor}" for i in range(count)]),
            "split": np.array([""] * count),
            "label_mask": masks,
            "known_mask": np.full(count, LAND_COVER_MASK, np.uint16),
            "fractions": shares.astype(np.float32),
            "caption": np.array([subset_text(int(mask)) for mask in masks]),
            "scene": np.repeat([row["patch_id"].rsplit("_", 2)[0] for row in rows], _PER_SIDE**2),
            "block": np.repeat([row["patch_id"].split("_")[5] for row in rows], _PER_SIDE**2),
            "partner": np.arange(count, dtype=np.intp),
            "unseen": np.zeros(count, np.uint16),
        }
        write_patches(folder, sensor, columns, tiles)
    write_atomic(folder / "done", "")


def open_real_corpus(folder: Path) -> Corpus:
    """Return the corpus `prepare_real` wrote, with queries made of its labels."""
    sensors = {sensor: open_patches(folder, sensor) for sensor in SENSORS}
    return Corpus("real", sensors, make_queries(sensors["s2"].label_mask))


def make_queries(masks: NDArray[np.uint16]) -> tuple[Query, ...]:
    """Return single classes, frequent sets of two or three, and test synonyms of the classes.

    Args:
        masks: (n,) labels of all tiles, whatever split a seed puts them in.
    """
    carried = {name: int(((masks & mask_of([name])) != 0).sum()) for name in LAND_COVER}
    # A class nearly all tiles carry tells rankings apart no better than one that none does.
    asked = [name for name, count in carried.items() if FEWEST <= count <= 0.9 * len(masks)]
    queries = [Query(f"single-{name}", name.lower(), "single", (name,)) for name in asked]
    counts: Counter[tuple[str, ...]] = Counter()
    for mask in masks:
        held = [name for name in names_of(int(mask)) if name in asked]
        for size in (2, 3):
            counts.update(combinations(held, size))
    sets = [names for names, count in counts.most_common() if count >= FEWEST_OF_SET][:MOST_SETS]
    queries += [
        Query(f"combination-{'+'.join(n)}", subset_text(mask_of(n)), "combination", n) for n in sets
    ]
    words = load_synonyms().test
    queries += [
        Query(f"paraphrase-{name}-{number}", text, "paraphrase", (name,))
        for name in asked
        for number, text in enumerate(words[name])
    ]
    return tuple(queries)


def _shares(data: Path, patch: str) -> NDArray[np.float64]:
    """Return (16, 12) shares of the classes in the tiles of a patch."""
    name = f"{patch}_reference_map.tif"
    with rasterio.open(data / "Reference_Maps" / patch.rsplit("_", 2)[0] / patch / name) as source:
        codes = source.read(1)
    tiles = _tiles(codes[None, None])[:, 0].reshape(_PER_SIDE**2, -1)
    crosswalk = load_crosswalk("corine", "corine")
    known = ~np.isin(tiles, list(NODATA_CODES))
    found = [int(code) for code in np.unique(tiles[known])]
    counts = np.stack([((tiles == code) & known).sum(1) for code in found], 1)
    shares: NDArray[np.float64] = (
        counts @ crosswalk.matrix(found) / np.maximum(1, known.sum(1))[:, None]
    )
    return shares


def _image(data: Path, sensor: str, row: dict[str, str]) -> NDArray[np.generic]:
    name, cut = (row["s1_name"], 3) if sensor == "s1" else (row["patch_id"], 2)
    folder = data / f"BigEarthNet-{sensor.upper()}" / name.rsplit("_", cut)[0] / name
    bands = []
    for band in _RADAR if sensor == "s1" else _BANDS:
        with rasterio.open(folder / f"{name}_{band}.tif") as source:
            bands.append(source.read(1))
    return np.stack(bands)


def _statistics(images: NDArray[np.generic], layout: ImageLayout) -> SensorInput:
    statistics = Statistics(layout)
    for image in images:
        statistics.add(image)
    return statistics.result()


def _tiles(images: NDArray[Any]) -> NDArray[Any]:
    """Return (n * 16, bands, 30, 30) of (n, bands, 120, 120), row by row."""
    count, bands = images.shape[:2]
    cut = images.reshape(count, bands, _PER_SIDE, TILE, _PER_SIDE, TILE)
    return cut.transpose(0, 2, 4, 1, 3, 5).reshape(-1, bands, TILE, TILE)
