"""Which texts of a step are true of which patches, undecided or false; from label masks alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from baselines.objectives.base import Labelled, Rows
from landmark.taxonomy import ALL_MASK, CLASSES

#: Labels of a sub-caption at most.
MAX_SUBCAPTION = 3

Masks = NDArray[np.uint16]


@dataclass(frozen=True)
class Texts:
    """The distinct texts of a step.

    Attributes:
        rows: (u,) numbers in the table of texts.
        masks: (u,) uint16, the classes each names.
        weights: (u,) float32, how many equal captions each stands for.
    """

    rows: Rows
    masks: Masks
    weights: NDArray[np.float32]

    def with_more(self, rows: list[int], masks: list[int]) -> Texts:
        """Return the texts and further ones of weight 1; a label set that is there is left out."""
        seen = {int(mask) for mask in self.masks}
        added = {m: r for r, m in zip(rows, masks, strict=True) if m not in seen}
        return Texts(
            np.concatenate([self.rows, np.array(list(added.values()), np.intp)]),
            np.concatenate([self.masks, np.array(list(added), np.uint16)]),
            np.concatenate([self.weights, np.ones(len(added), np.float32)]),
        )


def caption_texts(captions: Rows, masks: Masks) -> Texts:
    """Return the distinct captions of a step's patches.

    Args:
        captions: (n,) number of each patch's caption.
        masks: (n,) label mask of each patch.
    """
    rows, first, counts = np.unique(captions, return_index=True, return_counts=True)
    return Texts(rows.astype(np.intp), masks[first], counts.astype(np.float32))


def by_caption(captions: Rows, texts: Texts) -> NDArray[np.bool_]:
    """Return (n, u) whether a text is the patch's own caption."""
    own: NDArray[np.bool_] = captions[:, None] == texts.rows[None, :]
    return own


def told_apart(split: Labelled, rows: Rows, texts: Texts) -> NDArray[np.bool_]:
    """Return (n, u) whether a decided class says that a text is not the caption of a patch."""
    differing = split.label_mask[rows][:, None] ^ texts.masks[None, :]
    told: NDArray[np.bool_] = (differing & split.known_mask[rows][:, None]) != 0
    return told


def by_containment(
    split: Labelled, rows: Rows, texts: Texts
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return (n, u) whether a patch carries all classes of a text, and whether that is decided."""
    labels, known = split.label_mask[rows][:, None], split.known_mask[rows][:, None]
    wanted = texts.masks[None, :]
    positives = ((labels & wanted) == wanted) & (wanted != 0)
    lacking = (known & ~labels & wanted) != 0
    return positives, positives | lacking


def by_overlap(
    split: Labelled, rows: Rows, texts: Texts
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return (n, u) Jaccard similarity of label sets, and whether all of the text is decided."""
    labels, known = split.label_mask[rows][:, None], split.known_mask[rows][:, None]
    wanted = texts.masks[None, :]
    union = np.bitwise_count(labels | wanted).astype(np.float32)
    overlap = np.bitwise_count(labels & wanted) / np.maximum(union, 1)
    return overlap.astype(np.float32), (wanted & ~known) == 0


def draw_subsets(random: np.random.Generator, labels: Masks, count: int) -> list[int]:
    """Return masks of 1 to 3 labels of randomly drawn patches that carry any."""
    labels = labels[labels != 0]
    if not labels.size:
        return []
    drawn = []
    for mask in labels[random.integers(len(labels), size=count)]:
        bits = _bits(int(mask))
        size = int(random.integers(1, 1 + min(MAX_SUBCAPTION, len(bits))))
        drawn.append(sum(int(bit) for bit in random.permutation(bits)[:size]))
    return drawn


def draw_swaps(random: np.random.Generator, labels: Masks, known: Masks, count: int) -> list[int]:
    """Return label masks of drawn patches with one label replaced by a class known to be absent."""
    absent = known & ~labels & ALL_MASK
    able = np.flatnonzero((labels != 0) & (absent != 0))
    if not able.size:
        return []
    swapped = []
    for place in able[random.integers(len(able), size=count)]:
        there, missing = _bits(int(labels[place])), _bits(int(absent[place]))
        out = there[int(random.integers(len(there)))]
        swapped.append(int(labels[place]) & ~out | missing[int(random.integers(len(missing)))])
    return swapped


def _bits(mask: int) -> list[int]:
    return [1 << bit for bit in range(len(CLASSES)) if mask >> bit & 1]
