"""What a score has to be compared with: rankings that look at no pixel, and a random one.

- `baseline:random` has no ranking: its expectation is computed (`baselines.metrics`).
- `baseline:label_frequency` knows only how frequent a class is in train, per sensor. All patches
  of a sensor tie, so within a sensor it is patch_id order; over both sensors it puts the sensor
  first in which the classes are more frequent.
- `baseline:source_shortcut` knows only where a patch comes from (`FACTS`): its score is how
  frequent the classes are among train patches with exactly the same facts. A model that does not
  beat it may have learned nothing but the source.
- `baseline:multilabel` is a trained run of recipe `multilabel`, ranked by class probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from baselines.documents import Documents
from landmark.taxonomy import CLASSES, bit

RANDOM = "baseline:random"
LABEL_FREQUENCY = "baseline:label_frequency"
SOURCE_SHORTCUT = "baseline:source_shortcut"
MULTILABEL = "baseline:multilabel"
#: In the order they are shown.
REFERENCES: tuple[str, ...] = (RANDOM, LABEL_FREQUENCY, SOURCE_SHORTCUT, MULTILABEL)

#: Columns the facts of a patch are read from.
FACT_COLUMNS: tuple[str, ...] = (
    "platform",
    "orbit_state",
    "relative_orbit",
    "epsg",
    "datetime",
    "provenance",
)
#: Facts a patch is grouped by: none says what the patch shows.
FACTS: tuple[str, ...] = (
    "sensor",
    "platform",
    "orbit_state",
    "relative_orbit",
    "epsg",
    "month",
    "provider",
    "collection",
    "baseline",
    "offset",
    "quantity",
    "resampling",
)
#: Weight of the wider frequency against one train patch: keeps the frequencies of small groups
#: away from 0 and 1.
_PRIOR_WEIGHT = 1.0


def label_frequency(train: Documents, corpus: Documents) -> NDArray[np.float64]:
    """Return (n, 12) of the corpus: how frequent each class is in train, per sensor."""
    everything = np.zeros(len(train), np.int64)
    overall = _frequencies(train, everything, np.full((1, len(CLASSES)), 0.5))
    codes, groups, count = _group_codes(_keys(corpus, ("sensor",)), _keys(train, ("sensor",)))
    return _frequencies(train, groups, np.repeat(overall, count, axis=0))[codes]


def source_shortcut(train: Documents, corpus: Documents) -> NDArray[np.float64]:
    """Return (n, 12) of the corpus: class frequency among train patches of the same facts.

    A patch whose facts no train patch shares gets the frequency of its sensor.

    Args:
        train: Documents with `FACT_COLUMNS`.
        corpus: Documents with `FACT_COLUMNS`.
    """
    codes, groups, count = _group_codes(_keys(corpus, FACTS), _keys(train, FACTS))
    prior = np.empty((count, len(CLASSES)))
    # The sensor is one of the facts, so all patches of a group agree on its frequency.
    prior[groups] = label_frequency(train, train)
    prior[codes] = label_frequency(train, corpus)
    return _frequencies(train, groups, prior)[codes]


def _frequencies(
    documents: Documents, groups: NDArray[np.int64], prior: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (groups, 12) shares of each group's known patches that carry each class."""
    result = np.empty(prior.shape)
    for position, name in enumerate(CLASSES):
        flag = np.uint16(bit(name))
        present = np.bincount(groups, (documents.label_masks & flag) != 0, len(prior))
        known = np.bincount(groups, (documents.known_masks & flag) != 0, len(prior))
        result[:, position] = (present + _PRIOR_WEIGHT * prior[:, position]) / (
            known + _PRIOR_WEIGHT
        )
    return result


def _keys(documents: Documents, facts: Sequence[str]) -> list[tuple[object, ...]]:
    table = documents.table
    columns: list[list[object]] = []
    for fact in facts:
        if fact == "month":
            values: pa.ChunkedArray = pc.month(table["datetime"])
        elif fact in table.column_names:
            values = table[fact]
        else:
            values = pc.struct_field(table["provenance"], fact)
        columns.append(values.to_pylist())
    return list(zip(*columns, strict=True))


def _group_codes(
    first: list[tuple[object, ...]], second: list[tuple[object, ...]]
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Return each row's group number (equal keys, equal number), and how many groups there are."""
    numbers = {key: number for number, key in enumerate(dict.fromkeys((*first, *second)))}
    return (
        np.array([numbers[key] for key in first], np.int64),
        np.array([numbers[key] for key in second], np.int64),
        len(numbers),
    )
