"""What every subject of `benchmarks/loader.py` shares: its form, and batches by torch's loader."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, SequentialSampler

BATCH = 32
SHAPE = (12, 120, 120)
#: Shards, and the buffer of libraries that shuffle through one (their usual order of size).
SHARD_ROWS, BUFFER = 128, 512


@dataclass(frozen=True)
class Epoch:
    """One pass: its number, in random order or not, with how many worker processes."""

    number: int
    shuffled: bool
    workers: int


class Subject(Protocol):
    """One format with its loader."""

    def write(self, samples: np.ndarray, folder: Path) -> None:
        """Write (n, 12, 120, 120) uint16 samples to an empty folder."""

    def open(self, folder: Path) -> None:
        """Get ready to read."""

    def batches(self, epoch: Epoch) -> Iterator[torch.Tensor]:
        """Give (<= 32, 12, 120, 120) tensors of the type the format stores."""


class Kept:
    """Loaders with worker processes, kept from epoch to epoch so that these are started once."""

    def __init__(self) -> None:
        self._loaders: dict[Epoch, Any] = {}

    def get(self, epoch: Epoch, make: Callable[[], Any]) -> Any:
        """Return the loader for such epochs: the one made first, or without workers a new one."""
        if not epoch.workers:
            return make()
        kind = Epoch(0, epoch.shuffled, epoch.workers)
        if kind not in self._loaders:
            self._loaders[kind] = make()
        return self._loaders[kind]


def sample_batches(
    kept: Kept, dataset: Dataset[Any], epoch: Epoch, **options: Any
) -> Iterator[Any]:
    """Give an epoch of a map dataset that is asked for single samples."""
    generator = torch.Generator()
    loader = kept.get(
        epoch,
        lambda: DataLoader(
            dataset,
            batch_size=BATCH,
            shuffle=epoch.shuffled,
            generator=generator,
            num_workers=epoch.workers,
            persistent_workers=epoch.workers > 0,
        ),
    )
    loader.generator.manual_seed(epoch.number)
    yield from loader


class Batched(Dataset[torch.Tensor]):
    """A map dataset asked for whole batches of indices: no per-sample tensors, no stacking."""

    def __init__(self, count: int, fill: Callable[[np.ndarray, list[int]], None]) -> None:
        self._count, self._fill = count, fill

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, indices: list[int]) -> torch.Tensor:
        out = np.empty((len(indices), *SHAPE), np.uint16)
        self._fill(out, indices)
        return torch.from_numpy(out)


def index_batches(kept: Kept, dataset: Batched, epoch: Epoch) -> Iterator[torch.Tensor]:
    """Give an epoch of a map dataset that is asked for whole batches."""
    generator = torch.Generator()

    def make() -> DataLoader[torch.Tensor]:
        order = (
            RandomSampler(dataset, generator=generator)
            if epoch.shuffled
            else SequentialSampler(dataset)
        )
        return DataLoader(
            dataset,
            batch_size=None,
            sampler=BatchSampler(order, BATCH, drop_last=False),
            generator=generator,
            num_workers=epoch.workers,
            persistent_workers=epoch.workers > 0,
        )

    loader = kept.get(epoch, make)
    loader.generator.manual_seed(epoch.number)
    yield from loader
