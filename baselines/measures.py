"""Which metrics are reported, and scoring one ranking (or the random one) by all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from baselines import metrics

#: Cut-offs reported, where the gallery holds at least as many patches.
CUTS: tuple[int, ...] = (10, 100, 1000)


@dataclass(frozen=True)
class Measure:
    """One reported metric.

    Attributes:
        relevance: `binary` or `graded`.
        metric: `map`, `map_at`, `ndcg`, `r_precision` or `recall`.
        k: Ranks looked at; None: the full ranking.
    """

    relevance: str
    metric: str
    k: int | None


@dataclass(frozen=True)
class Judgements:
    """What counts as relevant among the documents of one gallery, for one query.

    Attributes:
        relevant: (n,) binary relevance.
        grades: (n,) graded relevance, 0..1.
        best_relevant: `relevant` in ideal order, as gains.
        best_grades: `grades` in ideal order.
    """

    relevant: NDArray[np.bool_]
    grades: NDArray[np.float64]
    best_relevant: NDArray[np.float64]
    best_grades: NDArray[np.float64]

    @classmethod
    def of(cls, relevant: NDArray[np.bool_], grades: NDArray[np.float64]) -> Judgements:
        """Return the judgements with their ideal orders."""
        return cls(relevant, grades, metrics.ideal_order(relevant), metrics.ideal_order(grades))


def measures(gallery: int) -> tuple[Measure, ...]:
    """Return what is reported for a gallery of this many documents, in order."""
    cuts = tuple(k for k in CUTS if k <= gallery)
    return (
        Measure("binary", "map", None),
        *(Measure("binary", "map_at", k) for k in cuts),
        *(Measure("binary", "ndcg", k) for k in (None, *cuts)),
        Measure("binary", "r_precision", None),
        *(Measure("binary", "recall", k) for k in cuts),
        *(Measure("graded", "ndcg", k) for k in (None, *cuts)),
    )


def of_ranking(
    order: NDArray[np.intp], judgements: Judgements, wanted: tuple[Measure, ...]
) -> list[float]:
    """Return the values of one ranking, NaN where a query has none.

    Args:
        order: (n,) positions, best first.
        judgements: Of the same documents.
        wanted: What to compute.
    """
    relevant, grades = judgements.relevant[order], judgements.grades[order]
    return [_ranked(measure, relevant, grades, judgements) for measure in wanted]


def of_random(judgements: Judgements, wanted: tuple[Measure, ...]) -> list[float]:
    """Return the expected values over all rankings, NaN where a query has none."""
    return [_random(measure, judgements) for measure in wanted]


def _ranked(
    measure: Measure,
    relevant: NDArray[np.bool_],
    grades: NDArray[np.float64],
    judgements: Judgements,
) -> float:
    match measure:
        case Measure("graded", "ndcg", k):
            return metrics.ndcg(grades, k, judgements.best_grades)
        case Measure(_, "ndcg", k):
            return metrics.ndcg(relevant, k, judgements.best_relevant)
        case Measure(_, "map", _):
            return metrics.average_precision(relevant)
        case Measure(_, "map_at", int(k)):
            return metrics.average_precision_at(relevant, k)
        case Measure(_, "r_precision", _):
            return metrics.r_precision(relevant)
        case Measure(_, "recall", int(k)):
            return metrics.recall_at(relevant, k)
    raise ValueError(f"no such measure: {measure}")


def _random(measure: Measure, judgements: Judgements) -> float:
    documents = judgements.relevant.size
    count = int(np.count_nonzero(judgements.relevant))
    match measure:
        case Measure("graded", "ndcg", k):
            return metrics.random_ndcg(judgements.best_grades, k)
        case Measure(_, "ndcg", k):
            return metrics.random_ndcg(judgements.best_relevant, k)
        case Measure(_, "map" | "map_at", k):
            return metrics.random_average_precision(documents, count, k)
        case Measure(_, "r_precision", _):
            return metrics.random_r_precision(documents, count)
        case Measure(_, "recall", int(k)):
            return metrics.random_recall(documents, count, k)
    raise ValueError(f"no such measure: {measure}")
