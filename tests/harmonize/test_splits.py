from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonize.places import Places, block_ids, close_pairs
from harmonize.splits import SplitPatches, assign
from harmonize.stratify import deal_groups
from landmark.errors import InputError
from landmark.grid import SIZE_M, south_shift
from landmark.manifest import Splits

LON_OF_ZONE_32 = 9.0


def lattice(cells: list[tuple[int, int]], epsg: int = 32632) -> Places:
    """Centres of lattice cells around the middle of zone 32, longitudes from pyproj."""
    x = np.array([(c + 0.5) * SIZE_M for c, _ in cells], dtype=float)
    y = np.array([(r + 0.5) * SIZE_M + south_shift(epsg) for _, r in cells], dtype=float)
    return at(epsg, x, y)


def at(epsg: int, x: np.ndarray, y: np.ndarray) -> Places:
    import pyproj

    lon, lat = pyproj.Transformer.from_crs(f"EPSG:{epsg}", "OGC:CRS84", always_xy=True).transform(
        x, y
    )
    return Places(np.full(x.size, epsg, dtype=np.int64), x, y, np.asarray(lon), np.asarray(lat))


def joined(*parts: Places) -> Places:
    return Places(
        *(np.concatenate([getattr(p, f) for p in parts]) for f in ("epsg", "x", "y", "lon", "lat"))
    )


def patches(places: Places, masks: Any = None, prefix: str = "p") -> SplitPatches:
    n = len(places)
    masks = np.zeros(n, dtype=np.int64) if masks is None else np.asarray(masks, dtype=np.int64)
    return SplitPatches([f"{prefix}{i}" for i in range(n)], places, masks)


def square(side: int, column: int = 400, row: int = 4000) -> list[tuple[int, int]]:
    return [(column + i, row + j) for i in range(side) for j in range(side)]


def test_block_names() -> None:
    places = lattice([(400, 4000), (409, 4009), (410, 4000)])
    assert block_ids(places, 12.0).tolist() == ["32632_40_400", "32632_40_400", "32632_41_400"]
    south = lattice([(400, 7000)], 32732)
    assert block_ids(south, 12.0).tolist() == ["32732_40_700"]


def test_block_is_that_of_the_ground_not_of_the_frame_crs() -> None:
    import pyproj

    home = lattice([(404, 4004)])
    x, y = pyproj.Transformer.from_crs("OGC:CRS84", "EPSG:32633", always_xy=True).transform(
        home.lon, home.lat
    )
    foreign = at(32633, x, y)
    assert block_ids(foreign, 12.0).tolist() == block_ids(home, 12.0).tolist()


def test_blocks_stay_whole_and_shares_are_met() -> None:
    rng = np.random.default_rng(1)
    places = lattice(square(60))
    masks = rng.integers(0, 4096, len(places))
    result = assign(patches(places, masks), Splits(buffer_cells=0), seed=1)
    for block in np.unique(result.block):
        assert len(set(result.split[result.block == block])) == 1
    share = {s: np.mean(result.split == s) for s in ("train", "val", "corpus")}
    assert share["train"] == pytest.approx(0.6, abs=0.05)
    assert share["val"] == pytest.approx(0.1, abs=0.05)
    assert result.warnings == ()


def test_sensors_and_dates_of_a_place_share_a_split() -> None:
    once = lattice(square(20))
    result = assign(patches(joined(once, once, once)), Splits(block_km=6), seed=3)
    first, second, third = np.split(result.split, 3)
    assert (first == second).all()
    assert (first == third).all()


def test_order_of_patches_does_not_matter() -> None:
    rng = np.random.default_rng(5)
    places = lattice(square(25))
    masks = rng.integers(0, 4096, len(places))
    one = assign(patches(places, masks), Splits(block_km=6), seed=4)
    shuffle = rng.permutation(len(places))
    two = assign(
        SplitPatches([f"p{i}" for i in shuffle], places.take(shuffle), masks[shuffle]),
        Splits(block_km=6),
        seed=4,
    )
    assert (one.split[shuffle] == two.split).all()
    other = assign(patches(places, masks), Splits(block_km=6), seed=5)
    assert (one.split != other.split).any()


