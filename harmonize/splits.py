"""Train, val and corpus: groups of spatial blocks with a buffer between, or patches at random.

Blocks (`method: blocks`): every patch of both sensors and all dates in one block of `block_km`
goes to one split. Blocks that share a scene, a pass (datatake), an event or an S1-S2 pair form a
group and stay together (`harmonize.ties`); groups are dealt by iterative stratification over
labels, area by area (`harmonize.dealing`). Then a buffer is cut (`harmonize.buffers`).

Source (`method: source`): each patch keeps the split its archive publishes it in; patches that
are in none are dropped (`drop_reason: no split`). Whether neighbours leak is the publisher's doing.

Random (`method: random`): patches of equal label sets are shared out by a seeded hash of their
id. Neighbours and partners land in different splits: scores on such a split flatter the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harmonize.buffers import Dealt, cut_buffer
from harmonize.dealing import area_of, deal
from harmonize.hashing import draws
from harmonize.holdouts import held_places, held_years
from harmonize.places import Places, block_ids
from harmonize.split_warnings import Outcome, warnings_of
from harmonize.ties import KINDS, Kind, Tie, components
from landmark.dataset import SPLITS
from landmark.errors import InputError
from landmark.manifest import Splits
from landmark.taxonomy import CLASSES

_CORPUS = SPLITS.index("corpus")


@dataclass(frozen=True)
class SplitPatches:
    """What splitting looks at, all of length n.

    Attributes:
        patch_ids: Patch ids.
        places: Where the patches lie.
        label_masks: int64 bit masks of classes present.
        ties: What else ties patches together.
        years: int64, years of acquisition; None where no year is held out.
        own: patch_id -> the split its archive publishes it in; needed by `method: source` alone.
    """

    patch_ids: Sequence[str]
    places: Places
    label_masks: NDArray[np.int64]
    ties: tuple[Tie, ...] = ()
    years: NDArray[np.int64] | None = None
    own: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Assignment:
    """Which split each patch belongs to, all arrays of length n.

    Attributes:
        split: str, `train`, `val`, `corpus`, or "" for a dropped patch.
        drop_reason: str, why it was dropped (`buffer`, `held_out`), or "".
        block: str, spatial block.
        kept_whole: Which kinds of ties no two splits share.
        warnings: One line each.
    """

    split: NDArray[np.str_]
    drop_reason: NDArray[np.str_]
    block: NDArray[np.str_]
    kept_whole: tuple[Kind, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Blocks:
    """Blocks and the patches in them; `of` (n,) int64 is each patch's position in `names`."""

    names: NDArray[np.str_]
    of: NDArray[np.int64]


@dataclass(frozen=True)
class _Deal:
    """Groups of blocks, dealt: `group` (blocks,) and `split` (groups,)."""

    kinds: tuple[Kind, ...]
    group: NDArray[np.int64]
    split: NDArray[np.int64]
    counts: NDArray[np.int64]
    sizes: NDArray[np.int64]


def assign(patches: SplitPatches, rules: Splits, seed: int) -> Assignment:
    """Decide the split of every patch; a pure function of its arguments.

    Raises:
        InputError: What `hold_out` names cannot be found or read, or the archives' own splits
            are asked for and they have none.
    """
    count = len(patches.places)
    blocks = _Blocks(*np.unique(block_ids(patches.places, rules.block_km), return_inverse=True))
    shares = np.array([getattr(rules, split) for split in SPLITS], dtype=np.float64)
    if rules.method == "source":
        return _as_published(patches, blocks, rules)
    held = held_places(patches.places, patches.ties, rules.hold_out)
    late = held_years(patches.years, rules.hold_out, count)
    dropped = np.zeros(count, dtype=bool)
    dealt = None
    if rules.method == "random":
        split = _at_random(patches, shares, seed)
        split[held | late] = _CORPUS
    else:
        dealt = _deal_blocks(patches, blocks, held, late, rules, seed)
        split = dealt.split[dealt.group[blocks.of]]
        dropped = late & (split != _CORPUS)
        near = Dealt(patches.places, blocks.of, split, blocks.names)
        rows = np.flatnonzero(~dropped)
        buffered = np.zeros(count, dtype=bool)
        buffered[rows] = cut_buffer(near.take(rows), shares, rules.buffer_cells, seed)
        dropped |= buffered
    kept = np.where(dropped, -1, split)
    outcome = Outcome(kept, dropped, patches.label_masks, shares, rules)
    return Assignment(
        split=np.array([*SPLITS, ""])[kept],
        drop_reason=np.where(dropped, np.where(late, "held_out", "buffer"), ""),
        block=blocks.names[blocks.of] if count else np.empty(0, dtype=np.str_),
        kept_whole=dealt.kinds if dealt else (),
        warnings=warnings_of(outcome, *((dealt.kinds, dealt.counts) if dealt else ((), None))),
    )


