from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from baselines.loader import open_split
from baselines.objectives.base import Places
from baselines.partners import PairedOrder, read_places
from baselines.sampling import Order
from tests.baselines.learnable import make_learnable


def test_partners_and_places_are_read_off_the_shards(tmp_path: Path) -> None:
    make_learnable(tmp_path, {"train": (5, 3)})
    splits = {sensor: open_split(tmp_path, sensor, "train") for sensor in ("s1", "s2")}
    places = read_places(tmp_path, splits)
    # Patch n of one sensor is paired with patch n of the other; s2 has the first three alone.
    assert places["s1"].partner.tolist() == [0, 1, 2, -1, -1]
    assert places["s2"].partner.tolist() == [0, 1, 2]
    np.testing.assert_allclose(places["s1"].lonlat[4], [9.08, 45.0])
    for split in splits.values():
        split.close()


@pytest.mark.parametrize("epoch", [0, 1])
def test_partners_are_drawn_together(epoch: int) -> None:
    nowhere = np.zeros((10, 2))
    places = {
        "s1": Places(nowhere, np.array([3, -1, 7, 2, 0, 1, 4, 5, 6, -1])),
        "s2": Places(nowhere, np.full(8, -1)),
    }
    # Row 7 of s2 cannot be learned from: position k of s2 is row k below that.
    usable = {"s1": np.arange(10), "s2": np.arange(7)}
    order = PairedOrder(usable, places, 4, 0)
    plain = Order({"s1": 10, "s2": 7}, 4, 0)
    for step in range(order.steps):
        drawn, before = order.batch(epoch, step), plain.batch(epoch, step)
        assert drawn["s1"].tolist() == before["s1"].tolist()
        for own, other, old in zip(drawn["s1"], drawn["s2"], before["s2"], strict=True):
            partner = places["s1"].partner[own]
            assert other == (partner if 0 <= partner < 7 else old)


def test_one_sensor_alone_is_drawn_as_ever() -> None:
    places = {"s1": Places(np.zeros((5, 2)), np.full(5, -1))}
    order = PairedOrder({"s1": np.arange(5)}, places, 2, 3)
    expected = Order({"s1": 5}, 2, 3).batch(0, 1)["s1"]
    assert order.batch(0, 1)["s1"].tolist() == expected.tolist()
