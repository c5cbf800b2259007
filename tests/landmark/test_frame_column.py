"""Frames become a column as they come, whatever their sizes and however many."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landmark import frame_column
from landmark.frame_column import FrameColumn


def column_of(frames: list[bytes], expected: int) -> pa.ChunkedArray:
    column = FrameColumn(expected)
    for frame in frames:
        column.append(frame)
    return column.finish()


@given(st.lists(st.binary(max_size=300), max_size=30), st.integers(0, 40))
def test_a_column_holds_its_frames_in_the_order_they_came(
    frames: list[bytes], expected: int
) -> None:
    column = column_of(frames, expected)
    assert column.type == pa.binary()
    assert column.num_chunks <= 1
    assert column.to_pylist() == frames
    column.validate(full=True)


def test_what_no_one_array_can_hold_becomes_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_column, "_LARGEST", 100)
    frames = [bytes([number]) * 30 for number in range(10)]
    column = column_of(frames, 10)
    assert column.to_pylist() == frames
    assert [len(chunk) for chunk in column.chunks] == [3, 3, 3, 1]


@given(st.permutations(range(7)), st.booleans())
def test_frames_stand_where_they_belong(places: list[int], many: bool) -> None:
    frames = [bytes([number]) * 20 for number in places]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frame_column, "_LARGEST", 60 if many else 2**31 - 1)
        column = FrameColumn(7)
        for frame in frames:
            column.append(frame)
        ordered = column.finish(sorted(range(7), key=lambda place: places[place]))
    assert ordered.to_pylist() == sorted(frames)
    assert (ordered.num_chunks > 1) == many
