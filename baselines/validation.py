"""The score a run is judged by while it trains: mean AP over single classes of split val."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from baselines.closp import Closp
from baselines.loader import Split
from baselines.metrics import average_precision, ranking
from landmark.taxonomy import CLASSES

_BATCH = 128


def validate(
    model: Closp, splits: Mapping[str, Split], workers: int | None = None
) -> dict[str, float]:
    """Return per sensor the mean average precision over single-class queries.

    Each class is ranked over the patches that decided it; classes without both a positive and a
    negative there are left out. A sensor without any such class is missing from the answer.
    """
    answer = {}
    for sensor, split in splits.items():
        scores = _class_scores(model, split, workers)
        values = []
        for bit in range(len(CLASSES)):
            judged = (split.known_mask >> bit & 1).astype(bool)
            relevant = (split.label_mask[judged] >> bit & 1).astype(bool)
            if relevant.any() and not relevant.all():
                values.append(average_precision(relevant[ranking(scores[judged, bit])]))
        if values:
            answer[sensor] = math.fsum(values) / len(values)
    return answer


def _class_scores(model: Closp, split: Split, workers: int | None) -> NDArray[np.float32]:
    """Return (n, 12): logits, or cosines with the class names."""
    parts = split.batches(_BATCH, workers)
    if model.kind == "classes":
        return np.concatenate([model.class_logits(split.sensor, b.images) for b in parts])
    texts = model.encode_texts([name.lower() for name in CLASSES])
    vectors = np.concatenate([model.encode_images(split.sensor, b.images) for b in parts])
    scores: NDArray[np.float32] = vectors @ texts.T
    return scores