def _as_published(patches: SplitPatches, blocks: _Blocks, rules: Splits) -> Assignment:
    """Return the splits archives publish their patches in.

    Raises:
        InputError: They publish none.
    """
    own = patches.own or {}
    split = np.array([own.get(name, "") for name in patches.patch_ids], dtype="U8")
    dropped = split == ""
    if dropped.all() and dropped.size:
        raise InputError(
            "splits.method: source keeps the splits of archives, but these state none for any "
            "patch (SEN12-FLOOD and BigEarthNet v1 have none); use blocks or random"
        )
    kept = np.array([SPLITS.index(name) if name else -1 for name in split.tolist()], np.int64)
    found = np.bincount(kept[~dropped], minlength=len(SPLITS))
    # The archive's own shares are the wanted ones: classes may stray from them unsaid.
    shares = found / max(1, found.sum())
    lenient = rules.model_copy(update={"tolerance": 1.0})
    outcome = Outcome(kept, np.zeros(kept.size, dtype=bool), patches.label_masks, shares, lenient)
    warnings = warnings_of(outcome, (), None)
    if dropped.any():
        count = int(dropped.sum())
        lost = f"{count} patches are in no split of their archive: they are dropped"
        warnings = (lost, *warnings)
    return Assignment(
        split=split,
        drop_reason=np.where(dropped, "no split", ""),
        block=blocks.names[blocks.of] if kept.size else np.empty(0, dtype=np.str_),
        kept_whole=(),
        warnings=warnings,
    )


def _deal_blocks(
    patches: SplitPatches,
    blocks: _Blocks,
    held: NDArray[np.bool_],
    late: NDArray[np.bool_],
    rules: Splits,
    seed: int,
) -> _Deal:
    """Deal groups of blocks with as many kinds of ties kept whole as the shares allow."""
    shares = np.array([getattr(rules, split) for split in SPLITS], dtype=np.float64)
    wanted = shares > 0
    best: tuple[int, _Deal] | None = None
    for kinds in _ladder(rules):
        dealt = _deal_groups(patches, blocks, kinds, (held, late), rules, seed)
        sizes = np.bincount(dealt.split, dealt.sizes, len(SPLITS))
        filled = int(((sizes > 0) & wanted).sum())
        strays = np.abs(sizes / max(sizes.sum(), 1) - shares).max()
        if filled == wanted.sum() and strays <= rules.tolerance:
            return dealt
        if best is None or filled > best[0]:
            best = filled, dealt
    assert best is not None
    return best[1]


def _ladder(rules: Splits) -> Iterator[tuple[Kind, ...]]:
    """Yield the kinds of ties to keep whole: those asked for, then without the widest, and so on.

    S1-S2 pairs are never given up: the two patches show the same ground at the same time.
    """
    kinds = tuple(kind for kind in KINDS if kind in rules.groups)
    yield kinds
    while rules.relax and kinds and kinds[-1] != "pair":
        kinds = kinds[:-1]
        yield kinds


def _deal_groups(
    patches: SplitPatches,
    blocks: _Blocks,
    kinds: tuple[Kind, ...],
    aside: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    rules: Splits,
    seed: int,
) -> _Deal:
    ties = [tie for tie in patches.ties if tie.kind in kinds]
    groups, group = components(blocks.of, blocks.names.size, ties)
    member = group[blocks.of] if blocks.of.size else blocks.of
    counts = np.stack(
        [
            np.bincount(member, weights=(patches.label_masks >> bit) & 1, minlength=groups)
            for bit in range(len(CLASSES))
        ],
        axis=1,
    ).astype(np.int64)
    sizes = np.bincount(member, minlength=groups).astype(np.int64)
    # A group is named after its first block, so that its name lasts as long as the group does.
    first = np.full(groups, blocks.names.size, dtype=np.int64)
    np.minimum.at(first, group, np.arange(blocks.names.size))
    names = blocks.names[first].tolist() if groups else []
    held, late = aside
    set_aside = np.bincount(member, held, groups) > 0
    set_aside |= np.bincount(member, late, groups) == sizes
    split = np.full(groups, _CORPUS, dtype=np.int64)
    rows = np.flatnonzero(~set_aside)
    chosen = [names[row] for row in rows]
    shares = np.array([getattr(rules, name) for name in SPLITS], dtype=np.float64)
    areas = [area_of(name, rules.block_km) for name in chosen]
    split[rows] = deal(chosen, areas, counts[rows], sizes[rows], shares, seed)
    return _Deal(kinds, group, split, counts, sizes)


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
