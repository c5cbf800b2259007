"""The objectives that compare images with texts, and the terms they share."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from itertools import pairwise
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.closp import Kind, Output
from baselines.objectives.base import Drawn, Labelled, Material, Objective, Rows, Sides
from baselines.objectives.losses import (
    Targets,
    agreement_loss,
    decoupled_loss,
    sigmoid_loss,
    softmax_loss,
)
from baselines.objectives.pairing import (
    Texts,
    by_caption,
    by_containment,
    by_overlap,
    caption_texts,
    draw_subsets,
    draw_swaps,
    told_apart,
)
from baselines.objectives.texts import TextTable, Wordings
from baselines.sampling import draws
from landmark.errors import LandmarkError


class Contrastive(Objective):
    """Images against the captions of the step, per sensor; patches without a caption are left out.

    Subclasses say which texts are true of a patch and which loss follows from it.
    """

    kind: ClassVar[Kind] = "embedding"

    def __init__(self, material: Material) -> None:
        super().__init__(material)
        if material.text is None:
            raise LandmarkError("a contrastive objective needs a text encoder")
        self._encoder = material.text
        splits = material.splits
        texts = sorted({caption for split in splits.values() for caption in split.captions})
        self._table = TextTable(self._encoder, texts, material.device)
        self._captions = {
            sensor: np.array([self._table.place(caption) for caption in split.captions], np.intp)[
                split.caption_id
            ]
            for sensor, split in splits.items()
        }
        self._wordings = Wordings(material.recipe.seed)

    @staticmethod
    def usable(split: Labelled) -> NDArray[np.bool_]:
        """Return which patches have a caption."""
        filled = np.array([bool(caption.strip()) for caption in split.captions])
        return filled[split.caption_id]

    def loss(self, model: Sides, outputs: Mapping[str, Output], drawn: Drawn) -> Tensor:
        """Return the loss of a step (see `Objective.loss`)."""
        recipe = self._material.recipe
        vectors = {sensor: _vectors(output) for sensor, output in outputs.items()}
        losses = []
        for sensor, images in vectors.items():
            texts = self._texts(sensor, drawn)
            targets = self._targets(sensor, drawn, texts)
            found = self._compare(images, self._table.vectors(model, texts.rows), targets, model)
            if recipe.location_weight:
                place = self._compare_places(images, sensor, drawn, model)
                found = (found + recipe.location_weight * place) / (1 + recipe.location_weight)
            losses.append(found)
        total = torch.stack(losses).mean()
        if recipe.pair_weight and len(vectors) == 2:
            total = total + recipe.pair_weight * self._agreement(vectors, drawn)
        return total

    @abc.abstractmethod
    def _compare(self, images: Tensor, texts: Tensor, targets: Targets, model: Sides) -> Tensor:
        """Return the loss of images and texts."""

    def _pairs(
        self, sensor: str, rows: Rows, texts: Texts
    ) -> tuple[NDArray[np.bool_] | NDArray[np.float32], NDArray[np.bool_]]:
        """Return (n, u) how true texts are, and whether that is decided."""
        split = self._material.splits[sensor]
        own = by_caption(self._captions[sensor][rows], texts)
        return own, own | told_apart(split, rows, texts)

    def _texts(self, sensor: str, drawn: Drawn) -> Texts:
        split, rows = self._material.splits[sensor], drawn.rows[sensor]
        texts = caption_texts(self._captions[sensor][rows], split.label_mask[rows])
        return self._with_swaps(texts, sensor, drawn)

    def _with_swaps(self, texts: Texts, sensor: str, drawn: Drawn) -> Texts:
        count = self._material.recipe.hard_negatives
        if not count:
            return texts
        split, rows = self._material.splits[sensor], drawn.rows[sensor]
        random = self._draws("swaps", sensor, drawn)
        masks = draw_swaps(random, split.label_mask[rows], split.known_mask[rows], count)
        return texts.with_more([self._table.place(self._wordings.text(m)) for m in masks], masks)

    def _draws(self, what: str, sensor: str, drawn: Drawn) -> np.random.Generator:
        epoch, step = drawn.place
        return draws(self._material.recipe.seed, f"{what}/{sensor}/{epoch}/{step}")

    def _targets(self, sensor: str, drawn: Drawn, texts: Texts) -> Targets:
        positives, decided = self._pairs(sensor, drawn.rows[sensor], texts)
        return self._on_device(positives, decided, texts.weights, drawn.part)

    def _on_device(
        self,
        positives: NDArray[np.bool_] | NDArray[np.float32],
        decided: NDArray[np.bool_],
        weights: NDArray[np.float32],
        part: tuple[int, int],
    ) -> Targets:
        device = self._material.device
        return Targets(
            torch.from_numpy(positives.astype(np.float32)).to(device),
            torch.from_numpy(decided).to(device),
            torch.from_numpy(weights).to(device),
            part,
        )

    def _compare_places(self, images: Tensor, sensor: str, drawn: Drawn, model: Sides) -> Tensor:
        """Return the loss of images and the places they show; equal places share the target."""
        lonlat = self._material.places[sensor].lonlat[drawn.rows[sensor]]
        distinct, own, counts = np.unique(lonlat, axis=0, return_inverse=True, return_counts=True)
        positives = own.reshape(-1, 1) == np.arange(len(distinct))
        targets = self._on_device(
            positives, np.ones_like(positives), counts.astype(np.float32), drawn.part
        )
        device = self._material.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            # All processes embed all places: their dropout must be the same.
            torch.manual_seed(int(self._draws("places", sensor, drawn).integers(1 << 62)))
            places = model.place_vectors(torch.from_numpy(distinct).to(device))
        return softmax_loss(images, places, targets, model.scale())

    def _agreement(self, vectors: Mapping[str, Tensor], drawn: Drawn) -> Tensor:
        first, second = sorted(vectors)
        where = {int(row): place for place, row in enumerate(drawn.rows[second])}
        partners = self._material.places[first].partner[drawn.rows[first]]
        pairs = [(a, where[int(b)]) for a, b in enumerate(partners) if int(b) in where]
        places = torch.tensor(pairs, dtype=torch.long, device=self._material.device)
        sizes = [_shares(len(drawn.rows[sensor]), drawn.part[1]) for sensor in (first, second)]
        return agreement_loss(
            vectors[first], vectors[second], sizes, places.reshape(-1, 2), drawn.part
        )


class Clip(Contrastive):
    """Symmetric cross-entropy against captions; equal captions share the target.

    A caption that may be a patch's own, as far as the patch's classes were decided, is no negative
    of it.
    """

    def _compare(self, images: Tensor, texts: Tensor, targets: Targets, model: Sides) -> Tensor:
        return softmax_loss(images, texts, targets, model.scale())


class Published(Clip):
    """The paper's loss, as it is: every other caption is a negative, decided or not."""

    def _pairs(
        self, sensor: str, rows: Rows, texts: Texts
    ) -> tuple[NDArray[np.bool_] | NDArray[np.float32], NDArray[np.bool_]]:
        own = by_caption(self._captions[sensor][rows], texts)
        return own, np.ones_like(own)