def brute_force_close(places: Places, i: int, j: int, cells: int) -> bool:
    return (
        places.epsg[i] == places.epsg[j]
        and max(abs(places.x[i] - places.x[j]), abs(places.y[i] - places.y[j])) / SIZE_M
        < cells + 1 - 1e-3
    )


@settings(max_examples=40, deadline=None)
@given(
    cells=st.lists(
        st.tuples(st.integers(400, 430), st.integers(4000, 4020)), min_size=1, max_size=60
    ),
    off_lattice=st.booleans(),
    buffer_cells=st.integers(0, 3),
    block_km=st.sampled_from([3.6, 6.0, 7.0, 12.0]),
    seed=st.integers(0, 3),
)
def test_no_two_splits_within_the_buffer(
    cells: list[tuple[int, int]], off_lattice: bool, buffer_cells: int, block_km: float, seed: int
) -> None:
    places = lattice(cells)
    if off_lattice:
        shift = np.random.default_rng(seed).integers(-60, 60, (2, len(cells))) * 10.0
        places = at(32632, places.x + shift[0], places.y + shift[1])
    result = assign(
        patches(places), Splits(block_km=block_km, buffer_cells=buffer_cells), seed=seed
    )
    kept = np.flatnonzero(result.split != "")
    assert ((result.split == "") == (result.drop_reason == "buffer")).all()
    for i in kept:
        for j in kept:
            if result.split[i] != result.split[j]:
                assert not brute_force_close(places, i, j, buffer_cells)
    # Nothing is dropped that no other split comes near to.
    dealt = assign(patches(places), Splits(block_km=block_km, buffer_cells=0), seed=seed)
    if not off_lattice:
        for i in np.flatnonzero(result.split == ""):
            others = [j for j in range(len(cells)) if dealt.split[j] != dealt.split[i]]
            assert any(brute_force_close(places, i, j, buffer_cells) for j in others)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=25),
    labels=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
