"""Whether +1000 is in the pixels, decided for every provider on written pixels, from end to end.

Scenes are synthetic COGs with the dark floor real scenes have; the real items of the recorded
answers lend their metadata, so that what a catalog states and what its files hold can differ.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from landmark import pixels
from landmark.manifest import Sentinel2
from landmark.progress import Silent
from landmark.providers import ItemContext, provider
from landmark.radiometry import remove_offset
from landmark.scene_facts import Completed, complete_scenes
from landmark.scenes import SourceGrid
from tests.landmark.made_scenes import item, manifest, roots

BANDS = ("B02", "B03", "B04", "B08", "B11")
#: Reflectance x 10000 of the darkest hundredth: water and shadow; desert has none that dark.
DARK = {"B02": 120, "B03": 90, "B04": 60, "B08": 40, "B11": 20}
DESERT = {"B02": 1500, "B03": 2100, "B04": 2700, "B08": 3300, "B11": 4000}
ES = {"B02": "blue", "B03": "green", "B04": "red", "B08": "nir", "B11": "swir16"}
CDSE = {"B02": "B02_10m", "B03": "B03_10m", "B04": "B04_10m", "B08": "B08_10m", "B11": "B11_20m"}
MINUS = {"raster:bands": [{"nodata": 0, "scale": 0.0001, "offset": -0.1}]}


def write_pixels(folder: Path, floor: dict[str, int], added: int) -> dict[str, str]:
    """Write a COG a band: ground above a floor, nodata at the edge; return band -> file name."""
    generator = np.random.default_rng(1)
    names = {}
    for band, low in floor.items():
        size = 20 if band == "B11" else 10
        side = 4800 // size
        values = (low + generator.gamma(2.0, 300.0, (side, side)) + added).astype(np.uint16)
        values[:, : side // 8] = 0
        names[band] = f"{band}.tif"
        with rasterio.open(
            folder / names[band], "w", driver="COG", width=side, height=side, count=1,
            dtype="uint16", crs="EPSG:32632", blocksize=128, overviews="AUTO",
            transform=Affine(size, 0, 600_000, 0, -size, 4_999_200),
        ) as target:  # fmt: skip
            target.write(values, 1)
    return names


def decide(
    folder: Path,
    whose: str,
    properties: dict[str, Any],
    keys: dict[str, str],
    asset: dict[str, Any],
    floor: dict[str, int],
    added: int,
    collection: str = "sentinel-2-l2a",
    **rules: Any,
) -> Completed:
    """Plan one scene: what its metadata say, checked on its pixels."""
    names = write_pixels(folder, floor, added)
    grid = SourceGrid(32632, (10.0, 0.0, 600_000.0, 0.0, -10.0, 4_999_200.0), 480, 480)
    one = item("scene", grid, **properties)
    one["collection"] = collection
    one["assets"] = {keys[band]: {"href": f"./{name}"} | asset for band, name in names.items()}
    (folder / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": [one]}))
    source = Sentinel2(bands=BANDS, provider=whose, collections=(collection,), **rules)
    asked = manifest(folder / "items.json", s2=source)
    located = roots(asked, folder)
    context = ItemContext("s2", source, lambda href: located.stored("s2", href))
    scene = provider(whose).scene_of(one, context)
    (done,) = complete_scenes([scene], asked, located, Silent())
    return done


NAMES = {band: band for band in BANDS}
NEW, OLD = {"s2:processing_baseline": "05.11"}, {"s2:processing_baseline": "03.01"}
FIRST = {"s2:processing_baseline": "04.00"}
UNKNOWN = {"s2:product_uri": "S2B_MSIL2A_20200223T032739_N9999_R018_T48QUE_20230924T183543.SAFE"}
PC, LEGACY, C1 = "planetary-computer", "earth-search", "earth-search"
APPLIED = {"earthsearch:boa_offset_applied": True}
NOT_APPLIED = {"earthsearch:boa_offset_applied": False}
C1_NAME = {"collection": "sentinel-2-c1-l2a"}


@pytest.mark.parametrize(
    ("whose", "properties", "keys", "asset", "floor", "added", "more", "expected"),
    [
        # Planetary Computer: ESA's numbers, by baseline.
        (PC, OLD, NAMES, {}, DARK, 0, {}, (0, "baseline", "agrees", "")),
        (PC, FIRST, NAMES, {}, DARK, 1000, {}, (-1000, "baseline", "agrees", "")),
        (PC, NEW, NAMES, {}, DARK, 1000, {}, (-1000, "baseline", "agrees", "")),
        (PC, NEW, NAMES, {}, DARK, 0, {}, (-1000, "baseline", "conflicts", "offset")),
        (PC, OLD, NAMES, {}, DARK, 1000, {}, (0, "baseline", "conflicts", "offset")),
        (PC, NEW, NAMES, {}, DESERT, 1000, {}, (-1000, "baseline", "inconclusive", "")),
        (PC, OLD, NAMES, {}, DESERT, 0, {}, (0, "baseline", "inconclusive", "")),
        (PC, UNKNOWN, NAMES, {}, DARK, 0, {}, (0, "pixels", "agrees", "")),
        (PC, UNKNOWN, NAMES, {}, DARK, 1000, {}, (-1000, "pixels", "agrees", "")),
        (PC, UNKNOWN, NAMES, {}, DESERT, 0, {}, (0, "unknown", "inconclusive", "offset")),
        (PC, UNKNOWN, NAMES, {}, DESERT, 0, {"unknown_baseline": "no_offset"},
         (0, "unknown", "inconclusive", "")),
        (PC, NEW, NAMES, {}, DARK, 0, {"on_conflict": "trust_pixels"}, (0, "pixels", "agrees", "")),
        (PC, NEW, NAMES, {}, DARK, 0, {"on_conflict": "trust_metadata"},
         (-1000, "baseline", "conflicts", "")),
        # Earth Search's older collection: raster:bands say -0.1 whatever is in the pixels.
        (LEGACY, NEW | APPLIED, ES, MINUS, DARK, 0, {}, (0, "flag", "agrees", "")),
        (LEGACY, NEW | APPLIED, ES, MINUS, DARK, 1000, {}, (0, "flag", "conflicts", "offset")),
        (LEGACY, NEW | NOT_APPLIED, ES, MINUS, DARK, 0, {}, (0, "pixels", "agrees", "")),
        (LEGACY, NEW | NOT_APPLIED, ES, MINUS, DARK, 1000, {}, (-1000, "pixels", "agrees", "")),
        (LEGACY, NEW, ES, MINUS, DARK, 0, {}, (0, "pixels", "agrees", "")),
        (LEGACY, NEW | NOT_APPLIED, ES, MINUS, DESERT, 0, {},
         (0, "unknown", "inconclusive", "offset")),
        (LEGACY, OLD, ES, MINUS, DARK, 0, {}, (0, "baseline", "agrees", "")),
        # Collection 1 keeps ESA's numbers and says so.
        (C1, NEW, ES, MINUS, DARK, 1000, C1_NAME, (-1000, "item", "agrees", "")),
        (C1, NEW, ES, MINUS, DARK, 0, C1_NAME, (-1000, "item", "conflicts", "offset")),
        (C1, NEW, ES, {}, DARK, 1000, C1_NAME, (-1000, "baseline", "agrees", "")),
        (C1, NEW, ES, MINUS, DESERT, 1000, C1_NAME, (-1000, "item", "inconclusive", "")),
        # Copernicus Data Space, STAC 1.1.
        ("cdse", {"processing:version": "05.12"}, CDSE,
         {"raster:offset": -0.1, "raster:scale": 1e-4, "nodata": 0}, DARK, 1000, {},
         (-1000, "item", "agrees", "")),
        ("cdse", {"processing:version": "05.12"}, CDSE,
         {"raster:offset": -0.1, "raster:scale": 1e-4}, DARK, 0, {},
         (-1000, "item", "conflicts", "offset")),
        ("cdse", {"processing:version": "02.14"}, CDSE, {}, DARK, 0, {},
         (0, "baseline", "agrees", "")),
    ],
)  # fmt: skip
def test_the_decision_for_each_provider(
    tmp_path: Path,
    whose: str,
    properties: dict[str, Any],
    keys: dict[str, str],
    asset: dict[str, Any],
    floor: dict[str, int],
    added: int,
    more: dict[str, Any],
    expected: tuple[int, str, str, str],
) -> None:
    done = decide(tmp_path, whose, properties, keys, asset, floor, added, **more)
    scene = done.scene
    assert (scene.offset, scene.offset_source, scene.offset_evidence, done.status) == expected
    if done.status and scene.offset_evidence == "conflicts":
        assert "dark pixels contradict (" in done.reason
        assert all(band in done.reason for band in BANDS)
    if not done.status and scene.offset_evidence == "agrees":
        stored = rasterio.open(tmp_path / "B02.tif").read(1)
        settled, _ = remove_offset(stored, scene.offset, scene.nodata)
        assert np.array_equal(settled, np.where(stored == 0, 0, stored - added))


def test_the_evidence_is_of_all_bands_and_of_valid_pixels(tmp_path: Path) -> None:
    done = decide(tmp_path, PC, NEW, NAMES, {}, DARK, 1000)
    low = pixels.low_percentiles(done.scene, lambda href: str(tmp_path / href))
    assert set(low) == set(BANDS)
    for band, floor in DARK.items():  # an eighth of the file is 0 and does not count
        assert 1000 + floor < low[band] < 1000 + floor + 250
