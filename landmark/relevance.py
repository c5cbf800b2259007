"""Which patches are relevant to a query, and how much: pure functions of label masks.

Both the relevance files of a dataset and the evaluation of a model rest on these, so that they
cannot disagree. Unknown is not absent: a class that was not decided is never counted as carried,
and, where `known_masks` are given, never counted as absent either.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Masks = NDArray[np.integer]


def relevant(
    label_masks: Masks, wanted: int, absent: int = 0, known_masks: Masks | None = None
) -> NDArray[np.bool_]:
    """Return which patches carry every wanted class and none of the absent ones.

    Args:
        label_masks: (n,) bit masks of the classes present.
        wanted: Bit mask of the classes asked for.
        absent: Bit mask of the negated classes.
        known_masks: (n,) bit masks of the classes decided; with them a patch whose negated class
            is unknown is not relevant. Without, what is not present counts as absent.

    Returns:
        (n,) bool.
    """
    labels = _wide(label_masks)
    carried = ((labels & wanted) == wanted) & ((labels & absent) == 0)
    if known_masks is not None:
        carried &= (_wide(known_masks) & absent) == absent
    return carried


def jaccard(
    label_masks: Masks, wanted: int, absent: int = 0, known_masks: Masks | None = None
) -> NDArray[np.float64]:
    """Return the graded relevance: shared classes over all classes of patch and query.

    A patch that carries a negated class (or, with `known_masks`, does not surely lack it) has
    relevance 0. Two empty sets have relevance 0.

    Args:
        label_masks: (n,) bit masks of the classes present.
        wanted: Bit mask of the classes asked for.
        absent: Bit mask of the negated classes.
        known_masks: (n,) bit masks of the classes decided, or None.

    Returns:
        (n,) float64 in 0..1.
    """
    labels = _wide(label_masks)
    shared = np.bitwise_count(labels & wanted).astype(np.float64)
    union = np.bitwise_count(labels | wanted).astype(np.float64)
    grade = np.divide(shared, union, out=np.zeros(labels.shape), where=union > 0)
    if absent:
        grade[~relevant(labels, 0, absent, known_masks)] = 0.0
    return grade


def judged(
    label_masks: Masks, known_masks: Masks, wanted: int, absent: int = 0
) -> NDArray[np.bool_]:
    """Return for which patches the known classes decide the binary relevance, either way.

    One wanted class known to be missing, or one negated class present, is enough to decide.

    Args:
        label_masks: (n,) bit masks of the classes present.
        known_masks: (n,) bit masks of the classes decided.
        wanted: Bit mask of the classes asked for.
        absent: Bit mask of the negated classes.

    Returns:
        (n,) bool.
    """
    labels, known = _wide(label_masks), _wide(known_masks)
    asked = wanted | absent
    complete = (known & asked) == asked
    refused = ((known & ~labels & wanted) != 0) | ((labels & absent) != 0)
    return complete | refused


def _wide(masks: Masks) -> NDArray[np.int64]:
    """Return masks as int64, so that Python ints of any width combine with them."""
    return np.asarray(masks).astype(np.int64, copy=False)
