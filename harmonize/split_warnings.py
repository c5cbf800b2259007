"""What a user should know of a split: empty splits, classes that stray, what could not be kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harmonize.ties import KINDS, Kind
from landmark.dataset import SPLITS
from landmark.manifest import Splits
from landmark.taxonomy import CLASSES

#: A buffer that drops more than this share of all patches is worth a warning.
_MUCH_DROPPED = 0.3
_WORDS: dict[Kind, str] = {
    "pair": "S1-S2 pairs",
    "event": "events",
    "scene": "scenes",
    "datatake": "datatakes",
}


@dataclass(frozen=True)
class Outcome:
    """How patches were split, arrays of length n.

    Attributes:
        kept: int64, split of each patch, -1 where it was dropped.
        dropped: Patches in no split.
        label_masks: int64 bit masks of the classes present.
        shares: Wanted share of each split.
        rules: The manifest's.
    """

    kept: NDArray[np.int64]
    dropped: NDArray[np.bool_]
    label_masks: NDArray[np.int64]
    shares: NDArray[np.float64]
    rules: Splits


def warnings_of(
    outcome: Outcome, kinds: Iterable[Kind], counts: NDArray[np.int64] | None
) -> tuple[str, ...]:
    """Return the warnings of a split, one line each.

    Args:
        outcome: The split.
        kinds: Kinds of ties that were kept whole.
        counts: (groups, classes) patches per group of blocks; None for a split at random.
    """
    lines: list[str] = []
    if counts is not None:
        lines += _group_warnings(outcome, tuple(kinds), counts)
    lines += _size_warnings(outcome)
    lines += _class_warnings(outcome, counts)
    return tuple(lines)


def _group_warnings(
    outcome: Outcome, kinds: tuple[Kind, ...], counts: NDArray[np.int64]
) -> list[str]:
    lines = []
    given_up = [kind for kind in KINDS if kind in outcome.rules.groups and kind not in kinds]
    if given_up:
        words = " and ".join(_WORDS[kind] for kind in given_up)
        lines.append(
            f"{words} could not be kept whole: blocks joined by them would be too few or too "
            "large for the shares, so splits share some (`landmark check` names them); fetch more "
            "scenes of other places and dates, or set splits.relax: false"
        )
    wanted = int((outcome.shares > 0).sum())
    groups = counts.shape[0]
    if groups < wanted:
        lines.append(
            f"only {groups} group{'s' if groups != 1 else ''} of spatial blocks for {wanted} "
            "splits: make splits.block_km smaller, or fetch a larger area"
        )
    return lines


def _size_warnings(outcome: Outcome) -> list[str]:
    kept, shares = outcome.kept, outcome.shares
    lines = []
    if outcome.dropped.any() and outcome.dropped.mean() > _MUCH_DROPPED:
        lines.append(
            f"{outcome.dropped.mean():.0%} of all patches are in no split: make splits.block_km "
            "larger, splits.buffer_cells smaller, or hold out less"
        )
    if not kept.size:
        return lines
    sizes = np.bincount(kept[kept >= 0], minlength=len(SPLITS))
    got = sizes / max(int(sizes.sum()), 1)
    for number, name in enumerate(SPLITS):
        if shares[number] <= 0:
            continue
        if not sizes[number]:
            lines.append(f"split {name} is empty")
        elif abs(got[number] - shares[number]) > outcome.rules.tolerance:
            lines.append(
                f"split {name} holds {got[number]:.0%} of the patches where {shares[number]:.0%} "
                "were asked for"
            )
    return lines


def _class_warnings(outcome: Outcome, counts: NDArray[np.int64] | None) -> list[str]:
    wanted = [s for s, share in enumerate(outcome.shares) if share > 0]
    lines = []
    for position, name in enumerate(CLASSES):
        carried = ((outcome.label_masks >> position) & 1).astype(bool)
        if not carried.any():
            continue
        here = outcome.kept[carried & (outcome.kept >= 0)]
        got = np.bincount(here, minlength=len(SPLITS))
        groups = None if counts is None else int((counts[:, position] > 0).sum())
        lacking = [SPLITS[s] for s in wanted if SPLITS[s] != "val" and not got[s]]
        if lacking:
            lines.append(f"{name}: occurs, but not in {' nor '.join(lacking)}{_why(groups)}")
            continue
        share = got / max(int(got.sum()), 1)
        worst = max(wanted, key=lambda s: abs(share[s] - outcome.shares[s]))
        if abs(share[worst] - outcome.shares[worst]) > outcome.rules.tolerance:
            lines.append(
                f"{name}: {share[worst]:.0%} of its patches are in {SPLITS[worst]}, where "
                f"{outcome.shares[worst]:.0%} were asked for{_why(groups)}"
            )
        elif groups is not None and groups < len(wanted):
            lines.append(f"{name}: too rare for {len(wanted)} splits{_why(groups)}")
    return lines


def _why(groups: int | None) -> str:
    if groups is None:
        return ""
    return f" (it lies in {groups} group{'s' if groups != 1 else ''} of blocks)"
