"""What a recipe says about the drawing of patches, as rows and an order: mixing and balance."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from baselines.loader import pairs
from baselines.objectives.base import Places
from baselines.partners import PairedOrder
from baselines.recipes import Recipe
from baselines.sampling import Order, class_weights
from baselines.split import Split
from landmark.errors import InputError

Rows = Mapping[str, NDArray[np.intp]]


def drawable(recipe: Recipe, train: Mapping[str, Split], usable: Rows) -> dict[str, NDArray]:
    """Return the rows an order may draw: all usable ones, or for `paired` rows of whole pairs.

    Args:
        recipe: Its `mixing` decides.
        train: Sensor -> training patches.
        usable: Sensor -> the rows the objective can learn from.

    Raises:
        InputError: There are no pairs.
    """
    if recipe.mixing != "paired":
        return dict(usable)
    found = pairs(train)
    kept = np.logical_and.reduce([np.isin(rows, usable[s]) for s, rows in found.items()])
    if not kept.any():
        raise InputError("no pair of both sensors can be learned from: set mixing=cycle")
    return {sensor: rows[kept] for sensor, rows in found.items()}


def build_order(
    recipe: Recipe,
    train: Mapping[str, Split],
    rows: Rows,
    places: Mapping[str, Places],
    processes: int = 1,
) -> Order:
    """Return the order of a run.

    Args:
        recipe: Its `mixing`, `balance`, `pair_weight`, `batch` and `seed` decide.
        train: Sensor -> training patches.
        rows: Sensor -> the rows that are drawn; see `drawable`.
        places: Partners, where `pair_weight` asks for them.
        processes: That share each step.

    Raises:
        InputError: A step would leave a process without patches of a sensor.
    """
    if recipe.pair_weight and recipe.mixing == "cycle":
        return PairedOrder(rows, places, recipe.batch, recipe.seed)
    counts = {sensor: len(own) for sensor, own in rows.items()}
    weights = _weights(recipe, train, rows) if recipe.balance else None
    order = Order(counts, recipe.batch, recipe.seed, mixing=recipe.mixing, weights=weights)
    fewest = {sensor: count // order.steps for sensor, count in counts.items()}
    short = min(fewest, key=lambda sensor: fewest[sensor])
    if recipe.mixing == "proportional" and processes > 1 and fewest[short] < processes:
        raise InputError(
            f"mixing=proportional leaves some of {processes} processes without {short} patches in "
            "a step; raise --batch, start fewer processes, or set mixing=cycle"
        )
    return order


def _weights(recipe: Recipe, train: Mapping[str, Split], rows: Rows) -> dict[str, NDArray]:
    masks = {sensor: train[sensor].label_mask[own] for sensor, own in rows.items()}
    if recipe.mixing == "paired":
        # One weight a pair, or the two sensors would draw different pairs.
        both: NDArray[np.uint16] = np.bitwise_or.reduce(list(masks.values()))
        masks = {sensor: both for sensor in masks}  # noqa: C420 (types)
    return {sensor: class_weights(mask, recipe.balance) for sensor, mask in masks.items()}
