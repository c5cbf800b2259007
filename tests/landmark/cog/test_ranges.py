from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landmark.cog.blocks import BlockGrid, Windows, empty_planes, needed_blocks, scatter
from landmark.cog.faults import Patience
from landmark.cog.ranges import Block, merge

blocks = st.lists(
    st.tuples(st.integers(0, 5000), st.integers(1, 900)), min_size=0, max_size=40
).map(lambda pairs: [Block(i, start, start + size) for i, (start, size) in enumerate(pairs)])


@given(blocks, st.integers(1, 2000), st.integers(0, 200))
def test_ranges_hold_every_block_once_within_their_limits(
    wanted: list[Block], most: int, gap: int
) -> None:
    ranges = merge(wanted, most, gap)
    found = [block for one in ranges for block in one.blocks]
    assert sorted(block.index for block in found) == list(range(len(wanted)))
    for one in ranges:
        assert one.start == min(block.start for block in one.blocks)
        assert one.stop == max(block.stop for block in one.blocks)
        assert one.stop - one.start <= most or len(one.blocks) == 1
        reach = one.start
        for block in one.blocks:
            assert block.start <= reach + gap
            reach = max(reach, block.stop)
    # No two that could be one.
    for first, second in itertools.pairwise(ranges):
        joined = max(first.stop, second.blocks[0].stop) - first.start
        assert second.start > first.stop + gap or joined > most


@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.integers(1, 40)),
    st.lists(st.tuples(st.integers(-30, 100), st.integers(-30, 100)), min_size=1, max_size=6),
    st.integers(1, 30),
)
def test_blocks_scattered_into_windows_equal_slices(
    sizes: tuple[int, int, int, int], corners: list[tuple[int, int]], side: int
) -> None:
    grid = BlockGrid(*sizes)
    whole = np.arange(grid.height * grid.width, dtype=np.int32).reshape(grid.height, grid.width)
    plane = empty_planes(grid, corners, side, -1.0, np.dtype(np.int32))
    windows = Windows(corners, side, {0: plane})
    for block, members in needed_blocks(grid, corners, side).items():
        part = grid.part(block)
        pixels = whole[part.top : part.bottom, part.left : part.right]
        scatter(part, pixels, members, windows, plane)
    around = np.pad(whole, 140, constant_values=-1)
    for (row, column), found in zip(corners, plane, strict=True):
        expected = around[140 + row : 140 + row + side, 140 + column : 140 + column + side]
        assert np.array_equal(found, expected)


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    patience = Patience(retries=2, share=0.5, idle_s=60)
    assert [patience.may_retry() for _ in range(3)] == [True, True, False]
    patience.succeeded()
    assert not patience.may_retry()  # half a retry earned
    patience.succeeded()
    assert patience.may_retry()
    assert patience.may_wait(60)
    assert not patience.may_wait(61)
    for _ in range(9):
        patience.succeeded()
    now = 161.0  # a minute without success: what is left is not used
    assert not patience.may_retry()
    assert not patience.may_wait(0)