class Dcl(Contrastive):
    """As `Clip`, with the positives left out of the denominators (decoupled contrastive loss)."""

    def _compare(self, images: Tensor, texts: Tensor, targets: Targets, model: Sides) -> Tensor:
        return decoupled_loss(images, texts, targets, model.scale())


class Siglip(Contrastive):
    """One sigmoid per image and caption of the step, with a learnable bias."""

    def _compare(self, images: Tensor, texts: Tensor, targets: Targets, model: Sides) -> Tensor:
        return sigmoid_loss(images, texts, targets, model.scale(), model.offset())


class Soft(Contrastive):
    """Cross-entropy against targets in proportion to the squared Jaccard overlap of label sets.

    A caption that names a class not decided in a patch is neither positive nor negative of it.
    """

    def _compare(self, images: Tensor, texts: Tensor, targets: Targets, model: Sides) -> Tensor:
        return softmax_loss(images, texts, targets, model.scale())

    def _pairs(
        self, sensor: str, rows: Rows, texts: Texts
    ) -> tuple[NDArray[np.bool_] | NDArray[np.float32], NDArray[np.bool_]]:
        overlap, decided = by_overlap(self._material.splits[sensor], rows, texts)
        return np.where(decided, overlap**2, 0).astype(np.float32), decided


class Containment(Contrastive):
    """A patch is a positive of every text of the step whose labels it carries.

    The texts are label sets of the step's patches and subsets of 1 to 3 of their labels, worded in
    `variants` ways. A text is no negative of a patch in which its labels are not decided.
    """

    def __init__(self, material: Material) -> None:
        super().__init__(material)
        self._table = TextTable(self._encoder, [], material.device)
        self._wordings = Wordings(material.recipe.seed, material.recipe.variants)

    def _compare(self, images: Tensor, texts: Tensor, targets: Targets, model: Sides) -> Tensor:
        return softmax_loss(images, texts, targets, model.scale())

    def _pairs(
        self, sensor: str, rows: Rows, texts: Texts
    ) -> tuple[NDArray[np.bool_] | NDArray[np.float32], NDArray[np.bool_]]:
        return by_containment(self._material.splits[sensor], rows, texts)

    def _texts(self, sensor: str, drawn: Drawn) -> Texts:
        labels = self._material.splits[sensor].label_mask[drawn.rows[sensor]]
        random = self._draws("subcaptions", sensor, drawn)
        masks = {int(mask) for mask in labels if mask}
        masks.update(draw_subsets(random, labels, self._material.recipe.subcaptions))
        wanted = sorted(masks)
        said = random.integers(self._wordings.variants, size=len(wanted))
        texts = [self._wordings.text(m, int(v)) for m, v in zip(wanted, said, strict=True)]
        own = Texts(
            np.array([self._table.place(text) for text in texts], np.intp),
            np.array(wanted, np.uint16),
            np.ones(len(wanted), np.float32),
        )
        return self._with_swaps(own, sensor, drawn)


def _vectors(output: Output) -> Tensor:
    if output.vectors is None:
        raise LandmarkError("this model gives no vectors to compare with texts")
    return output.vectors


def _shares(count: int, processes: int) -> list[int]:
    bounds = [place * count // processes for place in range(processes + 1)]
    return [b - a for a, b in pairwise(bounds)]
