"""What a run begins from: the model's description and its initial weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from baselines.closp import Closp, ModelConfig
from baselines.encoders import BackboneConfig, choose_backbones
from baselines.loader import Split
from baselines.location import LocationConfig, location_config, satclip_layers
from baselines.objectives.building import objective_class
from baselines.published_checkpoints import is_published, load_published
from baselines.recipes import Recipe
from baselines.sampling import draws
from baselines.scaling import SensorInput, Statistics
from baselines.text import TextEncoder
from baselines.weights import (
    SSL4EO,
    Weights,
    WeightsRecord,
    load_backbone,
    open_weights,
    ssl4eo_input,
)
from landmark.errors import InputError

#: Training patches looked at for the mean and spread of each band.
_STATISTICS_PATCHES = 256
_SSL4EO = "ssl4eo"
_TOWERS = ("s1", "s2", "location")


@dataclass(frozen=True)
class Beginning:
    """A model before its first step.

    Attributes:
        model: With its initial weights.
        pretrained: Towers whose weights were loaded.
        records: Where they come from.
    """

    model: Closp
    pretrained: frozenset[str]
    records: dict[str, WeightsRecord]


def open_sources(source: str | None, recipe: Recipe) -> dict[str, Weights]:
    """Read the weights a run begins from.

    Args:
        source: None; `ssl4eo` (from the hub); a file or `hub:` name (a whole published model); or
            `s1=...,s2=...,location=...`, each one of these.
        recipe: Says which backbones are wanted.

    Returns:
        Tower -> its file; `model` for a whole published one.

    Raises:
        InputError: A file is missing, damaged or of another kind.
    """
    if source is None:
        return {}
    chosen = choose_backbones(recipe.model, recipe.size)
    if "=" not in source and source != _SSL4EO:
        weights = open_weights(source)
        if not is_published(weights):
            raise InputError(
                f"weights {source}: hold no whole CLOSP model; name the tower they are for: "
                "s1=FILE, s2=FILE or location=FILE"
            )
        return {"model": weights}
    wanted = (
        dict.fromkeys(chosen, _SSL4EO)
        if source == _SSL4EO
        else dict(part.strip().partition("=")[::2] for part in source.split(","))
    )
    unknown = sorted(set(wanted) - set(_TOWERS))
    if unknown:
        raise InputError(f"weights {source}: {unknown[0]!r} is no tower; use {', '.join(_TOWERS)}")
    return {
        tower: _ssl4eo(tower, chosen) if name == _SSL4EO else open_weights(name)
        for tower, name in wanted.items()
    }


def begin(
    recipe: Recipe,
    train: Mapping[str, Split],
    usable: Mapping[str, NDArray[np.intp]],
    text: TextEncoder | None,
    sources: Mapping[str, Weights],
) -> Beginning:
    """Build a run's model and put loaded weights into it.

    Raises:
        InputError: Weights and recipe, or weights and dataset, do not fit.
    """
    records = {tower: weights.record for tower, weights in sources.items()}
    torch.manual_seed(recipe.seed)
    if "model" in sources:
        return Beginning(*_published(recipe, train, text, sources["model"]), records)
    location = _location(recipe, sources)
    config = ModelConfig(
        kind=objective_class(recipe).kind,
        backbones={
            sensor: chosen
            for sensor, chosen in choose_backbones(
                recipe.model, recipe.size, recipe.classifier
            ).items()
            if sensor in train
        },
        dim=recipe.dim,
        temperature=recipe.temperature,
        learn_temperature=recipe.objective != "published",
        bias=recipe.bias if recipe.objective == "siglip" else None,
        text_projection=text is not None
        and (recipe.text_projection or text.config.width != recipe.dim),
        train_text=recipe.train_text and text is not None,
        location=location,
        head_hidden=recipe.head_hidden if recipe.objective == "concepts" else 0,
        inputs={
            sensor: _input(split, usable[sensor], recipe.seed, sensor in sources)
            for sensor, split in train.items()
        },
        text=text.config if text is not None else None,
    )
    model = Closp(config, text)
    for tower, weights in sources.items():
        if tower == "location" and model.location is not None:
            layers = satclip_layers(weights.tensors, weights.record.name)
            model.location.load_state_dict(layers)
        elif tower in train:
            expected = config.inputs[tower]
            load_backbone(model.backbones[tower], weights.tensors, expected, weights.record.name)
    # The text encoder always comes with its weights.
    return Beginning(model, frozenset(sources) | {"text"}, records)


def _published(
    recipe: Recipe, train: Mapping[str, Split], text: TextEncoder | None, weights: Weights
) -> tuple[Closp, frozenset[str]]:
    if recipe.objective != "published" or text is None:
        raise InputError(
            f"weights {weights.record.name}: a whole published model goes with --recipe published"
        )
    model = load_published(weights, {s: split.layout for s, split in train.items()}, text)
    if recipe.location_weight and model.location is None:
        raise InputError(f"weights {weights.record.name}: hold no location encoder (GeoCLOSP)")
    return model, frozenset({*train, "text", "location"})


def _ssl4eo(sensor: str, chosen: Mapping[str, BackboneConfig]) -> Weights:
    if sensor not in chosen:
        raise InputError("weights ssl4eo are for s1 and s2; give location=FILE")
    file = SSL4EO.get((chosen[sensor].name, sensor))
    if file is None:
        known = ", ".join(f"{name} ({own})" for name, own in SSL4EO)
        raise InputError(
            f"weights ssl4eo: there are none for {chosen[sensor].name} ({sensor}), only for "
            f"{known}; give {sensor}=FILE"
        )
    return open_weights(file)


def _location(recipe: Recipe, sources: Mapping[str, Weights]) -> LocationConfig | None:
    if not recipe.location_weight:
        if "location" in sources:
            raise InputError("weights for location need --set location_weight=... above 0")
        return None
    if "location" not in sources:
        return LocationConfig(degree=recipe.location_degree)
    weights = sources["location"]
    origin = weights.record.name
    return location_config(satclip_layers(weights.tensors, origin), origin)


def _input(split: Split, usable: NDArray[np.intp], seed: int, pretrained: bool) -> SensorInput:
    layout = split.layout
    if pretrained:
        return ssl4eo_input(layout.sensor, layout.bands, layout.scale, layout.nodata)
    count = min(len(usable), _STATISTICS_PATCHES)
    chosen = draws(seed, f"statistics/{split.sensor}").choice(usable, count, replace=False)
    statistics = Statistics(layout)
    for row in np.sort(chosen):
        statistics.add(split.image(int(row)))
    return statistics.result()
