"""The score a run is judged by while it trains: mean AP over single classes of split val."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from baselines.closp import Closp
from baselines.distributed import Processes, gather_rows
from baselines.loader import Batch, Split, reading_pool, share
from baselines.metrics import average_precision, ranking
from landmark.taxonomy import CLASSES

_BATCH = 128


def validate(
    model: Closp,
    splits: Mapping[str, Split],
    workers: int | None = None,
    processes: Processes | None = None,
) -> dict[str, float]:
    """Return per sensor the mean average precision over single-class queries.

    Each class is ranked over the patches that decided it; classes without both a positive and a
    negative there are left out. A sensor without any such class is missing from the answer.

    Args:
        model: To be judged.
        splits: Sensor -> validation patches.
        workers: Decoding threads.
        processes: Where there are several, each scores its share; all return the same.
    """
    answer = {}
    for sensor, split in splits.items():
        scores = _class_scores(model, split, workers, processes)
        values = []
        for bit in range(len(CLASSES)):
            judged = (split.known_mask >> bit & 1).astype(bool)
            relevant = (split.label_mask[judged] >> bit & 1).astype(bool)
            if relevant.any() and not relevant.all():
                values.append(average_precision(relevant[ranking(scores[judged, bit])]))
        if values:
            answer[sensor] = math.fsum(values) / len(values)
    return answer


def _class_scores(
    model: Closp, split: Split, workers: int | None, processes: Processes | None
) -> NDArray[np.float32]:
    """Return (n, 12): logits, or cosines with the class names."""
    texts: NDArray[np.float32] | None = None
    if model.kind == "embedding":
        texts = model.encode_texts([name.lower() for name in CLASSES])
    if processes is None or processes.count == 1:
        batches = split.batches(_BATCH, workers)
        return np.concatenate([_scores(model, split, batch, texts) for batch in batches])
    rows = np.arange(len(split))
    shares = [share(rows, (rank, processes.count)) for rank in range(processes.count)]
    own = shares[processes.rank]
    parts = [np.empty((0, len(CLASSES)), np.float32)]
    with reading_pool(workers) as pool:
        for start in range(0, len(own), _BATCH):
            chosen = own[start : start + _BATCH]
            batch = Batch(chosen, split.read(chosen, pool))
            parts.append(_scores(model, split, batch, texts))
    mine = torch.from_numpy(np.concatenate(parts)).to(processes.device)
    return gather_rows(mine, [len(rows) for rows in shares]).cpu().numpy()


def _scores(
    model: Closp, split: Split, batch: Batch, texts: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    if texts is None:
        return model.class_logits(split.sensor, batch.images)
    scores: NDArray[np.float32] = model.encode_images(split.sensor, batch.images) @ texts.T
    return scores
