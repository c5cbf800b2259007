"""Backscatter of the synthetic Earth, and what crises change in both sensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pystac
import pystac.validation
import pytest

from landmark.taxonomy import CLASSES
from tests.landmark.sandbox.reading import (
    decibels,
    optical,
    place_radar,
    radar,
    raster,
    read,
    truth_of,
)


def test_radar_is_linear_power_with_a_margin_of_nodata(items: dict[str, pystac.Item]) -> None:
    for item in radar(items):
        for key in item.assets:
            image = read(item, key)
            assert (image[:7] == -32768).all()
            assert (image[:, :13] == -32768).all()
            inside = image[7:, 13:]
            assert inside.min() > 0
            assert 1e-4 < np.median(inside) < 1


def test_classes_differ_in_backscatter(sandbox: Path, items: dict[str, pystac.Item]) -> None:
    for item in radar(items):
        if "vh" not in item.assets:
            continue
        truth = truth_of(sandbox, item)
        vv, vh = place_radar(item, "vv"), place_radar(item, "vh")
        level = {
            name: (decibels(vv[truth == code]), decibels(vh[truth == code]))
            for code, name in enumerate(CLASSES)
            if (truth == code).sum() > 500
        }
        assert level["Water"][0] < -18 < level["Bare"][0] < level["Trees"][0] < level["Built"][0]
        assert level["Water"][1] < level["Bare"][1] < level["Crops"][1] < level["Trees"][1]
        assert level["Flooded Vegetation"][0] > level["Trees"][0]
        # Multiplicative speckle: on even water the deviation follows the mean.
        water = vv[truth == 0].astype(float)
        assert 0.4 < water.std() / water.mean() < 0.75


@pytest.mark.parametrize(
    ("was", "became", "polarisation", "change"),
    [
        ("Grass", "Flooded Area", "vv", -4.0),
        ("Trees", "Flooded Area", "vv", 2.5),
        ("Trees", "Burned Area", "vh", -2.5),
        ("Built", "Earthquake Damage", "vv", -1.0),
    ],
)
def test_crises_change_backscatter(
    sandbox: Path,
    items: dict[str, pystac.Item],
    was: str,
    became: str,
    polarisation: str,
    change: float,
) -> None:
    changes = []
    for epsg in (32632, 32736):
        before, after = (
            raster(sandbox / "truth" / f"landcover_{epsg}_{phase}.tif")
            for phase in ("before", "after")
        )
        where = (before == CLASSES.index(was)) & (after == CLASSES.index(became))
        if where.sum() < 300:
            continue
        dual = [i for i in radar(items) if "vh" in i.assets]
        first, last = sorted(
            (i for i in dual if i.properties["proj:code"] == f"EPSG:{epsg}"),
            key=lambda i: i.datetime,
        )
        levels = [decibels(place_radar(item, polarisation)[where]) for item in (first, last)]
        changes.append(levels[1] - levels[0])
    assert changes
    assert all(c < change if change < 0 else c > change for c in changes)


def test_fires_and_floods_change_reflectance(sandbox: Path, items: dict[str, pystac.Item]) -> None:
    seen = set()
    for tile, epsg in (("32TPR", 32632), ("36KXC", 32736)):
        first, *_, last = sorted(optical(items, tile), key=lambda i: i.datetime)
        before, after = (
            raster(sandbox / "truth" / f"landcover_{epsg}_{phase}.tif")[::2, ::2]
            for phase in ("before", "after")
        )
        clear = ~np.isin(read(first, "SCL"), (0, 3, 8, 9, 10))
        clear &= ~np.isin(read(last, "SCL"), (0, 3, 8, 9, 10)) & (before == 1)
        for code in (CLASSES.index("Flooded Area"), CLASSES.index("Burned Area")):
            where = clear & (after == code)
            if where.sum() < 100:
                continue
            nir, swir = (
                [
                    np.median(read(item, band)[where])
                    - (1000 if float(item.properties["s2:processing_baseline"]) >= 4 else 0)
                    for item in (first, last)
                ]
                for band in ("B8A", "B12")
            )
            assert nir[1] < 0.7 * nir[0]
            # Burnt ground is brighter than before in the short-wave infrared, water is darker.
            assert (swir[1] > swir[0]) == (CLASSES[code] == "Burned Area")
            seen.add(CLASSES[code])
    assert seen == {"Flooded Area", "Burned Area"}
