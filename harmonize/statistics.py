"""Counting an index: patches per split, how often each class occurs, queries' relevant patches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from harmonize.queries import Gallery, Query
from landmark.dataset import SPLITS
from landmark.taxonomy import CLASSES

SENSORS = ("s1", "s2")


@dataclass(frozen=True)
class ClassCount:
    """How often a class occurs in one split of one sensor.

    Attributes:
        present: Patches that carry it.
        known: Patches in which its presence was decided.
    """

    present: int
    known: int

    @property
    def prevalence(self) -> float | None:
        """Share of the decided patches that carry the class; None if none was decided."""
        return self.present / self.known if self.known else None


@dataclass(frozen=True)
class Statistics:
    """Counts of an index.

    Attributes:
        sensors: Sensors that occur, `s1` before `s2`.
        patches: (sensor, split) -> patches.
        classes: (sensor, split, class) -> how often it occurs.
        dropped: Reason -> patches in no split.
        labelled: Patches (dropped ones too) with at least one class decided.
    """

    sensors: tuple[str, ...]
    patches: dict[tuple[str, str], int]
    classes: dict[tuple[str, str, str], ClassCount]
    dropped: dict[str, int]
    labelled: int

    def by_split(self, sensor: str) -> dict[str, int]:
        """Return the patches of a sensor by split."""
        return {split: self.patches[sensor, split] for split in SPLITS}


def count_index(index: pa.Table) -> Statistics:
    """Count the rows of an index."""
    sensors, splits, labels, known = _arrays(index)
    occurring = tuple(sensor for sensor in SENSORS if (sensors == sensor).any())
    patches: dict[tuple[str, str], int] = {}
    classes: dict[tuple[str, str, str], ClassCount] = {}
    for sensor in occurring:
        for split in SPLITS:
            rows = (sensors == sensor) & (splits == split)
            patches[sensor, split] = int(rows.sum())
            for bit, name in enumerate(CLASSES):
                classes[sensor, split, name] = ClassCount(
                    present=int((labels[rows] >> bit & 1).sum()),
                    known=int((known[rows] >> bit & 1).sum()),
                )
    reasons = Counter(reason for reason in index["drop_reason"].to_pylist() if reason)
    return Statistics(
        sensors=occurring,
        patches=patches,
        classes=classes,
        dropped=dict(sorted(reasons.items())),
        labelled=int((known != 0).sum()),
    )


def gallery_of(index: pa.Table, sensor: str | None = None) -> Gallery:
    """Return the masks of split `corpus`, of one sensor or (None) of both."""
    sensors, splits, labels, known = _arrays(index)
    rows = splits == "corpus"
    if sensor is not None:
        rows &= sensors == sensor
    return Gallery(labels[rows], known[rows])


def relevant_counts(queries: Sequence[Query], index: pa.Table) -> dict[str, dict[str, int]]:
    """Return `{query id: {sensor: relevant corpus patches}}` for every sensor that occurs."""
    galleries = {s: gallery_of(index, s) for s in SENSORS if s in index["sensor"].to_pylist()}
    return {
        query.id: {
            sensor: gallery.count(query.wanted_mask, query.absent_mask)
            for sensor, gallery in galleries.items()
        }
        for query in queries
    }


def _arrays(
    index: pa.Table,
) -> tuple[NDArray[np.str_], NDArray[np.str_], NDArray[np.int64], NDArray[np.int64]]:
    return (
        np.array(index["sensor"].to_pylist(), dtype=np.str_),
        np.array(index["split"].to_pylist(), dtype=np.str_),
        index["label_mask"].to_numpy().astype(np.int64),
        index["known_mask"].to_numpy().astype(np.int64),
    )
