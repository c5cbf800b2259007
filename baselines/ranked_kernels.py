"""Compiled loops over one ranking: its order, the sums behind all metrics, and their replicates.

Documents come as group codes: what a query thinks of a document depends on its group alone
(`baselines.groups`), so that relevance is a look-up in a table of groups and nothing of the
gallery's length is built per query. All kernels release the interpreter lock.

A *sum* is a metric before it is divided: for the whole ranking and for every cut-off k

    precision   sum over relevant ranks i of (relevant up to i) / i
    binary      sum over relevant ranks of 1 / log2(i + 1)
    graded      the same, weighted with the grade
    hits        relevant documents (of the whole ranking: up to rank R)
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

#: Sums per depth, in the order of the module's text.
SUMS = 4
PRECISION, BINARY, GRADED, HITS = range(SUMS)

_LOW = np.uint32(2047)
_SIGN = np.uint32(0x80000000)


@njit(nogil=True, cache=True)
def order_of(scores: NDArray[np.float32]) -> NDArray[np.int32]:
    """Return the order of falling scores, ties by position: a stable radix sort of 11 bits a pass.

    Args:
        scores: (n,) float32 without NaN, C-contiguous.
    """
    n = scores.size
    bits = (scores + np.float32(0.0)).view(np.uint32)  # -0.0 ties with 0.0
    keys = np.empty(n, np.uint32)
    first, second = np.zeros(2048, np.int64), np.zeros(2048, np.int64)
    third = np.zeros(1024, np.int64)
    for i in range(n):
        # Floats in falling order are these integers in rising order.
        key = bits[i] if bits[i] & _SIGN else (~bits[i]) ^ _SIGN
        keys[i] = key
        first[key & _LOW] += 1
        second[(key >> np.uint32(11)) & _LOW] += 1
        third[key >> np.uint32(22)] += 1
    _to_starts(first)
    _to_starts(second)
    _to_starts(third)
    keys_1, order_1 = np.empty(n, np.uint32), np.empty(n, np.int32)
    for i in range(n):
        digit = keys[i] & _LOW
        place = first[digit]
        first[digit] = place + 1
        keys_1[place], order_1[place] = keys[i], i
    keys_2, order_2 = keys, np.empty(n, np.int32)
    for i in range(n):
        digit = (keys_1[i] >> np.uint32(11)) & _LOW
        place = second[digit]
        second[digit] = place + 1
        keys_2[place], order_2[place] = keys_1[i], order_1[i]
    order = order_1
    for i in range(n):
        digit = keys_2[i] >> np.uint32(22)
        place = third[digit]
        third[digit] = place + 1
        order[place] = order_2[i]
    return order


@njit(nogil=True, cache=True)
def _to_starts(counts: NDArray[np.int64]) -> None:
    total = 0
    for i in range(counts.size):
        counts[i], total = total, total + counts[i]


@njit(nogil=True, cache=True)
def ranked_sums(
    ranked: NDArray[np.int32],
    keep: NDArray[np.bool_],
    relevant: NDArray[np.bool_],
    grades: NDArray[np.float64],
    depth_r: int,
    cuts: NDArray[np.int64],
    discounts: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return (1 + cuts, SUMS) sums of one ranking: the whole of it, then up to every cut-off.

    Args:
        ranked: (n,) group of the documents in rank order.
        keep: (groups,) whether a group is in the gallery.
        relevant: (groups,) binary relevance.
        grades: (groups,) graded relevance.
        depth_r: R, the relevant documents of the gallery.
        cuts: Cut-offs, ascending; one beyond the gallery looks at all of it.
        discounts: (n,) discount of every rank (`metrics.discounts`).
    """
    result = np.zeros((1 + cuts.size, SUMS))
    rank, hits, done = 0, 0, 0
    precision, binary, graded = 0.0, 0.0, 0.0
    for i in range(ranked.size):
        group = ranked[i]
        if not keep[group]:
            continue
        grade = grades[group]
        if relevant[group]:
            hits += 1
            precision += hits / (rank + 1)
            binary += discounts[rank]
        if grade > 0.0:
            graded += grade * discounts[rank]
        rank += 1
        if rank == depth_r:
            result[0, HITS] = hits
        while done < cuts.size and rank == cuts[done]:
            done += 1
            _record(result[done], precision, binary, graded, hits)
    while done < cuts.size:
        done += 1
        _record(result[done], precision, binary, graded, hits)
    _record(result[0], precision, binary, graded, result[0, HITS])
    return result


