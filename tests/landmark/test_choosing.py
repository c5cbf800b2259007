from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landmark.choosing import OVERPASS_S, best_of_period, choose_scenes, one_per_overpass
from landmark.manifest import Manifest, Sentinel1, Sentinel2
from landmark.scenes import Scene
from tests.landmark.made_scenes import both, grid, manifest, scene


def statuses(scenes: list[Scene], asked: Manifest) -> dict[str, tuple[str, str]]:
    chosen = choose_scenes(scenes, asked, {})
    assert [c.scene for c in chosen] == scenes
    return {c.scene.item: (c.status, c.reason) for c in chosen}


ANY = both(Path("x"))


def test_the_newest_processing_of_a_scene_is_kept() -> None:
    old = scene(item="old", baseline="02.14", generated="2024-01-01T00:00:00Z")
    new = scene(item="new", baseline="05.00", generated="2023-01-01T00:00:00Z")
    for scenes in ([old, new], [new, old]):
        assert statuses(scenes, ANY) == {
            "new": ("keep", ""),
            "old": ("duplicate", "new has the newer baseline 05.00"),
        }


@pytest.mark.parametrize(
    ("one", "other", "reason"),
    [
        ({"baseline": "04.00"}, {"baseline": ""}, "newer baseline 04.00"),
        (
            {"generated": "2024-01-01T00:00:00Z"},
            {"generated": "2023-12-31T23:59:59Z"},
            r"processed later (2024-01-01T00:00:00Z)",
        ),
        ({"generated": "2024-01-01T00:00:00Z"}, {"generated": ""}, "processed later"),
        ({}, {}, "comes first by name"),
    ],
)
def test_ties_have_a_stated_order(one: dict, other: dict, reason: str) -> None:
    winner, loser = scene(item="a", **one), scene(item="b", **other)
    for scenes in ([winner, loser], [loser, winner]):
        verdict = statuses(scenes, ANY)
        assert verdict["a"] == ("keep", "")
        assert verdict["b"][0] == "duplicate"
        assert reason in verdict["b"][1]


@pytest.mark.parametrize(
    "change",
    [
        {"time": "2023-07-04T10:10:32Z"},
        {"platform": "S2B"},
        {"mgrs": "32TPR"},
        {"footprint": scene(source=grid(west=602_500)).footprint},
    ],
)
def test_what_differs_is_no_duplicate(change: dict) -> None:
    verdict = statuses([scene(item="a"), scene(item="b", **change)], ANY)
    assert {status for status, _ in verdict.values()} == {"keep"}


def test_without_footprints_the_headers_tell() -> None:
    pair = [scene(item="a", footprint=None), scene(item="b", footprint=None)]
    assert statuses(pair, ANY)["b"][0] == "duplicate"
    apart = [pair[0], scene(item="b", footprint=None, source=grid(west=700_000))]
    assert statuses(apart, ANY)["b"][0] == "keep"


def test_all_keeps_older_processings_under_names_of_their_own() -> None:
    old = scene(item="old", baseline="02.14", generated="2021-01-02T03:04:05Z")
    nameless = scene(item="older", baseline="", generated="")
    asked = manifest("x", duplicates="all")
    chosen = choose_scenes([scene(item="new"), old, nameless], asked, {})
    assert [c.status for c in chosen] == ["keep"] * 3
    assert [c.variant for c in chosen] == ["", "N0214_G20210102T030405", "older"]


def test_a_refused_scene_does_not_push_out_its_twin() -> None:
    cloudy = scene(item="a", baseline="05.00", cloud=0.9)
    clear = scene(item="b", baseline="04.00", cloud=0.1)
    asked = manifest("x", s2=Sentinel2(max_scene_cloud=0.5))
    assert statuses([cloudy, clear], asked) == {
        "a": ("cloud", "scene cloud 0.900 is above 0.5"),
        "b": ("keep", ""),
    }
    chosen = choose_scenes([cloudy, clear], ANY, {0: ("offset", "why")})
    assert [(c.status, c.reason) for c in chosen] == [("offset", "why"), ("keep", "")]


