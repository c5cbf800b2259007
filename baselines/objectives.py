"""What is optimised: one class per objective, and the two losses as plain functions."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from itertools import combinations, pairwise
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from baselines.closp import Closp, Kind
from baselines.distributed import gather_rows
from baselines.loader import Split, share
from baselines.recipes import Recipe
from baselines.sampling import draws
from baselines.text import TextEncoder
from landmark.errors import LandmarkError
from landmark.taxonomy import CLASSES, names_of

Rows = NDArray[np.intp]
#: Labels of a sub-caption at most.
MAX_SUBCAPTION = 3


def multilabel_loss(
    logits: Tensor, present: Tensor, known: Tensor, decided: float | None = None
) -> Tensor:
    """Return binary cross-entropy over decided bits only; undecided ones have no gradient.

    Args:
        logits: (n, 12).
        present: (n, 12) 1 where the class is present.
        known: (n, 12) 1 where its presence was decided.
        decided: Divisor; None: how many bits of `known` are set (at least 1).
    """
    losses = F.binary_cross_entropy_with_logits(logits, present, reduction="none")
    # where, not a product: an infinite loss of an undecided bit would give NaN.
    total = torch.where(known > 0, losses, torch.zeros_like(losses)).sum()
    return total / max(1.0, float(known.sum()) if decided is None else decided)


def contrastive_loss(
    images: Tensor,
    texts: Tensor,
    positives: Tensor,
    decided: Tensor,
    weights: Tensor,
    scale: Tensor,
    part: tuple[int, int] = (0, 1),
) -> Tensor:
    """Return the symmetric contrastive loss of images and distinct texts.

    A text that stands for w equal captions counts w times, so that with captions alone the value
    is that of the usual n x n loss in which equal captions share the target.

    Args:
        images: (n, d) unit vectors of this process's images.
        texts: (u, d) unit vectors of the distinct texts of the whole step.
        positives: (N, u) whether a text is true of an image; N images over all processes.
        decided: (N, u) whether that is known; undecided pairs are neither positive nor negative.
        weights: (u,) how often each text counts.
        scale: 1 / temperature.
        part: (rank, processes). The mean of the results over processes is the loss.
    """
    rank, processes = part
    count, total = positives.shape[0], float(weights.sum())
    bounds = [place * count // processes for place in range(processes + 1)]
    own = slice(bounds[rank], bounds[rank + 1])
    log_weights = weights.log()

    logits = scale * images @ texts.T + log_weights
    ranks = logits.masked_fill(~decided[own], -torch.inf).log_softmax(1) - log_weights
    targets = positives[own] * weights
    per_image = -(ranks.masked_fill(~positives[own], 0.0) * targets).sum(1) / targets.sum(1)

    everyone = gather_rows(images, [b - a for a, b in pairwise(bounds)])
    mine = torch.arange(rank * len(texts) // processes, (rank + 1) * len(texts) // processes)
    mine = mine.to(images.device)
    logits = scale * texts[mine] @ everyone.T
    true = positives.T[mine]
    ranks = logits.masked_fill(~decided.T[mine], -torch.inf).log_softmax(1)
    per_text = -ranks.masked_fill(~true, 0.0).sum(1) / true.sum(1)

    return processes * (per_image.sum() / count + (per_text * weights[mine]).sum() / total) / 2


class Objective(abc.ABC):
    """What a training run needs of an objective."""

    kind: ClassVar[Kind]

    @staticmethod
    @abc.abstractmethod
    def usable(split: Split) -> NDArray[np.bool_]:
        """Return (n,) which patches of a split this objective can learn from."""

    @abc.abstractmethod
    def loss(
        self,
        model: Closp,
        outputs: Mapping[str, Tensor],
        rows: Mapping[str, Rows],
        place: tuple[int, int],
        part: tuple[int, int],
    ) -> Tensor:
        """Return this process's loss of a step, averaged over sensors.

        Args:
            model: For the text side and the temperature.
            outputs: Sensor -> what the model gave for this process's share.
            rows: Sensor -> rows of the training split drawn by all processes together.
            place: (epoch, step).
            part: (rank, processes). The mean of the results over processes is the loss.
        """


class Multilabel(Objective):
    """Masked binary cross-entropy on the twelve classes; positives are not weighted up.

    Patches without any known class are left out.
    """

    kind: ClassVar[Kind] = "classes"

    def __init__(self, splits: Mapping[str, Split], device: torch.device) -> None:
        self._present = {s: _bits(split.label_mask, device) for s, split in splits.items()}
        self._known = {s: _bits(split.known_mask, device) for s, split in splits.items()}

    @staticmethod
    def usable(split: Split) -> NDArray[np.bool_]:
        """Return which patches have at least one decided class."""
        return split.known_mask != 0

    def loss(
        self,
        model: Closp,
        outputs: Mapping[str, Tensor],
        rows: Mapping[str, Rows],
        place: tuple[int, int],
        part: tuple[int, int],
    ) -> Tensor:
        """Return the loss of a step (see `Objective.loss`)."""
        losses = []
        for sensor, logits in outputs.items():
            own = share(rows[sensor], part)
            decided = float(self._known[sensor][rows[sensor]].sum()) / part[1]
            losses.append(
                multilabel_loss(
                    logits.float(), self._present[sensor][own], self._known[sensor][own], decided
                )
            )
        return torch.stack(losses).mean()


class Clip(Objective):
    """Symmetric contrastive loss per sensor against captions, with a learnable temperature.

    Patches with an empty caption are left out. With `subcaptions` the step's texts are extended by
    label subsets of its patches and positives go by containment (see `Recipe.subcaptions`).
    """

    kind: ClassVar[Kind] = "embedding"

    def __init__(
        self,
        splits: Mapping[str, Split],
        text: TextEncoder,
        device: torch.device,
        subcaptions: int = 0,
        seed: int = 0,
    ) -> None:
        self._splits = splits
        self._device = device
        self._subcaptions = subcaptions
        self._seed = seed
        texts = sorted({caption for split in splits.values() for caption in split.captions})
        if subcaptions:
            texts = sorted({*texts, *map(subset_text, _subsets(splits))})
        self._place = {text: index for index, text in enumerate(texts)}
        self._vectors = torch.from_numpy(text.encode(texts)).to(device)
        # Rows of a split -> rows of the table of texts.
        self._caption = {
            sensor: np.array([self._place[caption] for caption in split.captions])[split.caption_id]
            for sensor, split in splits.items()
        }

    @staticmethod
    def usable(split: Split) -> NDArray[np.bool_]:
        """Return which patches have a caption."""
        filled = np.array([bool(caption.strip()) for caption in split.captions])
        return filled[split.caption_id]

    def loss(
        self,
        model: Closp,
        outputs: Mapping[str, Tensor],
        rows: Mapping[str, Rows],
        place: tuple[int, int],
        part: tuple[int, int],
    ) -> Tensor:
        """Return the loss of a step (see `Objective.loss`)."""
        losses = []
        for sensor, images in outputs.items():
            pairs = self._by_containment if self._subcaptions else self._by_caption
            texts, positives, decided, weights = pairs(sensor, rows[sensor], place)
            losses.append(
                contrastive_loss(
                    images,
                    model.project_texts(self._vectors[torch.from_numpy(texts)]),
                    torch.from_numpy(positives).to(self._device),
                    torch.from_numpy(decided).to(self._device),
                    torch.from_numpy(weights).to(self._device),
                    model.scale(),
                    part,
                )
            )
        return torch.stack(losses).mean()

    def _by_caption(
        self, sensor: str, rows: Rows, place: tuple[int, int]
    ) -> tuple[Rows, NDArray[np.bool_], NDArray[np.bool_], NDArray[np.float32]]:
        captions = self._caption[sensor][rows]
        texts, counts = np.unique(captions, return_counts=True)
        positives = captions[:, None] == texts[None, :]
        return texts, positives, np.ones_like(positives), counts.astype(np.float32)

    def _by_containment(
        self, sensor: str, rows: Rows, place: tuple[int, int]
    ) -> tuple[Rows, NDArray[np.bool_], NDArray[np.bool_], NDArray[np.float32]]:
        split = self._splits[sensor]
        labels, known = split.label_mask[rows], split.known_mask[rows]
        masks = {
            int(mask): int(text)
            for mask, text in zip(labels, self._caption[sensor][rows], strict=True)
        }
        random = draws(self._seed, f"subcaptions/{sensor}/{place[0]}/{place[1]}")
        for mask in labels[random.integers(len(labels), size=self._subcaptions)]:
            bits = [1 << bit for bit in range(len(CLASSES)) if mask >> bit & 1]
            size = int(random.integers(1, 1 + min(MAX_SUBCAPTION, len(bits))))
            subset = int(sum(random.permutation(bits)[:size]))
            masks.setdefault(subset, self._place[subset_text(subset)])
        wanted = np.array(sorted(masks), dtype=np.uint16)
        texts = np.array([masks[int(mask)] for mask in wanted])
        positives = (labels[:, None] & wanted) == wanted
        # Decided: the patch carries all, or surely lacks one.
        lacking = (known[:, None] & ~labels[:, None] & wanted) != 0
        return texts, positives, positives | lacking, np.ones(len(texts), dtype=np.float32)


def objective_class(recipe: Recipe) -> type[Objective]:
    """Return the class of a recipe's objective."""
    return Clip if recipe.objective == "clip" else Multilabel


