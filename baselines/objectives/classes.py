"""The objectives that learn the classes themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.closp import Kind, Output
from baselines.loader import share
from baselines.objectives.base import Drawn, Labelled, Material, Objective, Sides
from baselines.objectives.contrastive import Containment
from baselines.objectives.losses import multilabel_loss
from baselines.objectives.texts import Wordings
from landmark.errors import LandmarkError
from landmark.synonyms import load_synonyms
from landmark.taxonomy import CLASSES


class Multilabel(Objective):
    """Masked binary cross-entropy on the classes; positives are not weighted up.

    Patches without any known class are left out.
    """

    kind: ClassVar[Kind] = "classes"

    def __init__(self, material: Material) -> None:
        super().__init__(material)
        splits, device = material.splits, material.device
        self._present = {s: _bits(split.label_mask, device) for s, split in splits.items()}
        self._known = {s: _bits(split.known_mask, device) for s, split in splits.items()}

    @staticmethod
    def usable(split: Labelled) -> NDArray[np.bool_]:
        """Return which patches have at least one decided class."""
        return split.known_mask != 0

    def loss(self, model: Sides, outputs: Mapping[str, Output], drawn: Drawn) -> Tensor:
        """Return the loss of a step (see `Objective.loss`)."""
        losses = []
        for sensor, output in outputs.items():
            if output.logits is None:
                raise LandmarkError("this model gives no class logits")
            rows = drawn.rows[sensor]
            own = share(rows, drawn.part)
            decided = float(self._known[sensor][rows].sum()) / drawn.part[1]
            losses.append(
                multilabel_loss(
                    output.logits.float(),
                    self._present[sensor][own],
                    self._known[sensor][own],
                    decided,
                )
            )
        return torch.stack(losses).mean()


class _Captions(Containment):
    """The texts of `Concepts`: class names in random order, half of them in other words."""

    def __init__(self, material: Material) -> None:
        super().__init__(material)
        recipe = material.recipe
        self._wordings = Wordings(recipe.seed, recipe.variants, load_synonyms())


class Concepts(Multilabel):
    """One class head for both sensors, and an embedding for free text that does not shape it.

    The classes are learned as in `Multilabel`. The embedding head sees the trunk's output without
    handing a gradient back to it, and learns containment of texts in which half of the class names
    are replaced by other words.
    """

    kind: ClassVar[Kind] = "concepts"

    def __init__(self, material: Material) -> None:
        super().__init__(material)
        self._captions = _Captions(material)

    def loss(self, model: Sides, outputs: Mapping[str, Output], drawn: Drawn) -> Tensor:
        """Return the loss of a step (see `Objective.loss`)."""
        return super().loss(model, outputs, drawn) + self._captions.loss(model, outputs, drawn)


def _bits(masks: NDArray[np.uint16], device: torch.device) -> Tensor:
    """Return (n, 12) float32 of 0 and 1, bit 0 first."""
    bits = (masks[:, None] >> np.arange(len(CLASSES), dtype=np.uint16)) & 1
    return torch.from_numpy(bits.astype(np.float32)).to(device)
