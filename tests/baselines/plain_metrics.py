"""The metrics by their definitions, one ranking at a time: what compiled code is compared with.

All take gains in rank order, best first. A query with nothing relevant has no value: NaN.
"""

from __future__ import annotations

import math

import numpy as np


def average_precision(ranked: np.ndarray, k: int | None = None) -> float:
    """Divided by all relevant documents, or by min(k, relevant)."""
    relevant = int(np.count_nonzero(ranked))
    if relevant == 0:
        return math.nan
    total, hits = 0.0, 0
    for rank, is_relevant in enumerate(ranked[:k], start=1):
        if is_relevant:
            hits += 1
            total += hits / rank
    return total / (relevant if k is None else min(k, relevant))


def ndcg(ranked: np.ndarray, k: int | None = None) -> float:
    def dcg(gains: list[float]) -> float:
        return math.fsum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains[:k], start=1))

    gains = [float(gain) for gain in ranked]
    ideal = dcg(sorted(gains, reverse=True))
    return dcg(gains) / ideal if ideal else math.nan


def r_precision(ranked: np.ndarray) -> float:
    relevant = int(np.count_nonzero(ranked))
    return recall(ranked, relevant) if relevant else math.nan


def recall(ranked: np.ndarray, k: int) -> float:
    relevant = int(np.count_nonzero(ranked))
    return int(np.count_nonzero(ranked[:k])) / relevant if relevant else math.nan


def value_of(relevance: str, metric: str, k: int | None, found: np.ndarray, grades: np.ndarray):
    """One value by the names that rows use; `found` and `grades` in rank order."""
    match (relevance, metric):
        case ("graded", "ndcg"):
            return ndcg(grades, k)
        case (_, "ndcg"):
            return ndcg(found, k)
        case (_, "map" | "map_at"):
            return average_precision(found, k)
        case (_, "r_precision"):
            return r_precision(found)
        case (_, "recall"):
            return recall(found, k)
    raise ValueError(metric)
