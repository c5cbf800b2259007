"""Recipes: everything a training run needs to know, as one frozen value per name.

This module imports no torch, so that commands can list recipes quickly.
"""

from __future__ import annotations

import difflib
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from landmark.errors import InputError

#: The frozen text tower of the paper (facts: all-MiniLM-L6-v2, 384-d).
DEFAULT_TEXT = "sentence-transformers/all-MiniLM-L6-v2"


class Recipe(BaseModel):
    """One way to train: objective, model, optimiser and what is done to the inputs."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    objective: Literal["clip", "multilabel"] = Field(
        description=(
            "`clip`: symmetric contrastive loss between images and captions; `multilabel`: "
            "binary cross-entropy on the twelve classes, unknown bits left out."
        )
    )
    model: str = Field("test_resnet", description="timm backbone, one per sensor, untrained.")
    size: Literal[30, 40, 60, 120] = Field(
        60, description="Pixels per side given to the backbone; below 120 by average pooling."
    )
    dim: int = Field(384, ge=8, description="Width of the shared space.")
    text: str = Field(
        DEFAULT_TEXT, description="Frozen text encoder: hub name, or name of a local folder."
    )
    pooling: Literal["mean", "cls"] = Field(
        "mean", description="How token vectors become one: mean over tokens, or the first (paper)."
    )
    text_projection: bool = Field(
        False,
        description=(
            "Train a linear layer on the text side. Off: it costs paraphrase queries; always on "
            "where `dim` is not the text encoder's own width."
        ),
    )
    epochs: int = Field(10, ge=1, description="Passes over the larger sensor's patches.")
    batch: int = Field(64, ge=2, description="Patches per sensor and step (over all processes).")
    lr: float = Field(2e-3, gt=0, description="Peak learning rate of AdamW.")
    weight_decay: float = Field(0.05, ge=0, description="AdamW's; none on norms and biases.")
    warmup: float = Field(
        0.1, ge=0, lt=1, description="Share of the steps with a rising rate; then a cosine to 0."
    )
    seed: int = Field(0, ge=0, description="Seed of weights, order and augmentation.")
    augment: bool = Field(
        True, description="Flips and quarter turns of training patches (never in validation)."
    )
    temperature: float = Field(
        0.07, gt=0, description="`clip`: where the learnable temperature starts."
    )
    subcaptions: int = Field(
        0,
        ge=0,
        description=(
            "`clip`: further texts per step, each a subset of 1-3 labels of a patch of the batch; "
            "a patch is a positive of every text whose labels it carries, and no negative of one "
            "whose labels are unknown there. 0: captions only, equal captions are positives."
        ),
    )


RECIPES: MappingProxyType[str, Recipe] = MappingProxyType(
    {
        "clip": Recipe(objective="clip", epochs=8),
        "multilabel": Recipe(objective="multilabel", epochs=6),
    }
)


def resolve(name: str, **overrides: Any) -> Recipe:
    """Return a recipe by name, with the fields changed that are given and not None.

    Raises:
        InputError: No such recipe, or a value out of range.
    """
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"unknown recipe {name!r}{hint} (there are: {', '.join(RECIPES)})")
    changed = {key: value for key, value in overrides.items() if value is not None}
    try:
        return Recipe.model_validate({**RECIPES[name].model_dump(), **changed})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"recipe {name}: {field}: {first['msg']}, got {first['input']!r}"
        ) from None
