"""Features of frozen backbones, computed once and kept: `cache/features/` of a dataset.

A file holds (views, patches, f) float32, one view per symmetry the augmentation may draw. It is a
function of the backbone's weights, its input and the shards, and named by them; a folder can be
removed at any time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from baselines.augmentation import turn, views
from baselines.closp import Closp
from baselines.loader import Batch, Split, Step, share
from baselines.recipes import Recipe
from baselines.sampling import Order, Position
from landmark.commits import CommitMark, atomic_path, hash_file, hash_json, read_mark, write_mark
from landmark.dataset import Dataset
from landmark.progress import Progress

_BATCH = 64


def cached_features(
    root: Path,
    model: Closp,
    splits: Mapping[str, Split],
    recipe: Recipe,
    data: str,
    progress: Progress,
) -> dict[str, NDArray[np.float32]]:
    """Return per sensor the (views, patches, f) features of a split, mapped from disk.

    Args:
        root: Dataset directory.
        model: Its backbones are in eval mode and do not change.
        splits: Sensor -> the patches.
        recipe: Says which symmetries are drawn.
        data: Fingerprint of the shards.
        progress: Told of every patch.
    """
    found = {}
    for sensor, split in splits.items():
        kinds = views(recipe.augment)
        key = hash_json(
            {
                "weights": _weights_hash(model, sensor),
                "backbone": model.config.backbones[sensor].model_dump(),
                "input": model.config.inputs[sensor].model_dump(),
                "views": kinds.tolist(),
                "data": data,
            }
        )
        path = Dataset(root).cache / "features" / f"{sensor}-{key}.npy"
        mark = read_mark(path)
        if mark is None or mark.fingerprint != key:
            _write(path, model, split, kinds, key, progress)
        found[sensor] = np.load(path, mmap_mode="r", allow_pickle=False)
    return found


def feature_batches(
    features: Mapping[str, NDArray[np.float32]],
    usable: Mapping[str, NDArray[np.intp]],
    order: Order,
    recipe: Recipe,
    start: Position,
    part: tuple[int, int] = (0, 1),
) -> Generator[Step, None, None]:
    """Give the remaining steps of an epoch; each batch holds (n, f) features, not images."""
    kinds = views(recipe.augment)
    for number in range(start.step, order.steps):
        rows = {s: usable[s][drawn] for s, drawn in order.batch(start.epoch, number).items()}
        batches = {}
        for sensor, whole in rows.items():
            own = share(whole, part)
            drawn = share(order.symmetries(start.epoch, number, sensor, len(whole)), part)
            chosen = features[sensor][drawn % len(kinds), own]
            batches[sensor] = Batch(own, np.ascontiguousarray(chosen))
        yield Step(number, batches, rows)


def _write(
    path: Path,
    model: Closp,
    split: Split,
    kinds: NDArray[np.intp],
    key: str,
    progress: Progress,
) -> None:
    sensor, device = split.sensor, next(model.parameters()).device
    model.eval()
    progress.start(f"features of {sensor}", len(split))
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        target: np.memmap[Any, np.dtype[np.float32]] | None = None
        with torch.inference_mode():
            for batch in split.batches(_BATCH):
                images = model.prepare(sensor, torch.from_numpy(batch.images).to(device))
                for view, kind in enumerate(kinds):
                    turned = turn(images, np.full(len(images), kind))
                    found = model.features(sensor, turned).float().cpu().numpy()
                    if target is None:
                        shape = (len(kinds), len(split), found.shape[1])
                        target = np.lib.format.open_memmap(temporary, "w+", np.float32, shape)
                    target[view, batch.rows] = found
                progress.advance(len(batch.rows))
        if target is not None:
            target.flush()
            del target
        nbytes, xxh3 = temporary.stat().st_size, hash_file(temporary)
    write_mark(path, CommitMark(len(split), nbytes, xxh3, key, {"torch": torch.__version__}))
    progress.finish()


def _weights_hash(model: Closp, sensor: str) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.backbones[sensor].state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
