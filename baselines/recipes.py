"""Recipes: everything a training run needs to know, as one frozen value per name.

This module imports no torch, so that commands can list recipes quickly.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from landmark.errors import InputError

#: The text tower of the paper (facts: all-MiniLM-L6-v2, 384-d).
DEFAULT_TEXT = "sentence-transformers/all-MiniLM-L6-v2"

ObjectiveName = Literal[
    "published", "clip", "containment", "soft", "siglip", "dcl", "multilabel", "concepts"
]
#: Objectives that learn classes, not (only) a space shared with texts.
CLASSIFIERS = ("multilabel", "concepts")
#: Objectives that draw texts beside the captions: subsets of labels, other orders, other words.
DRAWS_TEXTS = ("containment", "concepts")


class Recipe(BaseModel):
    """One way to train: objective, model, optimiser and what is done to the inputs."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    objective: ObjectiveName = Field(
        description=(
            "`published`: symmetric contrastive loss of the paper, fixed scale; `clip`: with a "
            "learnable temperature; `containment`: a patch is a positive of all texts whose labels "
            "it carries; `soft`: targets by squared label overlap; `siglip`: one sigmoid per pair; "
            "`dcl`: positives left out of the denominator; `multilabel`: binary cross-entropy on "
            "the classes, unknown bits left out; `concepts`: the same, and a detached containment "
            "embedding for free text."
        )
    )
    model: str = Field(
        "test_resnet",
        description=(
            "timm backbone, one per sensor; `s1=NAME,s2=NAME` mixes; `closp-rn`, `closp-vs`, "
            "`closp-vl` and `closp-mix` are the published pairs."
        ),
    )
    size: Literal[30, 40, 60, 120, 224] = Field(
        60,
        description=(
            "Pixels per side given to the backbone; below 120 by average pooling, 224 bilinear."
        ),
    )
    dim: int = Field(384, ge=8, description="Width of the shared space.")
    classifier: int = Field(
        0,
        ge=0,
        description=(
            "Width of a further linear layer between backbone and projection; the published nets "
            "keep timm's 1000 classes there. 0: none."
        ),
    )
    text: str = Field(
        DEFAULT_TEXT, description="Text encoder: hub name, or name of a local folder."
    )
    pooling: Literal["mean", "cls"] = Field(
        "mean", description="How token vectors become one: mean over tokens, or the first (paper)."
    )
    train_text: bool = Field(
        False, description="Train the text encoder too; its weights then belong to the run."
    )
    text_projection: bool = Field(
        False,
        description=(
            "Train a linear layer on the text side. Off: it costs paraphrase queries; always on "
            "where `dim` is not the text encoder's own width."
        ),
    )
    freeze_images: bool = Field(
        False,
        description=(
            "Train no image backbone: their features are computed once (for every symmetry the "
            "augmentation may draw) and kept under cache/features."
        ),
    )
    frozen_epochs: int = Field(
        0, ge=0, description="First epochs in which towers with loaded weights are not trained."
    )
    epochs: int = Field(
        10, ge=0, description="Passes over the larger sensor's patches; 0 with loaded weights only."
    )
    batch: int = Field(64, ge=2, description="Patches per sensor and step (over all processes).")
    mixing: Literal["cycle", "proportional", "paired"] = Field(
        "cycle",
        description=(
            "How the sensors share an epoch. `cycle`: as many patches of either in each step, the "
            "smaller sensor starting over; `proportional`: every patch once, each sensor in "
            "proportion; `paired`: only patches with a partner of the other sensor, drawn together."
        ),
    )
    balance: float = Field(
        0,
        ge=0,
        le=1,
        description=(
            "Patches of rare classes are drawn more often: a class counts as its frequency to the "
            "power of minus this. 0: each patch once an epoch; 0.5: square root; 1: all classes "
            "about equally often. Some patches then repeat in an epoch, and some do not occur."
        ),
    )
    accumulate: int = Field(
        1,
        ge=1,
        description=(
            "Parts a process's share of a step is computed in, to save memory. Every patch is "
            "still compared with the whole step; the backbones run forward twice."
        ),
    )
    lr: float = Field(2e-3, gt=0, description="Peak learning rate of AdamW.")
    weight_decay: float = Field(0.05, ge=0, description="AdamW's; none on norms and biases.")
    schedule: Literal["cosine", "onecycle", "constant"] = Field(
        "cosine",
        description=(
            "After `warmup`: half a cosine to 0 (`cosine`), or the peak held (`constant`). "
            "`onecycle`: a cosine up from, and one down to, a millionth of the peak (paper)."
        ),
    )
    warmup: float = Field(0.1, ge=0, lt=1, description="Share of the steps with a rising rate.")
    max_norm: float = Field(0, ge=0, description="Gradients are clipped to this norm; 0: not.")
    patience: int = Field(
        0, ge=0, description="Stop after so many epochs without a better val score; 0: never."
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description=(
            "Arithmetic of the backbones. `auto`: on CUDA bfloat16, or float16 with loss scaling "
            "where the device has no bfloat16; on a CPU float32."
        ),
    )
    deterministic: bool = Field(
        False,
        description="Deterministic algorithms, one CPU thread: equal runs are equal bit for bit.",
    )
    seed: int = Field(0, ge=0, description="Seed of weights, order and augmentation.")
    augment: Literal["none", "flips", "square"] = Field(
        "square",
        description=(
            "What training patches go through, never validation: horizontal and vertical flips "
            "(paper), or all eight symmetries of the square."
        ),
    )
    temperature: float = Field(0.07, gt=0, description="Where the temperature starts.")
    bias: float = Field(-10.0, description="`siglip`: where the learnable bias starts.")
    subcaptions: int = Field(
        0,
        ge=0,
        description=(
            "`containment`, `concepts`: further texts per step, each a subset of 1-3 labels of a "
            "patch of the batch."
        ),
    )
    variants: int = Field(
        1,
        ge=1,
        description=(
            "`containment`, `concepts`: wordings per label set (labels in random order; for "
            "`concepts` half of the names replaced by synonyms)."
        ),
    )
    hard_negatives: int = Field(
        0,
        ge=0,
        description=(
            "Contrastive objectives: further texts per step, captions of patches of the batch in "
            "which one label is replaced by a class known to be absent there."
        ),
    )
    location_weight: float = Field(
        0,
        ge=0,
        description=(
            "Weight of agreement between image and location (GeoCLOSP: 1) against that of image "
            "and text. On synthetic data full weight hurt retrieval; 0.25 was neutral."
        ),
    )
    location_degree: int = Field(
        10, ge=1, le=100, description="Degrees of the spherical harmonics of the location encoder."
    )
    pair_weight: float = Field(
        0,
        ge=0,
        description=(
            "Weight of agreement (1 - cosine) of Sentinel-1 and Sentinel-2 patches of one place; "
            "partners are then drawn together."
        ),
    )
    head_hidden: int = Field(
        0,
        ge=0,
        description=(
            "`concepts`: width of a ReLU layer with dropout and feature noise before the class "
            "head; it helps on frozen features (512) and over-regularises short end-to-end runs."
        ),
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        space = ("hard_negatives", "location_weight", "pair_weight")
        for name in space if self.objective in CLASSIFIERS else ():
            if getattr(self, name):
                raise ValueError(f"{name} needs a contrastive objective, not {self.objective}")
        if self.subcaptions and self.objective not in DRAWS_TEXTS:
            raise ValueError(
                f"subcaptions belong to containment and concepts, not {self.objective}"
            )
        if self.pair_weight and (self.balance or self.mixing == "proportional"):
            raise ValueError("pair_weight draws partners together: not balanced or proportional")
        if self.train_text and self.objective in CLASSIFIERS:
            raise ValueError(f"train_text needs a contrastive objective, not {self.objective}")
        return self


def _recipe(objective: ObjectiveName, **fields: Any) -> Recipe:
    return Recipe.model_validate({"objective": objective, **fields})


#: Facts of the reference implementation: configs and training script of DarthReca/closp.
_PUBLISHED: dict[str, Any] = {
    "pooling": "cls",
    "temperature": 1.0,
    "augment": "flips",
    "weight_decay": 0.01,
}

RECIPES: MappingProxyType[str, Recipe] = MappingProxyType(
    {
        "clip": _recipe("clip", epochs=8),
        "containment": _recipe("containment", epochs=8, subcaptions=64, variants=4),
        "soft": _recipe("soft", epochs=8),
        "siglip": _recipe("siglip", epochs=8, temperature=0.1),
        "dcl": _recipe("dcl", epochs=8),
        "multilabel": _recipe("multilabel", epochs=6),
        "concepts": _recipe("concepts", epochs=8, subcaptions=64, variants=4, temperature=1 / 12),
        "published": _recipe(
            "published",
            model="closp-rn",
            size=120,
            classifier=1000,
            train_text=True,
            frozen_epochs=1,
            epochs=30,
            schedule="onecycle",
            lr=1e-6,
            **_PUBLISHED,
        ),
        # The same loss with a rate that learns in few steps: what other recipes are compared with.
        "published-tuned": _recipe("published", epochs=8, **_PUBLISHED),
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
    return change(RECIPES[name], f"recipe {name}", **overrides)


def change(recipe: Recipe, origin: str, **overrides: Any) -> Recipe:
    """Return a recipe with the fields changed that are given and not None.

    Raises:
        InputError: No such field, or a value out of range; `origin` is named.
    """
    changed = {key: value for key, value in overrides.items() if value is not None}
    try:
        return Recipe.model_validate({**recipe.model_dump(), **changed})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            near = difflib.get_close_matches(field, field_names(), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InputError(f"{origin}: there is no field {field!r}{hint}") from None
        if not field:
            raise InputError(f"{origin}: {first['msg'].removeprefix('Value error, ')}") from None
        raise InputError(f"{origin}: {field}: {first['msg']}, got {first['input']!r}") from None


def field_names() -> tuple[str, ...]:
    """Return the names of a recipe's fields."""
    return tuple(Recipe.model_fields)


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Return field -> value of `FIELD=VALUE` texts; values are read as YAML.

    Raises:
        InputError: A text is not of that form.
    """
    values: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name:
            raise InputError(f"--set {setting}: give FIELD=VALUE, such as pooling=cls")
        try:
            value = yaml.safe_load(text)
            # YAML 1.1 takes `1e-4` for a text.
            values[name.strip()] = float(value) if _is_number(value) else value
        except yaml.YAMLError:
            raise InputError(f"--set {setting}: {text!r} is no value") from None
    return values


def _is_number(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        float(value)
    except ValueError:
        return False
    return True
