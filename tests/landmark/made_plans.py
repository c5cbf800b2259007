"""A small world of two sensors to plan, and its plan as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from landmark import plan
from landmark.manifest import Manifest
from landmark.plan_file import PlanFile
from landmark.progress import Silent
from landmark.scenes import SourceGrid
from tests.landmark.made_scenes import files_say, grid, item, roots, touch_assets, write_items

WEST, NORTH = 600_000, 5_000_400
S2 = {"s2:processing_baseline": "05.09", "s2:mgrs_tile": "32TPR"}
S1 = {"s1:unit": "linear", "sat:orbit_state": "ascending"}


def world() -> tuple[list[dict[str, Any]], dict[str, SourceGrid]]:
    """Return two optical tiles that overlap, a reprocessed twin, and two radar scenes."""
    grids = {
        "s2-left": grid(pixels=960),
        "s2-right": grid(west=WEST + 4800, pixels=960),
        "s2-old": grid(pixels=960),
        "s2-june": grid(pixels=480),
        "s1-wide": grid(west=WEST - 4800, pixels=1560),
        "s1-lone": grid(pixels=480),
    }
    items = [
        item("s2-left", grids["s2-left"], **S2),
        item("s2-right", grids["s2-right"], **(S2 | {"s2:mgrs_tile": "32TQR"})),
        item("s2-old", grids["s2-old"], **(S2 | {"s2:processing_baseline": "02.14"})),
        item("s2-june", grids["s2-june"], **(S2 | {"datetime": "2023-06-01T10:10:31Z"})),
        item("s1-wide", grids["s1-wide"], **(S1 | {"datetime": "2023-07-03T17:00:00Z"})),
        item("s1-lone", grids["s1-lone"], **(S1 | {"datetime": "2023-07-05T05:30:00Z"})),
    ]
    del items[-1]["assets"]["vh"]
    return items, grids


def made_catalog(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the world's items, and let its files answer without being read."""
    items, grids = world()
    touch_assets(folder, items)
    files_say(monkeypatch, grids)
    return write_items(folder / "items.json", items)


def make_file(asked: Manifest, folder: Path, **options: Any) -> PlanFile:
    return plan.make_plan(folder / "plan.parquet", asked, roots(asked, folder), Silent(), **options)


def make(asked: Manifest, folder: Path, **options: Any) -> pa.Table:
    return make_file(asked, folder, **options).table()


def rows_of(table: pa.Table, **wanted: str) -> list[dict[str, Any]]:
    return [r for r in table.to_pylist() if all(r[k] == v for k, v in wanted.items())]
