from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark.pairing import SAME_CENTRE_M, pair_patches

patches = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.sampled_from([32632, 32633]),
        st.sampled_from([0.0, 100.0, 121.0, 1200.0, 2400.0]),
        st.sampled_from([0.0, 60.0, 1200.0]),
        st.integers(-50, 50),
    ),
    min_size=1,
    max_size=40,
)
Patch = tuple[int, int, float, float, int]


def pair(rows: list[Patch], ranks: list[int], gap: float) -> tuple[list[int], list[int]]:
    sensor, epsg, x, y, time = (np.array(column) for column in zip(*rows, strict=True))
    partner, signed = pair_patches(sensor, epsg, x, y, time.astype(np.int64), np.array(ranks), gap)
    return partner.tolist(), signed.tolist()


def slow_partner(rows: list[Patch], ranks: list[int], gap: float, index: int) -> int:
    sensor, epsg, x, y, time = rows[index]
    candidates = [
        (abs(t - time), ranks[i], i)
        for i, (s, e, x2, y2, t) in enumerate(rows)
        if s != sensor
        and e == epsg
        and np.hypot(x2 - x, y2 - y) <= SAME_CENTRE_M
        and abs(t - time) <= gap
    ]
    return min(candidates)[2] if candidates else -1


@given(patches, st.randoms(use_true_random=False), st.sampled_from([0.0, 7.0, 1000.0]))
@settings(max_examples=300)
def test_partners_equal_a_slow_search(rows: list[Patch], random: object, gap: float) -> None:
    ranks = list(range(len(rows)))
    random.shuffle(ranks)  # type: ignore[attr-defined]
    partner, signed = pair(rows, ranks, gap)
    for index, row in enumerate(rows):
        assert partner[index] == slow_partner(rows, ranks, gap, index)
        if partner[index] >= 0:
            assert signed[index] == rows[partner[index]][4] - row[4]
        else:
            assert signed[index] == 0


def test_the_gap_is_signed_and_need_not_be_mutual() -> None:
    rows = [(0, 32632, 0.0, 0.0, 10), (1, 32632, 0.0, 0.0, 14), (0, 32632, 0.0, 0.0, 15)]
    assert pair(rows, [0, 1, 2], 100.0) == ([1, 2, 1], [4, 1, -1])


def test_equal_gaps_go_to_the_first_patch_id() -> None:
    rows = [(0, 32632, 0.0, 0.0, 10), (1, 32632, 0.0, 0.0, 5), (1, 32632, 0.0, 0.0, 15)]
    assert pair(rows, [0, 1, 2], 100.0)[0] == [1, 0, 0]
    assert pair(rows, [0, 2, 1], 100.0)[0] == [2, 0, 0]


def test_one_sensor_alone_has_no_pairs() -> None:
    assert pair([(0, 32632, 0.0, 0.0, 10)] * 2, [0, 1], 100.0) == ([-1, -1], [0, 0])