@njit(nogil=True, cache=True)
def _record(
    row: NDArray[np.float64], precision: float, binary: float, graded: float, hits: float
) -> None:
    row[PRECISION], row[BINARY], row[GRADED], row[HITS] = precision, binary, graded, hits


@njit(nogil=True, cache=True)
def replicate_sums(
    ranked: NDArray[np.int32],
    blocks: NDArray[np.int32],
    weights: NDArray[np.int32],
    keep: NDArray[np.bool_],
    relevant: NDArray[np.bool_],
    grades: NDArray[np.float64],
    depths_r: NDArray[np.int64],
    cuts: NDArray[np.int64],
    discounts: NDArray[np.float64],
    harmonics: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return (1 + cuts, SUMS, B) sums of B resampled galleries, ranked by the same scores.

    In replicate b a document stands w = weights[block, b] times in a row, after S documents of
    which H are relevant. Its copies then add, in closed form (harmonics: 1/1 + ... + 1/n),

        precision   w + (H - S) (harmonics[S + w] - harmonics[S])
        binary      discounts[S + w] - discounts[S]

    and with S and S + w cut at k the same up to k. The inner loops run over replicates.

    Args:
        ranked: (n,) group of the documents in rank order.
        blocks: (n,) spatial block of the documents in rank order.
        weights: (blocks, B) times each block was drawn.
        keep: (groups,) whether a group is in the gallery.
        relevant: (groups,) binary relevance.
        grades: (groups,) graded relevance.
        depths_r: (B,) relevant documents of each replicate's gallery.
        cuts: Cut-offs, ascending.
        discounts: Sum of the first 0, 1, 2, ... discounts, up to the largest replicate.
        harmonics: Harmonic numbers from H_0 = 0, likewise.
    """
    count = weights.shape[1]
    result = np.zeros((1 + cuts.size, SUMS, count))
    whole = result[0]
    before, hits = np.zeros(count, np.int64), np.zeros(count, np.int64)
    deepest = cuts[cuts.size - 1] if cuts.size else 0
    shallow = deepest > 0
    for i in range(ranked.size):
        group = ranked[i]
        if not keep[group]:
            continue
        weight = weights[blocks[i]]
        is_relevant, grade = relevant[group], grades[group]
        if is_relevant:
            for b in range(count):
                start, end = before[b], before[b] + weight[b]
                step = harmonics[end] - harmonics[start]
                whole[PRECISION, b] += weight[b] + (hits[b] - start) * step
                whole[BINARY, b] += discounts[end] - discounts[start]
                whole[HITS, b] += min(end, depths_r[b]) - min(start, depths_r[b])
        if grade > 0.0:
            for b in range(count):
                start, end = before[b], before[b] + weight[b]
                whole[GRADED, b] += grade * (discounts[end] - discounts[start])
        if shallow:
            if is_relevant or grade > 0.0:
                _add_cuts(
                    result, before, hits, weight, is_relevant, grade, cuts, discounts, harmonics
                )
            fewest = before[0] + weight[0]
            for b in range(count):
                fewest = min(fewest, before[b] + weight[b])
            shallow = fewest < deepest
        for b in range(count):
            before[b] += weight[b]
        if is_relevant:
            for b in range(count):
                hits[b] += weight[b]
    return result


@njit(nogil=True, cache=True)
def _add_cuts(
    result: NDArray[np.float64],
    before: NDArray[np.int64],
    hits: NDArray[np.int64],
    weight: NDArray[np.int32],
    is_relevant: bool,
    grade: float,
    cuts: NDArray[np.int64],
    discounts: NDArray[np.float64],
    harmonics: NDArray[np.float64],
) -> None:
    for j in range(cuts.size):
        for b in range(weight.size):
            start, end = min(before[b], cuts[j]), min(before[b] + weight[b], cuts[j])
            gain = discounts[end] - discounts[start]
            result[1 + j, GRADED, b] += grade * gain
            if is_relevant:
                step = harmonics[end] - harmonics[start]
                result[1 + j, PRECISION, b] += end - start + (hits[b] - before[b]) * step
                result[1 + j, BINARY, b] += gain
                result[1 + j, HITS, b] += end - start
