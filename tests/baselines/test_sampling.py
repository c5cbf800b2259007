from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.sampling import Order, draws

counts = st.dictionaries(st.sampled_from(["s1", "s2"]), st.integers(1, 90), min_size=1)


@settings(max_examples=60, deadline=None)
@given(counts=counts, batch=st.integers(1, 40), seed=st.integers(0, 2**40), epoch=st.integers(0, 9))
def test_an_epoch_shows_the_larger_sensor_once_and_cycles_the_smaller(
    counts: dict[str, int], batch: int, seed: int, epoch: int
) -> None:
    order = Order(counts, batch, seed)
    steps = [order.batch(epoch, step) for step in range(order.steps)]
    largest = max(counts.values())
    sizes = [len(next(iter(step.values()))) for step in steps]
    assert sum(sizes) == largest
    assert max(sizes) <= batch
    assert max(sizes) - min(sizes) <= 1
    for sensor, count in counts.items():
        drawn = [len(step[sensor]) for step in steps]
        assert drawn == sizes
        seen = Counter(np.concatenate([step[sensor] for step in steps]).tolist())
        assert set(seen) == set(range(count))
        assert max(seen.values()) - min(seen.values()) <= 1
        assert max(seen.values()) == -(-largest // count)


@settings(max_examples=30, deadline=None)
@given(counts=counts, batch=st.integers(1, 40), seed=st.integers(0, 99), data=st.data())
def test_a_step_is_a_function_of_seed_epoch_and_step_alone(
    counts: dict[str, int], batch: int, seed: int, data: st.DataObject
) -> None:
    first = Order(counts, batch, seed)
    step = data.draw(st.integers(0, first.steps - 1))
    for before in range(step):
        first.batch(3, before)
    second = Order(dict(reversed(counts.items())), batch, seed)
    a, b = first.batch(3, step), second.batch(3, step)
    assert list(a) == list(b)
    assert all(np.array_equal(a[sensor], b[sensor]) for sensor in a)


def test_epochs_seeds_and_sensors_are_shuffled_differently() -> None:
    order = Order({"s1": 50, "s2": 50}, 50, 0)
    other = Order({"s1": 50, "s2": 50}, 50, 1)
    drawn = [order.batch(0, 0)["s1"], order.batch(0, 0)["s2"], order.batch(1, 0)["s1"]]
    drawn.append(other.batch(0, 0)["s1"])
    assert len({tuple(rows.tolist()) for rows in drawn}) == 4


def test_the_order_never_changes_between_releases() -> None:
    order = Order({"s1": 8, "s2": 5}, 4, 7)
    assert order.batch(2, 1)["s1"].tolist() == [2, 4, 3, 7]
    assert order.symmetries(2, 1, "s1", 6).tolist() == [4, 0, 7, 2, 7, 0]


def test_symmetries_cover_all_eight_evenly() -> None:
    kinds = Order({"s1": 1}, 1, 0).symmetries(0, 0, "s1", 8000)
    assert (np.bincount(kinds, minlength=8) > 850).all()


def test_named_draws_are_independent() -> None:
    assert draws(1, "a").integers(1 << 60) != draws(1, "b").integers(1 << 60)
    assert draws(1, "a").integers(1 << 60) == draws(1, "a").integers(1 << 60)