def build_objective(
    recipe: Recipe,
    splits: Mapping[str, Split],
    text: TextEncoder | None,
    device: torch.device,
) -> Objective:
    """Return a recipe's objective over the training splits."""
    if recipe.objective == "multilabel":
        return Multilabel(splits, device)
    if text is None:
        raise LandmarkError("the contrastive objective needs a text encoder")
    return Clip(splits, text, device, recipe.subcaptions, recipe.seed)


def subset_text(mask: int) -> str:
    """Return the caption of a label set in the corpus's own short form."""
    return ". ".join(name.lower() for name in names_of(mask))


def _subsets(splits: Mapping[str, Split]) -> set[int]:
    """Return the masks of all sets of 1 to 3 labels that some training patch carries."""
    found: set[int] = set()
    for split in splits.values():
        for mask in np.unique(split.label_mask):
            bits = [1 << bit for bit in range(len(CLASSES)) if int(mask) >> bit & 1]
            for size in range(1, 1 + min(MAX_SUBCAPTION, len(bits))):
                found.update(sum(chosen) for chosen in combinations(bits, size))
    return found


def _bits(masks: NDArray[np.uint16], device: torch.device) -> Tensor:
    """Return (n, 12) float32 of 0 and 1, bit 0 first."""
    bits = (masks[:, None] >> np.arange(len(CLASSES), dtype=np.uint16)) & 1
    return torch.from_numpy(bits.astype(np.float32)).to(device)
