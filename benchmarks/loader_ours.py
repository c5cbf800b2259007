"""Our side of `benchmarks/loader.py`, and the list of all subjects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import loader_arrow as arrow
from benchmarks import loader_formats as peers
from benchmarks.loader_epochs import BATCH, SHARD_ROWS, Epoch, Subject


class Landmark:
    """Ours: shards in the profile `training`, native planes, `baselines.loader`.

    Args:
        equal: Store the same upsampled content as the peers instead of native planes.
        threads: With workers: decoding threads instead of reading processes.
        packed: Hand over native planes as stored (spreading is the device's).
    """

    def __init__(self, *, equal: bool = False, threads: bool = False, packed: bool = False) -> None:
        self._equal, self._threads, self._packed = equal, threads, packed
        self._floats = False
        self._loaders: dict[int, Any] = {}

    def write(self, samples: np.ndarray, folder: Path) -> None:
        from dataclasses import replace

        from benchmarks.made_dataset import write_split
        from landmark.manifest import S2_BANDS
        from landmark.schema import s2_layout

        layout = s2_layout(S2_BANDS)
        if self._equal:
            layout = replace(layout, shapes=((120, 120),) * len(S2_BANDS))

        def planes() -> Iterator[list[np.ndarray]]:
            for sample in samples:
                yield [
                    np.ascontiguousarray(band[:: 120 // rows, :: 120 // columns])
                    for band, (rows, columns) in zip(sample, layout.shapes, strict=True)
                ]

        write_split(folder, layout, planes(), len(samples), rows=SHARD_ROWS)

    def open(self, folder: Path) -> None:
        from baselines.loader import open_split

        split = open_split(folder, "s2", "train")
        if split is None:
            raise ValueError("no patches")
        self._split = split

    def want(self, dtype: str) -> None:
        """Be told the tensor type of the case: the loader spreads and casts in one pass."""
        if self._floats != (dtype == "float32"):
            self._floats = dtype == "float32"
            for loader in self._loaders.values():
                loader.close()
            self._loaders = {}

    def batches(self, epoch: Epoch) -> Iterator[torch.Tensor]:
        from baselines.sampling import Position

        if not epoch.shuffled:
            # In order, and nothing read ahead where there are no workers: as the peers do.
            for start in range(0, len(self._split), BATCH):
                rows = np.arange(start, min(start + BATCH, len(self._split)))
                out: np.ndarray = np.empty(self._split.shape(len(rows)), self._dtype())
                yield torch.from_numpy(self._split.read(rows, out=out))
            return
        loader = self._loader(epoch.workers)
        for step in loader.steps(Position(0, epoch.number, 0)):
            yield torch.from_numpy(step.batches["s2"].images)

    def _dtype(self) -> np.dtype[Any]:
        return np.dtype(np.float32 if self._floats else np.uint16)

    def _loader(self, workers: int) -> Any:
        from baselines.loader import Loader
        from baselines.reading import Reading
        from baselines.sampling import Order

        if workers not in self._loaders:
            reading = Reading(
                workers=workers if self._threads else 0,
                processes=0 if self._threads else workers,
                packed=self._packed,
                floats=self._floats and not self._packed,
                reuse=True,
            )
            order = Order({"s2": len(self._split)}, BATCH, 0)
            rows = {"s2": np.arange(len(self._split))}
            self._loaders[workers] = Loader({"s2": self._split}, rows, order, reading)
        return self._loaders[workers]


#: Name -> how the subject is made.
SUBJECTS: dict[str, Callable[[], Subject]] = {
    "ours": Landmark,
    "ours-threads": lambda: Landmark(threads=True),
    "ours-equal": lambda: Landmark(equal=True),
    "ours-packed": lambda: Landmark(packed=True),
    "hdf5-published": peers.Hdf5Published,
    "hdf5-strongest": peers.Hdf5Strongest,
    "webdataset": peers.WebDataset,
    "litdata": peers.Litdata,
    "mosaicml": peers.MosaicML,
    "hf-map": arrow.HfMap,
    "hf-streaming": arrow.HfStreaming,
    "parquet-zstd": arrow.ParquetZstd,
    "arrow-ipc": arrow.ArrowIpc,
    "memcpy": arrow.Memcpy,
}
