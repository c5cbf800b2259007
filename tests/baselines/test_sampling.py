from __future__ import annotations

import dataclasses
import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.sampling import WINDOW, Order, Position, class_weights, draws
from landmark.errors import InputError

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


def test_the_state_of_an_order_is_three_integers() -> None:
    """Written down as JSON and read by another order, the remaining steps are the same."""
    position = Position(seed=5, epoch=2, step=3)
    text = json.dumps(dataclasses.asdict(position))
    assert json.loads(text) == {"seed": 5, "epoch": 2, "step": 3}
    again = Position(**json.loads(text))
    first, second = (Order({"s1": 30, "s2": 11}, 4, place.seed) for place in (position, again))
    for step in range(position.step):
        first.batch(position.epoch, step)  # what came before leaves no trace
    for step in range(again.step, second.steps):
        whole, rest = first.batch(position.epoch, step), second.batch(again.epoch, step)
        assert all(np.array_equal(whole[sensor], rest[sensor]) for sensor in whole)


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


@settings(max_examples=60, deadline=None)
@given(counts=counts, batch=st.integers(1, 40), seed=st.integers(0, 99), epoch=st.integers(0, 9))
def test_proportional_shows_every_patch_of_both_sensors_once(
    counts: dict[str, int], batch: int, seed: int, epoch: int
) -> None:
    order = Order(counts, batch, seed, mixing="proportional")
    steps = [order.batch(epoch, step) for step in range(order.steps)]
    for sensor, count in counts.items():
        drawn = [step[sensor] for step in steps if sensor in step]
        assert sorted(np.concatenate(drawn).tolist()) == list(range(count))
        assert max(map(len, drawn)) == order.largest[sensor] <= batch
        sizes = [len(step.get(sensor, ())) for step in steps]
        assert max(sizes) - min(sizes) <= 1


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 80), batch=st.integers(1, 40), seed=st.integers(0, 99))
def test_pairs_are_drawn_together(count: int, batch: int, seed: int) -> None:
    order = Order({"s1": count, "s2": count}, batch, seed, mixing="paired")
    steps = [order.batch(1, step) for step in range(order.steps)]
    assert all(np.array_equal(step["s1"], step["s2"]) for step in steps)
    assert sorted(np.concatenate([step["s1"] for step in steps]).tolist()) == list(range(count))


def test_pairs_need_equal_counts() -> None:
    with pytest.raises(InputError, match="one partner for every patch"):
        Order({"s1": 3, "s2": 4}, 2, 0, mixing="paired")


@settings(max_examples=60, deadline=None)
@given(
    weights=st.lists(st.floats(0, 100), min_size=1, max_size=60).filter(lambda w: sum(w) > 1e-3),
    batch=st.integers(1, 20),
    seed=st.integers(0, 99),
)
def test_balanced_draws_follow_the_weights_to_the_next_whole_number(
    weights: list[float], batch: int, seed: int
) -> None:
    given = np.array(weights)
    order = Order({"s1": len(given)}, batch, seed, weights={"s1": given})
    drawn = np.concatenate([order.batch(2, step)["s1"] for step in range(order.steps)])
    seen = np.bincount(drawn, minlength=len(given))
    share = len(given) * given / given.sum()
    assert len(drawn) == len(given)
    assert (np.abs(seen - share) < 1 + 1e-6).all()
    again = Order({"s1": len(given)}, batch, seed, weights={"s1": given})
    assert np.array_equal(
        again.batch(2, order.steps - 1)["s1"], order.batch(2, order.steps - 1)["s1"]
    )


def test_weights_that_make_no_sense_are_refused() -> None:
    for weights in ([1.0], [1.0, -1.0], [0.0, 0.0], [1.0, np.inf]):
        with pytest.raises(ValueError, match="weight"):
            Order({"s1": 2}, 1, 0, weights={"s1": np.array(weights)})


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=40), seed=st.integers(0, 99))
def test_row_groups_are_kept_together_by_windows(sizes: list[int], seed: int) -> None:
    groups = np.repeat(np.arange(len(sizes)), sizes)
    order = Order({"s2": len(groups)}, 4, seed, groups={"s2": groups})
    drawn = np.concatenate([order.batch(0, step)["s2"] for step in range(order.steps)])
    assert sorted(drawn.tolist()) == list(range(len(groups)))
    seen = groups[drawn]
    # At no time are more than two windows of groups begun and not finished.
    first = {g: np.flatnonzero(seen == g)[0] for g in np.unique(groups)}
    last = {g: np.flatnonzero(seen == g)[-1] for g in np.unique(groups)}
    for place in range(len(seen)):
        assert sum(first[g] <= place <= last[g] for g in first) <= WINDOW


def test_rare_classes_weigh_more() -> None:
    masks = np.array([1] * 90 + [2] * 9 + [3] + [0] * 5)
    weights = class_weights(masks)
    assert weights[0] < weights[99] < weights[90]
    assert weights[-1] == weights[0]
    assert np.allclose(class_weights(masks, power=0), 1)
    assert np.allclose(class_weights(np.zeros(3, int)), 1)
    # With power 1 each class gets the same share of the draws.
    whole = class_weights(np.array([1] * 30 + [2] * 10), power=1.0)
    assert np.isclose(whole[:30].sum(), whole[30:].sum())


def test_mixing_weights_and_groups_never_change_between_releases() -> None:
    weighted = Order({"s1": 6}, 6, 7, weights={"s1": np.array([5.0, 1, 1, 1, 1, 1])})
    grouped = Order({"s1": 6}, 6, 7, groups={"s1": np.array([0, 0, 1, 1, 2, 2])})
    paired = Order({"s1": 6, "s2": 6}, 6, 7, mixing="paired")
    drawn = [order.batch(1, 0)["s1"].tolist() for order in (weighted, grouped, paired)]
    assert drawn == [[0, 1, 2, 4, 0, 0], [1, 3, 4, 5, 0, 2], [3, 2, 0, 1, 4, 5]]
