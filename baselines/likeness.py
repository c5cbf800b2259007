"""Patches like a patch: what a run of any kind is asked when the query is an image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from baselines.closp import Kind
from landmark.taxonomy import CLASSES

#: Probabilities are kept this far from 0 and 1: no single class decides a ranking alone.
_EPSILON = 1e-3


@dataclass(frozen=True)
class LikeQuestion:
    """A patch to be compared with others, of its own or the other sensor.

    Attributes:
        described: (d,) what the run says of the patch.
        kind: Of the run.
    """

    described: NDArray[np.float32]
    kind: Kind

    def scores(self, described: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return (n,) scores of (n, d) descriptions; larger is more alike.

        Vectors: their cosine. Class probabilities: the log of the probability that both patches
        carry the same classes, classes taken as independent: sum log(p q + (1 - p)(1 - q)).
        """
        if self.kind == "embedding":
            return described @ self.described
        return agreement(described[:, : len(CLASSES)], self.described[: len(CLASSES)])


def agreement(
    probabilities: NDArray[np.floating], own: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return (n,) log probabilities that label sets are the same.

    Args:
        probabilities: (n, 12) of patches.
        own: (12,) of the patch they are compared with.
    """
    p = np.clip(probabilities.astype(np.float64), _EPSILON, 1 - _EPSILON)
    q = np.clip(own.astype(np.float64), _EPSILON, 1 - _EPSILON)
    return np.asarray(np.log(p * q + (1 - p) * (1 - q)).sum(axis=1))
