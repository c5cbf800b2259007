"""Ranking, its average precision, and what a random ranking would score.

Conventions (they differ between libraries, so they are named here; `measures` computes all):

- AP divides by all relevant documents; AP@k divides by min(k, relevant).
- nDCG has linear gain and discount 1 / log2(rank + 1); the ideal ranking sees all documents.
- Documents of equal score are ranked by patch_id, ascending.
- A query with no relevant document has no value: NaN, never 0.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from landmark.errors import LandmarkError

Floats = NDArray[np.floating]
Flags = NDArray[np.bool_]

#: Beyond this many terms the harmonic number's asymptotic series is exact to float64.
_HARMONIC_TERMS = 64


def ranking(scores: Floats) -> NDArray[np.intp]:
    """Return the order of documents by falling score, ties by position.

    Args:
        scores: (n,) scores of documents that are sorted by patch_id, so that position order is
            patch_id order.

    Raises:
        LandmarkError: A score is NaN, which has no rank.
    """
    refuse_nan(scores)
    return np.argsort(-scores, kind="stable")


def refuse_nan(scores: Floats) -> None:
    """Refuse scores that have no rank.

    Raises:
        LandmarkError: A score is NaN.
    """
    if np.isnan(scores).any():
        raise LandmarkError("a score is NaN: the model's vectors are damaged; train or embed again")


def average_precision(ranked: Flags) -> float:
    """Return AP: the mean, over all relevant documents, of the precision at their ranks.

    Args:
        ranked: (n,) relevance in rank order.
    """
    hits = np.flatnonzero(ranked)
    if hits.size == 0:
        return math.nan
    return float(np.mean(np.arange(1, hits.size + 1) / (hits + 1)))


def discounts(depth: int) -> NDArray[np.float64]:
    """Return (depth,) discounts 1 / log2(rank + 1) for ranks from 1."""
    return 1.0 / np.log2(np.arange(2, depth + 2, dtype=np.float64))


def random_average_precision(documents: int, relevant: int, k: int | None = None) -> float:
    """Return the expected AP, or AP@k, over all orders of the documents (closed form).

    At rank i a document is relevant with probability R/N, and then each of the i - 1 above it
    with p = (R-1)/(N-1), so the expected sum of precisions over ranks 1..K is
    R/N * sum (1 + (i-1) p) / i = R/N * ((1-p) H_K + K p). Divide by R, or by min(k, R).

    Args:
        documents: N, the size of the gallery.
        relevant: R.
        k: Ranks looked at; None: all.
    """
    if relevant == 0:
        return math.nan
    depth = documents if k is None else min(k, documents)
    divisor = relevant if k is None else min(k, relevant)
    other = (relevant - 1) / (documents - 1) if documents > 1 else 0.0
    total = relevant / documents * ((1 - other) * harmonic(depth) + depth * other)
    return total / divisor


def random_r_precision(documents: int, relevant: int) -> float:
    """Return the expected R-precision over all orders: the prevalence R/N."""
    return relevant / documents if relevant else math.nan


def random_recall(documents: int, relevant: int, k: int) -> float:
    """Return the expected recall@k over all orders: k/N."""
    return min(k, documents) / documents if relevant else math.nan


def harmonic(n: int) -> float:
    """Return the harmonic number H_n = 1 + 1/2 + ... + 1/n."""
    if n < _HARMONIC_TERMS:
        return float(np.sum(1.0 / np.arange(1, n + 1)))
    inverse = 1.0 / (n * n)
    series = inverse * (1 / 12 - inverse * (1 / 120 - inverse / 252))
    return math.log(n) + float(np.euler_gamma) + 1 / (2 * n) - series
