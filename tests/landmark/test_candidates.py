"""Numbering of places, and outlines in Parquet's form."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landmark import candidates
from landmark.candidates import Candidates, Gatherer
from landmark.manifest import Manifest
from landmark.plan_rows import polygon_wkb
from landmark.scenes import Scene
from tests.landmark.made_scenes import grid, manifest, scene

SCENES = [
    replace(
        scene(item=f"i{number}", source=source),
        time=f"2023-07-{number + 1:02d}T10:10:31Z",
    )
    for number, source in enumerate(
        [
            grid(pixels=480),
            grid(west=604_800, pixels=240),
            grid(epsg=32633, west=258_000, north=4_990_800, pixels=360),
            grid(pixels=600),
            grid(west=607_200, north=5_001_600, pixels=240),
        ]
    )
]


def gather(asked: Manifest, added: list[int]) -> Candidates:
    """Gather scenes added in some order, to come in the order of their numbers."""
    gatherer = Gatherer(asked, None)
    for number in added:
        gatherer.add(SCENES[number], None)
    return gatherer.candidates(np.argsort(np.array(added)))


def rows(found: Candidates) -> list[tuple[object, ...]]:
    """Return every candidate in full."""
    places, place = found.places, found.place
    columns = [found.scene, *(getattr(places, n)[place] for n in ("epsg", "column", "row"))]
    columns += [getattr(places, name)[place] for name in ("x_min", "y_max", "lon", "lat")]
    names = places.names.take(found.frame).to_pylist()
    return list(
        zip(*(column.tolist() for column in columns), found.whole.tolist(), names, strict=True)
    )


@pytest.mark.parametrize("kind", ["utm", "scene"])
@given(added=st.permutations(range(len(SCENES))), waiting=st.sampled_from([1, 20, 1 << 18]))
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_candidates_depend_neither_on_order_nor_on_when_places_are_numbered(
    monkeypatch: pytest.MonkeyPatch, kind: str, added: list[int], waiting: int
) -> None:
    asked = manifest("x", grid=kind)
    plain = gather(asked, list(range(len(SCENES))))
    monkeypatch.setattr(candidates, "_WAITING", waiting)
    found = gather(asked, added)
    assert rows(found) == rows(plain)
    monkeypatch.undo()


def test_places_are_held_once_and_names_tell_them_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "_NAMED", 7)  # names and outlines are made piece by piece
    found = gather(manifest("x"), list(range(len(SCENES))))
    every = rows(found)
    distinct = {row[1:4] for row in every}
    assert len(found.places.lon) == len(distinct) < len(every)
    assert len(set(found.places.names.to_pylist())) == len(distinct)
    # 480, 240 and 600 px are 16, 4 and 25 cells; of the third scene five lie in another zone.
    assert np.bincount(found.scene).tolist() == [16, 4, 4, 25, 4]


def test_a_scene_without_cells_leaves_a_gap(tmp_path: Path) -> None:
    gatherer = Gatherer(manifest("x", grid="scene"), None)
    for one in (SCENES[0], Scene(**{**vars(SCENES[1]), "grid": None}), SCENES[2]):
        gatherer.add(one, None)
    found = gatherer.candidates(np.arange(3))
    assert np.bincount(found.scene).tolist() == [16, 0, 9]


def test_outlines_equal_those_of_shapely() -> None:
    corners = np.random.default_rng(3).uniform(-180, 180, (50, 4, 2))
    closed = np.concatenate([corners, corners[:, :1]], axis=1)
    expected = shapely.to_wkb(shapely.polygons(closed), byte_order=1)
    assert polygon_wkb(corners).to_pylist() == expected.tolist()
    assert len(polygon_wkb(corners[:0])) == 0
