"""Scores of patches, from their class probabilities, for queries as weights on the classes.

The score of a patch is between that of carrying all that is asked for (beta = 0) and the expected
overlap of the two label sets (beta = 1). How words become weights: `baselines.translation`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from baselines.translation import SURE, Request
from landmark.taxonomy import CLASSES

#: The dial between containment and overlap: chosen on validation in a study on synthetic data
#: (docs/training.md).
BETA = 0.67

_EPSILON = 1e-6


def concept_scores(
    probabilities: NDArray[np.floating], request: Request, beta: float = BETA
) -> NDArray[np.float64]:
    """Return (n,) scores of patches; larger is better.

    With q_j the probability of phrase j and `rest` the expected number of classes beside those
    asked for: (1 - beta) * sum_j log q_j + beta * log(sum_j q_j / (count + rest)), plus the log of
    1 - q for every negated phrase.

    Args:
        probabilities: (n, 12) in taxonomy order.
        request: What is asked for.
        beta: 0: all phrases at once; 1: expected Jaccard overlap.
    """
    values = np.clip(probabilities.astype(np.float64), _EPSILON, 1 - _EPSILON)
    lacking = np.log1p(-(values @ request.absent.T)).sum(axis=1)
    if not len(request.wanted):
        return np.asarray(lacking)
    asked = values @ request.wanted.T
    beside = values @ (1 - np.minimum(1, request.wanted.sum(axis=0)))
    containment = np.log(asked).sum(axis=1)
    overlap = np.log(asked.sum(axis=1) / (len(request.wanted) + beside))
    return np.asarray((1 - beta) * containment + beta * overlap + lacking)


#: Weight of the embedding's cosine for queries whose words are not all known (the study's mixture).
_MIXTURE = 0.3


@dataclass(frozen=True)
class ConceptQuery:
    """A query against patches described by class probabilities and vectors.

    Attributes:
        request: The query in classes.
        vector: (dim,) the query in the space of the vectors.
        scale: 1 / temperature of that space.
    """

    request: Request
    vector: NDArray[np.float32]
    scale: float

    def scores(self, described: NDArray[np.floating], beta: float = BETA) -> NDArray[np.float64]:
        """Return (n,) scores.

        Args:
            described: (n, 12 + dim): class probabilities, then unit vectors.
            beta: The dial of `concept_scores`.
        """
        classes = len(CLASSES)
        scores = concept_scores(described[:, :classes], self.request, beta)
        if self.request.nearness >= SURE:
            return scores
        cosines = described[:, classes:].astype(np.float64) @ self.vector
        return (1 - _MIXTURE) * scores + _MIXTURE * self.scale * cosines
