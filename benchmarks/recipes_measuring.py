"""Scores of one ranking under resampled galleries, and paired differences with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numba
import numpy as np
from numpy.typing import NDArray

from baselines.metrics import ranking
from baselines.queries import Query
from baselines.sampling import draws
from benchmarks.recipes_corpus import SENSORS, Corpus
from landmark.relevance import jaccard, relevant
from landmark.taxonomy import CRISIS_MASK

#: Resampled galleries behind an interval, and its ends (90 %).
RESAMPLES = 500
ENDS = (5.0, 95.0)
#: Case -> (metric of the result rows, ranks looked at).
CASES = MappingProxyType(
    {
        "single": ("map", None),
        "combination": ("map", None),
        "held_out": ("map", None),
        "paraphrase": ("map", None),
        "negation": ("map", None),
        "unseen": ("map", None),
        "graded100": ("ndcg", 100),
        "graded1000": ("ndcg", 1000),
    }
)
#: What choices on val are made by: the geometric mean of these cases, so that a tenth more of one
#: makes up for a tenth less of another, however large they are.
CRITERION = ("single", "combination", "paraphrase", "graded100")
_GRADED_KINDS = ("single", "combination", "held_out")

Floats = NDArray[np.float64]
#: How often each patch is in each gallery, small enough that a gallery stays in the cache.
Copies = NDArray[np.int16]


@dataclass(frozen=True)
class Judged:
    """The patches of one split as a seed sees them, both sensors in one gallery.

    Attributes:
        label_mask: (n,) labels, in order of patch_id.
        unseen: (n,) crisis classes from events that training does not know.
        block: (n,) what is resampled.
        order: (n,) position of each patch among the cell's outputs, sensors one after another.
    """

    label_mask: NDArray[np.uint16]
    unseen: NDArray[np.uint16]
    block: NDArray[np.str_]
    order: NDArray[np.intp]

    @classmethod
    def of(cls, corpus: Corpus, split: str, seed: int) -> Judged:
        """Return the gallery of a split."""
        rows = corpus.rows(split, seed)

        own = [(corpus.sensors[sensor], rows[sensor]) for sensor in SENSORS]
        order = np.argsort(np.concatenate([p.patch_id[r] for p, r in own]), kind="stable")
        return cls(
            label_mask=np.concatenate([p.label_mask[r] for p, r in own])[order],
            unseen=np.concatenate([p.unseen[r] for p, r in own])[order],
            block=np.concatenate([p.block[r] for p, r in own])[order],
            order=order,
        )

    def resampled(self, count: int) -> Copies:
        """Return (1 + count, n) how often each patch is in each gallery: first once each.

        Blocks are drawn with replacement, by their names alone: all cells see the same galleries.
        """
        blocks, own = np.unique(self.block, return_inverse=True)
        random = draws(0, "blocks/" + "/".join(blocks))
        drawn = random.integers(len(blocks), size=(count, len(blocks)))
        times = (drawn[:, :, None] == np.arange(len(blocks))).sum(1)
        return np.concatenate([np.ones((1, len(own))), times[:, own]]).astype(np.int16)


def measure(
    judged: Judged, queries: Sequence[Query], scores: Floats, galleries: Copies
) -> dict[str, Floats]:
    """Return case -> (galleries,) means over its queries; NaN where no query has an answer.

    Args:
        judged: The patches, in order of patch_id.
        queries: (q) what was asked.
        scores: (q, n) in the order of the cell's outputs.
        galleries: (g, n) how often each patch is in each gallery.
    """
    found: dict[str, list[Floats]] = {case: [] for case in CASES}
    for query, own in zip(queries, scores[:, judged.order], strict=True):
        order = ranking(own)
        answers = relevant(judged.label_mask, query.wanted_mask, query.absent_mask)
        value = average_precisions(order, answers, galleries)
        if query.kind in found:
            found[query.kind].append(value)
        crisis = query.wanted_mask & CRISIS_MASK
        if crisis and query.kind == "single":
            carries = (judged.label_mask & crisis) != 0
            kept = ~carries | ((judged.unseen & crisis) == crisis)
            found["unseen"].append(average_precisions(order, answers, galleries * kept))
        if query.kind in _GRADED_KINDS:
            grades = jaccard(judged.label_mask, query.wanted_mask)
            for case in ("graded100", "graded1000"):
                depth = CASES[case][1]
                assert depth is not None
                found[case].append(gains(order, grades, galleries, depth))
    return {case: _mean(values) for case, values in found.items() if values}


def _mean(values: list[Floats]) -> Floats:
    held = np.stack(values)
    there = ~np.isnan(held)
    count = there.sum(0)
    means: Floats = np.where(there, held, 0).sum(0) / np.maximum(count, 1)
    return np.where(count > 0, means, np.nan)


def criterion(values: Mapping[str, float]) -> float:
    """Return what a choice on val is made by."""
    return float(np.exp(np.mean([np.log(values[case]) for case in CRITERION if case in values])))


def average_precisions(
    order: NDArray[np.intp], answers: NDArray[np.bool_], galleries: Copies
) -> Floats:
    """Return (g,) AP in each gallery; copies of a patch follow each other. NaN without answers."""
    found: Floats = _average_precisions(order, answers, galleries)
    return found


def gains(order: NDArray[np.intp], grades: Floats, galleries: Copies, depth: int) -> Floats:
    """Return (g,) nDCG@depth with linear gain in each gallery; NaN where nothing has a gain."""
    best = np.argsort(-grades, kind="stable")
    discounts = 1.0 / np.log2(np.arange(2, depth + 2))
    reached = _gains(order, grades, galleries, discounts)
    ideal = _gains(best, grades, galleries, discounts)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = reached / ideal
    return found


@numba.njit(cache=True)
def _average_precisions(order, answers, copies):  # type: ignore[no-untyped-def]  # pragma: no cover
    found = np.empty(len(copies))
    for gallery in range(len(copies)):
        seen, hits, total = 0, 0, 0.0
        for patch in order:
            if not answers[patch]:
                seen += copies[gallery, patch]
                continue
            for _ in range(copies[gallery, patch]):
                seen += 1
                hits += 1
                total += hits / seen
        found[gallery] = total / hits if hits else np.nan
    return found


@numba.njit(cache=True)
def _gains(order, grades, copies, discounts):  # type: ignore[no-untyped-def]  # pragma: no cover
    found = np.zeros(len(copies))
    for gallery in range(len(copies)):
        rank = 0
        for patch in order:
            for _ in range(copies[gallery, patch]):
                if rank < discounts.size:
                    found[gallery] += grades[patch] * discounts[rank]
                    rank += 1
            if rank >= discounts.size:
                break
    return found


@dataclass(frozen=True)
class Difference:
    """Ours against a peer, paired by seed and gallery.

    Attributes:
        ours: Mean over seeds.
        peer: Likewise.
        difference: Ours minus peer.
        low: Lower end of its 90 % interval.
        high: Upper end.
        relative: difference / peer.
        ratios: Ours / peer of each seed.
    """

    ours: float
    peer: float
    difference: float
    low: float
    high: float
    relative: float
    ratios: tuple[float, ...]


def compare_paired(ours: Floats, peer: Floats) -> Difference:
    """Return the paired difference of two rows of one case.

    Every resample draws the seeds with replacement and one gallery of resampled blocks, the same
    for both sides.

    Args:
        ours: (seeds, 1 + resamples); column 0 is the gallery as it is.
        peer: The same of the peer.

    Raises:
        ValueError: The two do not fit.
    """
    if ours.shape != peer.shape or ours.ndim != 2 or ours.shape[1] < 2:
        raise ValueError(f"cannot pair values of shapes {ours.shape} and {peer.shape}")
    seeds, columns = ours.shape
    apart = ours - peer
    drawn = draws(0, f"seeds/{seeds}").integers(seeds, size=(columns - 1, seeds))
    resampled = np.array(
        [np.nanmean(apart[own, 1 + place]) for place, own in enumerate(drawn)], dtype=np.float64
    )
    low, high = np.nanpercentile(resampled, ENDS)
    mean, other = float(ours[:, 0].mean()), float(peer[:, 0].mean())
    ratios = tuple(float(a / b) for a, b in zip(ours[:, 0], peer[:, 0], strict=True))
    return Difference(
        mean, other, mean - other, float(low), float(high), (mean - other) / other, ratios
    )
