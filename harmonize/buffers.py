"""Cutting the buffer: dropping patches so that no two of different splits lie close together."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harmonize.hashing import draws
from harmonize.places import Places, close_pairs


@dataclass(frozen=True)
class Dealt:
    """Patches and the splits their blocks were dealt to, arrays of length n.

    Attributes:
        places: Where the patches lie.
        block: int64, position in `names`.
        split: int64, split.
        names: Names of the blocks.
    """

    places: Places
    block: NDArray[np.int64]
    split: NDArray[np.int64]
    names: NDArray[np.str_]

    def take(self, rows: NDArray[np.int64]) -> Dealt:
        """Return some of the patches."""
        return Dealt(self.places.take(rows), self.block[rows], self.split[rows], self.names)


def cut_buffer(
    dealt: Dealt, shares: NDArray[np.float64], buffer_cells: int, seed: int
) -> NDArray[np.bool_]:
    """Return which patches to drop so that no two of different splits lie within the buffer.

    Borders between two blocks of different splits are cut one after the other, in the order of a
    seeded draw. Which side gives up its patches is drawn too, in proportion to the shares of the
    two splits, so that a small split does not lose more than its share; a block that would be
    lost whole gives way only where the other would be too. All this looks at the two blocks
    alone: what lies far away cannot change it.
    """
    # Dates and sensors share places, and a place lies in one block: compare places, not patches.
    first, member, weight = _spots(dealt.places)
    spots, held, block = dealt.places.take(first), dealt.split[first], dealt.block[first]
    left = np.bincount(block, weight, dealt.names.size)
    dropped = np.zeros(first.size, dtype=bool)
    for border in _borders(spots, held, block, dealt.names, buffer_cells, seed):
        alive = border.pairs[:, ~dropped[border.pairs].any(axis=0)]
        if not alive.size:
            continue
        sides = [np.unique(side) for side in alive]
        lost = [weight[side].sum() for side in sides]
        weights = [shares[held[side[0]]] for side in sides]
        giver = int(border.lot * sum(weights) >= weights[0])
        if lost[giver] >= left[block[sides[giver][0]]]:
            other = 1 - giver
            giver = other if lost[other] < left[block[sides[other][0]]] else giver
        dropped[sides[giver]] = True
        left[block[sides[giver][0]]] -= lost[giver]
    return dropped[member]


@dataclass(frozen=True)
class _Border:
    """Two blocks of different splits: close pairs (2, n) of spots, and a draw in 0..1."""

    pairs: NDArray[np.int64]
    lot: float


def _spots(
    places: Places,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the first patch of each distinct place, each patch's place, and patches per place."""
    order = np.lexsort((places.y, places.x, places.epsg))
    keys = np.stack([places.epsg[order], places.x[order], places.y[order]])
    new = np.ones(order.size, dtype=bool)
    new[1:] = (keys[:, 1:] != keys[:, :-1]).any(axis=0)
    number = np.cumsum(new) - 1
    member = np.empty(order.size, dtype=np.int64)
    member[order] = number
    weight = np.bincount(number, minlength=int(new.sum()))
    return order[new], member, weight


def _borders(
    spots: Places,
    held: NDArray[np.int64],
    block: NDArray[np.int64],
    names: NDArray[np.str_],
    buffer_cells: int,
    seed: int,
) -> list[_Border]:
    """Return every border between two blocks of different splits, in the order of a draw."""
    found = [np.empty((2, 0), dtype=np.int64)]
    for one, other in itertools.combinations(np.unique(held).tolist(), 2):
        rows = np.flatnonzero(held == one), np.flatnonzero(held == other)
        found.append(np.stack(close_pairs(spots, *rows, buffer_cells)))
    pairs = np.concatenate(found, axis=1)
    # The side of the block whose name comes first stands first, whatever order patches came in.
    turned = names[block[pairs[0]]] > names[block[pairs[1]]]
    pairs[:, turned] = pairs[::-1, turned]
    sides = block[pairs]
    code = sides[0] * names.size + sides[1]
    codes, border = np.unique(code, return_inverse=True)
    titles = [f"{names[c // names.size]}|{names[c % names.size]}" for c in codes.tolist()]
    lots = draws(titles, seed, "split-border-side").astype(np.float64) / 2.0**64
    rank = np.argsort(np.argsort(draws(titles, seed, "split-border"), kind="stable"))
    order = np.argsort(rank[border], kind="stable")
    starts = np.cumsum(np.bincount(rank[border], minlength=rank.size))[:-1]
    parts = np.split(pairs[:, order], starts, axis=1) if rank.size else []
    by_rank = np.argsort(rank)
    return [_Border(part, float(lots[by_rank[i]])) for i, part in enumerate(parts)]
