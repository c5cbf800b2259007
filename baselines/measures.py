"""Which metrics are reported, and their values from the sums of a ranking or of its replicates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from baselines import metrics
from baselines.groups import Judgements
from baselines.ranked_kernels import BINARY, GRADED, HITS, PRECISION

#: Cut-offs of the published benchmark, reported where the gallery holds at least as many patches.
CUTS: tuple[int, ...] = (10, 100, 1000)
#: Patches of the published gallery (0.8 of 646,803): what `CUTS` were made for.
PUBLISHED_GALLERY = 517_442


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
class Norms:
    """What sums are divided by. Numbers of one gallery, or (B,) arrays of resampled ones.

    Attributes:
        relevant: R, the relevant documents.
        documents: N, the documents.
        binary: Depth (None: all) -> the sum of discounts of the ideal ranking.
        graded: The same with grades.
        mean_grade: Mean grade of the documents.
    """

    relevant: NDArray[np.int64]
    documents: NDArray[np.int64]
    binary: dict[int | None, NDArray[np.float64]]
    graded: dict[int | None, NDArray[np.float64]]
    mean_grade: NDArray[np.float64]


def cut_offs(gallery: int) -> tuple[int, ...]:
    """Return the cut-offs reported for a gallery, ascending.

    The published ones that it holds, and those of equal share: a cut-off k of the published
    gallery looks at k / 517,442 of it, so here at that share of the patches, at least one.
    """
    shares = {max(1, round(k * gallery / PUBLISHED_GALLERY)) for k in CUTS}
    return tuple(sorted(shares | {k for k in CUTS if k <= gallery}))


def measures(gallery: int) -> tuple[Measure, ...]:
    """Return what is reported for a gallery of this many documents, in order."""
    cuts = cut_offs(gallery)
    return (
        Measure("binary", "map", None),
        *(Measure("binary", "map_at", k) for k in cuts),
        *(Measure("binary", "ndcg", k) for k in (None, *cuts)),
        Measure("binary", "r_precision", None),
        *(Measure("binary", "recall", k) for k in cuts),
        *(Measure("graded", "ndcg", k) for k in (None, *cuts)),
    )


def depths(wanted: tuple[Measure, ...]) -> tuple[int, ...]:
    """Return the cut-offs some measures look at, ascending."""
    return tuple(sorted({measure.k for measure in wanted if measure.k is not None}))


def norms(
    judgements: Judgements,
    counts: NDArray[np.int64],
    cuts: tuple[int, ...],
    discounts: NDArray[np.float64],
) -> Norms:
    """Return the norms of a gallery, or of resampled ones.

    Args:
        judgements: What the query thinks of the groups.
        counts: (g,) documents of each group, 0 where the case leaves it out; or (g, B).
        cuts: Cut-offs.
        discounts: Sum of the first 0, 1, 2, ... discounts, as many as there are documents.
    """
    relevant = counts[judgements.relevant].sum(axis=0)
    documents = counts.sum(axis=0)
    levels, level = np.unique(judgements.grades, return_inverse=True)
    # Documents of each grade, best first; the ideal ranking takes them in this order.
    held = np.zeros((levels.size, *counts.shape[1:]), np.int64)
    np.add.at(held, level, counts)
    levels, held = levels[::-1], held[::-1]
    ends = np.cumsum(held, axis=0)
    column = levels.reshape(-1, *(1 for _ in counts.shape[1:]))
    graded: dict[int | None, NDArray[np.float64]] = {}
    binary: dict[int | None, NDArray[np.float64]] = {}
    for k in (None, *cuts):
        inside, starts = (ends, ends - held) if k is None else _cut(ends, held, k)
        graded[k] = (column * (discounts[inside] - discounts[starts])).sum(axis=0)
        binary[k] = discounts[relevant if k is None else np.minimum(relevant, k)]
    mean = (column * held).sum(axis=0) / np.maximum(documents, 1)
    return Norms(relevant, documents, binary, graded, mean)


def of_sums(
    sums: NDArray[np.float64], own: Norms, wanted: tuple[Measure, ...]
) -> NDArray[np.float64]:
    """Return the values of a ranking, NaN where the query has none.

    Args:
        sums: (1 + cuts, SUMS) of `ranked_kernels.ranked_sums`, for the cut-offs `depths(wanted)`;
            or (1 + cuts, SUMS, B) of `replicate_sums`.
        own: Norms of the same gallery or galleries.
        wanted: What to compute.

    Returns:
        (m,), or (m, B).
    """
    # Depth -> row of the sums: the whole ranking first, then the cut-offs.
    places = {k: place for place, k in enumerate((None, *depths(wanted)))}
    values = []
    for measure in wanted:
        found = sums[places[measure.k]]
        match measure:
            case Measure("graded", "ndcg", k):
                values.append(_share(found[GRADED], own.graded[k]))
            case Measure(_, "ndcg", k):
                values.append(_share(found[BINARY], own.binary[k]))
            case Measure(_, "map", None):
                values.append(_share(found[PRECISION], own.relevant))
            case Measure(_, "map_at", int(k)):
                values.append(_share(found[PRECISION], np.minimum(own.relevant, k)))
            case Measure(_, "r_precision" | "recall", _):
                values.append(_share(found[HITS], own.relevant))
            case _:
                raise ValueError(f"no such measure: {measure}")
    return np.stack(values)


def of_random(
    own: Norms, wanted: tuple[Measure, ...], discounts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (m,) the expected values over all rankings of one gallery, in closed form.

    Args:
        own: Norms of the gallery.
        wanted: What to compute.
        discounts: Sum of the first 0, 1, 2, ... discounts.
    """
    count, relevant = int(own.documents), int(own.relevant)
    values: list[float] = []
    for measure in wanted:
        depth = count if measure.k is None else min(measure.k, count)
        match measure:
            case Measure("graded", "ndcg", k):
                gain = own.mean_grade * discounts[depth]
                values.append(float(_share(gain, own.graded[k])))
            case Measure(_, "ndcg", k):
                gain = relevant / max(count, 1) * discounts[depth]
                values.append(float(_share(gain, own.binary[k])))
            case Measure(_, "map" | "map_at", k):
                values.append(metrics.random_average_precision(count, relevant, k))
            case Measure(_, "r_precision", _):
                values.append(metrics.random_r_precision(count, relevant))
            case Measure(_, "recall", int(k)):
                values.append(metrics.random_recall(count, relevant, k))
            case _:
                raise ValueError(f"no such measure: {measure}")
    return np.array(values)


def _cut(
    ends: NDArray[np.int64], held: NDArray[np.int64], k: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.minimum(ends, k), np.minimum(ends - held, k)


def _share(part: NDArray[np.float64], whole: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return part / whole, NaN where whole is 0."""
    part, divisor = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.divide(part, divisor, out=np.full(divisor.shape, np.nan), where=divisor > 0)