def test_orbits_clouds_and_polarisations() -> None:
    rising = scene("s1", item="rising", orbit_state="ascending", relative_orbit=15)
    unknown = scene("s1", item="unknown", platform="S1B")
    lone = scene("s1", item="lone", platform="S1C", polarisations=("VV",))
    cross = scene("s1", item="cross", platform="S1D", polarisations=("HH", "HV"))
    clear = scene(item="clear", cloud=None)
    asked = both(
        "x",
        s1=Sentinel1(orbit_state="ascending", relative_orbit=16),
        s2=Sentinel2(max_scene_cloud=0.0),
    )
    assert statuses([rising, unknown, lone, cross, clear], asked) == {
        "rising": ("orbit", "relative orbit is 15, not 16"),
        "unknown": ("orbit", "orbit is not stated, not ascending"),
        "lone": ("polarisation", "has VV, lacks VH"),
        "cross": ("polarisation", "has HH,HV, lacks VV"),
        "clear": ("keep", ""),  # an unknown cloud share is not above any limit
    }


rows = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 2000), st.integers(0, 3)),
    min_size=1,
    max_size=25,
)


@given(rows)
def test_one_look_per_overpass_equals_a_slow_count(
    looks: list[tuple[int, int, int, int]],
) -> None:
    frame, platform, time, wish = (
        np.array(column, dtype=np.int64) for column in zip(*looks, strict=True)
    )
    tie = np.arange(len(looks))
    stands = one_per_overpass(frame, platform, time, (wish, tie))
    for index, (f, p, t, _) in enumerate(looks):
        group = {index}
        while True:  # grow by everything within reach of the group
            more = {
                i
                for i, (f2, p2, t2, _) in enumerate(looks)
                if (f2, p2) == (f, p) and any(abs(t2 - looks[j][2]) <= OVERPASS_S for j in group)
            }
            if more == group:
                break
            group = more
        assert stands[index] == min(group, key=lambda i: (looks[i][3], i)), (index, t)


def test_the_pinned_baseline_wins_over_newer_ones() -> None:
    asked = both(Path("x"), duplicates="pinned", pinned_baseline="04.00")
    scenes = [
        scene(item="old", baseline="02.14"),
        scene(item="pinned", baseline="04.00"),
        scene(item="new", baseline="05.10"),
    ]
    for order in (scenes, scenes[::-1]):
        found = statuses(order, asked)
        assert found["pinned"] == ("keep", "")
        assert found["new"] == ("duplicate", "pinned has the pinned baseline 04.00")
        assert found["old"][0] == "duplicate"
    without = [one for one in scenes if one.item != "pinned"]
    assert statuses(without, asked)["new"] == ("keep", "")  # none is pinned: the newest


def test_snow_is_judged_apart_from_cloud() -> None:
    asked = both(Path("x"), s2=Sentinel2(max_scene_snow=0.3))
    scenes = [scene(item="white", snow=0.4), scene(item="grey", cloud=0.9), scene(item="unsaid")]
    scenes = [replace(one, time=f"2023-07-0{n}T00:00:00Z") for n, one in enumerate(scenes, 1)]
    assert {name: status for name, (status, _) in statuses(scenes, asked).items()} == {
        "white": "snow",
        "grey": "keep",
        "unsaid": "keep",
    }


looks = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 4)), min_size=1, max_size=40
)


@given(looks)
def test_best_of_period_equals_a_slow_choice(rows: list[tuple[int, int, int]]) -> None:
    frame, period, cloud = (np.array(column) for column in zip(*rows, strict=True))
    rank = np.arange(len(rows))[::-1].copy()
    found = best_of_period(frame, period, (cloud, rank))
    for index, (f, p, _) in enumerate(rows):
        peers = [i for i, (g, q, _) in enumerate(rows) if (f, p) == (g, q)]
        assert found[index] == min(peers, key=lambda i: (rows[i][2], rank[i]))