def test_dealing_leaves_no_split_empty(sizes: list[int], labels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = np.array(sizes, dtype=np.int64)
    counts = rng.integers(0, size[:, None] + 1, (size.size, labels)).astype(np.int64)
    ties = rng.integers(0, 2**63, size.size).astype(np.uint64)
    dealt = deal_groups(counts, size, np.array([0.6, 0.1, 0.3]), ties)
    assert set(dealt) <= {0, 1, 2}
    if size.size >= 3:
        assert set(dealt) == {0, 1, 2}
    order = rng.permutation(size.size)
    again = deal_groups(counts[order], size[order], np.array([0.6, 0.1, 0.3]), ties[order])
    assert (again == dealt[order]).all()
    only_two = deal_groups(counts, size, np.array([0.2, 0.0, 0.8]), ties)
    assert 1 not in set(only_two)


def test_dealing_balances_labels_better_than_chance() -> None:
    rng = np.random.default_rng(0)
    size = rng.integers(40, 100, 60)
    # Labels cluster by block, as land cover does.
    rate = rng.beta(0.3, 1.5, (60, 12))
    counts = rng.binomial(size[:, None], rate)
    shares = np.array([0.6, 0.1, 0.3])

    def error(dealt: np.ndarray) -> float:
        got = np.stack([counts[dealt == s].sum(axis=0) for s in range(3)])
        return float(np.abs(got / counts.sum(axis=0) - shares[:, None]).mean())

    ours = error(deal_groups(counts, size, shares, rng.integers(0, 2**63, 60).astype(np.uint64)))
    chance = [error(rng.choice(3, 60, p=shares)) for _ in range(200)]
    assert ours < 0.03
    assert ours < min(chance)


def test_rare_label_reaches_train_and_corpus() -> None:
    counts = np.zeros((12, 2), dtype=np.int64)
    counts[:, 0] = 50
    counts[[3, 7], 1] = 10
    size = np.full(12, 100)
    dealt = deal_groups(counts, size, np.array([0.6, 0.1, 0.3]), np.arange(12, dtype=np.uint64))
    assert {int(dealt[3]), int(dealt[7])} == {0, 2}


def test_zone_border_neighbours_are_close() -> None:
    """The last cell of zone 32 and the first of zone 33 lie side by side on the ground."""
    import pyproj

    def place(lon: float, lat: float, epsg: int) -> Places:
        x, y = pyproj.Transformer.from_crs("OGC:CRS84", f"EPSG:{epsg}", always_xy=True).transform(
            lon, lat
        )
        return Places(
            np.array([epsg]), np.array([x]), np.array([y]), np.array([lon]), np.array([lat])
        )

    both = joined(place(11.995, 45.0, 32632), place(12.005, 45.0, 32633))
    first, second = np.array([0]), np.array([1])
    assert [set(hits.tolist()) for hits in close_pairs(both, first, second, 1)] == [{0}, {1}]
    far = joined(place(11.9, 45.0, 32632), place(12.1, 45.0, 32633))
    assert [hits.tolist() for hits in close_pairs(far, first, second, 1)] == [[], []]
    assert [set(hits.tolist()) for hits in close_pairs(far, first, second, 15)] == [{0}, {1}]


def test_few_blocks_are_said() -> None:
    result = assign(patches(lattice(square(4))), Splits(), seed=0)
    assert any("only 1 group of spatial blocks for 3 splits" in line for line in result.warnings)
    assert any("split val is empty" in line for line in result.warnings)


def test_a_split_is_not_eaten_whole_by_the_buffer() -> None:
    # Three blocks of 3 x 3 cells in a row: a buffer of 2 cells would take any of them whole.
    places = lattice([(400 + i, 4000 + j) for i in range(9) for j in range(3)])
    result = assign(patches(places), Splits(block_km=3.6, buffer_cells=2), seed=0)
    kept = set(result.split) - {""}
    assert len(kept) >= 2


def test_class_missing_from_a_split_is_said() -> None:
    places = lattice(square(40))
    masks = np.ones(len(places), dtype=np.int64)
    masks[0] |= 1 << 11
    result = assign(patches(places, masks), Splits(), seed=0)
    assert any(line.startswith("Earthquake Damage: occurs, but not in") for line in result.warnings)


def test_random_shares_out_every_label_set() -> None:
    rng = np.random.default_rng(2)
    places = lattice(square(40))
    masks = rng.choice([0, 1, 3, 8], len(places), p=[0.1, 0.5, 0.3, 0.1])
    rules = Splits(method="random", train=0.2, val=0.0, corpus=0.8)
    result = assign(patches(places, masks), rules, seed=1)
    assert (result.drop_reason == "").all()
    for mask in (0, 1, 3, 8):
        rows = masks == mask
        assert abs((result.split[rows] == "train").sum() - 0.2 * rows.sum()) <= 1.01
    assert "val" not in set(result.split)
    # It leaks by design: neighbours fall into different splits.
    assert len(set(result.split[result.block == result.block[0]])) == 2
    again = assign(patches(places, masks), rules, seed=1)
    assert (again.split == result.split).all()


@pytest.mark.parametrize("method", ["blocks", "random"])
def test_no_patches(method: str) -> None:
    empty = patches(lattice([(400, 4000)]).take(np.empty(0, dtype=np.int64)))
    assert assign(empty, Splits(method=method), seed=0).split.size == 0


def test_splits_of_an_archive_are_kept_as_they_are() -> None:
    places = lattice(square(3))
    masks = [1, 1, 1, 2, 2, 2, 4, 4, 4]
    own = {f"p{i}": name for i, name in enumerate(["train"] * 6 + ["corpus"] * 2)}
    given = replace(patches(places, masks), own=own)
    result = assign(given, Splits(method="source"), seed=0)
    assert result.split.tolist() == [*["train"] * 6, "corpus", "corpus", ""]
    assert result.drop_reason.tolist() == [*[""] * 8, "no split"]
    assert result.kept_whole == ()
    assert result.warnings[0] == "1 patches are in no split of their archive: they are dropped"
    # The archive holds no val, and deals as it likes: neither is worth a word.
    assert not any("val" in line or "asked for" in line for line in result.warnings)
    assert any("occurs, but not in corpus" in line for line in result.warnings)


@pytest.mark.parametrize("labelled", [0, 1])
def test_an_archive_that_publishes_no_split_is_told_of(labelled: int) -> None:
    given = patches(lattice(square(2)), [labelled] * 4)
    with pytest.raises(InputError, match="state none for any patch"):
        assign(given, Splits(method="source"), seed=0)


def test_held_out_ground_does_not_go_with_published_splits() -> None:
    with pytest.raises(ValueError, match="hold_out does not go with method source"):
        Splits.model_validate({"method": "source", "hold_out": {"years": [2020]}})
