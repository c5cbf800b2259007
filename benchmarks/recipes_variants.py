"""Changes to how `concepts` is trained that the study tries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from baselines.closp import Output
from baselines.objectives.base import Drawn, Material, Sides
from baselines.objectives.classes import Concepts
from benchmarks.recipes_corpus import Patches
from landmark.taxonomy import CLASSES

#: Share of a patch from which a class counts fully.
_FULL_SHARE = 0.1
#: What a class that just passes its threshold counts.
_LEAST = 0.5


@dataclass(frozen=True)
class Variant:
    """What is changed.

    Attributes:
        share_weights: A present class weighs 0.5 to 1 in the loss, by its share of the patch.
        share_targets: A present class has the target 0.5 to 1, by its share of the patch.
        agreement: Weight of the squared distance of the logits of paired patches.
    """

    share_weights: bool = False
    share_targets: bool = False
    agreement: float = 0.0

    @property
    def any(self) -> bool:
        """Whether anything is changed."""
        return self != Variant()


class VariedConcepts(Concepts):
    """`concepts` with a variant's loss on the classes."""

    def __init__(
        self, material: Material, variant: Variant, patches: Mapping[str, Patches]
    ) -> None:
        super().__init__(material)
        self._variant = variant
        self._counting = {s: _counting(own, material.device) for s, own in patches.items()}

    def loss(self, model: Sides, outputs: Mapping[str, Output], drawn: Drawn) -> Tensor:
        """Return the loss of a step (see `Objective.loss`)."""
        losses = [self._classes(outputs[s], s, drawn) for s in outputs]
        total = torch.stack(losses).mean() + self._captions.loss(model, outputs, drawn)
        if self._variant.agreement and len(outputs) == 2:
            total = total + self._variant.agreement * self._apart(outputs, drawn)
        return total

    def _classes(self, output: Output, sensor: str, drawn: Drawn) -> Tensor:
        rows = drawn.rows[sensor]
        present, known = self._present[sensor][rows], self._known[sensor][rows]
        counting = self._counting[sensor][rows]
        targets = present * counting if self._variant.share_targets else present
        weights = known
        if self._variant.share_weights:
            weights = known * torch.where(present > 0, counting, torch.ones_like(counting))
        logits = _logits(output).float()
        losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        return (losses * weights).sum() / known.sum().clamp(min=1)

    def _apart(self, outputs: Mapping[str, Output], drawn: Drawn) -> Tensor:
        first, second = sorted(outputs)
        where = {int(row): place for place, row in enumerate(drawn.rows[second])}
        partners = self._material.places[first].partner[drawn.rows[first]]
        pairs = [(a, where[int(b)]) for a, b in enumerate(partners) if int(b) in where]
        if not pairs:
            return torch.zeros(())
        a, b = (list(side) for side in zip(*pairs, strict=True))
        return (_logits(outputs[first])[a] - _logits(outputs[second])[b]).square().mean()


def vary(material: Material, variant: Variant, patches: Mapping[str, Patches]) -> VariedConcepts:
    """Return the objective of a variant."""
    return VariedConcepts(material, variant, patches)


def _logits(output: Output) -> Tensor:
    assert output.logits is not None
    return output.logits


def _counting(patches: Patches, device: torch.device) -> Tensor:
    """Return (n, 12) 0.5 to 1: how much of a present class's full share a patch holds."""
    shares = np.where(np.isnan(patches.fractions), _FULL_SHARE, patches.fractions)
    ramp = _LEAST + (1 - _LEAST) * np.clip(shares / _FULL_SHARE, 0, 1)
    assert ramp.shape[1] == len(CLASSES)
    return torch.from_numpy(ramp.astype(np.float32)).to(device)
