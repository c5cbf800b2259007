"""Splits of random layouts: no leak by ground, scene, pass, event or pair; stable far away."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonize import dealing
from harmonize.dealing import quotas
from harmonize.splits import Assignment, SplitPatches, assign
from harmonize.ties import Tie
from landmark.errors import InputError
from landmark.manifest import Area, Splits
from landmark.manifest_splits import HoldOut
from tests.harmonize.test_splits import brute_force_close, joined, lattice


@dataclass(frozen=True)
class Layout:
    """Cells of areas, each cell seen at one or two dates by scenes of its area."""

    cells: list[tuple[int, int]]
    scene: list[str]
    event: list[str]
    pair: list[tuple[int, int]]
    masks: list[int]

    def patches(self, years: list[int] | None = None, prefix: str = "p") -> SplitPatches:
        n = len(self.cells)
        rows = [row for pair in self.pair for row in pair]
        keys = [key for key, pair in enumerate(self.pair) for _ in pair]
        names = pa.array([str(key) for key in range(len(self.pair))], pa.string())
        return SplitPatches(
            [f"{prefix}{i}" for i in range(n)],
            lattice(self.cells),
            np.array(self.masks, dtype=np.int64),
            (
                Tie("pair", np.array(rows, np.int64), np.array(keys, np.int64), names),
                tie("event", self.event),
                tie("scene", self.scene),
            ),
            None if years is None else np.array(years),
        )


def tie(kind: Any, values: list[str]) -> Tie:
    rows = np.array([i for i, value in enumerate(values) if value], dtype=np.int64)
    names, keys = np.unique([value for value in values if value], return_inverse=True)
    return Tie(kind, rows, keys.astype(np.int64), pa.array(names.tolist(), pa.string()))


@st.composite
def layouts(draw: st.DrawFn, column: int = 400, row: int = 4000, name: str = "a") -> Layout:
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    areas = draw(st.integers(1, 8))
    cells, scene, event = [], [], []
    for area in range(areas):
        corner = rng.integers(0, 40, 2)
        for _ in range(int(rng.integers(1, 25))):
            cell = corner + rng.integers(0, 8, 2)
            cells.append((column + int(cell[0]), row + int(cell[1])))
            scene.append(f"{name}{area}-{rng.integers(2)}")
            event.append(f"flood:{name}{area}" if rng.random() < 0.3 else "")
    pair = [(i, i + 1) for i in range(0, len(cells) - 1, 2) if rng.random() < 0.5]
    masks = rng.integers(0, 4096, len(cells)).tolist()
    return Layout(cells, scene, event, pair, masks)


RULES = Splits(block_km=6, relax=False)


def shared(split: np.ndarray, values: list[str]) -> set[str]:
    held: dict[str, set[str]] = {}
    for where, value in zip(split.tolist(), values, strict=True):
        if where and value:
            held.setdefault(value, set()).add(where)
    return {value for value, splits in held.items() if len(splits) > 1}


@settings(max_examples=25, deadline=None)
@given(layout=layouts(), seed=st.integers(0, 5), buffer_cells=st.integers(0, 2))
def test_nothing_leaks_on_random_layouts(layout: Layout, seed: int, buffer_cells: int) -> None:
    rules = RULES.model_copy(update={"buffer_cells": buffer_cells})
    patches = layout.patches()
    result = assign(patches, rules, seed)
    assert result.kept_whole == ("pair", "event", "scene", "datatake")
    assert shared(result.split, layout.scene) == set()
    assert shared(result.split, layout.event) == set()
    for one, other in layout.pair:
        assert len({result.split[one], result.split[other]} - {""}) <= 1
    kept = np.flatnonzero(result.split != "").tolist()
    for i in kept:
        for j in kept:
            if result.split[i] != result.split[j]:
                assert not brute_force_close(patches.places, i, j, buffer_cells)


@settings(max_examples=20, deadline=None)
@given(
    layout=layouts(),
    # 3600 km farther south in the same zone: another dealing area.
    far=layouts(row=4000 - 3000, name="far"),
    seed=st.integers(0, 5),
)
def test_far_patches_change_no_assignment(layout: Layout, far: Layout, seed: int) -> None:
    n = len(layout.cells)
    both = Layout(
        layout.cells + far.cells,
        layout.scene + far.scene,
        layout.event + far.event,
        layout.pair + [(a + n, b + n) for a, b in far.pair],
        layout.masks + far.masks,
    )
    # Giving a split that stayed empty one group is the one thing that looks at all areas.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dealing, "fill_empty", lambda dealt, sizes, shares: dealt)
        alone = assign(layout.patches(), RULES, seed)
        together = assign(both.patches(), RULES, seed)
    assert (together.split[:n] == alone.split).all()
    assert (together.drop_reason[:n] == alone.drop_reason).all()


def test_far_patches_change_nothing_in_an_area_of_five_groups() -> None:
    near = line(5)
    far = replace(line(30), cells=[(c, r - 3000) for c, r in line(30).cells])
    far = replace(far, scene=[f"far-{name}" for name in far.scene])
    both = Layout(
        near.cells + far.cells, near.scene + far.scene, [""] * 560, [], near.masks + far.masks
    )
    for seed in range(10):
        alone, together = (assign(p.patches(), Splits(), seed) for p in (near, both))
        assert {"train", "val", "corpus"} == set(alone.split)
        assert (together.split[:80] == alone.split).all()


def line(areas: int, gap: int = 10) -> Layout:
    """Areas of 4 x 4 cells, one block and one scene each, far enough apart for any buffer."""
    cells, scene = [], []
    for area in range(areas):
        for i in range(16):
            cells.append((400 + area * gap + i % 4, 4000 + i // 4))
            scene.append(f"s{area}")
    return Layout(cells, scene, [""] * len(cells), [], [1] * len(cells))


def split_of(result: Assignment, areas: int) -> list[str]:
    return [str(result.split[16 * area]) for area in range(areas)]


def test_shares_are_met_by_whole_scenes() -> None:
    layout = line(20)
    result = assign(layout.patches(), Splits(), seed=0)
    counts = {name: split_of(result, 20).count(name) for name in ("train", "val", "corpus")}
    assert counts == {"train": 12, "val": 2, "corpus": 6}
    assert result.warnings == ()


def test_one_scene_over_all_is_given_up_and_said() -> None:
    layout = replace(line(20), scene=["same"] * 320)
    relaxed = assign(layout.patches(), Splits(), seed=0)
    assert relaxed.kept_whole == ("pair", "event")
    assert any(line.startswith("scenes and datatakes could not") for line in relaxed.warnings)
    strict = assign(layout.patches(), Splits(relax=False), seed=0)
    assert len(set(strict.split)) == 1
    assert any("only 1 group of spatial blocks for 3 splits" in w for w in strict.warnings)
    unasked = assign(layout.patches(), Splits(groups=("pair", "event")), seed=0)
    assert not any("could not be kept whole" in line for line in unasked.warnings)
    assert (unasked.split == relaxed.split).all()


def test_rare_class_is_said() -> None:
    layout = line(20)
    masks = [1 | (1 << 11 if i < 16 else 0) for i in range(320)]
    result = assign(replace(layout, masks=masks).patches(), Splits(), seed=0)
    assert any(
        line.startswith("Earthquake Damage:") and "1 group of blocks" in line
        for line in result.warnings
    )


@pytest.mark.parametrize("method", ["blocks", "random"])
def test_held_out_regions_and_events_go_to_corpus(method: str) -> None:
    layout = line(20)
    events = ["flood:E7" if 16 * 7 <= i < 16 * 7 + 2 else "" for i in range(320)]
    patches = replace(layout, event=events).patches()
    place = patches.places
    box = (
        place.lon[48] - 0.001,
        place.lat[48] - 0.001,
        place.lon[48] + 0.001,
        place.lat[48] + 0.001,
    )
    hold = HoldOut(regions=(Area(bbox=box),), events=("E7",))
    result = assign(patches, Splits(method=method, hold_out=hold), seed=0)
    if method == "blocks":
        assert set(result.split[48:64]) == {"corpus"}
        assert set(result.split[112:128]) == {"corpus"}
    else:
        assert result.split[48] == result.split[112] == result.split[113] == "corpus"
    assert {"train", "val"} <= set(result.split)


def test_held_out_years_are_in_corpus_or_in_no_split() -> None:
    layout = line(20)
    years = [2021 if i % 2 or i < 16 else 2020 for i in range(320)]
    result = assign(layout.patches(years), Splits(hold_out=HoldOut(years=(2021,))), seed=0)
    late = np.array(years) == 2021
    assert set(result.split[late]) == {"corpus", ""}
    assert set(result.drop_reason[late & (result.split == "")]) == {"held_out"}
    assert set(result.split[:16]) == {"corpus"}
    assert {"train", "val"} <= set(result.split[~late])


def test_an_event_nobody_has_is_an_error() -> None:
    with pytest.raises(InputError, match=r"splits\.hold_out\.events: no patch .* 'E99'"):
        assign(line(3).patches(), Splits(hold_out=HoldOut(events=("E99",))), seed=0)


def test_quotas_are_within_one_and_right_on_average() -> None:
    shares = np.array([0.6, 0.1, 0.3])
    for groups in (1, 2, 5, 9):
        drawn = np.array([quotas(groups, shares, f"area{i}", 3) for i in range(800)])
        assert (drawn.sum(axis=1) == groups).all()
        if groups < 5:
            assert (np.abs(drawn - shares * groups) < 1).all()
            assert np.abs(drawn.mean(axis=0) - shares * groups).max() < 0.08
        else:
            assert (drawn >= 1).all()
            assert (np.abs(drawn - shares * groups) < 2).all()


def test_order_of_patches_and_names_of_zones_do_not_matter() -> None:
    layout = line(20)
    one = layout.patches()
    moved = np.random.default_rng(0).permutation(320)
    back = np.argsort(moved)
    ties = tuple(Tie(t.kind, back[t.rows], t.keys, t.names) for t in one.ties if t.rows.size)
    two = SplitPatches(
        [one.patch_ids[i] for i in moved], one.places.take(moved), one.label_masks[moved], ties
    )
    assert (assign(one, Splits(), 3).split[moved] == assign(two, Splits(), 3).split).all()
    assert len(joined(one.places, two.places)) == 640
