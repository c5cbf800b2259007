from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonize.ties import Tie, components, passes, ties_of


def table(rows: list[dict[str, Any]]) -> pa.Table:
    schema = pa.schema(
        [
            ("patch_id", pa.string()),
            ("scene", pa.string()),
            ("datatake", pa.string()),
            ("event_ids", pa.list_(pa.string())),
            ("partner_id", pa.string()),
        ]
    )
    return pa.Table.from_pylist(rows, schema=schema)


def test_ties_name_what_patches_share() -> None:
    none: dict[str, Any] = {"scene": None, "datatake": "t", "event_ids": [], "partner_id": None}
    rows = [
        none | {"patch_id": "a", "scene": "x", "event_ids": ["flood:1", "fire:2"]},
        none | {"patch_id": "b", "partner_id": "a", "event_ids": ["fire:2"]},
        none | {"patch_id": "c", "scene": "x", "partner_id": "gone"},
    ]
    found = {
        tie.kind: {
            name: sorted(tie.rows[tie.keys == key].tolist())
            for key, name in enumerate(tie.names.to_pylist())
        }
        for tie in ties_of(table(rows))
    }
    assert found["scene"] == {"x": [0, 2]}
    assert found["datatake"] == {"t": [0, 1, 2]}
    assert found["event"] == {"flood:1": [0], "fire:2": [0, 1]}
    assert found["pair"] == {"a": [0, 1]}


@settings(max_examples=60, deadline=None)
@given(
    units=st.lists(st.integers(0, 9), min_size=1, max_size=40),
    links=st.lists(st.tuples(st.integers(0, 39), st.integers(0, 6)), max_size=30),
)
def test_components_equal_a_plain_flood_fill(
    units: list[int], links: list[tuple[int, int]]
) -> None:
    links = [(row, key) for row, key in links if row < len(units)]
    of = np.array(units)
    tie = Tie(
        "scene",
        np.array([row for row, _ in links], dtype=np.int64),
        np.array([key for _, key in links], dtype=np.int64),
        pa.array([str(k) for k in range(7)]),
    )
    count, member = components(of, 10, [tie])
    group = list(range(10))
    for _ in range(10):
        for row, key in links:
            for other, same in links:
                if same == key:
                    low = min(group[units[row]], group[units[other]])
                    old = {group[units[row]], group[units[other]]}
                    group = [low if g in old else g for g in group]
    assert count == len(set(group))
    for one in range(10):
        for other in range(10):
            assert (member[one] == member[other]) == (group[one] == group[other])


def test_passes() -> None:
    times = np.array(
        [
            "2021-07-14T10:10:31",
            "2021-07-14T10:12:00",
            "2021-07-24T10:10:31",
            "2021-07-15T00:02:00",
            "2021-07-14T10:10:31",
            "2021-07-14T23:59:00",
        ],
        dtype="datetime64[us]",
    )
    orbit = np.array([22, 22, 22, 99, np.nan, 99])
    names = passes(["S2A", "S2A", "S2A", "S2B", "S2A", "S2B"], orbit, times)
    assert names == [
        "S2A_R022_2021-07-14",
        "S2A_R022_2021-07-14",
        "S2A_R022_2021-07-24",
        "S2B_R099_2021-07-14",  # crossed midnight
        "S2A_2021-07-14T10:10:31",
        "S2B_R099_2021-07-14",
    ]
