from __future__ import annotations

from itertools import groupby

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from landmark.sharding import SUPERBLOCK, fill_shards, reading_order


@given(st.lists(st.integers(1, 40), max_size=12), st.integers(1, 12))
def test_every_patch_has_one_place_and_no_shard_is_too_full(counts: list[int], limit: int) -> None:
    places = fill_shards(counts, limit)
    assert len(places.shard) == sum(counts)
    by_shard: dict[int, list[int]] = {}
    for shard, row in zip(places.shard.tolist(), places.row.tolist(), strict=True):
        by_shard.setdefault(shard, []).append(row)
    assert sorted(by_shard) == list(range(len(by_shard)))
    for rows in by_shard.values():
        assert rows == list(range(len(rows)))
        assert len(rows) <= limit
    start = 0
    for count in counts:
        shards = places.shard[start : start + count].tolist()
        sizes = [len(list(group)) for _, group in groupby(shards)]
        assert max(sizes) - min(sizes) <= 1
        assert len(sizes) == -(-count // limit)  # no more pieces than needed
        start += count


def test_large_scenes_have_shards_of_their_own_and_small_ones_share() -> None:
    places = fill_shards([3, 25, 4, 4, 9], 10)
    assert places.shard.tolist() == [0] * 3 + [1] * 8 + [2] * 8 + [3] * 9 + [0] * 4 + [4] * 4 + (
        [5] * 9
    )
    assert places.row.tolist()[:3] == [0, 1, 2]
    assert places.row.tolist()[28:32] == [3, 4, 5, 6]


def test_neighbours_are_read_together() -> None:
    grid = np.mgrid[0:20, 0:20].reshape(2, -1)
    shuffle = np.random.default_rng(1).permutation(grid.shape[1])
    row, column = grid[:, shuffle]
    epsg = np.repeat([32633, 32632], 200)
    order = reading_order(epsg, column, row)
    assert epsg[order].tolist() == [32632] * 200 + [32633] * 200
    for zone in (order[:200], order[200:]):
        blocks = list(zip(row[zone] // SUPERBLOCK, column[zone] // SUPERBLOCK, strict=True))
        assert blocks == sorted(blocks)
        for _, group in groupby(zone, lambda i: (row[i] // SUPERBLOCK, column[i] // SUPERBLOCK)):
            cells = [(row[i], column[i]) for i in group]
            assert cells == sorted(cells)
