"""From a recipe's word to the class of its objective."""

from __future__ import annotations

from types import MappingProxyType

from baselines.objectives.base import Material, Objective
from baselines.objectives.classes import Concepts, Multilabel
from baselines.objectives.contrastive import Clip, Containment, Dcl, Published, Siglip, Soft
from baselines.recipes import ObjectiveName, Recipe

OBJECTIVES: MappingProxyType[ObjectiveName, type[Objective]] = MappingProxyType(
    {
        "published": Published,
        "clip": Clip,
        "containment": Containment,
        "soft": Soft,
        "siglip": Siglip,
        "dcl": Dcl,
        "multilabel": Multilabel,
        "concepts": Concepts,
    }
)


def objective_class(recipe: Recipe) -> type[Objective]:
    """Return the class of a recipe's objective."""
    return OBJECTIVES[recipe.objective]


def build_objective(material: Material) -> Objective:
    """Return a recipe's objective over the training splits."""
    return objective_class(material.recipe)(material)
