"""What differs between two plans, what changed upstream, and the map in characters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from landmark import pixels, plan
from landmark.errors import LandmarkError
from landmark.plan_changes import plan_changes
from landmark.plan_file import PlanFile
from landmark.plan_map import text_map
from landmark.progress import Silent
from landmark.scenes import BandAsset, SourceGrid
from landmark.sources import Root, Roots
from landmark.upstream import upstream_changes
from tests.landmark.made_scenes import (
    DARK,
    DARK_SHIFTED,
    files_say,
    grid,
    item,
    manifest,
    roots,
    scene,
    touch_assets,
    write_items,
)

NAMES = ("one", "two", "three")


def planned(
    folder: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, dict[str, Any]]
) -> PlanFile:
    """Plan up to three scenes next to each other; `changes` by name, None leaves one out."""
    items, grids = [], {}
    for number, name in enumerate(NAMES):
        if name in changes and not changes[name]:
            continue
        grids[name] = grid(west=600_000 + 12_000 * number, pixels=480)
        properties = {"s2:processing_baseline": "05.09"} | changes.get(name, {})
        items.append(item(name, grids[name], **properties))
    touch_assets(folder, items)
    files_say(monkeypatch, grids)
    asked = manifest(write_items(folder / "items.json", items))
    path = folder / f"{len(changes)}.parquet"
    return plan.make_plan(path, asked, roots(asked, folder), Silent())


def test_equal_plans_do_not_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = planned(tmp_path, monkeypatch, {})
    assert plan_changes(table, table).lines() == ["nothing changed since the last plan"]


def test_each_change_upstream_has_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = planned(tmp_path, monkeypatch, {"two": {}})
    new = planned(tmp_path, monkeypatch, {"three": {}, "one": {"s2:processing_baseline": "03.01"}})
    found = plan_changes(old, new)
    assert (found.appeared, found.vanished) == (("two",), ("three",))
    assert found.changed == ("one (baseline 05.09 -> 03.01, offset -1000 -> 0)",)
    assert found.patches_added == found.patches_gone > 0
    assert found.lines()[0] == "1 scenes are new: two"
    assert len(found.lines()) == 4


GRID = grid()
PLANNED = replace(
    scene(item="a", offset=0, offset_evidence="agrees", baseline="02.14"),
    grid=GRID,
    bands=(BandAsset("B02", "https://h.invalid/a/B02.tif"),),
)
API = Roots(s1=None, s2=Root("api", "https://h.invalid", ""))


@pytest.mark.parametrize(
    ("now", "low", "said"),
    [
        (GRID, DARK, ""),
        (replace(GRID, block=256), DARK, ""),  # stored otherwise, the same pixels
        (replace(GRID, epsg=32633), DARK, "CRS was EPSG:32632, now 32633"),
        (replace(GRID, width=479), DARK, "another pixel grid"),
        (replace(GRID, transform=(10.0, 0.0, 600_010.0, 0.0, -10.0, 5_000_400.0)), DARK,
         "another pixel grid"),
        (GRID, DARK_SHIFTED, "dark pixels said agrees of offset 0, now conflicts"),
        (None, DARK, "404"),
    ],
)  # fmt: skip
def test_changes_upstream_are_found(
    monkeypatch: pytest.MonkeyPatch, now: SourceGrid | None, low: dict[str, float], said: str
) -> None:
    def header(path: str, signer: object = None, *, grid: object = None) -> SourceGrid:
        if now is None:
            raise LandmarkError(f"{path}: 404")
        return now

    monkeypatch.setattr(pixels, "read_header", header)
    monkeypatch.setattr(pixels, "low_percentiles", lambda *_, **__: low)
    lines = upstream_changes([PLANNED], API)
    assert len(lines) == bool(said)
    assert said in "".join(lines)


def test_the_map_has_north_up_and_shades_by_count() -> None:
    lon = np.array([8.0] * 9 + [9.0])
    lat = np.array([45.0] * 9 + [46.0])
    lines = text_map(lon, lat, width=20, height=8)
    assert lines[0].rstrip("|").endswith("▒") or lines[0][-2] in "·░▒▓"
    assert lines[-2][1] == "█"
    assert lines[-1] == "8.00..9.00 E, 45.00..46.00 N; █ = 9 patches"
    assert {len(line) for line in lines[:-1]} == {len(lines[0])}


def test_the_map_of_one_patch_and_of_none() -> None:
    assert text_map(np.array([8.0]), np.array([45.0]))[0] == "|█|"
    assert text_map(np.empty(0), np.empty(0)) == ()


def test_the_map_across_the_180th_meridian_is_in_one_piece() -> None:
    lines = text_map(np.array([179.5, -179.5]), np.array([-16.0, -16.0]))
    assert lines[-1].startswith("179.50..-179.50 E")
    assert max(map(len, lines[:-1])) < 60
