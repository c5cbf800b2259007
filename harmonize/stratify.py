"""Dealing groups of patches to splits so that each split sees its share of every label.

Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011), with whole groups in the place
of single samples: the rarest label first, its groups from the largest down, each to the split
that still wants most of that label. Groups are coarse, so a descent follows: as long as moving
one group to another split, or exchanging two, brings the shares of all labels closer to what was
asked, the best such step is made.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: The size of the splits counts as much as this many labels.
_SIZE_WEIGHT = 3.0
#: Exchanges are looked for among this many groups at most: where there are more, single moves
#: come as close, and the pairs to compare would be many.
_MOST_EXCHANGED = 256
#: Steps that gain less are not taken: they are rounding.
_LEAST_GAIN = 1e-9


def deal_groups(
    counts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    shares: NDArray[np.float64],
    ties: NDArray[np.uint64],
) -> NDArray[np.int64]:
    """Return the split of each group.

    Every split with a share > 0 gets a group where there are at least as many groups as such
    splits; a split with share 0 gets none. The order of the groups does not matter.

    Args:
        counts: (groups, labels) patches of a group that carry a label.
        sizes: (groups,) patches of a group.
        shares: (splits,) wanted share of each split, summing to 1.
        ties: (groups,) distinct draws that order groups which are otherwise equal.

    Returns:
        (groups,) int64, index into `shares`.
    """
    order = np.argsort(ties, kind="stable")
    # The size is one more label, wanted like the others.
    weights = np.concatenate([counts, sizes[:, None]], axis=1)[order].astype(np.int64)
    dealt = fill_empty(_greedy(weights, shares), weights[:, -1], shares)
    result = np.empty(sizes.size, dtype=np.int64)
    result[order] = _descend(dealt, weights, shares)
    return result


def _greedy(weights: NDArray[np.int64], shares: NDArray[np.float64]) -> NDArray[np.int64]:
    groups = weights.shape[0]
    wants = np.outer(shares, weights.sum(axis=0))
    dealt = np.full(groups, -1, dtype=np.int64)
    left = np.ones(groups, dtype=bool)
    remaining = weights.sum(axis=0)
    while left.any():
        carried = np.flatnonzero(remaining[:-1] > 0)
        label = int(carried[np.argmin(remaining[carried])]) if carried.size else -1
        group = int(np.argmax(np.where(left, weights[:, label], -1)))
        split = min(
            np.flatnonzero(shares > 0),
            key=lambda s: (-round(wants[s, label], 6), -round(wants[s, -1], 6), s),
        )
        left[group] = False
        dealt[group] = split
        remaining = remaining - weights[group]
        wants[split] -= weights[group]
    return dealt


def fill_empty(
    dealt: NDArray[np.int64], sizes: NDArray[np.int64], shares: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Give an empty split the smallest group of the fullest split that has groups to spare."""
    dealt = dealt.copy()
    for split in np.flatnonzero(shares > 0):
        if (dealt == split).any():
            continue
        held = np.bincount(dealt, minlength=shares.size)
        surplus = np.bincount(dealt, sizes, shares.size) - shares * sizes.sum()
        spare = np.flatnonzero(held > 1)
        if not spare.size:
            break
        giver = spare[np.argmax(surplus[spare])]
        members = np.flatnonzero(dealt == giver)
        dealt[members[np.argmin(sizes[members])]] = split
    return dealt


def _descend(
    dealt: NDArray[np.int64], weights: NDArray[np.int64], shares: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Make the best move or exchange as long as it lowers the squared error of the shares."""
    dealt = dealt.copy()
    totals = weights.sum(axis=0)
    scale = np.divide(1.0, totals, out=np.zeros(totals.size), where=totals > 0)
    scale[-1] *= np.sqrt(_SIZE_WEIGHT)
    steps = weights * scale
    # Each step lowers the error, so this ends; the bound only caps the time.
    for _ in range(4 * dealt.size):
        got = np.stack([weights[dealt == s].sum(axis=0) for s in range(shares.size)])
        excess = (got - np.outer(shares, totals)) * scale
        gain, group, split = _best_move(dealt, steps, excess, shares)
        if gain > _LEAST_GAIN:
            dealt[group] = split
            continue
        gain, one, other = _best_exchange(dealt, steps, excess)
        if gain <= _LEAST_GAIN:
            break
        dealt[one], dealt[other] = dealt[other], dealt[one]
    return dealt


def _best_move(
    dealt: NDArray[np.int64],
    steps: NDArray[np.float64],
    excess: NDArray[np.float64],
    shares: NDArray[np.float64],
) -> tuple[float, int, int]:
    """Return by how much the best move of one group lowers the error, the group, its new split."""
    # Taking a step v out of one split and into another changes the error by
    # |e_to + v|^2 - |e_to|^2 + |e_from - v|^2 - |e_from|^2.
    along = steps @ excess.T
    own = along[np.arange(dealt.size), dealt]
    change = 2 * (along - own[:, None] + (steps**2).sum(axis=1)[:, None])
    change[np.arange(dealt.size), dealt] = np.inf
    change[:, shares <= 0] = np.inf
    held = np.bincount(dealt, minlength=shares.size)
    change[held[dealt] == 1] = np.inf
    # Rounded, so that the last bit of a sum cannot choose between equal moves.
    best = int(np.argmin(np.round(change, 12)))
    group, split = divmod(best, shares.size)
    return -float(change[group, split]), group, split


def _best_exchange(
    dealt: NDArray[np.int64], steps: NDArray[np.float64], excess: NDArray[np.float64]
) -> tuple[float, int, int]:
    """Return by how much the best exchange of two groups lowers the error, and the two."""
    if not 2 <= dealt.size <= _MOST_EXCHANGED:
        return 0.0, 0, 0
    # Exchanging i and j adds v = w_j - w_i to the split of i and takes it from that of j.
    along = steps @ excess[dealt].T
    own = np.diagonal(along)
    squares = (steps**2).sum(axis=1)
    apart = squares[:, None] + squares[None, :] - 2 * steps @ steps.T
    change = 2 * (along.T - own[:, None] + along - own[None, :] + apart)
    change[dealt[:, None] == dealt[None, :]] = np.inf
    best = int(np.argmin(np.round(change, 12)))
    one, other = divmod(best, dealt.size)
    return -float(change[one, other]), one, other
