"""Train, val and corpus: spatial blocks with a buffer between splits, or patches at random.

Blocks (`method: blocks`): every patch of both sensors and all dates in one block of `block_km`
goes to one split, so that neither neighbours nor S1-S2 partners tell a model about its gallery.
Blocks are dealt by iterative stratification over labels. Then a buffer is cut: where patches of
two blocks of different splits lie within `buffer_cells` cells of each other, the split that holds
more patches for its share gives up its own at that border (`drop_reason: buffer`).

Source (`method: source`): each patch keeps the split its archive publishes it in; patches that
are in none are dropped (`drop_reason: no split`). Whether neighbours leak is the publisher's doing.

Random (`method: random`): patches of equal label sets are shared out by a seeded hash of their
id. Neighbours and partners land in different splits: scores on such a split flatter the model.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harmonize.hashing import draws
from harmonize.places import Places, block_ids, close_pairs
from harmonize.stratify import deal_groups
from landmark.dataset import SPLITS
from landmark.manifest import Splits
from landmark.taxonomy import CLASSES

#: A buffer that drops more than this share of all patches is worth a warning.
_MUCH_DROPPED = 0.3


@dataclass(frozen=True)
class SplitPatches:
    """What splitting looks at, all of length n.

    Attributes:
        patch_ids: Patch ids.
        places: Where the patches lie.
        label_masks: int64 bit masks of classes present.
        own: patch_id -> the split its archive publishes it in; needed by `method: source` alone.
    """

    patch_ids: Sequence[str]
    places: Places
    label_masks: NDArray[np.int64]
    own: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Assignment:
    """Which split each patch belongs to, all arrays of length n.

    Attributes:
        split: str, `train`, `val`, `corpus`, or "" for a dropped patch.
        drop_reason: str, why it was dropped, or "".
        block: str, spatial block.
        warnings: One line each.
    """

    split: NDArray[np.str_]
    drop_reason: NDArray[np.str_]
    block: NDArray[np.str_]
    warnings: tuple[str, ...]


def assign(patches: SplitPatches, rules: Splits, seed: int) -> Assignment:
    """Decide the split of every patch; a pure function of its arguments."""
    blocks = block_ids(patches.places, rules.block_km)
    shares = np.array([getattr(rules, split) for split in SPLITS], dtype=np.float64)
    if rules.method == "source":
        return _as_published(patches, blocks)
    if rules.method == "random":
        split = _at_random(patches, shares, seed)
        dropped = np.zeros(split.size, dtype=bool)
        warnings: list[str] = []
    else:
        split, warnings = _by_block(patches, blocks, shares, seed)
        dropped = _cut_buffer(patches.places, blocks, split, shares, rules, seed)
    kept = np.where(dropped, -1, split)
    warnings += _kept_warnings(kept, dropped, patches.label_masks, shares)
    return Assignment(
        split=np.array([*SPLITS, ""])[kept],
        drop_reason=np.where(dropped, "buffer", ""),
        block=blocks,
        warnings=tuple(warnings),
    )


def _as_published(patches: SplitPatches, blocks: NDArray[np.str_]) -> Assignment:
    """Return the splits archives publish their patches in."""
    own = patches.own or {}
    split = np.array([own.get(name, "") for name in patches.patch_ids], dtype="U8")
    dropped = split == ""
    number = np.array([SPLITS.index(name) if name else -1 for name in split.tolist()], np.int64)
    shares = np.array([float((number == s).any()) for s in range(len(SPLITS))])
    warnings = _kept_warnings(number, dropped, patches.label_masks, shares, buffer=False)
    if dropped.any():
        count = int(dropped.sum())
        warnings.insert(0, f"{count} patches are in no split of their archive: they are dropped")
    return Assignment(split, np.where(dropped, "no split", ""), blocks, tuple(warnings))


def _by_block(
    patches: SplitPatches, blocks: NDArray[np.str_], shares: NDArray[np.float64], seed: int
) -> tuple[NDArray[np.int64], list[str]]:
    names, member = np.unique(blocks, return_inverse=True)
    counts = np.stack(
        [
            np.bincount(member, weights=(patches.label_masks >> bit) & 1, minlength=names.size)
            for bit in range(len(CLASSES))
        ],
        axis=1,
    ).astype(np.int64)
    sizes = np.bincount(member, minlength=names.size).astype(np.int64)
    dealt = deal_groups(counts, sizes, shares, draws(names.tolist(), seed, "split-block"))
    wanted = int((shares > 0).sum())
    warnings = []
    if names.size < wanted:
        warnings.append(
            f"only {names.size} spatial block{'s' if names.size != 1 else ''} for {wanted} "
            "splits: make splits.block_km smaller, or fetch a larger area"
        )
    return dealt[member], warnings


def _at_random(patches: SplitPatches, shares: NDArray[np.float64], seed: int) -> NDArray[np.int64]:
    """Share out the patches of each label set in proportion, in the order of a seeded draw."""
    lots = draws(patches.patch_ids, seed, "split-patch")
    if not lots.size:
        return np.empty(0, dtype=np.int64)
    _, group, sizes = np.unique(patches.label_masks, return_inverse=True, return_counts=True)
    order = np.lexsort((lots, group))
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    place = np.arange(order.size) - np.repeat(starts, sizes)
    # A phase per label set: otherwise all sets of one patch would fall to the same split.
    phase = lots[order[starts]].astype(np.float64) / 2.0**64
    position = (place + np.repeat(phase, sizes)) / np.repeat(sizes, sizes)
    # Rounding may leave the last edge a hair under 1; a split without a share stays empty.
    last = int(np.flatnonzero(shares > 0)[-1])
    split = np.empty(order.size, dtype=np.int64)
    split[order] = np.minimum(np.searchsorted(np.cumsum(shares), position, side="right"), last)
    return split


def _cut_buffer(
    places: Places,
    blocks: NDArray[np.str_],
    split: NDArray[np.int64],
    shares: NDArray[np.float64],
    rules: Splits,
    seed: int,
) -> NDArray[np.bool_]:
    """Return which patches to drop so that no two of different splits lie within the buffer.

    Borders between two blocks of different splits are cut one after the other, in the order of a
    seeded draw. At each, the split that by then holds more patches for its share gives up its
    patches that are too close (of equals the earlier split), unless it would be left empty.
    """
    # Dates and sensors share places, and a place lies in one block: compare places, not patches.
    keys = np.stack([places.epsg.astype(np.float64), places.x, places.y], axis=1)
    _, first, member, weight = np.unique(
        keys, axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    spots, held = places.take(first), split[first]
    names, block = np.unique(blocks[first], return_inverse=True)
    loads = np.bincount(held, weight, len(SPLITS))
    dropped = np.zeros(first.size, dtype=bool)
    for pairs in _borders(spots, held, block, names, rules.buffer_cells, seed):
        alive = pairs[:, ~dropped[pairs].any(axis=0)]
        if not alive.size:
            continue
        sides = [np.unique(side) for side in alive]
        order = sorted((0, 1), key=lambda i: (-loads[s := held[sides[i][0]]] / shares[s], s))
        lost = [weight[side].sum() for side in sides]
        survivors = [i for i in order if lost[i] < loads[held[sides[i][0]]]]
        giver = survivors[0] if survivors else order[0]
        dropped[sides[giver]] = True
        loads[held[sides[giver][0]]] -= lost[giver]
    return dropped[member]


def _borders(
    spots: Places,
    held: NDArray[np.int64],
    block: NDArray[np.int64],
    names: NDArray[np.str_],
    buffer_cells: int,
    seed: int,
) -> list[NDArray[np.int64]]:
    """Return the close pairs (2, n) of every border between two blocks of different splits."""
    found = []
    for one, other in itertools.combinations(range(len(SPLITS)), 2):
        rows = np.flatnonzero(held == one), np.flatnonzero(held == other)
        found.append(np.stack(close_pairs(spots, *rows, buffer_cells)))
    pairs = np.concatenate(found, axis=1)
    sides = np.sort(block[pairs], axis=0)
    borders, border = np.unique(sides, axis=1, return_inverse=True)
    titles = [f"{names[a]}|{names[b]}" for a, b in borders.T]
    rank = np.argsort(np.argsort(draws(titles, seed, "split-border"), kind="stable"))
    order = np.argsort(rank[border], kind="stable")
    starts = np.cumsum(np.bincount(rank[border], minlength=rank.size))[:-1]
    return np.split(pairs[:, order], starts, axis=1)


def _kept_warnings(
    kept: NDArray[np.int64],
    dropped: NDArray[np.bool_],
    label_masks: NDArray[np.int64],
    shares: NDArray[np.float64],
    *,
    buffer: bool = True,
) -> list[str]:
    warnings = []
    if buffer and dropped.any() and dropped.mean() > _MUCH_DROPPED:
        warnings.append(
            f"the buffer between splits drops {dropped.mean():.0%} of all patches: "
            "make splits.block_km larger or splits.buffer_cells smaller"
        )
    if kept.size:
        warnings += [
            f"split {name} is empty"
            for s, name in enumerate(SPLITS)
            if shares[s] > 0 and not (kept == s).any()
        ]
    for bit, name in enumerate(CLASSES):
        carried = ((label_masks >> bit) & 1).astype(bool)
        here = {SPLITS[s] for s in np.unique(kept[carried & (kept >= 0)])}
        lacking = [
            s for i, s in enumerate(SPLITS) if s != "val" and shares[i] > 0 and s not in here
        ]
        if carried.any() and lacking:
            warnings.append(f"{name}: occurs, but not in {' nor '.join(lacking)}")
    return warnings
