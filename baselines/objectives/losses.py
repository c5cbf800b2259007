"""The losses as plain functions of tensors.

All of them take this process's share of the images and the texts of the whole step, and return a
value whose mean over the processes is the loss of the step.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from baselines.distributed import gather_rows


@dataclass(frozen=True)
class Targets:
    """Which texts are true of which images.

    Attributes:
        positives: (N, u) float32, 0 where a text is not true of an image, else how true; N images
            over all processes, u distinct texts.
        decided: (N, u) bool; pairs that are not decided are neither positive nor negative.
        weights: (u,) float32: how many equal captions each text stands for.
        part: (rank, processes).
    """

    positives: Tensor
    decided: Tensor
    weights: Tensor
    part: tuple[int, int] = (0, 1)

    @property
    def bounds(self) -> list[int]:
        """Where each process's share of the images begins, and the end."""
        count, processes = len(self.positives), self.part[1]
        return [place * count // processes for place in range(processes + 1)]

    @property
    def own(self) -> slice:
        """This process's images."""
        bounds, rank = self.bounds, self.part[0]
        return slice(bounds[rank], bounds[rank + 1])

    @property
    def texts(self) -> slice:
        """This process's share of the texts."""
        (rank, processes), count = self.part, self.positives.shape[1]
        return slice(rank * count // processes, (rank + 1) * count // processes)


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


def softmax_loss(images: Tensor, texts: Tensor, targets: Targets, scale: Tensor) -> Tensor:
    """Return the symmetric cross-entropy of images and distinct texts.

    A text that stands for w equal captions counts w times, so that with captions alone the value
    is that of the usual n x n loss in which equal captions share the target (and of the one with
    diagonal targets, where equal captions have equal vectors). Images and texts without a positive
    only serve as negatives.

    Args:
        images: (n, d) unit vectors of this process's images.
        texts: (u, d) unit vectors of the distinct texts of the whole step.
        targets: Which belong together.
        scale: 1 / temperature.
    """
    log_weights = targets.weights.log()
    positives, decided = targets.positives[targets.own], targets.decided[targets.own]
    logits = scale * images @ texts.T + log_weights
    ranks = logits.masked_fill(~decided, -torch.inf).log_softmax(1) - log_weights
    per_image = _mean_over(-ranks, positives * targets.weights)
    answered = float((targets.positives.sum(1) > 0).sum())

    true, judged, logits = _per_text(images, texts, targets, scale)
    ranks = logits.masked_fill(~judged, -torch.inf).log_softmax(1)
    per_text = _mean_over(-ranks, true)
    own, weight = _text_weights(targets)
    return (
        targets.part[1]
        * (per_image.sum() / max(1.0, answered) + (per_text * own).sum() / max(1.0, weight))
        / 2
    )


def decoupled_loss(images: Tensor, texts: Tensor, targets: Targets, scale: Tensor) -> Tensor:
    """Return the symmetric loss whose denominators hold the negatives alone (DCL, 2110.06848).

    An image or text without any negative, or without a positive, adds nothing.

    Args:
        images: (n, d) unit vectors of this process's images.
        texts: (u, d) unit vectors of the distinct texts of the whole step.
        targets: Which belong together.
        scale: 1 / temperature.
    """
    positives, decided = targets.positives[targets.own], targets.decided[targets.own]
    logits = scale * images @ texts.T
    per_image = _decoupled(
        logits, positives * targets.weights, decided, targets.weights.log().expand_as(logits)
    )
    answered = float((targets.positives.sum(1) > 0).sum())

    true, judged, logits = _per_text(images, texts, targets, scale)
    per_text = _decoupled(logits, true, judged, torch.zeros_like(logits))
    own, weight = _text_weights(targets)
    return (
        targets.part[1]
        * (per_image.sum() / max(1.0, answered) + (per_text * own).sum() / max(1.0, weight))
        / 2
    )


def sigmoid_loss(
    images: Tensor, texts: Tensor, targets: Targets, scale: Tensor, bias: Tensor
) -> Tensor:
    """Return the sum of one binary cross-entropy per pair, over the number of images (SigLIP).

    Args:
        images: (n, d) unit vectors of this process's images.
        texts: (u, d) unit vectors of the distinct texts of the whole step.
        targets: Which belong together; every positive counts fully.
        scale: 1 / temperature.
        bias: Added to every logit.
    """
    positives, decided = targets.positives[targets.own] > 0, targets.decided[targets.own]
    logits = scale * images @ texts.T + bias
    losses = F.softplus(torch.where(positives, -logits, logits)) * targets.weights
    total = torch.where(decided, losses, torch.zeros_like(losses)).sum()
    return targets.part[1] * total / len(targets.positives)


def agreement_loss(
    first: Tensor, second: Tensor, sizes: list[list[int]], pairs: Tensor, part: tuple[int, int]
) -> Tensor:
    """Return the mean of 1 - cosine over pairs of images; 0 where there is none.

    Args:
        first: (n, d) unit vectors of this process's images of one sensor.
        second: (m, d) of the other.
        sizes: Per sensor, how many images each process holds.
        pairs: (p, 2) places in the whole step's images of the first and second sensor.
        part: (rank, processes).
    """
    rank, processes = part
    all_first, all_second = gather_rows(first, sizes[0]), gather_rows(second, sizes[1])
    own = pairs[rank * len(pairs) // processes : (rank + 1) * len(pairs) // processes]
    cosines = (all_first[own[:, 0]] * all_second[own[:, 1]]).sum(1)
    return processes * (1 - cosines).sum() / max(1, len(pairs))


def _per_text(
    images: Tensor, texts: Tensor, targets: Targets, scale: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return positives, decided and logits of this process's texts against all images."""
    everyone = gather_rows(images, [b - a for a, b in pairwise(targets.bounds)])
    logits = scale * texts[targets.texts] @ everyone.T
    return targets.positives.T[targets.texts], targets.decided.T[targets.texts], logits


def _text_weights(targets: Targets) -> tuple[Tensor, float]:
    """Return weights of this process's texts (0 without a positive), and the sum over all."""
    weights = torch.where(targets.positives.sum(0) > 0, targets.weights, 0.0)
    return weights[targets.texts], float(weights.sum())


def _mean_over(values: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted mean of each row; 0 where no weight is positive."""
    # An undecided pair is infinite, but no positive.
    total = values.masked_fill(weights <= 0, 0.0) * weights
    return total.sum(1) / weights.sum(1).clamp(min=torch.finfo(weights.dtype).tiny)


def _decoupled(logits: Tensor, positives: Tensor, decided: Tensor, log_weights: Tensor) -> Tensor:
    negative = decided & (positives <= 0)
    usable = negative.any(1) & (positives.sum(1) > 0)
    # Rows that are not usable get one harmless entry, so that no infinity meets a gradient.
    negative = negative | ~usable[:, None]
    spread = (logits + log_weights).masked_fill(~negative, -torch.inf).logsumexp(1)
    return torch.where(usable, spread - _mean_over(logits, positives), 0.0)
